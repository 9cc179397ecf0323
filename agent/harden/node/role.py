"""Role of K3s on this host: server or agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.errors import UsageError
from agent.base.model import Role
from agent.k3s.options import SERVER_ONLY_KEYS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import PurePosixPath

    from agent.base.host import Host
    from agent.base.host.probe import K3sProcess
    from agent.harden.settings.schema import Settings
    from agent.k3s.config import MergedConfig
    from agent.k3s.services import K3sUnit, OtherProgram


def role_from_services(
    settings: Settings, units: Sequence[K3sUnit], unit: K3sUnit | None, processes: Sequence[K3sProcess]
) -> tuple[Role | None, str]:
    """Return the role from settings, services and processes, and its source.

    None if none of them has the role. Raises UsageError if they contradict each other.
    """
    if settings.role is not None:
        if units and unit is None:
            # An agent exits at a server's arguments, and a server without them is not hardened.
            raise UsageError(
                f"cannot treat this host as {settings.role}: {units[0].path} starts K3s as {units[0].role}",
                "correct --role, or `role:` in the settings; or remove that service first",
            )
        return settings.role, "given"
    if unit is not None:
        return unit.role, str(unit.path)
    running = {process.role for process in processes}
    if len(running) == 1:
        return running.pop(), "the running process"
    if units:
        names = " and ".join(unit.path.name for unit in units)
        raise UsageError(
            f"cannot determine whether this host is a server or an agent: it has {names}",
            "pass --role server or --role agent",
        )
    return None, ""


def role_from_files(
    host: Host, config: MergedConfig, data_dir: PurePosixPath, others: Sequence[OtherProgram]
) -> tuple[Role, str]:
    """Return the role from K3s' data and configuration, and its source. Raises UsageError if they do not have it."""
    if host.tree.exists(data_dir / "server"):
        return Role.SERVER, f"{data_dir}/server exists"
    server_keys = [key for key in config.values if key in SERVER_ONLY_KEYS]
    if server_keys:
        return Role.SERVER, f"`{server_keys[0]}` in K3s' configuration, which only servers support"
    why = "K3s is not installed yet"
    for other in others:
        why = f"{other.unit.name} starts {other.program.text}, which cannot be followed: {other.reason}"
    raise UsageError(
        f"cannot determine whether this host is a server or an agent: {why}",
        "pass --role server or --role agent, or set `role:` in the settings",
    )
