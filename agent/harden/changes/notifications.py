"""The directory of notifications that wait for their delivery to the site."""

from __future__ import annotations

from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent.base.errors import HostError
from agent.base.host.directories import DirectoryEntry
from agent.base.linux.file_systems import REGULAR_FILE
from agent.base.times import minute
from agent.harden.changes.state import STATE

if TYPE_CHECKING:
    from agent.base.host import Host

DIRECTORY = STATE / "notify"
COMMAND = DIRECTORY / "command"
"""A line of sh that runs the site's command; systemd passes it to the unit as a credential."""

_SUFFIX = ".json"
_FOR_OTHERS = 0o001
HIDDEN_FROM_UNITS = tuple(map(PurePosixPath, ("/home", "/root", "/run/user", "/tmp", "/var/tmp")))  # noqa: S108 - not used
"""Directories that ProtectHome= and PrivateTmp= of the units hide from their programs."""

_GRACE = 300.0
"""Seconds after which a notification counts as not delivered; the site's command has one minute."""


class NotificationState(NamedTuple):
    """Whether the site's command can be used, and whether a notification waits for its delivery."""

    command: PurePosixPath
    problem: str
    """Why the command is not run; empty if it can be."""
    waits_since: str
    """The time of a notification whose delivery has failed, YYYY-MM-DD HH:MM UTC; empty without one."""
    file: PurePosixPath
    """The oldest notification that waits."""


def notification_path(number: int) -> PurePosixPath:
    """Return the file of a notification. Its unit removes it after the delivery."""
    return DIRECTORY / f"{number}{_SUFFIX}"


def notification_unit(number: int) -> str:
    """Return the unit that delivers a notification."""
    return f"k3s-harden-notify@{number}.service"


def waiting_notifications(host: Host) -> tuple[int, ...]:
    """Return the numbers of the notifications that are not delivered, in order. Raises HostError."""
    names = (name[: -len(_SUFFIX)] for name in host.tree.names(DIRECTORY) if name.endswith(_SUFFIX))
    return tuple(sorted(int(name) for name in names if name.isascii() and name.isdigit()))


def notification_state(host: Host, command: PurePosixPath) -> NotificationState:
    """Read the state of notifications. An ordinary user does not see those that wait."""
    numbers: tuple[int, ...] = ()
    with suppress(HostError):
        numbers = waiting_notifications(host)
    file = notification_path(numbers[0] if numbers else 0)
    times = host.tree.times(file) if numbers else None
    since = ""
    if times is not None and host.now() - times.written > _GRACE:
        since = minute(times.written)
    return NotificationState(command, command_problem(host, command), since, file)


def command_problem(host: Host, command: PurePosixPath) -> str:
    """Return why the site's command is not run; empty if it can be.

    It gets a list of the weaknesses of the host, so no other user may be able to change it.
    """
    hidden = next((directory for directory in HIDDEN_FROM_UNITS if command.is_relative_to(directory)), None)
    if hidden is not None:
        return f"the sandbox of its unit hides {hidden}"
    entry = host.tree.stat(command)
    if isinstance(entry, DirectoryEntry) and entry.kind != REGULAR_FILE:
        return f"it is a {entry.kind}"
    distrust = host.tree.trust_problem(command)
    if not distrust and isinstance(entry, DirectoryEntry) and not entry.mode & _FOR_OTHERS:
        return f"other users than root cannot run it: its mode is {entry.mode}"
    return distrust
