"""What the gate (systemd/k3s-harden.service) remembers: the K3s services that it kept down, to start them once it can.

A service whose start was refused is not started again by systemd. So a gate that fails writes down which services
were waiting for it, and the next run that finds the host ready starts these, and no others: a K3s that an operator
stopped or disabled was not waiting.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.host.systemd import Systemd
from agent.model import File, FileMode

if TYPE_CHECKING:
    from agent.host import Host

BLOCKED = PurePosixPath("/run/k3s-harden/blocked")
"""A line a service: its name and its UnitFileState when it was kept down. Gone with the boot, as the waiting is."""

_OURS = "k3s-harden"
_NOT_DISABLED = frozenset({"disabled", "masked", "masked-runtime"})
