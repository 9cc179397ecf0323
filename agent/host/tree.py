"""Files and directories below one root, resolved by directory descriptors so that no symlink can redirect a write.

- The last component of a path is not followed. A symlink among the parents is followed only if root owns it, and is
  resolved inside the root. So neither a planted symlink nor an absolute symlink in an image leads outside.
- Nothing is written below a directory that another user can write to.
- A file is replaced atomically: temporary name, owner, mode, fsync, rename, fsync of the directory. After a crash
  either the old or the new file exists. The temporary name is unique. It starts with a dot and ends in `.k3s-harden`,
  which sysctl.d(5), K3s' config.yaml.d and K3s' manifests directory ignore. The next write of the file removes it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from agent.errors import AccessDeniedError, HostError, InputError, ReadOnlyEnvironmentError
from agent.host import acl, temporary
from agent.model import (
    PRIVATE_DIRECTORY,
    PRIVATE_FILE,
    ROOT,
    Absent,
    Directory,
    File,
    FileMode,
    FilePermissions,
    Location,
    Obstacle,
    Owner,
    Times,
    Unreadable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath

LARGEST_READ = 8 * 1024 * 1024
"""Bytes; far larger than any file that this program manages or assesses."""

MOST_FILES = 500
"""Files of one directory that are read, such as drop-ins. K3s and systemd read all of them."""

LARGEST_TEXT = 256 * 1024
"""Bytes of a unit, an environment file, or another file whose lines are parsed."""

_LONGEST_CHAIN = 40
"""Number of symlinks in one path that the kernel allows."""

_DIRECTORY_ONLY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_GROUP_OR_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH

# _IOR('f', 1, long): the request number contains the size of the kernel's long; the result is an int all the same.
_LONG = 8 if sys.maxsize > 1 << 32 else 4
_FS_IOC_GETFLAGS = 0x80006601 | _LONG << 16
_FS_IMMUTABLE_OR_APPEND = 0x10 | 0x20

_Last = Literal["keep", "follow", "enter"]

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


class _Missing(Exception):  # noqa: N818 - control flow inside this module
    """A parent directory does not exist."""


class _NotADirectory(Exception):  # noqa: N818 - control flow inside this module
    """A parent is not a directory; the text names it and its kind."""


class _Distrusted(Exception):  # noqa: N818 - control flow inside this module
    """A user other than root could redirect the write."""

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint


class _NoParentError(HostError):
    """The parent directory of a path does not exist."""


@dataclass(frozen=True)
class DirectoryEntry:
    """Name, kind, mode and owner of an existing file of any kind, as stat(2) returns them."""

    name: str
    kind: str
    """Such as "regular file", "directory", "symlink" or "FIFO"."""
    mode: FileMode
    owner: Owner


class _Node(NamedTuple):
    """An open directory and a name in it. For a directory of the path itself, the name is its resolved path."""

    directory: int
    name: str


class RootDirectory:
    """The root directory of a tree, which stays open, so that it cannot be exchanged for another one."""

    __slots__ = ("descriptor", "distrusted")

    def __init__(self, descriptor: int, distrusted: _Distrusted | None) -> None:
        self.descriptor = descriptor
        self.distrusted = distrusted
        """Why nothing is written below it: another user can change its path."""

    def __del__(self) -> None:
        os.close(self.descriptor)


@dataclass(frozen=True)
class Tree:
    """All files below `root`. The owner `uid` and the group `gid` are shown as 0 (see Host)."""

    root: str
    uid: int
    gid: int
    opened: RootDirectory | None = None
    """None: `root` is opened for each operation."""

    def enter(self, path: PurePosixPath) -> RootDirectory | None:
        """Open the directory at `path` as the root of another tree; None if there is none.

        Nothing is written below it if another user can change its path. Raises HostError if it cannot be opened.
        """
        try:
            try:
                with self._resolved(path, "enter", writing=True) as node:
                    return RootDirectory(os.dup(node.directory), None)
            except _Distrusted as distrusted:
                with self._resolved(path, "enter") as node:
                    return RootDirectory(os.dup(node.directory), distrusted)
        except (_Missing, _NotADirectory):
            return None
        except OSError as error:
            raise _error(f"cannot open {path}", error) from error

    def observe(self, path: PurePosixPath) -> Directory | File | Absent | Obstacle | Unreadable:
        """Return what exists at `path`. A symlink is not followed."""
        try:
            with self._resolved(path) as node:
                return self._observe(path, node)
        except (_Missing, FileNotFoundError):
            return Absent(path)
        except _NotADirectory as parent:
            return Obstacle(id=str(path), kind=f"path through {parent}")
        except OSError as error:
            return Unreadable(id=str(path), reason=_reason(error))

    def permissions(self, path: PurePosixPath) -> FilePermissions | Absent | Obstacle | Unreadable:
        """Return the mode of the regular file at `path`. A symlink is not followed, and the content is not read."""
        resource_id = FilePermissions(path=path, mode=FileMode(0)).id
        try:
            with self._resolved(path) as node:
                found = os.stat(node.name, dir_fd=node.directory, follow_symlinks=False)
        except (_Missing, FileNotFoundError):
            return Absent(path)
        except _NotADirectory as parent:
            return Obstacle(id=resource_id, kind=f"path through {parent}")
        except OSError as error:
            return Unreadable(id=resource_id, reason=_reason(error))
        if not stat.S_ISREG(found.st_mode):
            return Obstacle(id=resource_id, kind=_kind(found.st_mode))
        return FilePermissions(path=path, mode=FileMode(stat.S_IMODE(found.st_mode)))

    def times(self, path: PurePosixPath, *, follows_link: bool = False) -> Times | None:
        """Return when the file at `path` last changed, or None if it cannot be read."""
        try:
            with self._resolved(path, "follow" if follows_link else "keep") as node:
                found = os.stat(node.name, dir_fd=node.directory, follow_symlinks=False)
        except (OSError, _Missing, _NotADirectory):
            return None
        return Times(found.st_mtime, found.st_ctime)

    def stat(self, path: PurePosixPath) -> DirectoryEntry | Absent | Unreadable:
        """Return kind, mode and owner of what is at `path`. Symlinks are followed inside the root."""
        try:
            with self._resolved(path, "follow") as node:
                found = os.stat(node.name, dir_fd=node.directory, follow_symlinks=False)
                return self._entry(path.name, found)
        except (_Missing, FileNotFoundError):
            return Absent(path)
        except (OSError, _NotADirectory) as error:
            return Unreadable(id=str(path), reason=_reason(error))

    def entries(self, path: PurePosixPath) -> tuple[DirectoryEntry | Unreadable, ...]:
        """Return the entries of a directory, sorted by name; empty if it does not exist. Symlinks are not followed.

        Raises HostError if it cannot be listed or is not a directory.
        """
        try:
            with self._resolved(path, "enter") as node:
                return tuple(self._listed(path, node))
        except _Missing:
            return ()
        except (OSError, _NotADirectory) as error:
            raise _error(f"cannot list {path}", error) from error

    def exists(self, path: PurePosixPath) -> bool:
        """Return whether a file of any kind exists at `path`; False if that cannot be determined."""
        try:
            with self._resolved(path) as node:
                os.stat(node.name, dir_fd=node.directory, follow_symlinks=False)
        except (OSError, _Missing, _NotADirectory):
            return False
        return True

    def read(self, path: PurePosixPath, largest: int = LARGEST_READ) -> bytes | None:
        """Return the content of a file, or None if it does not exist. Symlinks are followed inside the root.

        Raises HostError if it cannot be read, is not a regular file, or has more than `largest` bytes. A larger file is
        not read.
        """
        try:
            with self._resolved(path, "follow") as node:
                found = os.stat(node.name, dir_fd=node.directory, follow_symlinks=False)
                if not stat.S_ISREG(found.st_mode):
                    raise HostError(f"cannot read {path}: it is a {_kind(found.st_mode)}, not a regular file")
                with _opened(node) as descriptor:
                    return _content(descriptor, largest)
        except (_Missing, FileNotFoundError):
            return None
        except (OSError, _NotADirectory) as error:
            raise _error(f"cannot read {path}", error) from error

    def read_text(self, path: PurePosixPath) -> str:
        """Return the content of a file as text, empty if it does not exist. Raises HostError like `read`.

        The limit is that of a file which is parsed: LARGEST_TEXT.
        """
        return (self.read(path, LARGEST_TEXT) or b"").decode(errors="replace")

    def read_input(self, path: PurePosixPath, hint: str = "") -> bytes:
        """Return the content of a file that a user named. Raises InputError if it is missing or not readable."""
        try:
            data = self.read(path)
        except HostError as error:
            raise InputError(Location(path), error.message) from error
        if data is None:
            raise InputError(Location(path), "the file does not exist", hint)
        return data

    def link_target(self, path: PurePosixPath) -> str | None:
        """Return the target of the symlink at `path` as it is written, or None if there is no symlink."""
        try:
            with self._resolved(path) as node:
                return os.readlink(node.name, dir_fd=node.directory)
        except (OSError, _Missing, _NotADirectory):
            return None

    def names(self, path: PurePosixPath) -> tuple[str, ...]:
        """Return the sorted names in a directory; empty if there is none. Raises HostError if it cannot be listed."""
        try:
            with self._resolved(path, "enter") as node:
                descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=node.directory)
                try:
                    return tuple(sorted(os.listdir(descriptor)))
                finally:
                    os.close(descriptor)
        except (_Missing, _NotADirectory):
            return ()
        except OSError as error:
            raise _error(f"cannot list {path}", error) from error

    def is_read_only(self, path: PurePosixPath) -> bool:
        """Return whether the file system of a directory is read-only; False if there is no such directory."""
        try:
            with self._resolved(path, "enter") as node:
                return bool(os.fstatvfs(node.directory).f_flag & os.ST_RDONLY)
        except (OSError, _Missing, _NotADirectory):
            return False

    def trust_problem(self, path: PurePosixPath) -> str:
        """Return why a user other than root could change the file at `path`; empty if none can."""
        try:
            with self._resolved(path, "follow", writing=True) as node:
                descriptor = os.open(node.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=node.directory)
                try:
                    return self._write_access(descriptor, sticky_is_safe=False)
                finally:
                    os.close(descriptor)
        except _Distrusted as distrusted:
            return distrusted.problem
        except (OSError, _Missing, _NotADirectory) as error:
            return _reason(error)

    def write(self, file: File) -> None:
        """Replace a file atomically. Raises HostError; the old file is then unchanged and no temporary file is left.

        Only a regular file is replaced, since a rename would also replace a symlink or a device.
        """
        with self._changing("write", file.path) as node:
            with suppress(FileNotFoundError):
                found = os.stat(node.name, dir_fd=node.directory, follow_symlinks=False)
                if not stat.S_ISREG(found.st_mode):
                    raise HostError(f"cannot write {file.path}: it is a {_kind(found.st_mode)}")
            with suppress(OSError):  # such as a directory that cannot be listed
                temporary.remove_left_overs(node.directory, node.name)
            descriptor, prepared = temporary.create(node.directory, node.name, PRIVATE_FILE)
            try:
                _write_all(descriptor, file.content)
                self._own(descriptor, file.owner)
                os.fchmod(descriptor, file.mode)
                os.fsync(descriptor)
                os.rename(prepared, node.name, src_dir_fd=node.directory, dst_dir_fd=node.directory)
            except BaseException:
                with suppress(OSError):
                    os.unlink(prepared, dir_fd=node.directory)
                raise
            finally:
                os.close(descriptor)
            _sync_directory(node.directory)

    def overwrite(self, path: PurePosixPath, content: bytes) -> None:
        """Write into an existing file, as /proc/sys requires; its mode and owner do not change."""
        with self._changing("write", path) as node:
            # O_NONBLOCK: opening a FIFO without a reader fails instead of blocking.
            flags = os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(node.name, flags, dir_fd=node.directory)
            try:
                # One write(2): the kernel takes a sysctl value only from the first write at offset 0.
                os.write(descriptor, content)
            finally:
                os.close(descriptor)

    def set_permissions(self, permissions: FilePermissions) -> None:
        """Set the mode of an existing regular file. Raises HostError if it is not a regular file."""
        with self._changing("change the mode of", permissions.path) as node:
            found = os.stat(node.name, dir_fd=node.directory, follow_symlinks=False)
            if not stat.S_ISREG(found.st_mode):
                raise HostError(f"cannot change the mode of {permissions.path}: it is a {_kind(found.st_mode)}")
            with _opened(node) as descriptor:
                os.fchmod(descriptor, permissions.mode)
                os.fsync(descriptor)

    def make_directory(self, directory: Directory) -> None:
        """Create a directory if it does not exist, and set its exact mode and owner. Its parent must exist."""
        with self._changing("create", directory.path) as node:
            # The final mode from the start: if this run is killed here, the next one does not change the mode of an
            # existing parent directory. A directory of another owner stays private until that owner is set.
            umask = os.umask(0)
            try:
                with suppress(FileExistsError):
                    mode = directory.mode if directory.owner == ROOT else PRIVATE_DIRECTORY
                    os.mkdir(node.name, mode, dir_fd=node.directory)
            finally:
                os.umask(umask)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(node.name, flags, dir_fd=node.directory)
            try:
                self._own(descriptor, directory.owner)
                os.fchmod(descriptor, directory.mode)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            _sync_directory(node.directory)

    def open_lock(self, path: PurePosixPath) -> int:
        """Open the file at `path`, or create it with mode 0600, and return its descriptor. The caller closes it.

        On a read-only file system it is opened for reading, which suffices for flock(2).
        """
        with self._changing("open", path) as node:
            flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            try:
                descriptor = os.open(node.name, flags | os.O_RDWR | os.O_CREAT, PRIVATE_FILE, dir_fd=node.directory)
            except OSError as error:
                if error.errno != errno.EROFS or not _exists(node):
                    raise
                descriptor = os.open(node.name, flags | os.O_RDONLY, dir_fd=node.directory)
            found = os.fstat(descriptor)
            problem = "" if stat.S_ISREG(found.st_mode) else f"it is a {_kind(found.st_mode)}, not a regular file"
            if not problem and found.st_nlink != 1:
                problem = f"it has {found.st_nlink} hard links, expected 1"
            if problem:
                os.close(descriptor)
                raise HostError(f"cannot open {path}: {problem}", f"inspect it, and remove it: rm {path}")
            return descriptor

    def remove_file(self, path: PurePosixPath) -> None:
        """Remove the file at `path` if it exists."""
        with suppress(_NoParentError), self._changing("remove", path) as node:
            try:
                os.unlink(node.name, dir_fd=node.directory)
            except FileNotFoundError:
                return
            _sync_directory(node.directory)

    def remove_temporary(self, path: PurePosixPath) -> None:
        """Remove the temporary files of interrupted writes of `path`."""
        with suppress(_NoParentError), self._changing("remove temporary files of", path) as node:
            if temporary.remove_left_overs(node.directory, node.name):
                _sync_directory(node.directory)

    def remove_temporaries(self, directory: PurePosixPath) -> None:
        """Remove all temporary files of interrupted writes in a directory of this program."""
        with suppress(_NoParentError), self._changing("remove temporary files in", directory, "enter") as node:
            if temporary.remove_left_overs(node.directory):
                _sync_directory(node.directory)

    def rename(self, path: PurePosixPath, name: str) -> None:
        """Rename a file inside its directory."""
        with self._changing("rename", path) as node:
            os.rename(node.name, name, src_dir_fd=node.directory, dst_dir_fd=node.directory)
            _sync_directory(node.directory)

    def remove_directory(self, path: PurePosixPath) -> bool:
        """Remove the directory if it exists. Returns False if it is not empty, or is a mount point."""
        with suppress(_NoParentError), self._changing("remove", path) as node:
            try:
                os.rmdir(node.name, dir_fd=node.directory)
            except FileNotFoundError:
                return True
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY):  # EBUSY: a mount point
                    return False
                raise
            _sync_directory(node.directory)
        return True

    def _observe(self, path: PurePosixPath, node: _Node) -> Directory | File | Obstacle:
        found = os.stat(node.name, dir_fd=node.directory, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            return Directory(path=path, mode=FileMode(stat.S_IMODE(found.st_mode)), owner=self._shown_owner(found))
        # Other kinds are not opened: opening a device can have an effect.
        if not stat.S_ISREG(found.st_mode):
            return Obstacle(id=str(path), kind=_kind(found.st_mode))
        with _opened(node) as descriptor:
            # Content, mode and owner are read from one file, even if it is replaced in the meantime.
            found = os.fstat(descriptor)
            return File(
                path=path,
                content=_content(descriptor),
                mode=FileMode(stat.S_IMODE(found.st_mode)),
                owner=self._shown_owner(found),
                immutable=_immutable(descriptor),
            )

    def _listed(self, path: PurePosixPath, node: _Node) -> Iterator[DirectoryEntry | Unreadable]:
        descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=node.directory)
        try:
            for name in sorted(os.listdir(descriptor)):
                try:
                    found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                except FileNotFoundError:
                    continue  # removed in the meantime
                except OSError as error:
                    yield Unreadable(id=str(path / name), reason=_reason(error), access_denied=_is_denied(error))
                else:
                    yield self._entry(name, found)
        finally:
            os.close(descriptor)

    def _entry(self, name: str, found: os.stat_result) -> DirectoryEntry:
        return DirectoryEntry(
            name, _kind(found.st_mode), FileMode(stat.S_IMODE(found.st_mode)), self._shown_owner(found)
        )

    def _shown_owner(self, found: os.stat_result) -> Owner:
        return Owner(
            0 if found.st_uid == self.uid else found.st_uid,
            0 if found.st_gid == self.gid else found.st_gid,
        )

    def _own(self, descriptor: int, owner: Owner) -> None:
        uid = self.uid if owner.uid == 0 else owner.uid
        gid = self.gid if owner.gid == 0 else owner.gid
        found = os.fstat(descriptor)
        if (found.st_uid, found.st_gid) != (uid, gid):
            os.fchown(descriptor, uid, gid)

    def _write_access(self, descriptor: int, *, sticky_is_safe: bool) -> str:
        found = os.fstat(descriptor)
        if found.st_uid not in (0, self.uid):
            return f"user {found.st_uid} owns it"
        if sticky_is_safe and found.st_mode & stat.S_ISVTX:
            return ""
        others = found.st_mode & _GROUP_OR_OTHERS_WRITE
        if others & stat.S_IWOTH:
            return f"others can write to it (mode {FileMode(stat.S_IMODE(found.st_mode))})"
        return self._group_access(descriptor, found) if others else ""

    def _group_access(self, descriptor: int, found: os.stat_result) -> str:
        # With an access control list, the bits of the group are its mask: the most that any entry permits.
        try:
            listed = acl.read(descriptor)
        except OSError as error:
            return f"its access control list cannot be read: {_reason(error)}"
        if listed is not None:
            return acl.write_problem(listed, owning_group=found.st_gid, users=(0, self.uid), groups=(0, self.gid))
        if found.st_gid not in (0, self.gid):
            return f"group {found.st_gid} can write to it (mode {FileMode(stat.S_IMODE(found.st_mode))})"
        return ""

    @contextmanager
    def _changing(self, verb: str, path: PurePosixPath, last: _Last = "keep") -> Iterator[_Node]:
        """Resolve a path that is about to be changed, and turn errors of the operating system into HostError."""
        try:
            with self._resolved(path, last, writing=True) as node:
                yield node
        except _Missing as missing:
            raise _NoParentError(f"cannot {verb} {path}: its parent directory does not exist") from missing
        except _NotADirectory as parent:
            raise HostError(f"cannot {verb} {path}: found {parent}, in its path, expected a directory") from parent
        except _Distrusted as distrusted:
            raise HostError(f"cannot {verb} {path}: {distrusted.problem}", distrusted.hint) from distrusted
        except OSError as error:
            kind = ReadOnlyEnvironmentError if error.errno == errno.EROFS else HostError
            raise kind(f"cannot {verb} {path}: {_reason(error)}") from error

    @contextmanager
    def _resolved(self, path: PurePosixPath, last: _Last = "keep", *, writing: bool = False) -> Iterator[_Node]:
        """Open the parent directory of `path`, one component at a time.

        The last component is kept as a name, followed if it is a symlink, or entered as a directory.
        Raises _Missing, _NotADirectory, or, when writing, _Distrusted for a parent that another user can change.
        """
        if writing and self.opened is not None and self.opened.distrusted is not None:
            raise self.opened.distrusted
        root = self._open_root() if self.opened is None else os.dup(self.opened.descriptor)
        opened = [_Node(root, "/")]
        try:
            remaining = _steps(str(path))
            links = 0
            while remaining:
                current = opened[-1]
                if writing:
                    # In a sticky directory other users cannot replace an entry of root, but they can add entries.
                    self._refuse_distrusted(current, sticky_is_safe=len(remaining) > 1 or last != "keep")
                name = remaining.pop()
                if name == "..":
                    _close_all(opened, keep=max(1, len(opened) - 1))
                    continue
                is_last = not remaining and last != "enter"
                if is_last and not (last == "follow" and _is_symlink(current.directory, name)):
                    yield _Node(current.directory, name)
                    return
                try:
                    entered = os.open(name, _DIRECTORY_ONLY, dir_fd=current.directory)
                    opened.append(_Node(entered, f"{current.name.rstrip('/')}/{name}"))
                except FileNotFoundError:
                    raise _Missing from None
                except NotADirectoryError:
                    links += 1
                    target = self._link_target(_Node(current.directory, name), links, writing=writing)
                    if target.startswith("/"):
                        _close_all(opened, keep=1)
                    remaining += _steps(target)
            if writing:
                self._refuse_distrusted(opened[-1], sticky_is_safe=False)
            yield _Node(opened[-1].directory, ".")
        finally:
            _close_all(opened)

    def _open_root(self) -> int:
        return os.open(self.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def _link_target(self, link: _Node, links: int, *, writing: bool) -> str:
        found = os.stat(link.name, dir_fd=link.directory, follow_symlinks=False)
        if not stat.S_ISLNK(found.st_mode):
            raise _NotADirectory(f"{link.name}, a {_kind(found.st_mode)}")
        if links > _LONGEST_CHAIN:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if writing and found.st_uid not in (0, self.uid):
            raise _Distrusted(
                f"{link.name} in its path is a symlink of user {found.st_uid}",
                "replace it with a directory, or with a symlink that root owns",
            )
        return os.readlink(link.name, dir_fd=link.directory)

    def _refuse_distrusted(self, parent: _Node, *, sticky_is_safe: bool) -> None:
        problem = self._write_access(parent.directory, sticky_is_safe=sticky_is_safe)
        if problem:
            raise _Distrusted(
                f"its parent directory {parent.name} is not safe: {problem}",
                f"restrict it to root: chown root:root {parent.name} && chmod go-w {parent.name}",
            )


def _steps(path: str) -> list[str]:
    """Return the names of a path, the last one first. `//`, which pathlib keeps, is the same as `/`."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def _kind(mode: int) -> str:
    return _KINDS.get(stat.S_IFMT(mode), "file of unknown kind")


