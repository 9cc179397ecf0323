"""One writer at a time: a lock that the kernel lets go of when its holder dies."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from agent.errors import HostError, LockHeldError, ReadOnlyEnvironmentError
from agent.model import FileMode

if TYPE_CHECKING:
    from collections.abc import Iterator

_PAUSE = 0.05


@contextmanager
def locked(path: str, *, wait: float) -> Iterator[None]:
    """Hold the lock file at `path` (an absolute path of this machine); wait for it at most `wait` seconds.

    The file stays behind: removing it would let two runs lock two files of the same name.
    Raises LockHeldError, naming the holder, and HostError where the file cannot be made.
    """
    with suppress(FileExistsError, FileNotFoundError):
        os.mkdir(os.path.dirname(path), FileMode(0o755))
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FileMode(0o600))
    except OSError as error:
        kind = ReadOnlyEnvironmentError if error.errno == errno.EROFS else HostError
        raise kind(f"cannot open the lock {path}: {error.strerror}") from error
    try:
        _take(descriptor, path, time.monotonic() + wait)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: str, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
                raise LockHeldError(
                    f"cannot get the lock {path}: process {holder} holds it",
                    "wait until that run has ended, then run this again",
                ) from None
            time.sleep(_PAUSE)
        else:
            return
