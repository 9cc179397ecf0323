"""How this program was called, so that commands in reports call it in the same way."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import PurePosixPath
from shlex import join, quote, split

from agent.base.repair import Run
from agent.reports.repair_texts import PROGRAM, Caller

_SEARCHED_BY_SUDO = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
"""The usual secure_path of sudoers(5)."""
_ON_NAMES = frozenset({"mv", "rm"})
"""Programs that change a name, also if it is a symlink."""
_ON_FILES = frozenset({"chmod", "chown", "setfacl", *_ON_NAMES})
"""Programs that have the same effect from outside of a host tree."""
_RED_HAT = "/etc/redhat-release"
"""On this family, sudo does not search /usr/local."""


def caller(
    root: str,
    options: tuple[str, ...] = (),
    accepted: Callable[[str], Collection[str]] | None = None,
    *,
    in_pod: bool = False,
) -> Caller:
    """Return the caller of this process, for commands about the host below `root`. In a pod they are for root."""
    is_tree = root != "/"
    is_root = in_pod or _uid() == 0
    needs_sudo = not is_root and not (is_tree and _owns(root))
    return Caller(
        _program(needs_sudo=needs_sudo),
        needs_sudo,
        is_root,
        root if is_tree else "",
        partial(_outside, root) if is_tree else None,
        options,
        accepted,
    )


def as_root() -> Run:
    """Return the command line of this process, run by root."""
    return Run(f"sudo {_program(needs_sudo=True)} {join(sys.argv[1:])}", is_of_machine=True)


def _outside(root: str, line: str) -> str:
    """Return a command that changes files of a host tree as one for this machine, if the tree has no such program.

    Empty for other commands, and if a path has a symlink, which can lead out of the tree.
    """
    program = line.partition(" ")[0]
    if program not in _ON_FILES or any(
        os.path.lexists(f"{root}{directory}/{program}") for directory in _SEARCHED_BY_SUDO
    ):
        return ""
    _, *words = split(line)
    if join((program, *words)) != line:
        return ""
    paths = {word: f"{root.rstrip('/')}{word}" for word in words if word.startswith("/")}
    top = os.path.realpath(root)
    for word, path in paths.items():
        directory, name = os.path.split(path) if program in _ON_NAMES else (path, "")
        if os.path.join(os.path.realpath(directory), name).rstrip("/") != f"{top}{word}":  # noqa: PTH118 - as above
            return ""
    return join((program, *(paths.get(word, word) for word in words)))


def _owns(root: str) -> bool:
    try:
        return os.stat(root).st_uid == _uid()  # noqa: PTH116 - as this module does
    except OSError:
        return False


@contextmanager
def as_user_of_sudo() -> Iterator[int]:
    """Act as the user who called this program by sudo(8), with the files of that user; yield 0 if nobody did."""
    user, group = _uid(), int(os.environ.get("SUDO_GID") or 0)
    if os.geteuid() or not (user and group):
        yield 0
        return
    groups = os.getgroups()
    try:
        os.setgroups([])
        os.setegid(group)
        os.seteuid(user)
        yield user
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def _uid() -> int:
    """Return the user who pastes a command: that of the shell that sudo(8) was run in, if this program runs by it."""
    behind = os.environ.get("SUDO_UID", "")
    return int(behind) if os.geteuid() == 0 and behind.isdecimal() else os.geteuid()


def _program(*, needs_sudo: bool) -> str:
    """Return the shell words that call this program: its name if the shell or sudo finds that, else its path."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if getattr(spec, "name", "") == "agent.__main__":
        return f"{_interpreter(needs_sudo=needs_sudo)} -m agent"
    called = sys.argv[0]
    if "/" not in called and not os.path.isfile(called):  # noqa: PTH113 - as above
        return PROGRAM
    path = PurePosixPath(os.path.abspath(called))  # noqa: PTH100 - as above
    if path.name == PROGRAM and _is_found(path, needs_sudo=needs_sudo):
        return PROGRAM
    if not os.access(called, os.X_OK):
        return f"{_interpreter(needs_sudo=needs_sudo)} {quote(called)}"
    return quote(called if "/" in called else f"./{called}")


def _interpreter(*, needs_sudo: bool) -> str:
    path = PurePosixPath(sys.executable or "python3")
    return path.name if _is_found(path, needs_sudo=needs_sudo) else quote(str(path))


def _is_found(path: PurePosixPath, *, needs_sudo: bool) -> bool:
    """Return whether a shell, and sudo if it is needed, finds this file by its name."""
    directories = os.environ.get("PATH", "").split(":")
    first = next((directory for directory in directories if os.access(f"{directory}/{path.name}", os.X_OK)), "")
    is_first = bool(first) and os.path.realpath(f"{first}/{path.name}") == os.path.realpath(path)
    if not (is_first and needs_sudo):
        return is_first
    is_local = first.startswith("/usr/local/")
    return first in _SEARCHED_BY_SUDO and not (is_local and os.path.exists(_RED_HAT))  # noqa: PTH110 - as above
