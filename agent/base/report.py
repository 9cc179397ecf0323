"""Report of one run: whether the gate blocks K3s (`Report.is_ready`), and the exit code of each verb.

A finding blocks the gate if it is declared with `blocks_gate=yes(...)` in agent/findings.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Flag, IntEnum, auto
from typing import NamedTuple, Protocol

from agent.base.errors import ExitCode
from agent.base.model import Location, StrEnum
from agent.base.repair import NO_REPAIR, Cause, FixOwner, Repair, Step
from agent.base.value import Value, replace

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
    """Status of one resource. `edited` is a file with content of another author; it is not changed.

    WAIVED is a control that the site waives, and POSTPONED a part of the hardening that a stage postpones.
    """

    COMPLIANT = "compliant"
    DIFFERS = "differs"
    REFUSED = "refused"
    EDITED = "edited"
    CHANGED = "changed"
    KEPT = "kept"
    FAILED = "failed"
    WAIVED = "WAIVED"
    POSTPONED = "POSTPONED"


class Level(StrEnum):
    """Severity of a finding. An error makes the host not compliant, which is the exit code 3."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Item(Value):
    """One resource."""

    id: str
    status: ItemStatus
    detail: str = ""
    """What differs, was done, or failed."""
    repair: Repair = NO_REPAIR
    blocked_by_environment: bool = False
    """Whether no user can change it here, as on a read-only mount."""
    diff: str = ""
    """A unified diff."""
    content_differs: bool = False
    """Whether `diff` shows more than the detail: the content of a file differs, and the report does not contain it."""
    until: str = ""
    """The last day of a waiver or a stage, YYYY-MM-DD in UTC; empty if it has none."""
    cause: Cause = Cause.OTHER
    """Why it is refused or failed."""


class Prediction(NamedTuple):
    """Why a finding predicts that a component does not start."""

    rule: str
    """The file of this program with the rule, and the line of its table or the name of its function."""
    source: str
    """The upstream file with the rule."""
    values: tuple[str, ...] = ()
    """The values that meet the conditions of the rule, and do not meet the rule."""

    def __str__(self) -> str:
        values = f"; values {', '.join(self.values)}" if self.values else ""
        return f"rule {self.rule}; source {self.source}{values}"


class Trait(Flag):
    """What a kind of finding is about, for the verbs that treat it differently."""

    NONE = 0
    GAP_IN_GATE = auto()
    """K3s starts, or has started, without the present gate. No verdict covers it."""
    OPENS_GATE = auto()
    """A reason for which the gate lets K3s start: it reports nothing else. `gate_state.end_exceptions` ends it."""
    OF_LAST_START = auto()
    """`gate_state.end_exceptions` ends it, as OPENS_GATE."""
    OF_RUNNING_K3S = auto()
    """An upgrade ends it: it is not about another version. An insufficient edit is a finding of its own."""
    NOT_CHECKED = auto()
    """A check was not possible. A preflight shows it, even if it is not new."""
    LIMITS_ASSESSMENT = auto()
    """An assessment could not read something, or its verdicts do not cover it."""
    NOT_NOTIFIED = auto()
    """The drift check cannot notify the site."""
    REPEATED_BY_DRIFT = auto()
    """Each drift check prints it, as those about the gate and the notification."""
    HAS_VERDICT = auto()
    """It blocks the gate, and verdicts report it themselves."""


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
    repair: Repair = NO_REPAIR
    resource: str = ""
    """The id of the resource that has the problem, if it is one of the report's; it is then the item's problem, too."""
    prediction: Prediction | None = None
    """Why the problem is predicted; None if it is observed."""
    traits: Trait = Trait.NONE


class NextStep(Value):
    """What to do after a run."""

    step: Step
    purpose: str = ""
    """What a command is for, in the imperative; empty for an instruction, which says it."""


ROLE = "role"
K3S_VERSION = "K3s version"
OPERATING_SYSTEM = "operating system"
KERNEL = "kernel"
NODE_UID = "UID of the Node"
"""Names of the facts that code looks up."""

ASSUMED = " assumed"
"""The end of a fact's value that is not known."""


class Fact(Value):
    """A fact about the host."""

    name: str
    value: str
    source: str
    """Where the value comes from: a file, the output of a program, an option."""


