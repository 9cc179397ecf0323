"""One writer at a time: a lock that the kernel lets go of when its holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from agent.errors import HostError, LockHeldError
from agent.model import Absent, Directory, FileMode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath

    from agent.host.tree import Tree

_PAUSE = 0.05


@contextmanager
def locked(tree: Tree, path: PurePosixPath, *, wait: float) -> Iterator[None]:
    """Hold the lock file at `path`, wait for it at most `wait` seconds; its directory is made where there is none.

    The file stays behind: removing it would let two runs lock two files of the same name.
    Raises LockHeldError, naming the holder, and HostError where the file cannot be made.
    """
    if isinstance(tree.look(path.parent), Absent):
        tree.make_directory(Directory(path=path.parent, mode=FileMode(0o755)))
    descriptor = tree.open_lock(path)
    try:
        _take(descriptor, path, time.monotonic() + wait)
        with suppress(OSError):  # a full disk: the number is a courtesy to those who wait
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
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
                    "wait until that run has ended, then run this again",
                ) from None
            time.sleep(_PAUSE)
        except OSError as error:  # ENOLCK, of a network file system
            raise HostError(f"cannot get the lock {path}: {error.strerror}") from error
        else:
            return
