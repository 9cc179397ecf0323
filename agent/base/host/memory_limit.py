"""A limit of the memory that this process takes from now on."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_DATA = 5
"""The field of /proc/self/statm with the pages that RLIMIT_DATA limits (proc_pid_statm(5))."""


@contextmanager
def limited_memory(more: int) -> Iterator[None]:
    """Raise MemoryError where this process needs so many more bytes than it has at the beginning."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[_DATA]) * resource.getpagesize()
    limits = [limit for limit in (used + more, *before) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
