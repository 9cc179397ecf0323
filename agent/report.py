"""Report of one run. The exit code is derived from it."""

from __future__ import annotations

from typing import Protocol

from agent.errors import ExitCode
from agent.model import NO_REMEDIATION, Location, OwnCommand, Remediation, StrEnum
from agent.value import NamedTuple, Value

GATE_VERB = "gate"
"""The verb whose exit code states only whether K3s may start."""


class Progress(Protocol):
    """Called with each step of a run, for a person who waits."""

    def __call__(self, text: str, done: int = 0, total: int = 0) -> None:
        """Take the current step, and its number and how many there are, if that is known."""
        ...


def no_progress(text: str, done: int = 0, total: int = 0) -> None:
    """Show nothing."""


class ItemStatus(StrEnum):
    """Status of one resource. `edited` is a file with content of another author; it is not changed."""

    COMPLIANT = "compliant"
    DIFFERS = "differs"
    REFUSED = "refused"
    EDITED = "edited"
    CHANGED = "changed"
    KEPT = "kept"
    FAILED = "failed"


class Level(StrEnum):
    """Severity of a finding. An error prevents K3s from starting, or reverts part of the hardening."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Item(Value):
    """One resource."""

    id: str
    status: ItemStatus
    detail: str = ""
    """What differs, was done, or failed."""
    hint: str = ""
    """What to do."""
    blocked_by_environment: bool = False
    """Whether no user can change it here, as in a container with a read-only /proc/sys."""
    diff: str = ""
    """A unified diff."""
    shown_by: OwnCommand | None = None
    """The verb that prints the difference, if the report does not contain it."""


class Finding(NamedTuple):
    """A problem that is not a resource."""

    id: str
    """The kind of the finding, as `explain` takes it."""
    level: Level
    blocks_gate: bool
    """Whether K3s would run unhardened or unprotected, so that the gate must not release it."""
    prevents_start: bool
    """Whether K3s fails by itself at its next start."""
    message: str
    expected: str = ""
    found: str = ""
    location: Location | None = None
    remediation: Remediation = NO_REMEDIATION


ROLE = "role"
K3S_VERSION = "K3s version"
OPERATING_SYSTEM = "operating system"
KERNEL = "kernel"
"""Names of the facts that code looks up."""


class Fact(NamedTuple):
    """A fact about the host."""

    name: str
    value: str
    source: str
    """Where the value comes from: a file, the output of a program, an option."""


class Report(Value):
    """One run of one verb."""

    verb: str
    writes: bool
    facts: tuple[Fact, ...]
    items: tuple[Item, ...]
    findings: tuple[Finding, ...]

    @property
    def is_ready(self) -> bool:
        """Whether K3s may start: all resources are in place, and K3s would not run unhardened or unprotected.

        An edited file does not block K3s if it meets its control; otherwise a finding blocks it. A finding that only
        prevents K3s from starting does not block it: K3s reports that failure itself.
        """
        blocking = (ItemStatus.FAILED, ItemStatus.REFUSED, ItemStatus.DIFFERS)
        blocked = any(item.status in blocking for item in self.items)
        return not blocked and not any(one.blocks_gate for one in self.findings)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the run. The gate's ignores all that does not block K3s."""
        if self.verb == GATE_VERB and self.is_ready:
            return ExitCode.COMPLIANT
        statuses = {item.status for item in self.items}
        left = [
            item for item in self.items if item.status in (ItemStatus.FAILED, ItemStatus.REFUSED, ItemStatus.EDITED)
        ]
        if self.verb == GATE_VERB and all(item.status is ItemStatus.EDITED for item in left):
            return ExitCode.NOT_COMPLIANT
        if self.writes and left:
            if all(item.blocked_by_environment for item in left):
                return ExitCode.ENVIRONMENT
            # An edited file is a decision of the operator, not an error.
            is_error = (
                not statuses.isdisjoint({ItemStatus.FAILED, ItemStatus.REFUSED}) and ItemStatus.CHANGED not in statuses
            )
            return ExitCode.ERROR if is_error else ExitCode.PARTIAL
        if left or not self.is_ready or any(one.prevents_start or one.level is Level.ERROR for one in self.findings):
            return ExitCode.NOT_COMPLIANT
        return ExitCode.COMPLIANT
