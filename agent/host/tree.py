"""Files and directories below one root, walked by directory descriptors so that no symlink can lead a write astray.

The rules, each for a reason that has bitten root tools before:

- the last component of a path is never followed; a symlink further up is followed only if root owns it, and it is
  resolved inside the root, so neither a planted link nor an absolute link in an image leads out;
- nothing is written below a directory that someone else could write to;
- a file is replaced whole: temporary name, owner, mode, fsync, rename, fsync of the directory. After a crash there
  is the old file or the new one. The temporary name starts with a dot and ends in `.k3s-harden`, which sysctl.d(5),
  K3s' config.yaml.d and K3s' manifests directory all ignore, and it is the same for each try, so that the next run
  takes a left-over away.
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

from agent.errors import HostError, ReadOnlyEnvironmentError
from agent.model import ROOT, Absent, Directory, File, FileMode, FilePermissions, Obstacle, Owner, Times, Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import PurePosixPath

LARGEST_READ = 8 * 1024 * 1024
"""Bytes; no file that this program manages or judges comes near it."""

_LONGEST_CHAIN = 40
"""Symlinks in one path before it counts as a loop, as in the kernel."""

_DIRECTORY_ONLY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_GROUP_OR_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH

# _IOR('f', 1, long): a long in the number, as wide as the kernel's; what comes back is an int nevertheless.
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


class _Missing(Exception):  # noqa: N818 - a turn in the walk, not an error
    """A parent directory does not exist."""


class _NotADirectory(Exception):  # noqa: N818 - a turn in the walk, not an error
    """Something that is no directory stands where a parent should be."""


class _Distrusted(Exception):  # noqa: N818 - a turn in the walk, not an error
    """Somebody other than root could lead a write astray on the way: what is wrong, and what to do."""

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint


class _NoParentError(HostError):
    """The directory that should hold a path does not exist."""


class Entry(NamedTuple):
    """What stat(2) tells of something: `kind` is "regular file", "directory", "symlink", "FIFO", …"""

    name: str
    kind: str
    mode: FileMode
    owner: Owner


class _Place(NamedTuple):
    """A name in an open directory; for a directory on the way itself, its path as walked."""

    directory: int
    name: str


_TEMPORARY = ".k3s-harden"


def temporary_name(name: str) -> str:
    """The name under which the next content of `name` is prepared, in the same directory."""
    return f".{name}{_TEMPORARY}"


@dataclass(frozen=True, slots=True)
class Tree:
    """All files below `root`. `uid` and `gid` are what stands for 0:0 there: an ordinary user's own in a rehearsal."""

    root: str
    uid: int
    gid: int

    def look(self, path: PurePosixPath) -> Directory | File | Absent | Obstacle | Unreadable:
        """What is at `path`, without following a symlink there."""
        where = str(path)
        try:
            with self._place(path) as place:
                return self._look_at(path, place)
        except (_Missing, FileNotFoundError):
            return Absent(id=where)
        except _NotADirectory as turn:
            return Obstacle(id=where, kind=f"path through {turn}")
        except OSError as error:
            return Unreadable(id=where, reason=_reason(error))

    def permissions(self, path: PurePosixPath) -> FilePermissions | Absent | Obstacle | Unreadable:
        """The mode of the regular file at `path`, without following a symlink there; its content is not read."""
        resource_id = FilePermissions(path=path, mode=FileMode(0)).id
        try:
            with self._place(path) as place:
                found = os.stat(place.name, dir_fd=place.directory, follow_symlinks=False)
        except (_Missing, FileNotFoundError):
            return Absent(id=resource_id)
        except _NotADirectory as turn:
            return Obstacle(id=resource_id, kind=f"path through {turn}")
        except OSError as error:
            return Unreadable(id=resource_id, reason=_reason(error))
        if not stat.S_ISREG(found.st_mode):
            return Obstacle(id=resource_id, kind=_kind(found.st_mode))
        return FilePermissions(path=path, mode=FileMode(stat.S_IMODE(found.st_mode)))

    def times(self, path: PurePosixPath) -> Times | None:
        """When what is at `path` last changed, without following a symlink there; None where nothing can be seen."""
        try:
            with self._place(path) as place:
                found = os.stat(place.name, dir_fd=place.directory, follow_symlinks=False)
        except (OSError, _Missing, _NotADirectory):
            return None
        return Times(found.st_mtime, found.st_ctime)

    def stat(self, path: PurePosixPath) -> Entry | Absent | Unreadable:
        """Kind, mode and owner of what is at `path`, symlinks followed inside the root; nothing is opened."""
        where = str(path)
        try:
            with self._place(path, "follow") as place:
                found = os.stat(place.name, dir_fd=place.directory, follow_symlinks=False)
                return self._entry(path.name, found)
        except (_Missing, FileNotFoundError):
            return Absent(id=where)
        except (OSError, _NotADirectory) as error:
            return Unreadable(id=where, reason=_reason(error))

    def entries(self, path: PurePosixPath) -> tuple[Entry | Unreadable, ...]:
        """What is in a directory, sorted by name, without following a symlink there; empty where there is nothing.

        Raises HostError where the directory cannot be listed, or is none.
        """
        try:
            with self._place(path, "enter") as place:
                return tuple(self._listed(path, place))
        except _Missing:
            return ()
        except (OSError, _NotADirectory) as error:
            raise HostError(f"cannot list {path}: {_reason(error)}") from error

    def exists(self, path: PurePosixPath) -> bool:
        """Whether anything is at `path`, of whatever kind; what may not be looked at counts as not there."""
        try:
            with self._place(path) as place:
                os.stat(place.name, dir_fd=place.directory, follow_symlinks=False)
        except (OSError, _Missing, _NotADirectory):
            return False
        return True

    def read(self, path: PurePosixPath) -> bytes | None:
        """The content of a file that others own, symlinks followed inside the root; None where there is no such file.

        Raises HostError for what exists and cannot be read as a regular file.
        """
        try:
            with self._place(path, "follow") as place:
                found = os.stat(place.name, dir_fd=place.directory, follow_symlinks=False)
                if not stat.S_ISREG(found.st_mode):
                    raise HostError(f"cannot read {path}: it is a {_kind(found.st_mode)}, not a regular file")
                with _opened(place) as descriptor:
                    return _content(descriptor)
        except (_Missing, FileNotFoundError):
            return None
        except (OSError, _NotADirectory) as error:
            raise HostError(f"cannot read {path}: {_reason(error)}") from error

    def link_target(self, path: PurePosixPath) -> str | None:
        """Where the symlink at `path` points, as written in it; None where there is no symlink."""
        try:
            with self._place(path) as place:
                return os.readlink(place.name, dir_fd=place.directory)
        except (OSError, _Missing, _NotADirectory):
            return None

    def names(self, path: PurePosixPath) -> tuple[str, ...]:
        """The names in a directory, sorted; empty where there is none. Raises HostError where it cannot be listed."""
        try:
            with self._place(path, "enter") as place:
                descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place.directory)
                try:
                    return tuple(sorted(os.listdir(descriptor)))
                finally:
                    os.close(descriptor)
        except (_Missing, _NotADirectory):
            return ()
        except OSError as error:
            raise HostError(f"cannot list {path}: {_reason(error)}") from error

    def is_read_only(self, path: PurePosixPath) -> bool:
        """Whether the file system of a directory refuses all writes; False where there is no such directory."""
        try:
            with self._place(path, "enter") as place:
                return bool(os.fstatvfs(place.directory).f_flag & os.ST_RDONLY)
        except (OSError, _Missing, _NotADirectory):
            return False

    def trust_problem(self, path: PurePosixPath) -> str:
        """Why the file at `path` could have been changed by somebody other than root; empty if it could not."""
        try:
            with self._place(path, "follow", writing=True) as place:
                found = os.stat(place.name, dir_fd=place.directory, follow_symlinks=False)
                return self._who_could_write(found, sticky_is_safe=False)
        except _Distrusted as turn:
            return turn.problem
        except (OSError, _Missing, _NotADirectory) as error:
            return _reason(error)

    def write(self, file: File) -> None:
        """Put `file` in place in one step. Raises HostError, with the old file untouched and nothing left over.

        What is no regular file is left, too: a rename would take away a symlink or a device as readily as a file.
        """
        with self._changing("write", file.path) as place:
            with suppress(FileNotFoundError):
                found = os.stat(place.name, dir_fd=place.directory, follow_symlinks=False)
                if not stat.S_ISREG(found.st_mode):
                    raise HostError(f"cannot write {file.path}: it is a {_kind(found.st_mode)}")
            temporary = temporary_name(place.name)
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=place.directory)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(temporary, flags, FileMode(0o600), dir_fd=place.directory)
            try:
                try:
                    _write_all(descriptor, file.content)
                    self._own(descriptor, file.owner)
                    os.fchmod(descriptor, file.mode)
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                os.rename(temporary, place.name, src_dir_fd=place.directory, dst_dir_fd=place.directory)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=place.directory)
                raise
            _sync_directory(place.directory)

    def overwrite(self, path: PurePosixPath, content: bytes) -> None:
        """Write into the existing file, as /proc/sys wants it; the file itself, its mode and owner stay."""
        with self._changing("write", path) as place:
            # O_NONBLOCK: a FIFO without a reader is refused; without the flag, opening it would hang.
            flags = os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(place.name, flags, dir_fd=place.directory)
            try:
                # One write(2): the kernel takes a sysctl value from the first write at offset 0 alone.
                os.write(descriptor, content)
            finally:
                os.close(descriptor)

    def set_permissions(self, wanted: FilePermissions) -> None:
        """Give the existing regular file its mode. Raises HostError, also for what is no regular file."""
        with self._changing("change the mode of", wanted.path) as place:
            found = os.stat(place.name, dir_fd=place.directory, follow_symlinks=False)
            if not stat.S_ISREG(found.st_mode):
                raise HostError(f"cannot change the mode of {wanted.path}: it is a {_kind(found.st_mode)}")
            with _opened(place) as descriptor:
                os.fchmod(descriptor, wanted.mode)
                os.fsync(descriptor)

    def make_directory(self, wanted: Directory) -> None:
        """Create the directory if need be and set its exact mode and owner; its parent must exist."""
        with self._changing("create", wanted.path) as place:
            # With its mode from the first moment: should this run be killed here, the next one takes a directory on the
            # way for somebody's and lets it be. One that is to be somebody else's stays private until it is.
            umask = os.umask(0)
            try:
                with suppress(FileExistsError):
                    mode = wanted.mode if wanted.owner == ROOT else FileMode(0o700)
                    os.mkdir(place.name, mode, dir_fd=place.directory)
            finally:
                os.umask(umask)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(place.name, flags, dir_fd=place.directory)
            try:
                self._own(descriptor, wanted.owner)
                os.fchmod(descriptor, wanted.mode)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            _sync_directory(place.directory)

    def open_lock(self, path: PurePosixPath) -> int:
        """A descriptor of the file at `path`, made with mode 0600 where there is none; the caller closes it."""
        with self._changing("open", path) as place:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(place.name, flags, FileMode(0o600), dir_fd=place.directory)
            kind = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(kind):
                os.close(descriptor)
                raise HostError(f"cannot open {path}: it is a {_kind(kind)}, not a regular file")
            return descriptor

    def remove_file(self, path: PurePosixPath) -> None:
        """Remove the file at `path`; already gone is fine."""
        self._unlink(path, lambda name: name)

    def remove_temporary(self, path: PurePosixPath) -> None:
        """Remove what an interrupted write of `path` left; nothing there is fine."""
        self._unlink(path, temporary_name)

    def remove_temporaries(self, directory: PurePosixPath) -> None:
        """Remove what interrupted writes left in a directory that is ours alone."""
        for name in self.names(directory):
            if name.startswith(".") and name.endswith(_TEMPORARY):
                self.remove_file(directory / name)

    def rename(self, path: PurePosixPath, name: str) -> None:
        """Give the file another name in its directory."""
        with self._changing("rename", path) as place:
            os.rename(place.name, name, src_dir_fd=place.directory, dst_dir_fd=place.directory)
            _sync_directory(place.directory)

    def remove_directory(self, path: PurePosixPath) -> bool:
        """Remove the directory if it is empty; False, and untouched, if it is not. Already gone is fine."""
        with suppress(_NoParentError), self._changing("remove", path) as place:
            try:
                os.rmdir(place.name, dir_fd=place.directory)
            except FileNotFoundError:
                return True
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    return False
                raise
            _sync_directory(place.directory)
        return True

    def _unlink(self, path: PurePosixPath, named: Callable[[str], str]) -> None:
        with suppress(_NoParentError), self._changing("remove", path) as place:
            try:
                os.unlink(named(place.name), dir_fd=place.directory)
            except FileNotFoundError:
                return
            _sync_directory(place.directory)

    def _look_at(self, path: PurePosixPath, place: _Place) -> Directory | File | Obstacle:
        found = os.stat(place.name, dir_fd=place.directory, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            return Directory(path=path, mode=FileMode(stat.S_IMODE(found.st_mode)), owner=self._seen_owner(found))
        # Anything else is not even opened: opening a device can act on it.
        if not stat.S_ISREG(found.st_mode):
            return Obstacle(id=str(path), kind=_kind(found.st_mode))
        with _opened(place) as descriptor:
            # Content, mode and owner are of one file, whatever takes its place meanwhile.
            found = os.fstat(descriptor)
            return File(
                path=path,
                content=_content(descriptor),
                mode=FileMode(stat.S_IMODE(found.st_mode)),
                owner=self._seen_owner(found),
                immutable=_immutable(descriptor),
            )

    def _listed(self, path: PurePosixPath, place: _Place) -> Iterator[Entry | Unreadable]:
        descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place.directory)
        try:
            for name in sorted(os.listdir(descriptor)):
                try:
                    found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                except FileNotFoundError:
                    continue  # it went away since
                except OSError as error:
                    yield Unreadable(id=str(path / name), reason=_reason(error))
                else:
                    yield self._entry(name, found)
        finally:
            os.close(descriptor)

    def _entry(self, name: str, found: os.stat_result) -> Entry:
        return Entry(name, _kind(found.st_mode), FileMode(stat.S_IMODE(found.st_mode)), self._seen_owner(found))

    def _seen_owner(self, found: os.stat_result) -> Owner:
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

    def _who_could_write(self, found: os.stat_result, *, sticky_is_safe: bool) -> str:
        if found.st_uid not in (0, self.uid):
            return f"user {found.st_uid} owns it"
        if sticky_is_safe and found.st_mode & stat.S_ISVTX:
            return ""
        others = found.st_mode & _GROUP_OR_OTHERS_WRITE
        if others & stat.S_IWOTH:
            return f"others can write to it (mode {FileMode(stat.S_IMODE(found.st_mode))})"
        if others and found.st_gid not in (0, self.gid):
            return f"group {found.st_gid} can write to it (mode {FileMode(stat.S_IMODE(found.st_mode))})"
        return ""

    @contextmanager
    def _changing(self, verb: str, path: PurePosixPath) -> Iterator[_Place]:
        """The place of a path that is about to be changed; what the operating system refuses comes out as HostError."""
        try:
            with self._place(path, writing=True) as place:
                yield place
        except _Missing as turn:
            raise _NoParentError(f"cannot {verb} {path}: its parent directory does not exist") from turn
        except _NotADirectory as turn:
            raise HostError(f"cannot {verb} {path}: {turn}, is on the way") from turn
        except _Distrusted as turn:
            raise HostError(f"cannot {verb} {path}: {turn.problem}", turn.hint) from turn
        except OSError as error:
            kind = ReadOnlyEnvironmentError if error.errno == errno.EROFS else HostError
            raise kind(f"cannot {verb} {path}: {_reason(error)}") from error

    @contextmanager
    def _place(self, path: PurePosixPath, last: _Last = "keep", *, writing: bool = False) -> Iterator[_Place]:
        """Open the directory that holds `path`, one component at a time.

        The last component is kept as a name, or followed if it is a symlink, or entered as a directory itself.
        Raises _Missing or _NotADirectory for a parent, _Distrusted for one that is not to be trusted with a write.
        """
        opened = [_Place(os.open(self.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), "/")]
        try:
            waiting = _steps(str(path))
            links = 0
            while waiting:
                here = opened[-1]
                if writing:
                    # In a sticky directory nobody can replace what root owns, but anybody can put something new.
                    self._refuse_distrusted(here, sticky_is_safe=len(waiting) > 1 or last == "follow")
                name = waiting.pop()
                if name == "..":
                    _close_all(opened, keep=max(1, len(opened) - 1))
                    continue
                is_last = not waiting and last != "enter"
                if is_last and not (last == "follow" and _is_symlink(here.directory, name)):
                    yield _Place(here.directory, name)
                    return
                try:
                    entered = os.open(name, _DIRECTORY_ONLY, dir_fd=here.directory)
                    opened.append(_Place(entered, f"{here.name.rstrip('/')}/{name}"))
                except FileNotFoundError:
                    raise _Missing from None
                except NotADirectoryError:
                    links += 1
                    target = self._target(_Place(here.directory, name), links, writing=writing)
                    if target.startswith("/"):
                        _close_all(opened, keep=1)
                    waiting += _steps(target)
            yield _Place(opened[-1].directory, ".")
        finally:
            _close_all(opened)

    def _target(self, link: _Place, links: int, *, writing: bool) -> str:
        found = os.stat(link.name, dir_fd=link.directory, follow_symlinks=False)
        if not stat.S_ISLNK(found.st_mode):
            raise _NotADirectory(f"{link.name}, a {_kind(found.st_mode)}")
        if links > _LONGEST_CHAIN:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if writing and found.st_uid not in (0, self.uid):
            raise _Distrusted(
                f"{link.name} on the way is a symlink of user {found.st_uid}",
                "a parent directory must be a directory, or a symlink that root owns",
            )
        return os.readlink(link.name, dir_fd=link.directory)

    def _refuse_distrusted(self, parent: _Place, *, sticky_is_safe: bool) -> None:
        problem = self._who_could_write(os.fstat(parent.directory), sticky_is_safe=sticky_is_safe)
        if problem:
            raise _Distrusted(
                f"its parent directory {parent.name} is not safe: {problem}",
                f"give it to root alone: chown root:root {parent.name} && chmod go-w {parent.name}",
            )


