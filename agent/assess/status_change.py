"""Changes of controls between two assessments of a host, and whether the site has to be notified of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from agent.findings.gate_faults import GATE_FINDINGS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.assess.assessment import Assessment, ControlStatus, Verdict
    from agent.assess.baseline import Baseline


class StatusChange(NamedTuple):
    """A control whose status is different from the earlier one."""

    before: ControlStatus
    verdict: Verdict

    @property
    def direction(self) -> str:
        """Whether the control is newly open ("worse"), no longer open ("better"), or neither ("other")."""
        was_open, is_open = self.before.is_open, self.verdict.is_open
        return "other" if was_open == is_open else "worse" if is_open else "better"


class Notification(NamedTuple):
    """A result of the drift check that the site has to get."""

    event: Literal["first", "change", "test"]
    before: Baseline | None
    """The previous assessment; None if the notification lists all open controls."""
    changes: tuple[StatusChange, ...]


def status_changes(before: Mapping[str, ControlStatus], now: Assessment) -> tuple[StatusChange, ...]:
    """Return the controls whose status changed; a control without an earlier status is left out."""
    changes = (StatusChange(before.get(verdict.control.id, verdict.status), verdict) for verdict in now.verdicts)
    return tuple(change for change in changes if change.before is not change.verdict.status)


def gate_gaps(assessment: Assessment) -> tuple[str, ...]:
    """Return the gaps in the gate."""
    return tuple(note.message for note in assessment.notes if note.finding in GATE_FINDINGS)


def is_compliant(assessment: Assessment) -> bool:
    """Return whether no control is open and the gate has no gap."""
    return not gate_gaps(assessment) and not any(verdict.is_open for verdict in assessment.verdicts)


def due_notification(before: Baseline | None, now: Assessment) -> Notification | None:
    """Return the notification that the site has to get; None if there is nothing to report.

    The first one is due if the host is not compliant. A later one is due if a control, a gap in the gate or the result
    changed.
    """
    if before is None:
        return None if is_compliant(now) else Notification("first", None, ())
    changes = status_changes(before.statuses, now)
    has_changed = set(before.gate) != set(gate_gaps(now)) or before.is_compliant != is_compliant(now)
    return Notification("change", before, changes) if changes or has_changed else None
