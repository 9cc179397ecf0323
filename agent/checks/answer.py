"""Result of a check on one node."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.checks.evidence import Cause
from agent.model import Instruction, OwnCommand, Remediation, StrEnum

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from agent.checks.argument_values import Doubt, GivenBy
    from agent.checks.evidence import Unknown
    from agent.model import Location

UNDETERMINED = "could not be determined"
"""`found` of a check that has no evidence for an answer."""


def determined(unknown: Unknown) -> Remediation:
    """Return the remediation for a file that could not be read. Root has access that this user does not have."""
    if unknown.cause is Cause.DENIED:
        return Remediation((OwnCommand("assess"),))
    return made_readable(unknown.path)


def made_readable(path: PurePosixPath, kind: str = "file") -> Remediation:
    """Return the remediation for a file that could not be read, or that is something else."""
    return Remediation((Instruction(f"make {path} a {kind} that root can read"), OwnCommand("assess")))


class ControlStatus(StrEnum):
    """Status of a control. A control without evidence is UNKNOWN, never PASS."""

    PASS = "PASS"  # noqa: S105 - a status
    FAIL = "FAIL"
    WAIVED = "WAIVED"
    NOT_APPLICABLE = "NOT_APPLICABLE"
    MANUAL = "MANUAL"
    UNKNOWN = "UNKNOWN"

    @property
    def is_open(self) -> bool:
        """Return whether the control still needs a fix, or could not be determined."""
        return self in (ControlStatus.FAIL, ControlStatus.UNKNOWN)


class Evidence(NamedTuple):
    """One observation on the host."""

    observation: str
    location: Location | None = None
    """The file or line that shows it."""
    source: str = ""
    """Where the observation is from, if it is not one file: "default of K3s v1.34.1 (…)", or a pattern of paths."""


class Answer(NamedTuple):
    """What a check found on a node, before the owner of the fix is known."""

    status: ControlStatus
    found: str = ""
    evidence: tuple[Evidence, ...] = ()
    reason: str = ""
    """Why the check is not applicable or has no answer, as a sentence without its period."""
    remediation: Remediation = Remediation()
    """The steps of the operator."""
    given_by: GivenBy | None = None
    """Who set the effective value."""
    is_specific: bool = False
    """Whether `remediation` names the problem on this host, so that it takes precedence over the control's own."""
    needs: frozenset[str] = frozenset()
    """IDs of the resources that fix the problem if `apply` changes them; empty if no resource does."""
    expected: str = ""
    """The requirement, if the check itself does not define it."""


def doubtful(doubt: Doubt) -> Answer:
    """Return the answer for an argument whose value is in doubt."""
    evidence = (Evidence(doubt.observation, doubt.location),) if doubt.location else ()
    return Answer(ControlStatus.UNKNOWN, UNDETERMINED, evidence, doubt.reason, Remediation(doubt.steps))
