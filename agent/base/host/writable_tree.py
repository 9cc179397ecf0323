"""Changes of files and directories below one root.

A file is replaced atomically: temporary name, owner, mode, fsync, rename, fsync of the directory. After a crash
either the old or the new file exists. The temporary name is unique. It starts with a dot and ends in `.k3s-harden`,
which sysctl.d(5), K3s' config.yaml.d and K3s' manifests directory ignore. The next write of the file removes it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from agent.base.errors import HostError, LockHeldError, ReadOnlyEnvironmentError
from agent.base.host import acl, temporary
from agent.base.host.directories import listable
from agent.base.host.paths import (
    BrokenLink,
    Distrusted,
    Last,
    MissingParent,
    NotADirectory,
    OpenedName,
    opened_file,
    reason_of,
)
from agent.base.host.tree import Tree, is_immutable
from agent.base.linux.file_systems import file_kind
from agent.base.model import (
    PRIVATE_DIRECTORY,
    PRIVATE_FILE,
    PUBLIC_DIRECTORY,
    ROOT,
    Absent,
    DefaultPermissions,
    Directory,
    File,
    FilePermissions,
    Owner,
)
from agent.base.repair import Instruction, Run, moved_away
from agent.base.value import replace

_EXCHANGE = 2  # RENAME_EXCHANGE of linux/fs.h


class Replacement:
    """The directory of a new program, the installed one, and one beside it for the copy of the new one."""

    def __init__(self, new: PurePosixPath, parent: str, installed: str, copy: str) -> None:
        self._new, self._installed, self._copy = Path(new), Path(parent, installed), Path(parent, copy)

    @property
    def is_done(self) -> bool:
        """Whether the installed program has all files of the new one that it runs from: those below bin/."""
        import filecmp

        new = self._new / "bin"
        files = [str(file.relative_to(new)) for file in filter(Path.is_file, new.rglob("*"))]
        return filecmp.cmpfiles(new, self._installed / "bin", files, shallow=False) == (files, [], [])

    def make_copy(self) -> None:
        """Copy the new program, and wait until the copy is on the disk. After an error, no copy is left."""
        self.remove_copy()
        self._copy.mkdir()
        try:
            for path in sorted(self._new.rglob("*")):
                target = self._copy / path.relative_to(self._new)
                if path.is_dir() and not path.is_symlink():
                    target.mkdir()
                else:
                    shutil.copy(path, target, follow_symlinks=False)
        except BaseException:
            self.remove_copy()
            raise
        os.sync()

    def remove_copy(self) -> None:
        """Remove the copy or, after the exchange, the previous program."""
        if self._copy.is_dir() and not self._copy.is_symlink():
            shutil.rmtree(self._copy, ignore_errors=True)
        else:  # rmtree would wait for a FIFO
            with suppress(FileNotFoundError):
                self._copy.unlink()

    def exchange(self) -> None:
        """Exchange the installed program and the copy."""
        exchange(self._installed, self._copy)


def exchange(first: Path, second: Path) -> None:
    """Exchange two directories in one step: also after a crash, each name has a complete one. Raises OSError."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(0, os.fsencode(first.absolute()), 0, os.fsencode(second.absolute()), _EXCHANGE):
        raise OSError(ctypes.get_errno(), f"{os.strerror(ctypes.get_errno())} (renameat2 with RENAME_EXCHANGE)")


_INSPECT = "inspect that file, and move it away if it is not needed"
_FREE = (Instruction("free space on the file system"),)
_FIXES = {
    errno.EACCES: (Instruction("run this as root, or as a user who can write there"),),
    errno.EROFS: (Instruction("remount the file system read-write"),),
    errno.ENOSPC: _FREE,
    errno.EDQUOT: _FREE,
}
"""By error number: what to do."""


class _NoParentError(HostError):
    """The parent directory of a path does not exist."""


