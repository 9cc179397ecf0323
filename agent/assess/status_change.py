"""Changes of controls between two assessments of a host, and whether the site has to be notified of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.findings.gate import GATE_FINDINGS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.assess.assessment import Assessment, ControlStatus, Verdict


class StatusChange(NamedTuple):
    """A control whose status is different from the earlier one."""

    before: ControlStatus
    verdict: Verdict

    @property
    def direction(self) -> str:
        """Whether the control is newly open ("worse"), no longer open ("better"), or neither ("other")."""
        was_open, is_open = self.before.is_open, self.verdict.is_open
        return "other" if was_open == is_open else "worse" if is_open else "better"


class Known(NamedTuple):
    """What the site knows of a host: the state of the notification that was delivered last."""

    when: float
    """The time of that assessment, in seconds since the epoch."""
    statuses: Mapping[str, ControlStatus]
    """By the id of the control."""
    gate: tuple[str, ...]
    """The gaps in the gate."""
    is_compliant: bool


class Notification(NamedTuple):
    """What the site does not know yet."""

    before: Known | None
    """None if nothing was delivered yet."""
    now: Known
    changes: tuple[StatusChange, ...]
    is_test: bool = False


def compared(before: Mapping[str, ControlStatus], now: Assessment) -> tuple[StatusChange, ...]:
    """Return the controls whose status changed; a control without an earlier status is left out."""
    changes = (StatusChange(before.get(one.control.id, one.status), one) for one in now.verdicts)
    return tuple(change for change in changes if change.before is not change.verdict.status)


def known(now: Assessment) -> Known:
    """Return what the site knows once it was notified of this assessment. A gap in the gate is not compliant."""
    gate = tuple(one.message for one in now.notes if one.finding in GATE_FINDINGS)
    statuses = {one.control.id: one.status for one in now.verdicts}
    return Known(now.when, statuses, gate, is_compliant=not gate and not any(one.is_open for one in now.verdicts))


def due(before: Known | None, now: Assessment) -> Notification | None:
    """Return the notification that the site has to get; None if it knows everything.

    The first one is due if the host is not compliant. A later one is due if a control, a gap in the gate or the result
    changed.
    """
    after = known(now)
    if before is None:
        return None if after.is_compliant else Notification(None, after, ())
    found = Notification(before, after, compared(before.statuses, now))
    has_changed = found.changes or set(before.gate) != set(after.gate) or before.is_compliant != after.is_compliant
    return found if has_changed else None
