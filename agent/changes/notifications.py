"""The directory of notifications: those that wait for their delivery, and the last one that was delivered."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent.changes.state import STATE
from agent.errors import HostError
from agent.host.paths import REGULAR_FILE
from agent.host.tree import DirectoryEntry

if TYPE_CHECKING:
    from agent.host import Host

DIRECTORY = STATE / "notify"
DELIVERED = DIRECTORY / "delivered.json"
"""The unit renames a notification to this path when the site's command has succeeded."""

_SUFFIX = ".json"
_FOR_OTHERS = 0o001
HIDDEN_FROM_UNITS = tuple(map(PurePosixPath, ("/home", "/root", "/run/user", "/tmp", "/var/tmp")))  # noqa: S108 - not used
"""Directories that ProtectHome= and PrivateTmp= of the units hide from their programs."""

_GRACE = 300.0
"""Seconds after which a notification counts as not delivered; the site's command has one minute."""


class Notifications(NamedTuple):
    """Whether the site's command can be used, and whether a notification waits for its delivery."""

    command: PurePosixPath
    problem: str
    """Why the command is not run; empty if it can be."""
    waits_since: str
    """The time of a notification whose delivery has failed, YYYY-MM-DD HH:MM UTC; empty without one."""
    file: PurePosixPath
    """The notification that waits."""


def path(number: int) -> PurePosixPath:
    """Return the file of a notification that is not delivered yet."""
    return DIRECTORY / f"{number}{_SUFFIX}"


def unit(number: int) -> str:
    """Return the unit that delivers a notification."""
    return f"k3s-harden-notify@{number}.service"


def waiting(host: Host) -> tuple[int, ...]:
    """Return the numbers of the notifications that are not delivered, in order. Raises HostError."""
    names = (name[: -len(_SUFFIX)] for name in host.tree.names(DIRECTORY) if name.endswith(_SUFFIX))
    return tuple(sorted(int(name) for name in names if name.isascii() and name.isdigit()))


def observe(host: Host, command: PurePosixPath) -> Notifications:
    """Read the state of notifications, without their contents. An ordinary user does not see those that wait."""
    numbers: tuple[int, ...] = ()
    with suppress(HostError):
        numbers = waiting(host)
    file = path(numbers[-1]) if numbers else DELIVERED
    times = host.tree.times(file) if numbers else None
    since = ""
    if times is not None and host.now() - times.written > _GRACE:
        since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(times.written))
    return Notifications(command, problem(host, command), since, file)


def problem(host: Host, command: PurePosixPath) -> str:
    """Return why the site's command is not run; empty if it can be.

    It gets a list of the weaknesses of the host, so no other user may be able to change it.
    """
    hidden = next((place for place in HIDDEN_FROM_UNITS if command.is_relative_to(place)), None)
    if hidden is not None:
        return f"the sandbox of its unit hides {hidden}"
    found = host.tree.stat(command)
    if isinstance(found, DirectoryEntry) and found.kind != REGULAR_FILE:
        return f"it is a {found.kind}"
    distrust = host.tree.trust_problem(command)
    if not distrust and isinstance(found, DirectoryEntry) and not found.mode & _FOR_OTHERS:
        return f"other users than root cannot run it: its mode is {found.mode}"
    return distrust
