"""What a check says of a host, before it is settled who has to act."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.assess.assessment import ControlStatus
from agent.assess.assessment import Evidence as Shown
from agent.model import Instruction, OwnCommand

if TYPE_CHECKING:
    from agent.assess.arguments import Doubt, GivenBy
    from agent.model import Remediation

ONCE_STARTED = "start K3s, then assess this host again"
LOOK_AT_IT = "repair what the reason names, or check it by hand; then assess this host again"
"""What the operator has to do where a check has no answer."""


class Answer(NamedTuple):
    """What a check says, without regard to whose control it is.

    `remedy` is what an operator does by hand; `remedy_is_for_this_host` says that it names what is wrong on this very
    host, so that it counts and not what the control's row has. `needs` has the ids of the resources that have to
    change, where that is enough. `by` is who gave the value that decides.
    """

    status: ControlStatus
    found: str = ""
    evidence: tuple[Shown, ...] = ()
    reason: str = ""
    remedy: str = ""
    by: GivenBy | None = None
    remedy_is_for_this_host: bool = False
    needs: frozenset[str] = frozenset()


def doubtful(doubt: Doubt) -> Answer:
    """The answer where an argument cannot be told."""
    shown = (Shown(doubt.what, doubt.where),) if doubt.where else ()
    return Answer(ControlStatus.UNKNOWN, "cannot be told", shown, doubt.reason, doubt.look or LOOK_AT_IT)


def steps(remediation: Remediation) -> str:
    """Return the steps of a finding's remediation in words."""
    parts = []
    for step in remediation.steps:
        if isinstance(step, Instruction):
            parts.append(step.text)
        elif isinstance(step, OwnCommand):
            parts.append(f"run `{' '.join(('k3s-harden', step.verb, *step.options))}`")
        else:
            parts.append(f"run `{step.line}`")
    return "; then ".join(parts)
