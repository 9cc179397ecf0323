"""Directories below one root, as they are listed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath

from agent.base.errors import AccessDeniedError, HostError, LimitError
from agent.base.host.paths import MissingParent, NotADirectory, OpenedName, Root, reason_of
from agent.base.linux.file_systems import file_kind
from agent.base.model import GROUP_OR_OTHERS_WRITE, FileMode, Owner, Unreadable
from agent.base.repair import Instruction
from agent.base.value import Value

MOST_FILES = 500
"""Files of one directory that are read, such as drop-ins. K3s and systemd read all of them."""


class DirectoryEntry(Value, not_compared=("links",)):
    """Name, kind, mode and owner of an existing file of any kind, as stat(2) returns them."""

    name: str
    kind: str
    """Such as "regular file", "directory", "symlink" or "FIFO"."""
    mode: FileMode
    owner: Owner
    links: int = 1
    """The number of hard links of a regular file."""


class DirectoryContents(Value):
    """What is below a directory."""

    number: int
    """Number of files and directories, without symlinks."""
    exposed: tuple[tuple[PurePosixPath, DirectoryEntry], ...]
    """Files and directories that do not belong to root, or that the group or others can write."""
    links: tuple[PurePosixPath, ...]
    """Symlinks with a target outside the directory."""


class DirectoryTree(Root):
    """All directories below `root`. The owner `uid` and the group `gid` are shown as 0 (see Host)."""

    def entries(self, path: PurePosixPath) -> tuple[DirectoryEntry | Unreadable, ...]:
        """Return the entries of a directory, sorted by name; empty if it does not exist. Symlinks are not followed.

        Raises HostError if it cannot be listed or is not a directory.
        """
        try:
            with self._resolved(path, "enter") as node:
                return tuple(self._listed(path, node))
        except MissingParent:
            return ()
        except OSError as error:
            raise host_error(f"cannot list {path}", error) from error

    def contents(self, top: PurePosixPath) -> DirectoryContents:
        """Return what is below a directory, at any depth; nothing if it does not exist. No symlink below is followed.

        Raises HostError if a directory cannot be listed.
        """
        number, waiting = 0, [top]
        exposed: list[tuple[PurePosixPath, DirectoryEntry]] = []
        links: list[PurePosixPath] = []
        while waiting:
            here = waiting.pop()
            try:
                with self._resolved(here, "enter") as node:
                    for name, found in _scanned(node.directory):
                        if isinstance(found, str):
                            if _leads_out(found, here, top):
                                links.append(here / name)
                            continue
                        number += 1
                        if stat.S_ISDIR(found.st_mode):
                            waiting.append(here / name)
                        if found.st_mode & GROUP_OR_OTHERS_WRITE or found.st_uid not in (0, self.uid):
                            exposed.append((here / name, self._entry(name, found)))
            except MissingParent:
                continue
            except OSError as error:
                raise host_error(f"cannot list {here}", error) from error
        return DirectoryContents(number, tuple(sorted(exposed, key=lambda entry: entry[0])), tuple(sorted(links)))

    def names(self, path: PurePosixPath) -> tuple[str, ...]:
        """Return the sorted names in a directory; empty if there is none. Raises HostError if it cannot be listed."""
        try:
            with self._resolved(path, "enter") as node, listable(node.directory) as descriptor:
                return tuple(sorted(os.listdir(descriptor)))
        except (MissingParent, NotADirectory):
            return ()
        except OSError as error:
            raise host_error(f"cannot list {path}", error) from error

    def real_directory(self, path: PurePosixPath) -> PurePosixPath | None:
        """Return the path of a directory without symlinks; None if there is none, or if it cannot be entered."""
        try:
            with self._resolved(path, "enter") as node:
                return PurePosixPath(node.parent)
        except (OSError, MissingParent, NotADirectory):
            return None

    def _listed(self, path: PurePosixPath, node: OpenedName) -> Iterator[DirectoryEntry | Unreadable]:
        with listable(node.directory) as descriptor:
            for name in sorted(os.listdir(descriptor)):
                try:
                    found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                except FileNotFoundError:
                    continue  # removed in the meantime
                except OSError as error:
                    yield Unreadable(id=str(path / name), reason=reason_of(error), access_denied=is_denied(error))
                else:
                    yield self._entry(name, found)

    def _entry(self, name: str, found: os.stat_result) -> DirectoryEntry:
        mode = FileMode(stat.S_IMODE(found.st_mode))
        links = found.st_nlink if stat.S_ISREG(found.st_mode) else 1
        return DirectoryEntry(name, file_kind(found.st_mode), mode, self._shown_owner(found), links)

    def _shown_owner(self, found: os.stat_result) -> Owner:
        uid, gid = found.st_uid, found.st_gid
        return Owner(0 if uid == self.uid else uid, 0 if gid == self.gid else gid)


@contextmanager
def listable(directory: int, name: str = ".") -> Iterator[int]:
    """Open a directory again, or one in it, to list or change it: its own descriptor is O_PATH."""
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _scanned(directory: int) -> Iterator[tuple[str, str | os.stat_result]]:
    """Yield each name in an open directory, with the target of a symlink, or with the result of stat(2)."""
    with listable(directory) as descriptor, os.scandir(descriptor) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # removed in the meantime
                is_link = entry.is_symlink()
                found = os.readlink(entry.name, dir_fd=descriptor) if is_link else entry.stat(follow_symlinks=False)
                yield entry.name, found


def _leads_out(target: str, directory: PurePosixPath, top: PurePosixPath) -> bool:
    """Return whether the target of a symlink in a directory is not below `top`, by its text."""
    if not target.startswith(("/", ".")):
        return ".." in target
    return not os.path.normpath(f"{directory}/{target}" if target[0] != "/" else target).startswith(f"{top}/")


def host_error(what: str, error: OSError) -> HostError:
    """Return the error for a user, of the kind that the error of the operating system has."""
    kind = AccessDeniedError if is_denied(error) else LimitError if error.errno == errno.EFBIG else HostError
    return kind(f"{what}: {reason_of(error)}")


def is_denied(error: OSError) -> bool:
    """Return whether the kernel denied access to this user."""
    return isinstance(error, PermissionError)


MOST_BYTES = 128 * 1024
"""Bytes of all files of one kind that are read. Parsing them takes some seconds."""


class Total:
    """Bytes of the files of one kind that were read."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._bytes = 0

    def add(self, size: int) -> None:
        """Count a file. Raises LimitError if the files exceed the limit: the same for each further file."""
        self._bytes += size
        if self._bytes > MOST_BYTES:
            raise LimitError(f"cannot read all {self._what}: k3s-harden reads at most {MOST_BYTES} bytes of them")


def too_many(directory: PurePosixPath, number: int) -> LimitError:
    """Return the error that reports a directory with more than MOST_FILES files."""
    message = f"cannot read all files in {directory}: it has {number}; k3s-harden reads the first {MOST_FILES}"
    return LimitError(message, Instruction(f"move files that are not needed out of {directory}"))
