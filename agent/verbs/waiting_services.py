"""What the gate (systemd/k3s-harden.service) remembers: the K3s services that it kept down, to start them once it can.

A service whose start was refused is not started again by systemd. So a gate that fails starts a marker,
k3s-harden-waiting@SERVICE, for each service that was waiting for it, and the next run that finds the host ready starts
the services that still have one. systemd itself stops the marker when an operator stops the service, so that a K3s
that was stopped, before or meanwhile, stays down.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.host.systemd import Systemd

if TYPE_CHECKING:
    from agent.host import Host

_OURS = "k3s-harden"
_MARKER = "k3s-harden-waiting@"
SIGNS = PurePosixPath("/run/k3s-harden")
"""Where the gate's sign of success and those of the markers lie; empty after a boot."""
_SIGN = "waiting."
"""Each marker leaves a file while it is active, so that a run with nothing to release need not ask systemd."""

_SERVICE = ".service"
_SWITCHED_OFF = frozenset({"disabled", "masked", "masked-runtime"})


def hold(host: Host) -> None:
    """Mark the K3s services whose start waits for us."""
    systemd = Systemd(host)
    if not systemd.is_running:
        return
    for unit in systemd.waiting_starts():
        if unit.startswith("k3s") and unit.endswith(_SERVICE) and not unit.startswith(_OURS):
            systemd.start(f"{_MARKER}{unit}")


def release(host: Host) -> tuple[str, ...]:
    """Queue the start of what was kept down, but for what was disabled since; returns what is being started."""
    if not host.is_live:
        return ()
    systemd = Systemd(host)
    started = []
    for sign in host.tree.names(SIGNS):
        if not sign.startswith(_SIGN):
            continue
        unit = f"{sign.removeprefix(_SIGN)}{_SERVICE}"
        systemd.stop(f"{_MARKER}{unit}")
        state = systemd.state(unit)
        if state.active in ("inactive", "failed") and state.file not in _SWITCHED_OFF:
            systemd.start(unit)
            started.append(unit)
    return tuple(started)
