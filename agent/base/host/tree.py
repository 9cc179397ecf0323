"""Files and directories below one root, as they are read."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
from contextlib import suppress
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from agent.base.errors import HostError, InputError
from agent.base.host.directories import DirectoryEntry, DirectoryTree, host_error, is_denied
from agent.base.host.paths import (
    BrokenLink,
    Distrusted,
    MissingParent,
    NotADirectory,
    OpenedName,
    RootDirectory,
    opened_file,
    reason_of,
)
from agent.base.linux.file_systems import differs_by_process, file_kind
from agent.base.model import (
    GROUP_OR_OTHERS_WRITE,
    Absent,
    DefaultPermissions,
    Directory,
    File,
    FileMode,
    FilePermissions,
    Location,
    Times,
    UnexpectedKind,
    Unreadable,
)
from agent.base.repair import Instruction

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.base.host.acl import FileAccess
    from agent.base.linux.reach import FoundFile

    _State = TypeVar("_State")

LARGEST_READ = 8 * 1024 * 1024
"""Bytes; far larger than any file that this program manages or assesses."""

LARGEST_TEXT = 256 * 1024
"""Bytes of a unit, an environment file, or another file whose lines are parsed."""

# _IOR('f', 1, long): the request number contains the size of the kernel's long; the result is an int all the same.
_LONG = 8 if sys.maxsize > 1 << 32 else 4
_FS_IOC_GETFLAGS = 0x80006601 | _LONG << 16
_FS_IMMUTABLE_OR_APPEND = 0x10 | 0x20


READABLE = "name an existing regular file that this user can read"
_ELF = b"\x7fELF"
"""The first bytes of a program: elf(5)."""


class Tree(DirectoryTree):
    """All files below `root`. The owner `uid` and the group `gid` are shown as 0 (see Host)."""

    @cached_property
    def files_read(self) -> dict[PurePosixPath, bytes]:
        """The content of each file that `read` returned, as it was read first: the evidence of an assessment."""
        return {}

    def enter(self, path: PurePosixPath) -> RootDirectory | None:
        """Open the directory at `path` as the root of another tree; None if there is none.

        Nothing is written below it if another user can change its path. Raises HostError if it cannot be opened.
        """
        try:
            try:
                with self._resolved(path, "enter", writing=True) as node:
                    return RootDirectory(os.dup(node.directory), None)
            except Distrusted as distrusted:
                with self._resolved(path, "enter") as node:
                    return RootDirectory(os.dup(node.directory), distrusted)
        except (MissingParent, NotADirectory):
            return None
        except OSError as error:
            raise host_error(f"cannot open {path}", error) from error

    def observe(self, path: PurePosixPath) -> Directory | File | Absent | UnexpectedKind | Unreadable:
        """Return what exists at `path`. A symlink is not followed."""
        return self._observed(str(path), path, lambda node: self._state(path, node))

    def permissions(self, path: PurePosixPath) -> FilePermissions | Absent | UnexpectedKind | Unreadable:
        """Return the mode of the regular file at `path`. A symlink is not followed, and the content is not read."""
        resource_id = FilePermissions(path=path, mode=FileMode(0)).id

        def read_mode(node: OpenedName) -> FilePermissions | UnexpectedKind:
            found = _stat(node)
            if not stat.S_ISREG(found.st_mode):
                return UnexpectedKind(id=resource_id, kind=file_kind(found.st_mode))
            return FilePermissions(path=path, mode=FileMode(stat.S_IMODE(found.st_mode)))

        return self._observed(resource_id, path, read_mode)

    def default_permissions(self, path: PurePosixPath) -> DefaultPermissions | UnexpectedKind | Unreadable:
        """Return the default permissions in the directory at `path`: none if it does not exist. No symlink is followed.

        Unreadable if the file system does not support access control lists.
        """
        from agent.base.host import acl

        resource_id = DefaultPermissions(path=path, acl=b"").id

        def read_list(node: OpenedName) -> DefaultPermissions | UnexpectedKind | Unreadable:
            found = _stat(node)
            if not stat.S_ISDIR(found.st_mode):
                return UnexpectedKind(id=resource_id, kind=file_kind(found.st_mode))
            flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(node.name, flags, dir_fd=node.directory)
            try:
                data = acl.read_default_acl(descriptor)
            finally:
                os.close(descriptor)
            if data is None:
                return Unreadable(id=resource_id, reason="the file system does not support access control lists")
            return DefaultPermissions(path=path, acl=data)

        state = self._observed(resource_id, path, read_list)
        return DefaultPermissions(path=path, acl=b"") if isinstance(state, Absent) else state

    def _observed(
        self, resource_id: str, path: PurePosixPath, read_state: Callable[[OpenedName], _State]
    ) -> _State | Absent | UnexpectedKind | Unreadable:
        try:
            with self._resolved(path) as node:
                return read_state(node)
        except BrokenLink as link:
            return UnexpectedKind(
                id=resource_id, kind=f"path below a broken link: {link.problem}", link=link.link, target=link.target
            )
        except FileNotFoundError:
            return Absent(path)
        except NotADirectory as parent:
            return UnexpectedKind(id=resource_id, kind=f"path through {parent.strerror}")
        except OSError as error:
            return Unreadable(id=resource_id, reason=reason_of(error))

    def times(self, path: PurePosixPath) -> Times | None:
        """Return when the file at `path` last changed, or None if it cannot be read."""
        try:
            with self._resolved(path) as node:
                found = _stat(node)
                return Times(found.st_mtime, found.st_ctime)
        except OSError:
            return None

    def stat(self, path: PurePosixPath) -> DirectoryEntry | Absent | Unreadable:
        """Return kind, mode and owner of what is at `path`. Symlinks are followed inside the root."""
        try:
            with self._resolved(path, "follow") as node:
                found = _stat(node)
                return self._entry(path.name, found)
        except FileNotFoundError:
            return Absent(path)
        except OSError as error:
            return Unreadable(id=str(path), reason=reason_of(error), access_denied=is_denied(error))

    def access(self, path: PurePosixPath, known: dict[str, FoundFile] | None = None) -> FileAccess | Unreadable:
        """Return who has access to what is at `path`, and to the directories on the way. Symlinks are followed.

        If nothing is there, the result has no `file`; without its directory it also has no `parent`. `known` keeps the
        directories of earlier calls, by resolved path.
        """
        from agent.base.host.acl import FileAccess, permitted

        passed: list[FoundFile] = []
        seen = {} if known is None else known

        def note(directory: OpenedName) -> None:
            if directory.name not in seen:
                seen[directory.name] = permitted(directory.directory, ".", directory.name, self._shown_owner)
            passed.append(seen[directory.name])

        try:
            with self._resolved(path, "follow", entered=note) as node:
                try:
                    file = permitted(node.directory, node.name, str(path), self._shown_owner)
                except FileNotFoundError:
                    file = None
                return FileAccess(file, tuple(passed), node.parent, node.name)
        except FileNotFoundError:
            return FileAccess(None, tuple(passed), "")
        except OSError as error:
            return Unreadable(id=str(path), reason=reason_of(error))

    def may_be_changed(self, path: PurePosixPath) -> bool:
        """Return whether another user could change or create what is at `path`, by its owner and mode.

        It is True if any directory of the path has such an owner or mode, even if a stricter one protects the file.
        Tree.access has the details.
        """
        found: list[os.stat_result] = []
        try:
            with self._resolved(path, "follow", entered=lambda node: found.append(os.fstat(node.directory))) as node:
                found.append(_stat(node))
        except OSError:
            pass  # the directories before the error decide
        return any(
            found_stat.st_mode & GROUP_OR_OTHERS_WRITE or found_stat.st_uid not in (0, self.uid) for found_stat in found
        )

    def exists(self, path: PurePosixPath) -> bool:
        """Return whether a file of any kind exists at `path`; False if that cannot be determined."""
        try:
            with self._resolved(path) as node:
                return bool(_stat(node))
        except OSError:
            return False

    def read(self, path: PurePosixPath, largest: int = LARGEST_READ) -> bytes | None:
        """Return the content of a file, or None if it does not exist. Symlinks are followed inside the root.

        Raises HostError if it cannot be read, is not a regular file, or has more than `largest` bytes. A larger file is
        not read.
        """
        try:
            with self._resolved(path, "follow") as node, opened_file(node) as descriptor:
                content = read_descriptor(descriptor, largest)
                self.files_read.setdefault(path, content)
                return content
        except FileNotFoundError:
            return None
        except OSError as error:
            raise host_error(f"cannot read {path}", error) from error

    def end(self, path: PurePosixPath, most: int) -> tuple[bytes, int]:
        """Return at most this many last bytes of a file, and its size. Raises HostError as `read` does."""
        try:
            with self._resolved(path, "follow") as node, opened_file(node) as descriptor:
                size = os.fstat(descriptor).st_size
                return os.pread(descriptor, most, max(size - most, 0)), size
        except OSError as error:
            raise host_error(f"cannot read {path}", error) from error

    def program_identity(self, path: PurePosixPath) -> str:
        """Return a text that changes when the program at `path` is replaced or written; empty for other files.

        It is empty for a script, because the program that the script starts can change without it.
        """
        try:
            with self._resolved(path, "follow") as node:
                found = _stat(node)
        except OSError:
            return ""
        numbers = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        return ":".join(map(str, numbers)) if self.is_elf(path) else ""

    def is_elf(self, path: PurePosixPath) -> bool | None:
        """Return whether the file at `path` is a program in the format ELF; None if it cannot be read."""
        try:
            with self._resolved(path, "follow") as node:
                if not stat.S_ISREG(_stat(node).st_mode):
                    return False
                with opened_file(node) as descriptor:
                    return os.read(descriptor, len(_ELF)) == _ELF
        except OSError:
            return None

    def read_text(self, path: PurePosixPath) -> str:
        """Return the content of a file as text, empty if it does not exist. Raises HostError like `read`.

        The limit is LARGEST_TEXT.
        """
        return (self.read(path, LARGEST_TEXT) or b"").decode(errors="replace")

    def text_if_readable(self, path: PurePosixPath) -> str:
        """Return the content of a file as text, empty if it does not exist or cannot be read."""
        try:
            return self.read_text(path)
        except HostError:
            return ""

    def read_input(self, path: PurePosixPath, hint: str = "") -> bytes:
        """Return the content of a file that a user named. Raises InputError if it is missing or not readable."""
        try:
            data = self.read(path)
        except HostError as error:
            problem = error.message.removeprefix(f"cannot read {path}: ")
            raise InputError(Location(path), problem, Instruction(hint or READABLE)) from error
        if data is None:
            raise InputError(Location(path), "the file does not exist", Instruction(hint or READABLE))
        return data

    def link_target(self, path: PurePosixPath) -> str | None:
        """Return the target of the symlink at `path` as it is written, or None if there is no symlink."""
        try:
            with self._resolved(path) as node:
                return os.readlink(node.name, dir_fd=node.directory)
        except OSError:
            return None

    def broken_link(self, path: PurePosixPath) -> PurePosixPath | None:
        """Return the first dangling symlink among `path` and its parents, or None."""
        for step in (*reversed(path.parents), path):
            if self.link_target(step) is not None and isinstance(self.stat(step), Absent):
                return step
        return None

    def real_path(self, path: PurePosixPath) -> PurePosixPath:
        """Return an absolute path without its symlinks, as far as it exists. They are resolved inside the root.

        A path through /proc or /dev ends there: the symlinks in it have another target for each process.
        """
        passed: list[OpenedName] = []
        for existing in (path, *path.parents):
            with suppress(OSError), self._resolved(existing, "follow", entered=passed.append) as node:
                real = PurePosixPath(node.parent or node.name, node.name, path.relative_to(existing))
                ends = (PurePosixPath(directory.name, path.name) for directory in passed)
                return next(filter(differs_by_process, ends), real)
        return path

    def inode(self, path: PurePosixPath) -> tuple[int, int] | None:
        """Return the identity of what is at a path; None if that is nothing. Symlinks are followed inside the root."""
        try:
            with self._resolved(path, "follow") as node:
                found = _stat(node)
                return found.st_dev, found.st_ino
        except OSError:
            return None

    def is_read_only(self, path: PurePosixPath) -> bool:
        """Return whether the file system of a directory is read-only; False if there is no such directory."""
        try:
            with self._resolved(path, "enter") as node:
                return bool(os.fstatvfs(node.directory).f_flag & os.ST_RDONLY)
        except OSError:
            return False

    def trust_problem(self, path: PurePosixPath) -> str:
        """Return why a user other than root could change the file at `path`; empty if none can."""
        distrusted = self.distrusted(path)
        return distrusted.problem if distrusted else ""

    def distrusted(self, path: PurePosixPath) -> Distrusted | None:
        """Return why a user other than root could change the file at `path`, with the fix; None if none can."""
        try:
            with self._resolved(path, "follow", writing=True) as node:
                descriptor = os.open(node.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=node.directory)
                try:
                    problem = self._write_access(descriptor, sticky_is_safe=False)
                finally:
                    os.close(descriptor)
        except Distrusted as distrusted:
            return distrusted
        except OSError as error:
            return Distrusted(reason_of(error))
        return Distrusted(problem, *self._restriction(str(path))) if problem else None

    def require_trust(self, path: PurePosixPath, reason: str) -> None:
        """Raise InputError if a user other than root could change the file at `path`."""
        distrusted = self.distrusted(path)
        if distrusted is not None:
            raise InputError(Location(path), f"{reason}, and {distrusted.problem}", *distrusted.steps)

    def _state(self, path: PurePosixPath, node: OpenedName) -> Directory | File | UnexpectedKind:
        found = _stat(node)
        if stat.S_ISDIR(found.st_mode):
            return Directory(path=path, mode=FileMode(stat.S_IMODE(found.st_mode)), owner=self._shown_owner(found))
        if not stat.S_ISREG(found.st_mode):
            return UnexpectedKind(id=str(path), kind=file_kind(found.st_mode))
        with opened_file(node) as descriptor:
            # Content, mode and owner are read from one file, even if it is replaced in the meantime.
            found = os.fstat(descriptor)
            return File(
                path=path,
                content=read_descriptor(descriptor),
                mode=FileMode(stat.S_IMODE(found.st_mode)),
                owner=self._shown_owner(found),
                immutable=is_immutable(descriptor),
            )


def _stat(node: OpenedName) -> os.stat_result:
    return os.stat(node.name, dir_fd=node.directory, follow_symlinks=False)


def read_descriptor(descriptor: int, largest: int = LARGEST_READ) -> bytes:
    """Return what can be read from an open file. Raises OSError for more than `largest` bytes."""
    size = os.fstat(descriptor).st_size
    if size > largest:
        raise OSError(errno.EFBIG, f"it has {size} bytes; k3s-harden reads at most {largest}")
    chunks = []
    left = largest + 1  # a file can grow, and those of /proc have no size
    while left and (chunk := os.read(descriptor, min(left, 1 << 20))):
        chunks.append(chunk)
        left -= len(chunk)
    if not left:
        raise OSError(errno.EFBIG, f"it has more than {largest} bytes, which k3s-harden reads at most")
    return b"".join(chunks)


def is_immutable(descriptor: int) -> bool:
    """Return whether chattr(1) +i or +a is set, which keeps even root from replacing the file."""
    try:
        flags = fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, bytes(_LONG))
    except OSError:  # tmpfs, overlay and other file systems have no such flags
        return False
    return bool(int.from_bytes(flags[:4], sys.byteorder) & _FS_IMMUTABLE_OR_APPEND)
