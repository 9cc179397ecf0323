"""The directory in which this program keeps the journal, backups and reports."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.errors import ReadOnlyEnvironmentError
from agent.base.model import PRIVATE_DIRECTORY, PUBLIC_DIRECTORY, Absent, Directory

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
