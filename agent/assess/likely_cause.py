"""Changes of controls between two assessments of a host, their likely causes, and whether the site is notified."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal, NamedTuple

from agent.assess.assessment import Assessment, ControlStatus, Verdict
from agent.base.report import Trait
from agent.base.times import minute
from agent.findings import with_trait

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent.assess.baseline import Baseline
    from agent.base.model import Times


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
    return tuple(note.message for note in assessment.notes if note.finding in with_trait(Trait.GAP_IN_GATE))


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


PACKAGE_DATABASES = {
    PurePosixPath("/var/lib/dpkg/status"): "dpkg",
    PurePosixPath("/usr/lib/sysimage/rpm/rpmdb.sqlite"): "rpm",
    PurePosixPath("/var/lib/rpm/rpmdb.sqlite"): "rpm",
    PurePosixPath("/var/lib/rpm/Packages"): "rpm",
    PurePosixPath("/lib/apk/db/installed"): "apk",
    PurePosixPath("/var/lib/pacman/local"): "pacman",
}
"""The file that each package manager writes when it installs, updates or removes a package."""

_PROC = PurePosixPath("/proc")
"""Its files have no times of their own."""


class ChangesSince(NamedTuple):
    """What changed on a host. Times are in seconds since the epoch."""

    since: float
    """The time of the earlier assessment."""
    files: Mapping[PurePosixPath, Times]
    applied: float | None = None
    """The time of the last run of apply that changed something; None if there is none."""
    upgrade: str = ""
    """The K3s versions of an upgrade ("v1.33.1+k3s1 to v1.34.1+k3s1"); empty if the version is the same."""
    role: str = ""
    """The roles of this host, earlier and now ("server to agent"); empty if the role is the same."""


def likely_cause(verdict: Verdict, changes: ChangesSince) -> str:
    """Return the most specific change that can be the cause of a control's status; empty if there is none."""
    return next(_causes(verdict, changes), "")


def _causes(verdict: Verdict, changes: ChangesSince) -> Iterator[str]:
    if verdict.status is ControlStatus.PASS and changes.applied is not None and _is_later(changes.applied, changes):
        yield f"k3s-harden apply, {minute(changes.applied)}"
    yield from _changed_files(verdict, changes)
    if changes.role:
        yield f"the role of this host changed from {changes.role}"
    if changes.upgrade:
        yield f"K3s upgrade from {changes.upgrade}"
    for path, manager in PACKAGE_DATABASES.items():
        times = changes.files.get(path)
        if times is not None and _is_later(times.written, changes):
            yield f"a package change: {manager} last wrote its database {minute(times.written)}"


def _changed_files(verdict: Verdict, changes: ChangesSince) -> Iterator[str]:
    """Yield the changes of the files in the evidence, the last changed file first."""
    locations = (shown.location for shown in verdict.evidence if shown.location is not None)
    known = [
        (changes.files[location.path], location)
        for location in locations
        if location.path in changes.files and _PROC not in location.path.parents
    ]
    are_directories = verdict.control.check.is_of_directories
    for (written, changed), location in sorted(known, key=lambda file: file[0].changed, reverse=True):
        # A new entry in a directory changes its mtime, and neither its mode nor its owner.
        if _is_later(written, changes) and not are_directories:
            yield f"{location}, written {minute(written)}"
        elif _is_later(changed, changes):
            yield f"a new {location.path}, or a change of its mode or owner, {minute(changed)}"


def _is_later(time: float, changes: ChangesSince) -> bool:
    # Reports have whole seconds: a file that was written in that second most likely existed already.
    return time >= changes.since + 1
