"""The lock that admits one writing run at a time. The kernel releases it when its holder ends."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from agent.base.errors import HostError, LockHeldError
from agent.base.model import PUBLIC_DIRECTORY, Absent, Directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath

    from agent.base.host.writable_tree import WritableTree

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
                    "wait until that run ends, then run this again",
                ) from None
            time.sleep(_PAUSE)
        except OSError as error:  # ENOLCK on a network file system
            raise HostError(f"cannot get the lock {path}: {error.strerror}") from error
        else:
            return
