"""Who has access to a file, and to the directories that lead to it: modes, and POSIX access control lists."""

from __future__ import annotations

import errno
import os
import stat
import struct
from typing import TYPE_CHECKING

from agent.base.linux.file_systems import file_kind
from agent.base.model import FileMode
from agent.base.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from agent.base.model import Owner

_ATTRIBUTE = "system.posix_acl_access"
_DEFAULT_ATTRIBUTE = "system.posix_acl_default"
_VERSION = 2
_HEADER = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
_USER_OBJECT, _USER, _GROUP_OBJECT, _GROUP, _MASK, _OTHER = _TAGS = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_KINDS = {_USER: "user", _GROUP: "group", _GROUP_OBJECT: "owning group", _OTHER: "others"}
_WRITE = 0o2
_ALL = 0o7
_UNKNOWN = "its access control list has an unknown format"


class PathAccess(Value):
    """Who has access to a file or directory."""

    path: str
    """For a directory the resolved path."""
    kind: str
    mode: FileMode
    owner: Owner
    acl: tuple[tuple[str, int, int], ...] | None
    """The permissions of each party, as `granted` returns them; None if the file has only a mode."""


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


def read_acl(descriptor: int) -> bytes | None:
    """Return the access control list of an open file, which can be O_PATH; None if it has only a mode.

    Raises OSError if it cannot be read.
    """
    return _attribute(descriptor, _ATTRIBUTE, None)


def read_default_acl(descriptor: int) -> bytes | None:
    """Return the default list of an open directory, which can be O_PATH: empty if it has none.

    None if the file system does not support lists. Raises OSError if it cannot be read.
    """
    return _attribute(descriptor, _DEFAULT_ATTRIBUTE, b"")


def _attribute(descriptor: int, name: str, missing: bytes | None) -> bytes | None:
    try:
        # fgetxattr(2) rejects a descriptor that is O_PATH.
        return os.getxattr(f"/proc/self/fd/{descriptor}", name)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return missing if error.errno == errno.ENODATA else None
        raise


def set_default_acl(descriptor: int, data: bytes) -> None:
    """Set the default list of a directory that is open for reading; an empty one removes it. Raises OSError."""
    if data:
        os.setxattr(descriptor, _DEFAULT_ATTRIBUTE, data)
        return
    try:
        os.removexattr(descriptor, _DEFAULT_ATTRIBUTE)
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
            raise


def write_problem(data: bytes, *, owning_group: int, users: Collection[int], groups: Collection[int]) -> str:
    """Return who can write by this list, except the owner, `users` and `groups`; empty if no other party can."""
    parties = granted(data)
    if parties is None:
        return _UNKNOWN
    for kind, number, permissions in parties:
        if not permissions & _WRITE:
            continue
        if kind == _KINDS[_OTHER]:
            return "others can write to it"
        if kind == _KINDS[_USER]:
            if number not in users:
                return f"user {number} can write to it by its access control list"
            continue
        group = owning_group if kind == _KINDS[_GROUP_OBJECT] else number
        if group not in groups:
            return f"group {group} can write to it by its access control list"
    return ""


def granted(data: bytes) -> tuple[tuple[str, int, int], ...] | None:
    """Return who has which permissions (rwx) by this list, except the owner; None if its format is unknown.

    Each entry is a kind ("user", "group", "owning group" or "others"), the user or group, and the permissions. The
    format is that of the kernel (Linux, include/uapi/linux/posix_acl_xattr.h): tag, permissions and number.
    """
    size = len(data) - _HEADER.size
    if size < 0 or size % _ENTRY.size or _HEADER.unpack_from(data) != (_VERSION,):
        return None
    entries = tuple(_ENTRY.iter_unpack(data[_HEADER.size :]))
    if any(tag not in _TAGS or permissions > _ALL for tag, permissions, _ in entries):
        return None
    mask = next((permissions for tag, permissions, _ in entries if tag == _MASK), _ALL)
    return tuple(
        (_KINDS[tag], number, permissions if tag == _OTHER else permissions & mask)
        for tag, permissions, number in entries
        if tag in _KINDS
    )


def permitted(directory: int, name: str, path: str, owner: Callable[[os.stat_result], Owner]) -> PathAccess:
    """Return who has access to a name in an open directory. Raises OSError."""
    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    mode = FileMode(stat.S_IMODE(found.st_mode))
    # With a list, the bits of the group are its mask. If others have the same bits, the list permits nothing more.
    listed = _listed(directory, name) if mode >> 3 & ~mode & stat.S_IRWXO else None
    return PathAccess(path, file_kind(found.st_mode), mode, owner(found), listed)


def _listed(directory: int, name: str) -> tuple[tuple[str, int, int], ...] | None:
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        data = read_acl(descriptor)
    finally:
        os.close(descriptor)
    if data is None:
        return None
    parties = granted(data)
    if parties is None:
        raise OSError(errno.EINVAL, _UNKNOWN)
    return parties
