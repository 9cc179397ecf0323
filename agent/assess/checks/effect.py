"""Effects of the hardening: what a running node shows beside what its configuration says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.assess.checks.answer import ControlStatus, Evidence, complete_steps
from agent.base.model import StrEnum
from agent.base.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.assess.checks.answer import Answer
    from agent.base.repair import Step


class Force(StrEnum):
    """Whether a requirement is in force."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"
    """It could not be looked at here."""


class Effect(Value):
    """One requirement with what the node shows of it."""

    subject: str
    configured: str
    force: Force
    observed: str
    """With UNKNOWN, the reason."""
    command: str = ""
    """Shows it on the node."""
    controls: tuple[str, ...] = ()
    """The IDs of the controls that it confirms or refutes."""
    steps: tuple[Step, ...] = ()
    """What to do if it is not in force."""

    @property
    def status(self) -> ControlStatus:
        """The status of a control that this effect decides."""
        return {Force.YES: ControlStatus.PASS, Force.NO: ControlStatus.FAIL}.get(self.force, ControlStatus.UNKNOWN)


def observed(control: str, answer: Answer, effects: Iterable[Effect]) -> tuple[Answer, Force | None]:
    """Return the answer of a control with its effects as evidence, and whether they are in force; None without any.

    A control that passes by its configuration fails if an effect is not in force.
    """
    own = [effect for effect in effects if control in effect.controls]
    for effect in own:
        shown = Evidence(
            f"{effect.subject}: {effect.observed}", source=f"in force: {effect.force}", repeat_with=effect.command
        )
        answer = answer._replace(evidence=(*answer.evidence, shown))
        if effect.force is Force.NO and answer.status is ControlStatus.PASS:
            answer = answer._replace(
                status=ControlStatus.FAIL, found=effect.observed, unmet=complete_steps(*effect.steps)
            )
    marks = {effect.force for effect in own}
    return answer, next((mark for mark in (Force.NO, Force.UNKNOWN, Force.YES) if mark in marks), None)
