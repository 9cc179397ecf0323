"""What a run found and did, as a value; the exit code follows from it and from nothing else."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from agent.errors import ExitCode
from agent.model import NO_REMEDIATION, Location, Remediation

GATE_VERB = "gate"
"""The verb whose exit code says whether K3s may start, and nothing else."""


class ItemStatus(str, Enum):
    """How it stands with one resource: `edited` is a file that somebody else wrote, which is left as it is."""

    COMPLIANT = "compliant"
    DIFFERS = "differs"
    REFUSED = "refused"
    EDITED = "edited"
    CHANGED = "changed"
    KEPT = "kept"
    FAILED = "failed"

    def __str__(self) -> str:
        return self.value


class Level(str, Enum):
    """How much a finding matters: an error keeps K3s from starting or undoes the hardening."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"

    def __str__(self) -> str:
        return self.value


class Item(NamedTuple):
    """One resource: its id, how it stands, what differs or was done, and what to do about it.

    `blocked_by_environment` says that no one could change it from here, as in a container; `diff` is a unified diff.
    """

    id: str
    status: ItemStatus
    detail: str = ""
    hint: str = ""
    blocked_by_environment: bool = False
    diff: str = ""


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
"""The names of facts that somebody looks up; the others are for people alone."""


class Fact(NamedTuple):
    """A fact about the host."""

    name: str
    value: str
    source: str
    """Where the value comes from: a file, the output of a program, an option."""


class Report(NamedTuple):
    """One run of one verb."""

    verb: str
    writes: bool
    facts: tuple[Fact, ...]
    items: tuple[Item, ...]
    findings: tuple[Finding, ...]

    @property
    def is_ready(self) -> bool:
        """Whether K3s may start: what the guide wants is in place.

        A hand-edited file does not keep K3s down, nor does what only the next boot would undo: whoever edits a policy
        must not find the node dead at its next restart, and the gate runs again at the next boot.
        """
        standing = (ItemStatus.FAILED, ItemStatus.REFUSED, ItemStatus.DIFFERS)
        return not any(item.status in standing for item in self.items) and not any(f.blocks_gate for f in self.findings)

    @property
    def exit_code(self) -> ExitCode:
        """By the table in errors.ExitCode."""
        if self.verb == GATE_VERB and self.is_ready:
            return ExitCode.COMPLIANT
        statuses = {item.status for item in self.items}
        left = [
            item for item in self.items if item.status in (ItemStatus.FAILED, ItemStatus.REFUSED, ItemStatus.EDITED)
        ]
        if self.writes and left:
            if all(item.blocked_by_environment for item in left):
                return ExitCode.ENVIRONMENT
            # An edit that is left is somebody's decision, and no error.
            is_error = (
                not statuses.isdisjoint({ItemStatus.FAILED, ItemStatus.REFUSED}) and ItemStatus.CHANGED not in statuses
            )
            return ExitCode.ERROR if is_error else ExitCode.PARTIAL
        if left or not self.is_ready or any(finding.level is Level.ERROR for finding in self.findings):
            return ExitCode.NOT_COMPLIANT
        return ExitCode.COMPLIANT
