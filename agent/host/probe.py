"""Running K3s processes, by psutil."""

from __future__ import annotations

import re
from typing import NamedTuple, Protocol

from agent.model import Role


class K3sProcess(NamedTuple):
    """A running K3s. `started` is in seconds since the epoch."""

    pid: int
    role: Role
    started: float


class Probe(Protocol):
    """Finds the running K3s processes."""

    def __call__(self) -> tuple[K3sProcess, ...]: ...


def k3s_processes() -> tuple[K3sProcess, ...]:
    """The Probe of a real host.

    K3s rewrites its command line to the bare words `k3s server` or `k3s agent` (upstream pkg/cli/cmds and gspt),
    so that the line tells the role and nothing else; on kernels where the rewrite fails the flags follow.
    """
    import psutil

    found = []
    for process in psutil.process_iter():
        try:
            if not process.name().startswith("k3s"):
                continue
            line = " ".join(process.cmdline())
            words = re.match(r"(?:\S*/)?k3s\S* (server|agent)\b", line)
            if words:
                found.append(K3sProcess(process.pid, Role(words[1]), process.create_time()))
        except psutil.Error:  # it ended while we looked
            continue
    return tuple(found)


def no_processes() -> tuple[K3sProcess, ...]:
    """The Probe of a --root tree, in which nothing runs."""
    return ()
