"""Memory of this process: a limit of what it takes, and files in memory for what reads only files."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


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
