"""Who has access to a file, and to the directories that lead to it."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from agent.host.paths import file_kind
from agent.model import FileMode
from agent.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.model import Owner


class PathAccess(Value):
    """Who has access to a file or directory."""

    path: str
    """For a directory the resolved path."""
    kind: str
    mode: FileMode
    owner: Owner
    acl: tuple[tuple[str, int, int], ...] | None
    """The permissions of each party, as acl.granted returns them; None if the file has only a mode."""


class FileAccess(Value):
    """Who has access to a file, and to the directories that lead to it."""

    file: PathAccess | None
    """With symlinks followed; None if there is no such file."""
    passed: tuple[PathAccess, ...]
    """All directories of the path, the root first."""
    parent: str
    """The resolved path of the file's directory; empty if it does not exist.

    `passed` can also have directories above a symlink, which are not parents of this path.
    """


def permitted(directory: int, name: str, path: str, owner: Callable[[os.stat_result], Owner]) -> PathAccess:
    """Return who has access to a name in an open directory. Raises OSError."""
    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    mode = FileMode(stat.S_IMODE(found.st_mode))
    # With a list, the bits of the group are its mask. If others have the same bits, the list permits nothing more.
    listed = _listed(directory, name) if mode >> 3 & ~mode & stat.S_IRWXO else None
    return PathAccess(path, file_kind(found.st_mode), mode, owner(found), listed)


def _listed(directory: int, name: str) -> tuple[tuple[str, int, int], ...] | None:
    from agent.host import acl

    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        data = acl.read_acl(descriptor)
    finally:
        os.close(descriptor)
    if data is None:
        return None
    granted = acl.granted(data)
    if granted is None:
        raise OSError(errno.EINVAL, "its access control list has an unknown format")
    return granted
