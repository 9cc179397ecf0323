"""Running K3s processes, by psutil; by /proc itself where psutil, which is compiled code, was not carried along."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol

from agent.model import Role

if TYPE_CHECKING:
    from collections.abc import Iterator


_OURS = b"k3s-harden"


class K3sProcess(NamedTuple):
    """A running K3s. `started` is in seconds since the epoch."""

    pid: int
    role: Role
    started: float


class Probe(Protocol):
    """Finds the running K3s processes."""

    def __call__(self) -> tuple[K3sProcess, ...]:
        """All of them, in no order."""


class _Process(NamedTuple):
    """A process that calls itself k3s something, with its command line in one piece."""

    pid: int
    line: str
    started: float


def k3s_processes() -> tuple[K3sProcess, ...]:
    """The Probe of a real host.

    K3s rewrites its command line to the bare words `k3s server` or `k3s agent` (upstream pkg/cli/cmds and gspt),
    so that the line tells the role and nothing else; on kernels where the rewrite fails the flags follow.
    """
    if not any(name.startswith(b"k3s") and not name.startswith(_OURS) for name in _names()):
        return ()  # which is told in a fifth of the time that the import of psutil takes
    try:
        processes = tuple(by_psutil())
    except ImportError:
        processes = tuple(by_proc())
    line = re.compile(r"(?:\S*/)?k3s(?:-server|-agent)? (server|agent)\b")
    found = ((process, line.match(process.line)) for process in processes)
    return tuple(K3sProcess(process.pid, Role(words[1]), process.started) for process, words in found if words)


def by_psutil() -> Iterator[_Process]:
    """Processes as psutil tells of them."""
    import psutil

    for process in psutil.process_iter():
        try:
            if process.name().startswith("k3s"):
                since_boot = process.create_time() - psutil.boot_time()
                yield _Process(process.pid, " ".join(process.cmdline()), _booted() + since_boot)
        except psutil.Error:  # it ended while we looked
            continue


def by_proc() -> Iterator[_Process]:
    """Processes as /proc tells of them: proc_pid_stat(5), proc_pid_cmdline(5)."""
    ticks = os.sysconf("SC_CLK_TCK")
    booted = _booted()
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            # The name stands in parentheses and may have some of its own; the start is the 20th field after it.
            name, _, fields = _read(f"/proc/{pid}/stat").partition("(")[2].rpartition(")")
            if name.startswith("k3s"):
                line = _read(f"/proc/{pid}/cmdline").rstrip("\0").replace("\0", " ")
                yield _Process(int(pid), line, booted + int(fields.split()[19]) / ticks)
        except OSError:  # it ended while we looked
            continue


def no_processes() -> tuple[K3sProcess, ...]:
    """The Probe of a --root tree, in which nothing runs."""
    return ()


def _booted() -> float:
    """When the machine was booted. The kernel's own figure has whole seconds: K3s would be older than it is."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def _names() -> Iterator[bytes]:
    """The names of all processes: proc_pid_comm(5)."""
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{pid}/comm", "rb", buffering=0) as file:  # or it ended while we looked
            yield file.read()


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
