"""Running K3s processes, from /proc, or from psutil if /proc has another format than expected."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress

from agent.base.value import Value

_OWN_NAME = b"k3s-harden"


class K3sProcess(Value):
    """A running K3s."""

    pid: int
    role: str
    """server or agent."""
    started: float
    """In seconds since the epoch."""


class _Process(Value):
    """A process whose name starts with k3s, with its command line as one string."""

    pid: int
    line: str
    started: float


def k3s_processes(proc: str = "/proc") -> tuple[K3sProcess, ...]:
    """Find the K3s processes of the real host, whose procfs is mounted at `proc`.

    K3s rewrites its command line to `k3s server` or `k3s agent` (k3s, pkg/cli/cmds, and gspt). If the kernel does not
    allow the rewrite, the flags follow these words.
    """
    try:
        processes = tuple(by_proc(proc))  # importing psutil takes longer than reading the names of 500 processes
    except (ValueError, IndexError):
        processes = tuple(by_psutil(proc))
    if not processes:
        return ()
    line = re.compile(r"(?:\S*/)?k3s(?:-server|-agent)? (server|agent)\b")
    found = ((process, line.match(process.line)) for process in processes)
    return tuple(K3sProcess(process.pid, words[1], process.started) for process, words in found if words)


def by_psutil(proc: str = "/proc") -> Iterator[_Process]:
    """Yield the processes that psutil finds."""
    import psutil

    psutil.PROCFS_PATH = proc
    for process in psutil.process_iter():
        try:
            if process.name().startswith("k3s") and _is_of_this_host(f"{proc}/{process.pid}"):
                since_boot = process.create_time() - psutil.boot_time()
                yield _Process(process.pid, " ".join(process.cmdline()), _booted() + since_boot)
        except (psutil.Error, OSError):  # the process ended in the meantime
            continue


def by_proc(proc: str = "/proc") -> Iterator[_Process]:
    """Yield the processes that /proc lists: proc_pid_stat(5), proc_pid_cmdline(5)."""
    for pid in filter(str.isdecimal, os.listdir(proc)):
        place = f"{proc}/{pid}"
        with suppress(OSError):  # the process ended in the meantime
            with open(f"{place}/comm", "rb", buffering=0) as file:
                name = file.read()
            if name.startswith(b"k3s") and not name.startswith(_OWN_NAME) and _is_of_this_host(place):
                # The name is in parentheses and can contain parentheses; the start time is the 20th field after it.
                ticks = int(_read(f"{place}/stat").rpartition(")")[2].split()[19])
                line = _read(f"{place}/cmdline").rstrip("\0").replace("\0", " ")
                yield _Process(int(pid), line, _booted() + ticks / os.sysconf("SC_CLK_TCK"))


def _is_of_this_host(place: str) -> bool:
    """Return whether a process can be K3s here: of root or of the user of this program, and not in a container.

    Anybody can start a process with the name of K3s, whose role would count before K3s has a service. NSpid lists a
    number for each namespace from this one down to that of the process (proc_pid_status(5)). Unlike /proc/PID/ns/pid,
    every user can read it.
    """
    lines = (line.split() for line in _read(f"{place}/status").splitlines())
    fields = {words[0]: words[1:] for words in lines if words}
    _, effective, *_ = fields.get("Uid:") or ("0", "0")
    return int(effective) in (0, os.geteuid()) and len(fields.get("NSpid:", ())) <= 1


def _booted() -> float:
    """Return the time of the boot. btime in /proc/stat has whole seconds only, so K3s could appear too old."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()