def _steps(path: str) -> list[str]:
    """The names of a path, the last first. `//`, which POSIX leaves undefined and pathlib keeps, is `/`."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def _kind(mode: int) -> str:
    return _KINDS.get(stat.S_IFMT(mode), "thing of unknown kind")


def _reason(error: OSError | _Missing | _NotADirectory) -> str:
    if isinstance(error, _Missing):
        return "No such file or directory"
    if isinstance(error, _NotADirectory):
        return str(error)
    return error.strerror or str(error)


def _is_symlink(directory: int, name: str) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


@contextmanager
def _opened(place: _Place) -> Iterator[int]:
    # O_NONBLOCK: should a FIFO take the file's place between stat and open, this must not hang.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(place.name, flags, dir_fd=place.directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _content(descriptor: int) -> bytes:
    chunks = []
    size = 0
    while chunk := os.read(descriptor, 1 << 20):
        chunks.append(chunk)
        size += len(chunk)
        if size > LARGEST_READ:
            raise OSError(errno.EFBIG, f"larger than {LARGEST_READ // (1 << 20)} MiB")
    return b"".join(chunks)


def _immutable(descriptor: int) -> bool:
    """Whether chattr(1) +i or +a is set, so that not even root can replace the file."""
    try:
        flags = fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, bytes(_LONG))
    except OSError:  # tmpfs, overlay and others have no such flags
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


def _close_all(opened: list[_Place], keep: int = 0) -> None:
    while len(opened) > keep:
        os.close(opened.pop().directory)
