"""Likely cause of a control's change of status.

It is a guess from other observations on the host: what changed since the earlier assessment, and what else sets the
value that was found. The text names the observation, so that a person can verify it.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent.assess.assessment import ControlStatus
from agent.checks.beyond_benchmark import KernelParameter
from agent.linux.sysctl_values import same_value
from agent.model import Location

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent.assess.assessment import Verdict
    from agent.linux.sysctl_order import Assignment
    from agent.model import Times

PACKAGE_DATABASES = {
    PurePosixPath("/var/lib/dpkg/status"): "dpkg",
    PurePosixPath("/usr/lib/sysimage/rpm/rpmdb.sqlite"): "rpm",
    PurePosixPath("/var/lib/rpm/rpmdb.sqlite"): "rpm",
    PurePosixPath("/var/lib/rpm/Packages"): "rpm",
    PurePosixPath("/lib/apk/db/installed"): "apk",
    PurePosixPath("/var/lib/pacman/local"): "pacman",
}
"""The file that each package manager writes when it installs, updates or removes a package."""

_CERTIFICATES = (".crt", ".key")
_OPERATORS = "<>=~+-"


class TunedValue(NamedTuple):
    """A kernel parameter's value in a tuned profile."""

    text: str
    location: Location


class Profile(NamedTuple):
    """A tuned profile."""

    sysctls: Mapping[str, TunedValue]
    """By the kernel parameter's key."""
    includes: tuple[str, ...]
    """The names of the profiles that it extends."""


class Clues(NamedTuple):
    """Observations from which the cause is derived. Times are in seconds since the epoch."""

    since: float
    """The time of the earlier assessment."""
    files: Mapping[PurePosixPath, Times]
    live: Mapping[str, str]
    """The kernel's present values, by key."""
    boot: Mapping[str, Assignment | None]
    """The line that sets each kernel parameter at boot."""
    by_hand: Mapping[str, Assignment | None]
    """The line that sets each kernel parameter in `sysctl --system`."""
    tuned: str = ""
    """The active tuned profile; empty if there is none."""
    tuned_sysctls: Mapping[str, TunedValue] = {}
    applied: float | None = None
    """The time of the last run of apply that changed something; None if there is none."""
    started: float | None = None
    """The time when K3s started; None if it does not run."""
    upgrade: str = ""
    """The K3s versions of an upgrade ("v1.33.1+k3s1 to v1.34.1+k3s1"); empty if the version is the same."""
    role: str = ""
    """The roles of this host, earlier and now ("server to agent"); empty if the role is the same."""


def likely(verdict: Verdict, clues: Clues) -> str:
    """Return the most likely cause of a control's present status; empty if nothing indicates one."""
    return next(_causes(verdict, clues), "")


def tuned_profile(data: bytes, path: PurePosixPath) -> Profile:
    """Parse a tuned.conf. Values that tuned computes (`${…}`), and limits such as `>10`, are left out."""
    section = ""
    sysctls: dict[str, TunedValue] = {}
    includes: list[str] = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        text = line.strip()
        header = re.fullmatch(r"\[(.+)\]", text)
        key, equals, value = (part.strip() for part in text.partition("="))
        if header:
            section = header[1]
        elif not equals or text.startswith(("#", ";")):
            continue
        elif section == "main" and key == "include":
            includes += [name for name in re.split(r"[\s,;]+", value) if name]
        elif section == "sysctl" and value and "$" not in value and value[0] not in _OPERATORS:
            sysctls[key.replace("/", ".")] = TunedValue(value, Location(path, number))
    return Profile(sysctls, tuple(includes))


def _causes(verdict: Verdict, clues: Clues) -> Iterator[str]:
    """Yield possible causes, most likely first."""
    if verdict.status is ControlStatus.PASS and _is_later(clues.applied, clues):
        yield f"k3s-harden apply, {_time(clues.applied)}"
    check = verdict.control.check
    if isinstance(check, KernelParameter):
        yield from _of_kernel_parameter(check.row.key, check.row.value, clues)
        return
    yield from _of_files(verdict, clues)
    if clues.role:
        yield f"the role of this host changed from {clues.role}"
    if clues.upgrade:
        yield f"K3s upgrade from {clues.upgrade}"
    yield from _of_packages(clues)


def _of_kernel_parameter(key: str, expected: str, clues: Clues) -> Iterator[str]:
    live = clues.live.get(key, "")
    if same_value(live, expected):
        line = clues.boot.get(key)
        if line is not None and not same_value(line.value, expected):
            yield f"{_line(line, clues)}, which takes precedence at the next boot"
        elif _is_later(clues.started, clues):
            yield f"kubelet, which set it when K3s started, {_time(clues.started)}"
        return
    tuned = clues.tuned_sysctls.get(key)
    if tuned is not None and same_value(tuned.text, live):
        yield f"tuned profile {clues.tuned} ({tuned.location})"
    for lines, reader in ((clues.boot, ""), (clues.by_hand, "`sysctl --system`, from ")):
        line = lines.get(key)
        if line is not None and same_value(line.value, live):
            yield f"{reader}{_line(line, clues)}"
    yield f"a program at run time, because no file that is read at boot sets {live or 'the value'}"


def _of_files(verdict: Verdict, clues: Clues) -> Iterator[str]:
    """Yield causes from the files of the evidence, the last changed file first."""
    locations = [one.location for one in verdict.evidence if one.location is not None]
    known = [(clues.files[one.path], one) for one in locations if one.path in clues.files]
    are_directories = verdict.control.check.is_of_directories
    for (written, changed), location in sorted(known, key=lambda one: one[0].changed, reverse=True):
        path = location.path
        # A new entry in a directory changes its mtime, and neither its mode nor its owner.
        if _is_later(written, clues) and not are_directories:
            if path.name.endswith(_CERTIFICATES):
                yield f"K3s wrote {path} {_time(written)}, as `k3s certificate rotate` does"
            else:
                yield f"an edit of {location}, written {_time(written)}"
        elif _is_later(changed, clues):
            yield f"a new {path}, or a change of its mode or owner, {_time(changed)}"


def _of_packages(clues: Clues) -> Iterator[str]:
    for path, name in PACKAGE_DATABASES.items():
        times = clues.files.get(path)
        if times is not None and _is_later(times.written, clues):
            yield f"a package change: {name} last wrote its database {_time(times.written)}"


def _line(line: Assignment, clues: Clues) -> str:
    times = clues.files.get(line.location.path)
    return str(line.location) + ("" if times is None else f", written {_time(times.written)}")


def _is_later(time: float | None, clues: Clues) -> bool:
    # Reports have whole seconds: a file that was written in that second most likely existed already.
    return time is not None and time >= clues.since + 1


def _time(seconds: float | None) -> str:
    from datetime import datetime, timezone

    return "" if seconds is None else datetime.fromtimestamp(seconds, tz=timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
