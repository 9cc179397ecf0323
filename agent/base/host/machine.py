"""What K3s needs of the live machine besides the content of files: space, devices and SELinux labels.

Each function takes the root directory of the host, and returns None if the answer could not be determined.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import PurePosixPath

from agent.base.host.paths import open_regular
from agent.base.value import Value

_XFS_GEOMETRY = 0x80705864
"""XFS_IOC_FSGEOMETRY_V1 of linux/fs/xfs/libxfs/xfs_fs.h, which fills 112 bytes."""
_XFS_GEOMETRY_SIZE = 112
_XFS_FLAGS = slice(92, 96)
_XFS_HAS_FTYPE = 1 << 16


class Space(Value):
    """Free space of a file system. Some, such as Btrfs, have no fixed number of inodes: it is 0."""

    size: int
    """In bytes."""
    free: int
    """For root, in bytes."""
    available: int
    """For other users, in bytes; the kubelet compares it with its eviction thresholds."""
    inodes: int
    free_inodes: int


def real_path(root: str, path: PurePosixPath) -> PurePosixPath:
    """Return a path with its symlinks resolved; the path itself if they lead out of the root directory."""
    top = os.path.realpath(root)
    found = os.path.realpath(_on_machine(root, path))
    if top == "/":
        return PurePosixPath(found)
    return PurePosixPath("/") / found.removeprefix(top).lstrip("/") if found.startswith(f"{top}/") else path


def space(root: str, path: PurePosixPath) -> Space | None:
    """Return the space of the file system that contains an existing path."""
    with suppress(OSError):
        found = os.statvfs(_on_machine(root, path))
        unit = found.f_frsize
        return Space(found.f_blocks * unit, found.f_bfree * unit, found.f_bavail * unit, found.f_files, found.f_ffree)
    return None


def opening_problem(root: str, device: PurePosixPath) -> str:
    """Return why a device cannot be opened for reading, empty if it can be. Nothing is read."""
    try:
        os.close(os.open(_on_machine(root, device), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def has_file_types(root: str, directory: PurePosixPath) -> bool | None:
    """Return whether XFS stores the type of a file in its directory (mkfs.xfs -n ftype=1), which overlayfs requires."""
    import fcntl

    with suppress(OSError):
        descriptor = os.open(_on_machine(root, directory), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            geometry = fcntl.ioctl(descriptor, _XFS_GEOMETRY, bytes(_XFS_GEOMETRY_SIZE))
        finally:
            os.close(descriptor)
        return bool(int.from_bytes(geometry[_XFS_FLAGS], "little") & _XFS_HAS_FTYPE)
    return None


def first_bytes(root: str, path: PurePosixPath, number: int) -> bytes | None:
    """Return the first bytes of a regular file."""
    with suppress(OSError), open(open_regular(_on_machine(root, real_path(root, path))), "rb") as file:
        return file.read(number)
    return None


def selinux_type(root: str, path: PurePosixPath) -> str:
    """Return the type in the SELinux label of a file, such as `bin_t`; empty without a label."""
    with suppress(OSError):
        label = os.getxattr(_on_machine(root, path), "security.selinux").decode(errors="replace").rstrip("\0")
        return next(iter(label.split(":")[2:]), "")
    return ""


def architecture() -> str:
    """Return the architecture of the running kernel, such as `x86_64`."""
    return os.uname().machine


def _on_machine(root: str, path: PurePosixPath) -> str:
    return f"{root.rstrip('/')}{path}"
