"""The kernel: kinds of files, mounts, default access control lists, modules, connections, rules of its filter. Pure."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from agent.base.model import StrEnum
from agent.base.value import Value


class KernelModule(Value):
    """A kernel module, and the option of the kernel's configuration that builds it."""

    name: str
    option: str


class Missing(StrEnum):
    """Why a module cannot be used."""

    NOT_BUILT = "the kernel was built without it"
    NOT_INSTALLED = "the files of its modules do not contain it"
    OTHER_KERNEL = "the modules of the running kernel are not installed; another kernel was installed since the boot"
    DISABLED = "modprobe.d disables it"
    LOCKED = "kernel.modules_disabled forbids to load modules until the next boot"


def in_kernel_configuration(text: str, option: str) -> str:
    """Return the value of an option in the kernel's configuration: `y`, `m`, or `n` if it is not set."""
    return next((value for value in "ym" if f"\n{option}={value}\n" in text), "n")


def lists_module(listing: str, name: str) -> bool:
    """Return whether modules.builtin or modules.dep lists a module; file names can have `-` for `_`."""
    pattern = rf"(?:^|/){name.replace('_', '[-_]')}\.ko(?:\.\w+)?(?::|$)"
    return re.search(pattern, listing, re.MULTILINE) is not None


def disabled(lines: Iterable[str], name: str) -> bool:
    """Return whether a line of modprobe.d(5) replaces loading by a program that does nothing.

    `blacklist` is not such a line: it only hides aliases.
    """
    for line in lines:
        command, module, program, *_ = (*line.split(), "", "", "")
        if command == "install" and module.replace("-", "_") == name:
            return program.rpartition("/")[2] in {"false", "true", "nologin"}
    return False


class TrackedConnection(NamedTuple):
    """A connection. The addresses are those before and after NAT: who opened it, and what answers."""

    protocol: str
    client: str
    target: str
    port: int
    """The port of the target."""


class FilterRule(NamedTuple):
    """A rule of the packet filter's table `filter`."""

    chain: str
    target: str
    source: str
    """Without the length of the prefix; empty if the rule is about all."""
    destination: str
    comment: str
    conditions: str
    """Those that are not about an address."""

    @property
    def is_for_all(self) -> bool:
        """Whether it has no condition."""
        return not (self.source or self.destination or self.conditions)


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
