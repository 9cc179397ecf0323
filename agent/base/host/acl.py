"""Who has access to a file, and to the directories that lead to it: modes, and POSIX access control lists."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable
from pathlib import PurePosixPath

from agent.base.linux.file_systems import file_kind
from agent.base.linux.reach import FoundFile
from agent.base.model import FileMode, Owner
from agent.base.value import Value

_ATTRIBUTE = "system.posix_acl_access"
_DEFAULT_ATTRIBUTE = "system.posix_acl_default"
_VERSION = 2
_HEADER = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
_USER_OBJECT, _USER, _GROUP_OBJECT, _GROUP, _MASK, _OTHER = _TAGS = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_KINDS = {_USER: "user", _GROUP: "group", _GROUP_OBJECT: "owning group", _OTHER: "others"}
_ALL = 0o7
_UNKNOWN = "its access control list has an unknown format"


class FileAccess(Value):
    """Who has access to a file, and to the directories that lead to it."""

    file: FoundFile | None
    """With symlinks followed; None if there is no such file."""
    passed: tuple[FoundFile, ...]
    """All directories of the path, the root first."""
    parent: str
    """The resolved path of the file's directory; empty if it does not exist.

    `passed` can also have directories above a symlink, which are not parents of this path.
    """
    name: str = ""
    """The name of the file in it."""


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


def permitted(directory: int, name: str, path: str, owner: Callable[[os.stat_result], Owner]) -> FoundFile:
    """Return who has access to a name in an open directory, or to the directory itself. Raises OSError."""
    found = os.stat(name, dir_fd=directory, follow_symlinks=False) if name else os.fstat(directory)
    mode = FileMode(stat.S_IMODE(found.st_mode))
    # With a list, the bits of the group are its mask. If it has none, the kernel ignores the list (fs/namei.c).
    listed = _listed(directory, name) if mode & stat.S_IRWXG else None
    kind = file_kind(found.st_mode)
    links = found.st_nlink if stat.S_ISREG(found.st_mode) else 1
    return FoundFile(PurePosixPath(path), mode, owner(found), listed, kind=kind, links=links)


def _listed(directory: int, name: str) -> tuple[tuple[str, int, int], ...] | None:
    if not name:
        data = read_acl(directory)
    else:
        descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            data = read_acl(descriptor)
        finally:
            os.close(descriptor)
    parties = granted(data) if data is not None else ()
    if parties is None:
        raise OSError(errno.EINVAL, _UNKNOWN)
    return parties or None
