"""Services on this host that start K3s."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import HostError
from agent.k3s.services import OPENRC_DIRECTORY, parse
from agent.linux.unit_files import UNIT_DIRECTORIES
from agent.node import unit_files

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from agent.host import Host
    from agent.k3s.services import Unit


def installed_units(host: Host) -> tuple[Unit, ...]:
    """Return the services that start K3s. Of files with one name, systemd reads the one in the first directory."""
    found: dict[str, Unit] = {}
    for directory in (*UNIT_DIRECTORIES, OPENRC_DIRECTORY):
        for name in host.tree.names(directory):
            if not name.startswith("k3s") or "." in name.removesuffix(".service"):
                continue
            path = directory / name
            unit = _unit(host, path) if name not in found else None
            if unit is not None:
                found[name] = unit
    return tuple(found.values())


def _unit(host: Host, path: PurePosixPath) -> Unit | None:
    text = _text(host, path)
    if not text:
        return None
    # Drop-ins, such as those of `systemctl edit`, apply after the unit.
    return parse(path, {path: text, **unit_files.dropins(host, path.name)}, lambda file: _text(host, file))


def _text(host: Host, path: PurePosixPath) -> str:
    """Return the text of a file; empty if it is missing or not readable."""
    try:
        return host.tree.read_text(path)
    except HostError:
        return ""
