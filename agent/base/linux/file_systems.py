"""File systems: kinds of files, default access control lists, and mounts of mountinfo (proc(5)) or fstab(5). Pure."""

from __future__ import annotations

import re
import stat
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.value import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

_OCTAL = r"\\([0-7]{3})"
"""A character that the kernel and fstab(5) write as its number, such as a blank."""
_LEAST_FSTAB_FIELDS = 4
_OF_ONE_PROCESS = tuple(map(PurePosixPath, ("/proc", "/dev", "/run/credentials")))

REGULAR_FILE = "regular file"
DIRECTORY = "directory"
SYMLINK = "symlink"
CHARACTER_DEVICE = "character device"
FIFO = "FIFO"
SOCKET = "socket"
_KINDS = {
    stat.S_IFLNK: SYMLINK,
    stat.S_IFIFO: FIFO,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFCHR: CHARACTER_DEVICE,
    stat.S_IFBLK: "block device",
    stat.S_IFSOCK: SOCKET,
    stat.S_IFREG: REGULAR_FILE,
}


def file_kind(mode: int) -> str:
    """Return the kind of a file, such as "symlink", by its mode of stat(2)."""
    return _KINDS.get(stat.S_IFMT(mode), "file of unknown kind")


class Mount(Value):
    """A mounted file system, or one that is mounted at boot."""

    point: str
    """The path of its mount point."""
    kind: str
    """Such as `ext4`, `overlay` or `nfs4`."""
    options: frozenset[str]
    """Of the mount and of its file system, such as `ro` and `noexec`."""
    device: str = ""
    """The number of its file system, such as `8:1`; empty for one of fstab."""
    root: str = "/"
    """The directory of the file system that is mounted: `/srv` if it is mounted elsewhere, too."""


def mounted(text: str) -> tuple[Mount, ...]:
    """Return the mounts of /proc/self/mountinfo, in the order in which they were mounted."""
    lines = (line.partition(" - ") for line in text.splitlines())
    return tuple(_of_mountinfo(of_mount, of_file_system) for of_mount, dash, of_file_system in lines if dash)


def _of_mountinfo(of_mount: str, of_file_system: str) -> Mount:
    *_, device, root, point, own_options = of_mount.split(" ")[:6]
    kind, *_, options = of_file_system.split(" ")
    every_option = frozenset((*own_options.split(","), *options.split(",")))
    return Mount(_path(point), kind, every_option, device, _path(root))


def from_fstab(text: str) -> tuple[Mount, ...]:
    """Return the mounts of /etc/fstab without those that are not mounted at boot."""
    rows = (line.split() for line in text.splitlines() if not line.lstrip().startswith("#"))
    return tuple(
        Mount(_path(fields[1]), fields[2], frozenset(fields[3].split(",")))
        for fields in rows
        if len(fields) >= _LEAST_FSTAB_FIELDS and fields[1].startswith("/") and "noauto" not in fields[3].split(",")
    )


def differs_by_process(real: PurePosixPath) -> bool:
    """Return whether each process can see another file at a path without symlinks, as at /proc/self and /dev/stdin."""
    return any(real.is_relative_to(top) for top in _OF_ONE_PROCESS)


def mount_of(mounts: Sequence[Mount], path: PurePosixPath) -> Mount | None:
    """Return the mount that contains a path: the deepest one, and of several at one point the last."""
    above = {str(parent): depth for depth, parent in enumerate((path, *path.parents))}
    candidates = (mount for mount in reversed(mounts) if mount.point in above)
    return min(candidates, key=lambda mount: above[mount.point], default=None)


def _path(field: str) -> str:
    return re.sub(_OCTAL, lambda code: chr(int(code[1], 8)), field) if "\\" in field else field


OWNER_ONLY = bytes.fromhex("02000000 01000700ffffffff 04000000ffffffff 20000000ffffffff")
"""user::rwx, group::---, other::---. A new file gets at most 0600, or 0700 if its program requests execution.

A new directory gets 0700, and the same list. Source: Linux, include/uapi/linux/posix_acl_xattr.h, and acl(5).
"""


def describe_default_acl(acl: bytes) -> str:
    """Describe a list in a few words."""
    if not acl:
        return "none"
    return "for the owner only" if acl == OWNER_ONLY else "another access control list"
