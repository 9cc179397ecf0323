"""Effects of the hardening: what a running node shows beside what its configuration says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.assess.checks.answer import WORST_FIRST, ControlStatus, Evidence
from agent.base.repair import Repair
from agent.base.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.assess.checks.answer import Answer
    from agent.base.repair import Step


class Effect(Value):
    """One requirement with what the node shows of it."""

    subject: str
    configured: str
    status: ControlStatus
    """FAIL if it is not in force; UNKNOWN if it could not be looked at here."""
    observed: str
    """With UNKNOWN, the reason."""
    command: str = ""
    """Shows it on the node."""
    controls: tuple[str, ...] = ()
    """The IDs of the controls that it confirms or refutes."""
    steps: tuple[Step, ...] = ()
    """What to do if it is not in force."""


def observed(control: str, answer: Answer, effects: Iterable[Effect]) -> tuple[Answer, ControlStatus | None]:
    """Return the answer of a control with its effects as evidence, and whether they are in force; None without any.

    A control that passes by its configuration fails if an effect is not in force.
    """
    own = [effect for effect in effects if control in effect.controls]
    for effect in own:
        text, source = f"{effect.subject}: {effect.observed}", f"in force: {effect.status}"
        shown = Evidence(text, source=source, repeat_with=effect.command)
        answer = answer._replace(evidence=(*answer.evidence, shown))
        if effect.status is ControlStatus.FAIL and answer.status is ControlStatus.PASS:
            repair = Repair(tuple(effect.steps))
            answer = answer._replace(status=ControlStatus.FAIL, found=effect.observed, repair=repair)
    return answer, min((effect.status for effect in own), key=WORST_FIRST.index, default=None)