def _error(what: str, error: OSError | _NotADirectory) -> HostError:
    kind = AccessDeniedError if _is_denied(error) else HostError
    return kind(f"{what}: {_reason(error)}")


def _is_denied(error: OSError | _NotADirectory) -> bool:
    return isinstance(error, PermissionError)


def _reason(error: OSError | _Missing | _NotADirectory) -> str:
    if isinstance(error, _Missing):
        return "No such file or directory"
    if isinstance(error, _NotADirectory):
        return str(error)
    return error.strerror or str(error)


def _exists(node: _Node) -> bool:
    try:
        os.stat(node.name, dir_fd=node.directory, follow_symlinks=False)
    except OSError:
        return False
    return True


def _is_symlink(directory: int, name: str) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


@contextmanager
def _opened(node: _Node) -> Iterator[int]:
    # O_NONBLOCK: if a FIFO replaces the file between stat and open, this does not block.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(node.name, flags, dir_fd=node.directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def too_many(directory: PurePosixPath, number: int) -> HostError:
    """Return the error that reports a directory with more than MOST_FILES files."""
    return HostError(f"cannot read all files in {directory}: it has {number}; k3s-harden reads the first {MOST_FILES}")


def _content(descriptor: int, largest: int = LARGEST_READ) -> bytes:
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


def _immutable(descriptor: int) -> bool:
    """Return whether chattr(1) +i or +a is set, which keeps even root from replacing the file."""
    try:
        flags = fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, bytes(_LONG))
    except OSError:  # tmpfs, overlay and other file systems have no such flags
        return False
    return bool(int.from_bytes(flags[:4], sys.byteorder) & _FS_IMMUTABLE_OR_APPEND)


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync_directory(directory: int) -> None:
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _close_all(opened: list[_Node], keep: int = 0) -> None:
    while len(opened) > keep:
        os.close(opened.pop().directory)
