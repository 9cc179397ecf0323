"""Likely cause of a control's change of status: what is known to have changed since the earlier assessment."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent.assess.assessment import ControlStatus
from agent.base.times import minute

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent.assess.assessment import Verdict
    from agent.base.model import Times

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
