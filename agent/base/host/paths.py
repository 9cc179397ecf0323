"""Paths below one root, resolved by directory descriptors so that no symlink can redirect a write.

- The last component of a path is not followed. A symlink among the parents is followed only if root owns it, and is
  resolved inside the root. So neither a planted symlink nor an absolute symlink in an image leads outside.
- Nothing is written below a directory that another user can write to.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

from agent.base.linux.file_systems import file_kind
from agent.base.model import GROUP_OR_OTHERS_WRITE, Owner
from agent.base.repair import Instruction, Run, Step, broken_link
from agent.base.value import Value

_LONGEST_CHAIN = 40
"""Number of symlinks in one path that the kernel allows."""

_DIRECTORY_ONLY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Last = Literal["keep", "follow", "enter"]


class MissingParent(FileNotFoundError):  # noqa: N818 - control flow inside this package
    """A parent directory does not exist."""

    def __init__(self) -> None:
        super().__init__(errno.ENOENT, os.strerror(errno.ENOENT))


class BrokenLink(MissingParent):
    """A parent is a symlink to a path that does not exist, such as the mount point of a disk that is not mounted."""

    def __init__(self, link: str, target: str) -> None:
        super().__init__()
        self.problem = f"{link} is a symlink to {target}, which does not exist"
        self.link, self.target = link, target
        self.steps = broken_link(link, target).steps


class NotADirectory(NotADirectoryError):  # noqa: N818 - control flow inside this package
    """A parent is not a directory; `strerror` names it and its kind."""

    def __init__(self, parent: str) -> None:
        super().__init__(errno.ENOTDIR, parent)


class Distrusted(Exception):  # noqa: N818 - control flow inside this package
    """A user other than root could redirect the write."""

    def __init__(self, problem: str, *steps: Step) -> None:
        super().__init__(problem)
        self.problem = problem
        self.steps = steps


class OpenedName(NamedTuple):
    """An open directory and a name in it. For a directory of the path itself, the name is its resolved path."""

    directory: int
    name: str
    parent: str = ""
    """The resolved path of the directory, for the last component of a path."""


class RootDirectory:
    """The root directory of a tree, which stays open, so that it cannot be exchanged for another one."""

    __slots__ = ("descriptor", "distrusted", "hidden")

    def __init__(self, descriptor: int, distrusted: Distrusted | None) -> None:
        self.descriptor = descriptor
        self.distrusted = distrusted
        """Why nothing is written below it: another user can change its path."""
        self.hidden = ""
        """The path of a directory whose files cannot be read, except its null device."""

    def __del__(self) -> None:
        os.close(self.descriptor)


class Root(Value):
    """A root directory, and how paths below it are resolved. Root and the user `uid` are trusted (see Host)."""

    root: str
    uid: int
    gid: int
    opened: RootDirectory | None = None
    """None: `root` is opened for each operation."""

    @contextmanager
    def _resolved(
        self,
        path: PurePosixPath,
        last: Last = "keep",
        *,
        writing: bool = False,
        entered: Callable[[OpenedName], object] = lambda _: None,
    ) -> Iterator[OpenedName]:
        """Open the parent directory of `path`, one component at a time.

        The last component is kept as a name, followed if it is a symlink, or entered as a directory. `entered` is
        called for each directory that is opened.

        Raises MissingParent, its kind BrokenLink, NotADirectory, or, when writing, Distrusted for a parent that another
        user can change.
        """
        if writing and self.opened is not None and self.opened.distrusted is not None:
            raise self.opened.distrusted
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        root = os.open(self.root, flags) if self.opened is None else os.dup(self.opened.descriptor)
        opened = [OpenedName(root, "/")]
        broken, left = MissingParent(), 0
        try:
            entered(opened[0])
            remaining = _steps(str(path))
            links = 0
            while remaining:
                current = opened[-1]
                if writing:
                    # In a sticky directory other users cannot replace an entry of root, but they can add entries.
                    self._refuse_distrusted(current, sticky_is_safe=len(remaining) > 1 or last != "keep")
                name = remaining.pop()
                self._refuse_hidden(current, name)
                if name == "..":
                    _close_all(opened, keep=max(1, len(opened) - 1))
                    continue
                is_last = not remaining and last != "enter"
                if is_last and not (last == "follow" and _is_symlink(current.directory, name)):
                    yield OpenedName(current.directory, name, current.name)
                    return
                try:
                    descriptor = os.open(name, _DIRECTORY_ONLY, dir_fd=current.directory)
                    opened.append(OpenedName(descriptor, f"{current.name.rstrip('/')}/{name}"))
                    entered(opened[-1])
                except FileNotFoundError:
                    # The last symlink is the cause if a name of its target is missing, not one that follows it.
                    raise broken if len(remaining) >= left else MissingParent() from None
                except NotADirectoryError:
                    links += 1
                    target = self._link_target(OpenedName(current.directory, name), links, writing=writing)
                    broken, left = BrokenLink(f"{current.name.rstrip('/')}/{name}", target), len(remaining)
                    if target.startswith("/"):
                        _close_all(opened, keep=1)
                    remaining += _steps(target)
            if writing:
                self._refuse_distrusted(opened[-1], sticky_is_safe=False)
            yield OpenedName(opened[-1].directory, ".", opened[-1].name)
        finally:
            _close_all(opened)

    def _refuse_hidden(self, directory: OpenedName, name: str) -> None:
        if self.opened is not None and directory.name == self.opened.hidden and name != "null":
            raise PermissionError(errno.EACCES, f"{directory.name} of the node is hidden from this pod")

    def _link_target(self, link: OpenedName, links: int, *, writing: bool) -> str:
        found = os.stat(link.name, dir_fd=link.directory, follow_symlinks=False)
        if not stat.S_ISLNK(found.st_mode):
            raise NotADirectory(f"{link.name}, a {file_kind(found.st_mode)}")
        if links > _LONGEST_CHAIN:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if writing and found.st_uid not in (0, self.uid):
            raise Distrusted(
                f"{link.name} in its path is a symlink of user {found.st_uid}",
                Instruction("replace it with a directory, or with a symlink that root owns"),
            )
        return os.readlink(link.name, dir_fd=link.directory)

    def _refuse_distrusted(self, parent: OpenedName, *, sticky_is_safe: bool) -> None:
        problem = self._write_access(parent.directory, sticky_is_safe=sticky_is_safe)
        if problem:
            raise Distrusted(
                f"its parent directory {parent.name} is not safe: {problem}", *self._restriction(parent.name)
            )

    def _restriction(self, path: str) -> tuple[Run, ...]:
        """Return the commands after which only root can write to a file or directory."""
        name = self._quoted(path)
        commands = (f"sudo chown root:root {name}", f"sudo chmod go-w {name}")
        return tuple(Run(command, is_of_machine=True) for command in commands)

    def _quoted(self, path: str) -> str:
        """Return a path of this machine for a shell."""
        from shlex import quote

        return quote(f"{self.root.rstrip('/')}{path}")

    def _write_access(self, descriptor: int, *, sticky_is_safe: bool) -> str:
        found = os.fstat(descriptor)
        if found.st_uid not in (0, self.uid):
            return f"user {found.st_uid} owns it"
        if sticky_is_safe and found.st_mode & stat.S_ISVTX:
            return ""
        return self._writers(descriptor) if found.st_mode & GROUP_OR_OTHERS_WRITE else ""

    def _writers(self, descriptor: int) -> str:
        """Return who can write to an open file or directory besides root, this user and their groups."""
        from agent.base.host.acl import permitted
        from agent.base.linux import reach

        try:
            item = permitted(descriptor, "", "", lambda found: Owner(found.st_uid, found.st_gid))
        except OSError as error:
            return f"its access control list cannot be read: {reason_of(error)}"
        trusted = {reach.Party(user) for user in (0, self.uid)} | {
            reach.Party(groups=(group,)) for group in (0, self.gid)
        }
        parties = (who for who in reach.parties(item) if who not in trusted)
        who = next((who for who in parties if reach.permits(who, item, reach.WRITE)), None)
        by = "by its access control list" if item.acl and who != reach.OTHERS else f"(mode {item.mode})"
        return f"{who} can write to it {by}" if who else ""


def _steps(path: str) -> list[str]:
    """Return the names of a path, the last one first. `//`, which pathlib keeps, is the same as `/`."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def reason_of(error: OSError) -> str:
    """Return the reason of an error in the words of the operating system."""
    return error.strerror or str(error)


def _is_symlink(directory: int, name: str) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def open_regular(name: str, directory: int | None = None, flags: int = os.O_RDONLY) -> int:
    """Open an existing regular file. A symlink is not followed. Raises OSError for a file of another kind.

    Opening a device can have an effect, and a FIFO waits for its other end.
    """
    _refuse_others(os.stat(name, dir_fd=directory, follow_symlinks=False))
    # O_NONBLOCK: if a FIFO replaces the file in the meantime, this does not block.
    descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        _refuse_others(os.fstat(descriptor))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _refuse_others(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, f"it is a {file_kind(found.st_mode)}, not a regular file")


@contextmanager
def opened_file(node: OpenedName, flags: int = os.O_RDONLY) -> Iterator[int]:
    """Open a regular file, for reading by default. Raises OSError as `open_regular` does."""
    descriptor = open_regular(node.name, node.directory, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _close_all(opened: list[OpenedName], keep: int = 0) -> None:
    while len(opened) > keep:
        os.close(opened.pop().directory)
