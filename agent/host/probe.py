"""Running K3s processes, from psutil, or from /proc if psutil, which is compiled code, is not installed."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from agent.model import Role
from agent.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator


_OWN_NAME = b"k3s-harden"


class K3sProcess(Value):
    """A running K3s."""

    pid: int
    role: Role
    started: float
    """In seconds since the epoch."""


class Probe(Protocol):
    """Finds the running K3s processes."""

    def __call__(self) -> tuple[K3sProcess, ...]:
        """Return the processes in any order."""


class _Process(Value):
    """A process whose name starts with k3s, with its command line as one string."""

    pid: int
    line: str
    started: float


def k3s_processes() -> tuple[K3sProcess, ...]:
    """Find the K3s processes of the real host.

    K3s rewrites its command line to `k3s server` or `k3s agent` (k3s, pkg/cli/cmds, and gspt). If the kernel does not
    allow the rewrite, the flags follow these words.
    """
    if not any(name.startswith(b"k3s") and not name.startswith(_OWN_NAME) for name in _names()):
        return ()  # reading the names takes a fifth of the time that importing psutil takes
    try:
        processes = tuple(by_psutil())
    except ImportError:
        processes = tuple(by_proc())
    line = re.compile(r"(?:\S*/)?k3s(?:-server|-agent)? (server|agent)\b")
    found = ((process, line.match(process.line)) for process in processes)
    return tuple(K3sProcess(process.pid, Role(words[1]), process.started) for process, words in found if words)


def by_psutil() -> Iterator[_Process]:
    """Yield the processes that psutil finds."""
    import psutil

    for process in psutil.process_iter():
        try:
            if process.name().startswith("k3s") and _is_of_this_host(process.pid):
                since_boot = process.create_time() - psutil.boot_time()
                yield _Process(process.pid, " ".join(process.cmdline()), _booted() + since_boot)
        except (psutil.Error, OSError):  # the process ended in the meantime
            continue


def by_proc() -> Iterator[_Process]:
    """Yield the processes that /proc lists: proc_pid_stat(5), proc_pid_cmdline(5)."""
    ticks = os.sysconf("SC_CLK_TCK")
    booted = _booted()
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            # The name is in parentheses and can contain parentheses; the start time is the 20th field after it.
            name, _, fields = _read(f"/proc/{pid}/stat").partition("(")[2].rpartition(")")
            if name.startswith("k3s") and _is_of_this_host(int(pid)):
                line = _read(f"/proc/{pid}/cmdline").rstrip("\0").replace("\0", " ")
                yield _Process(int(pid), line, booted + int(fields.split()[19]) / ticks)
        except OSError:  # the process ended in the meantime
            continue


def _is_of_this_host(pid: int) -> bool:
    """Return whether a process is in the PID namespace of this program, not in one of a container on this host.

    NSpid lists a number for each namespace from this one down to that of the process (proc_pid_status(5)). Unlike
    /proc/PID/ns/pid, every user can read it.
    """
    line = next((line for line in _read(f"/proc/{pid}/status").splitlines() if line.startswith("NSpid:")), "")
    return len(line.split()[1:]) <= 1


def no_processes() -> tuple[K3sProcess, ...]:
    """Return no processes: nothing runs in a --root tree."""
    return ()


def _booted() -> float:
    """Return the time of the boot. btime in /proc/stat has whole seconds only, so K3s could appear too old."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def _names() -> Iterator[bytes]:
    """Yield the names of all processes: proc_pid_comm(5)."""
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{pid}/comm", "rb", buffering=0) as file:  # the process may have ended
            yield file.read()


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
