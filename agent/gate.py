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
"""A line a service: its name, and its UnitFileState when it was kept down. Gone with the boot, as the waiting is."""

_OURS = "k3s-harden"
_SWITCHED_OFF = frozenset({"disabled", "masked", "masked-runtime"})


def hold(host: Host) -> tuple[str, ...]:
    """Write down the K3s services whose start waits for us, beside those written down before; returns the new ones."""
    systemd = Systemd(host)
    if not systemd.is_running:
        return ()
    waiting = [unit for unit in systemd.waiting_starts() if unit.startswith("k3s") and not unit.startswith(_OURS)]
    held = _held(host) | {unit: systemd.state(unit).file for unit in waiting}
    if held:
        content = "".join(f"{unit} {state or '-'}\n" for unit, state in held.items()).encode()
        host.put(File(path=BLOCKED, content=content, mode=FileMode(0o600)))
    return tuple(waiting)


def release(host: Host) -> tuple[str, ...]:
    """Queue the start of what was kept down, but for what was switched off since; returns what is being started."""
    held = _held(host)
    if not held:
        return ()
    systemd = Systemd(host)
    host.tree.remove_file(BLOCKED)
    started = []
    for unit, file_state in held.items():
        now = systemd.state(unit)
        switched_off = now.file in _SWITCHED_OFF and now.file != file_state
        if now.active in ("inactive", "failed") and not switched_off:
            systemd.start(unit)
            started.append(unit)
    return tuple(started)


def _held(host: Host) -> dict[str, str]:
    if not host.is_live:
        return {}
    rows = (line.split() for line in (host.tree.read(BLOCKED) or b"").decode(errors="replace").splitlines())
    return {row[0]: row[1] for row in rows if len(row) == 2}  # noqa: PLR2004 - the line's two words
