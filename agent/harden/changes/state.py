"""The state directory, and its small files: what the site is notified of, and what the node publishes."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent.base.errors import HostError, ReadOnlyEnvironmentError
from agent.base.host.directories import DirectoryEntry
from agent.base.linux.file_systems import REGULAR_FILE
from agent.base.model import PRIVATE_DIRECTORY, PUBLIC_DIRECTORY, Absent, Directory
from agent.base.times import minute

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.base.host import Host
    from agent.base.host.writable_tree import WritableTree


STATE = PurePosixPath("/var/lib/k3s-harden")
"""Mode 0700. Neither K3s nor systemd watches it."""


def make_directory(tree: WritableTree, path: PurePosixPath) -> None:
    """Create a directory below STATE with mode 0700, and its missing parents."""
    for parent in reversed(path.parents):
        if isinstance(tree.observe(parent), Absent):
            is_private = parent == STATE or STATE in parent.parents
            tree.make_directory(Directory(parent, PRIVATE_DIRECTORY if is_private else PUBLIC_DIRECTORY))
    tree.make_directory(Directory(path, PRIVATE_DIRECTORY))


@contextmanager
def locked_state(host: Host) -> Iterator[None]:
    """Hold the lock of the host, if it can be taken in the sandbox of a unit, where /run is read-only.

    A missing lock file cannot be created there, and means that no run has changed this host since it started.
    """
    with ExitStack() as held:
        with suppress(ReadOnlyEnvironmentError):
            held.enter_context(host.lock())
        yield


DIRECTORY = STATE / "notify"
COMMAND = DIRECTORY / "command"
"""A line of sh that runs the site's command; systemd passes it to the unit as a credential."""
LAST_NUMBER = DIRECTORY / "last-number"
"""The number of the latest notification: the time alone can be that of an earlier one, which its unit then removes."""

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


PUBLICATION = STATE / "node-status.json"
"""It does not exist if this host publishes nothing."""
SENT = STATE / "node-status-sent.json"
"""The time in seconds since the epoch as its first line, then the values of the Publication that was sent."""

_MACHINE_ID = PurePosixPath("/etc/machine-id")


class Publication(NamedTuple):
    """What the Node should have after a drift check."""

    node: str
    """The expected name of the Node; that of the certificate decides."""
    kubeconfig: str
    """The path of the kubelet's kubeconfig; empty if nothing is sent, and only the record has this."""
    when: float
    """The time of the assessment, in seconds since the epoch."""
    annotations: dict[str, str]
    """Empty if the node removes what it has published."""
    condition: dict[str, str]
    """Without lastHeartbeatTime."""
    drifted: list[str]
    """The open controls that were not open at an earlier assessment."""


def read_publication(host: Host) -> Publication | None:
    """Return the content of PUBLICATION; None without it, or if it is not usable."""
    import json

    try:
        shape = json.loads(host.tree.read(PUBLICATION) or b"")
        annotations, condition = (
            {str(key): str(value) for key, value in shape[name].items()} for name in ("annotations", "condition")
        )
        node, kubeconfig, when = str(shape["node"]), str(shape["kubeconfig"]), float(shape["when"])
        return Publication(node, kubeconfig, when, annotations, condition, list(map(str, shape["drifted"])))
    except (HostError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def machine_hash(host: Host) -> str:
    """Return a hash of the machine ID, which itself must not be published (machine-id(5))."""
    return hash_of_machine((host.tree.read(_MACHINE_ID) or b"").decode(errors="replace"))


def hash_of_machine(text: str) -> str:
    """Return the hash of a machine ID."""
    return digest(f"k3s-harden\0{text.strip()}".encode())


def digest(data: bytes) -> str:
    """Return the first 16 digits of the SHA-256."""
    import hashlib

    return hashlib.sha256(data).hexdigest()[:16]
