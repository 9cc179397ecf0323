"""Unique names of temporary files, removal of those that killed writers left, files in memory, and its limit.

A writer holds a lock on its temporary file until it has renamed it. So a file that can be locked is a left-over.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from agent.base.host.directories import listable
from agent.base.host.paths import open_regular


@contextmanager
def limited_memory(more: int) -> Iterator[None]:
    """Raise MemoryError where this process needs so many more bytes than it has at the beginning."""
    from resource import RLIM_INFINITY, RLIMIT_DATA, getpagesize, getrlimit, setrlimit

    soft, hard = getrlimit(RLIMIT_DATA)
    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[5]) * getpagesize()  # data and stack: proc_pid_statm(5)
    setrlimit(RLIMIT_DATA, (min(limit for limit in (used + more, soft, hard) if limit != RLIM_INFINITY), hard))
    try:
        yield
    finally:
        setrlimit(RLIMIT_DATA, (soft, hard))


@contextmanager
def memory_file(content: bytes) -> Iterator[str]:
    """Make a file that this process and its children can read at the path, until the end."""
    descriptor = os.memfd_create("k3s-harden", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield f"/proc/{os.getpid()}/fd/{descriptor}"
    finally:
        os.close(descriptor)


SUFFIX = ".k3s-harden"

_LONGEST_STEM = 180
"""Bytes of the file's name that are kept: with the rest, a name has at most 255 bytes."""

_UNIQUE = r"\.[0-9]+-[0-9a-f]{8}"


def name_for(name: str) -> str:
    """Return a new name for a temporary file of `name`, with the process id and a random part."""
    return f".{_stem(name)}.{os.getpid()}-{os.urandom(4).hex()}{SUFFIX}"


def is_temporary(candidate: str, name: str | None = None) -> bool:
    """Return whether a name is that of a temporary file, or of a temporary file of `name`."""
    if not (candidate.startswith(".") and candidate.endswith(SUFFIX)):
        return False
    if name is None:
        return True
    middle = candidate[1 : -len(SUFFIX)]
    stem = _stem(name)
    return middle == name or (middle.startswith(stem) and re.fullmatch(_UNIQUE, middle[len(stem) :]) is not None)


def create(directory: int, name: str, mode: int) -> tuple[int, str]:
    """Create a temporary file of `name`, locked, in an open directory. Returns its descriptor and its name."""
    while True:
        temporary = name_for(name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, mode, dir_fd=directory)
        with suppress(OSError):  # some network file systems have no locks; the file is then never removed
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Another process can have removed it before it was locked.
        if os.fstat(descriptor).st_nlink:
            return descriptor, temporary
        os.close(descriptor)


def remove_left_overs(directory: int, name: str | None = None) -> bool:
    """Remove the temporary files of killed writers, or only those of `name`, from an open directory.

    Returns whether there was one. Raises OSError if one cannot be removed.
    """
    with listable(directory) as listed:
        left = [entry for entry in os.listdir(listed) if is_temporary(entry, name) and _is_left_over(listed, entry)]
        for entry in left:
            with suppress(FileNotFoundError):
                os.unlink(entry, dir_fd=listed)
    return bool(left)


def _is_left_over(directory: int, name: str) -> bool:
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            return False
        if not stat.S_ISREG(found.st_mode):
            return True
        descriptor = open_regular(name, directory)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)


def _stem(name: str) -> str:
    return os.fsdecode(os.fsencode(name)[:_LONGEST_STEM])
