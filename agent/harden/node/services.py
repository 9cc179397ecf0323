"""Services on this host that start K3s."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.errors import HostError
from agent.base.host.directories import Total
from agent.base.linux.unit_files import UNIT_DIRECTORIES
from agent.harden.node import unit_files
from agent.harden.node.gate_units import DROPIN
from agent.harden.node.loaded_service import loaded_settings
from agent.k3s.services import OPENRC_DIRECTORY, K3sUnit, OtherProgram, find_k3s, parse_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.base.errors import HardenError
    from agent.base.host import Host
    from agent.base.host.probe import K3sProcess
    from agent.base.model import Role

_RUNLEVELS = PurePosixPath("/etc/runlevels")
"""OpenRC's directories of the services that it starts."""

_USUAL_NAMES = frozenset(("k3s.service", "k3s-server.service", "k3s-agent.service"))


def installed_units(
    host: Host, unread: list[HardenError], others: list[OtherProgram] | None = None, named: str = ""
) -> tuple[K3sUnit, ...]:
    """Return the services that start K3s. Of files with one name, systemd reads the one in the first directory.

    Adds to `unread` the files that systemd reads and this program cannot read, and to `others` the services of K3s that
    start another program. systemd is asked about each service that the files show, or only about the named one.
    """
    found: dict[str, K3sUnit | OtherProgram] = {}
    for directory in (*UNIT_DIRECTORIES, OPENRC_DIRECTORY):
        for name in host.tree.names(directory):
            is_service = "." not in name if directory == OPENRC_DIRECTORY else name.endswith(".service")
            if not (is_service and name.startswith("k3s")) or name.startswith("k3s-harden"):
                continue
            path = directory / name
            unit = _unit(host, path, unread, asks=named in ("", name)) if name not in found else None
            if unit is not None:
                found[name] = unit
    if others is not None:
        others += (service for service in found.values() if isinstance(service, OtherProgram))
    return tuple(service for service in found.values() if isinstance(service, K3sUnit))


def candidate_units(
    host: Host, units: Sequence[K3sUnit], role: Role | None, processes: Sequence[K3sProcess] = ()
) -> tuple[K3sUnit, ...]:
    """Return the services that decide about K3s' configuration: the running ones, or else those that the boot starts.

    If there is none of both, all of this role, as on a host tree whose services are not enabled yet.
    """
    suitable = tuple(unit for unit in units if role in (None, unit.role))
    running = {name for process in processes for name in _control_groups(host, process.pid)}
    started = tuple(unit for unit in suitable if unit.path.name in running)
    return started or tuple(unit for unit in suitable if _starts_at_boot(host, unit.path.name)) or suitable


def _control_groups(host: Host, pid: int) -> Iterator[str]:
    for line in host.tree.text_if_readable(PurePosixPath(f"/proc/{pid}/cgroup")).splitlines():
        yield line.rpartition("/")[2]


def _starts_at_boot(host: Host, name: str) -> bool:
    """Return whether a service is enabled, or is wanted or required by another unit."""
    for top in (*UNIT_DIRECTORIES, _RUNLEVELS):
        with suppress(HostError):
            for directory in host.tree.names(top):
                wants = directory.endswith((".wants", ".requires")) or top == _RUNLEVELS
                if wants and host.tree.exists(top / directory / name):
                    return True
    return False


def _unit(host: Host, path: PurePosixPath, unread: list[HardenError], *, asks: bool) -> K3sUnit | OtherProgram | None:
    text = unit_files.unit_text(host, path, unread)
    if not text:
        return None
    total = Total(f"environment files of {path.name}")
    access = partial(unit_files.unit_text, host, unread=unread, total=total), host.tree.names
    # Drop-ins, such as those of `systemctl edit`, apply after the unit.
    texts = {path: text, **unit_files.read_dropins(host, path.name, unread)}
    found = find_k3s(path, parse_settings(path, texts), *access)
    is_named = path.name in _USUAL_NAMES or any(file.name == DROPIN for file in texts)
    if isinstance(found, OtherProgram) and not is_named:
        return None  # such as one that takes snapshots
    loaded = loaded_settings(host, path, unread) if found and asks and path.parent != OPENRC_DIRECTORY else None
    return find_k3s(path, loaded, *access) if loaded else found
