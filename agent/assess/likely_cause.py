"""Who has likely brought about that it stands otherwise with a control than at the last look. Pure.

A guess, from what lies beside the thing itself: what was changed since, and who else sets the value that was found. It
says what it rests on, so that a person can judge it, and says nothing where nothing speaks for anybody.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent.assess.assessment import ControlStatus
from agent.assess.places import split_place
from agent.benchmark.check import GuideDirectory, KernelParameter, Ownership, Permissions
from agent.linux.sysctl_values import same_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent.assess.assessment import Verdict
    from agent.benchmark.check import Check
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
"""What each package manager writes whenever it installs, updates or removes something."""

_CERTIFICATES = (".crt", ".key")
_OPERATORS = "<>=~+-"


class Value(NamedTuple):
    """A value that some file has for a kernel parameter, and where, as path:line."""

    text: str
    where: str


class Profile(NamedTuple):
    """A profile of tuned: what it sets of the kernel's parameters, by key, and the profiles that it builds on."""

    sysctls: Mapping[str, Value]
    includes: tuple[str, ...]


class Clues(NamedTuple):
    """What a host shows beside the things that a control asks for. Times are in seconds since the epoch.

    `since` is when it was last looked at. `files` has the times of each file that matters, `live` the kernel's values.
    `boot` has what wins at boot, `by_hand` what `sysctl --system` leaves, by key. `tuned` is the name
    of tuned's active profile, "" without one. `applied` is when apply last changed something, `started` since when K3s
    runs; None for never. `upgrade` says from which K3s version to which, "" if it is the same.
    """

    since: float
    files: Mapping[PurePosixPath, Times]
    live: Mapping[str, str]
    boot: Mapping[str, Assignment | None]
    by_hand: Mapping[str, Assignment | None]
    tuned: str = ""
    tuned_sysctls: Mapping[str, Value] = {}
    applied: float | None = None
    started: float | None = None
    upgrade: str = ""


def likely(verdict: Verdict, clues: Clues) -> str:
    """The likeliest cause of what a control looks like now, in words; "" where nothing speaks for any."""
    return next(_causes(verdict, clues), "")


def tuned_profile(data: bytes, path: PurePosixPath) -> Profile:
    """Read a tuned.conf. Values that tuned computes (`${…}`), and only raises or lowers, are left out."""
    section = ""
    sysctls: dict[str, Value] = {}
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
            sysctls[key.replace("/", ".")] = Value(value, f"{path}:{number}")
    return Profile(sysctls, tuple(includes))


def path_of(where: str) -> PurePosixPath:
    """The path of a place that evidence was seen at, be it a path or path:line."""
    return PurePosixPath(split_place(where)[0])


def _causes(verdict: Verdict, clues: Clues) -> Iterator[str]:
    """All that could be it, the likeliest first."""
    if verdict.status is ControlStatus.PASS and _is_later(clues.applied, clues):
        yield f"k3s-harden apply, {_time(clues.applied)}"
    check = verdict.control.check
    if isinstance(check, KernelParameter):
        yield from _of_kernel_parameter(check.row.key, check.row.value, clues)
        return
    yield from _of_files(verdict, clues)
    if clues.upgrade:
        yield f"K3s itself, which went from {clues.upgrade}"
    yield from _of_packages(clues)


def _of_kernel_parameter(key: str, wanted: str, clues: Clues) -> Iterator[str]:
    live = clues.live.get(key, "")
    if same_value(live, wanted):
        line = clues.boot.get(key)
        if line is not None and not same_value(line.value, wanted):
            yield f"{_line(line, clues)}, which wins at the next boot"
        elif _is_later(clues.started, clues):
            yield f"kubelet, which set it when K3s started, {_time(clues.started)}"
        return
    tuned = clues.tuned_sysctls.get(key)
    if tuned is not None and same_value(tuned.text, live):
        yield f"tuned's profile {clues.tuned} ({tuned.where})"
    for lines, reader in ((clues.boot, ""), (clues.by_hand, "`sysctl --system`, by ")):
        line = lines.get(key)
        if line is not None and same_value(line.value, live):
            yield f"{reader}{_line(line, clues)}"
    yield f"a program at run time: no file that is read at boot sets {live or 'what is there'}"


def _of_files(verdict: Verdict, clues: Clues) -> Iterator[str]:
    """By the files that the evidence names, the one that was changed last first."""
    places = [(path_of(evidence.where), evidence.where) for evidence in verdict.evidence]
    seen = [(clues.files[path], path, where) for path, where in places if path in clues.files]
    are_directories = _is_of_directories(verdict.control.check)
    for (written, changed), path, where in sorted(seen, key=lambda one: one[0].changed, reverse=True):
        # A directory is written when something is put into it, which changes neither its mode nor its owner.
        if _is_later(written, clues) and not are_directories:
            if path.name.endswith(_CERTIFICATES):
                yield f"K3s, which renewed its certificates: {path} was written {_time(written)}"
            else:
                yield f"whoever wrote {where}, {_time(written)}"
        elif _is_later(changed, clues):
            yield f"whoever put {path} there or changed its mode or owner, {_time(changed)}"


def _of_packages(clues: Clues) -> Iterator[str]:
    for path, name in PACKAGE_DATABASES.items():
        times = clues.files.get(path)
        if times is not None and _is_later(times.written, clues):
            yield f"a package: {name} last changed something {_time(times.written)}"


def _line(line: Assignment, clues: Clues) -> str:
    times = clues.files.get(line.location.path)
    return str(line.location) + ("" if times is None else f", written {_time(times.written)}")


def _is_of_directories(check: Check) -> bool:
    return isinstance(check, GuideDirectory) or (isinstance(check, Permissions | Ownership) and check.directories)


def _is_later(time: float | None, clues: Clues) -> bool:
    # Reports have whole seconds: what was written in the second of the last look was most likely there already.
    return time is not None and time >= clues.since + 1


def _time(seconds: float | None) -> str:
    from datetime import datetime, timezone

    return "" if seconds is None else datetime.fromtimestamp(seconds, tz=timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