class WritableTree(Tree):
    """A tree whose files can be changed. The owner 0 is written as `uid`, and the group 0 as `gid`."""

    def write(self, file: File) -> None:
        """Replace a file atomically. Raises HostError; the old file is then unchanged and no temporary file is left.

        Only a regular file is replaced, since a rename would also replace a symlink or a device.
        """
        with self._changing("write", file.path) as node:
            with suppress(FileNotFoundError):
                found = os.stat(node.name, dir_fd=node.directory, follow_symlinks=False)
                if not stat.S_ISREG(found.st_mode):
                    raise HostError(f"cannot write {file.path}: it is a {file_kind(found.st_mode)}")
            with suppress(OSError):  # such as a directory that cannot be listed
                temporary.remove_left_overs(node.directory, node.name)
            descriptor, prepared = temporary.create(node.directory, node.name, PRIVATE_FILE)
            try:
                with open(descriptor, "wb", closefd=False) as opened:
                    opened.write(file.content)
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
        with self._changing("write", path) as node, opened_file(node, os.O_WRONLY | os.O_TRUNC) as descriptor:
            # One write(2): the kernel takes a sysctl value only from the first write at offset 0.
            os.write(descriptor, content)

    def set_permissions(self, permissions: FilePermissions) -> None:
        """Set the mode of an existing regular file. Raises HostError if it is not a regular file."""
        with self._changing("change the mode of", permissions.path) as node, opened_file(node) as descriptor:
            os.fchmod(descriptor, permissions.mode)
            os.fsync(descriptor)

    def set_default_permissions(self, permissions: DefaultPermissions) -> None:
        """Set the default permissions in an existing directory. Raises HostError if it is not a directory."""
        what = "set the default permissions in"
        with self._changing(what, permissions.path) as node, listable(node.directory, node.name) as descriptor:
            acl.set_default_acl(descriptor, permissions.acl)
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
            with listable(node.directory, node.name) as descriptor:
                self._own(descriptor, directory.owner)
                os.fchmod(descriptor, directory.mode)
                os.fsync(descriptor)
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
                if error.errno != errno.EROFS or not self.exists(path):
                    raise
                descriptor = os.open(node.name, flags | os.O_RDONLY, dir_fd=node.directory)
            found = os.fstat(descriptor)
            problem = "" if stat.S_ISREG(found.st_mode) else f"it is a {file_kind(found.st_mode)}, not a regular file"
            if not problem and found.st_nlink > 1:
                problem = f"it has {found.st_nlink} hard links, expected 1"
            if problem:
                os.close(descriptor)
                away = replace(moved_away(f"{self.root.rstrip('/')}{path}"), is_of_machine=True)
                raise HostError(f"cannot open {path}: {problem}", away)
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

    @contextmanager
    def replacement_of(
        self, new: PurePosixPath, installed: PurePosixPath, copy: PurePosixPath
    ) -> Iterator[Replacement]:
        """Replace a program of this tree by one of this machine. `copy` is a name in the same directory."""
        with self._changing("replace", installed) as node:
            yield Replacement(new, f"/proc/self/fd/{node.directory}", node.name, copy.name)

    def _own(self, descriptor: int, owner: Owner) -> None:
        uid = self.uid if owner.uid == 0 else owner.uid
        gid = self.gid if owner.gid == 0 else owner.gid
        found = os.fstat(descriptor)
        if (found.st_uid, found.st_gid) != (uid, gid):
            os.fchown(descriptor, uid, gid)

    @contextmanager
    def _changing(self, verb: str, path: PurePosixPath, last: Last = "keep") -> Iterator[OpenedName]:
        """Resolve a path that is about to be changed, and turn errors of the operating system into HostError."""
        try:
            with self._resolved(path, last, writing=True) as node:
                try:
                    yield node
                except PermissionError:
                    self._refuse_immutable(node, f"cannot {verb} {path}")
                    raise
        except BrokenLink as link:
            raise _NoParentError(f"cannot {verb} {path}: {link.problem}", *link.steps) from link
        except MissingParent as missing:
            raise _NoParentError(f"cannot {verb} {path}: its parent directory does not exist") from missing
        except NotADirectory as parent:
            message = f"cannot {verb} {path}: found {parent.strerror}, in its path, expected a directory"
            raise HostError(message, Instruction(_INSPECT)) from parent
        except Distrusted as distrusted:
            raise HostError(f"cannot {verb} {path}: {distrusted.problem}", *distrusted.steps) from distrusted
        except OSError as error:
            kind = ReadOnlyEnvironmentError if error.errno == errno.EROFS else HostError
            raise kind(f"cannot {verb} {path}: {reason_of(error)}", *_FIXES.get(error.errno or 0, ())) from error

    def _refuse_immutable(self, node: OpenedName, failure: str) -> None:
        """Raise HostError if an attribute of chattr(1) keeps even root from changing a file or its directory."""
        for name in (".", node.name):
            with suppress(OSError):
                flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
                descriptor = os.open(name, flags, dir_fd=node.directory)
                try:
                    if is_immutable(descriptor):
                        place = os.path.normpath(f"{node.parent}/{name}")
                        allow = Run(f"sudo chattr -i -a {self._quoted(place)}", is_of_machine=True)
                        raise HostError(f"{failure}: {place} has attribute i or a", allow)
                finally:
                    os.close(descriptor)


def _sync_directory(directory: int) -> None:
    with listable(directory) as descriptor:
        os.fsync(descriptor)


_PAUSE = 0.05


@contextmanager
def locked(tree: WritableTree, path: PurePosixPath, *, wait: float) -> Iterator[None]:
    """Hold the lock file at `path`; create its directory if it is missing.

    Raises LockHeldError after `wait` seconds, and HostError if the file cannot be created.
    """
    if isinstance(tree.observe(path.parent), Absent):
        tree.make_directory(Directory(path.parent, PUBLIC_DIRECTORY))
    deadline = time.monotonic() + wait
    while True:
        descriptor = tree.open_lock(path)
        try:
            _take(descriptor, path, deadline)
            if os.fstat(descriptor).st_nlink == 0:  # `uninstall` removed it, and another run can lock a new file
                continue
            with suppress(OSError):  # on a full disk the lock holds without the process number
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
            return
        finally:
            os.close(descriptor)


def _take(descriptor: int, path: PurePosixPath, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
                raise LockHeldError(
                    f"cannot get the lock {path}: process {holder} holds it",
                    Instruction("wait until that run ends, then run this again"),
                ) from None
            time.sleep(_PAUSE)
        except OSError as error:  # ENOLCK on a network file system
            raise HostError(f"cannot get the lock {path}: {error.strerror}") from error
        else:
            return