_BLOCKING = frozenset({ItemStatus.FAILED, ItemStatus.REFUSED, ItemStatus.DIFFERS})


class Urgency(IntEnum):
    """How urgent an entry of a report is; the smallest is the most urgent."""

    PREVENTS_START = 0
    BLOCKS_GATE = 1
    ERROR = 2
    WARNING = 3
    NOTE = 4
    NONE = 5
    """Nothing has to be done."""

    @property
    def is_problem(self) -> bool:
        """Whether the host is not compliant because of it."""
        return self <= Urgency.ERROR


class Entry(Value):
    """The items and findings of a report that are about one object."""

    items: tuple[Item, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def urgency(self) -> Urgency:
        """The urgency of the most urgent item or finding."""
        return min((*map(_of_item, self.items), *map(urgency_of, self.findings)), default=Urgency.NONE)


def urgency_of(finding: Finding) -> Urgency:
    """Return the urgency of a finding."""
    if finding.prevents_start:
        return Urgency.PREVENTS_START
    return Urgency.BLOCKS_GATE if finding.blocks_gate else Urgency[finding.level.name]


def _of_item(item: Item) -> Urgency:
    if item.status in _BLOCKING:
        return Urgency.BLOCKS_GATE
    return Urgency.ERROR if item.status is ItemStatus.EDITED else Urgency.NONE


class Wording(Value):
    """How the result of a verb is worded: by default, as for apply."""

    success: str = ExitCode.COMPLIANT.meaning
    """The meaning of exit code 0."""
    changed: str = "Host is compliant with the guide"
    """The result of a run that changed something."""
    unchanged: str = "Host is compliant with the guide; nothing was changed"
    past: str = "applied"


class Report(Value):
    """One run of one verb."""

    verb: str
    writes: bool
    facts: tuple[Fact, ...]
    items: tuple[Item, ...]
    findings: tuple[Finding, ...]
    next_steps: tuple[NextStep, ...] = ()
    """What to do next, the most urgent step first."""
    wording: Wording = Wording()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The items and findings by object: first those without a problem, then the others, the most urgent first.

        A difference and several findings about the same problem are one entry.
        """
        open_ids = {item.id for item in self.items if item.status is not ItemStatus.COMPLIANT}
        entries: dict[object, Entry] = {}
        for item in self.items:
            there = entries.get(item.id, Entry())
            entries[item.id] = replace(there, items=(*there.items, item))
        for number, finding in enumerate(self.findings):
            key: object = _object_of(finding, open_ids) or number
            there = entries.get(key, Entry())
            entries[key] = replace(there, findings=(*there.findings, finding))
        return tuple(sorted(entries.values(), key=lambda entry: (entry.urgency + 1) % len(Urgency)))

    @property
    def has_changed(self) -> bool:
        """Whether the run has changed something."""
        return any(item.status is ItemStatus.CHANGED for item in self.items)

    @property
    def is_ready(self) -> bool:
        """Whether K3s may start: all resources are in place, and K3s would not run unhardened or unprotected.

        An edited file does not block K3s if it meets its control; otherwise a finding blocks it. A finding that only
        prevents K3s from starting does not block it: K3s reports that failure itself.
        """
        blocked = any(item.status in _BLOCKING for item in self.items)
        return not blocked and not any(finding.blocks_gate for finding in self.findings)

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
            # An edited file is a decision of the operator, not an error.
            if self.has_changed or statuses.isdisjoint({ItemStatus.FAILED, ItemStatus.REFUSED}):
                return ExitCode.PARTIAL
            return ExitCode.ENVIRONMENT if all(item.blocked_by_environment for item in left) else ExitCode.ERROR
        if (
            left
            or not self.is_ready
            or any(finding.prevents_start or finding.level is Level.ERROR for finding in self.findings)
        ):
            return ExitCode.NOT_COMPLIANT
        return ExitCode.COMPLIANT


def _object_of(finding: Finding, open_ids: Collection[str]) -> str:
    """Return the id of the resource that a finding is about; empty if it is about something else.

    A finding that apply fixes, in a file that differs, is the same problem as the difference.
    """
    path = str(finding.location.path) if finding.location is not None else ""
    is_same = finding.repair.owner is FixOwner.APPLY and path in open_ids
    return finding.resource or (path if is_same else "")
