"""Services on this host that start K3s."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.k3s.services import OPENRC_DIRECTORY, EnvironmentFiles, K3sUnit, OtherProgram, other_program, parse_service
from agent.linux.unit_files import UNIT_DIRECTORIES
from agent.node import unit_files

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from agent.errors import HardenError
    from agent.host import Host


def installed_units(
    host: Host, unread: list[HardenError], others: list[OtherProgram] | None = None
) -> tuple[K3sUnit, ...]:
    """Return the services that start K3s. Of files with one name, systemd reads the one in the first directory.

    Adds to `unread` the files that systemd reads and this program cannot read, and to `others` the services of K3s that
    start another program.
    """
    found: dict[str, K3sUnit | OtherProgram] = {}
    for directory in (*UNIT_DIRECTORIES, OPENRC_DIRECTORY):
        for name in host.tree.names(directory):
            is_service = "." not in name if directory == OPENRC_DIRECTORY else name.endswith(".service")
            if not (is_service and name.startswith("k3s")) or name.startswith("k3s-harden"):
                continue
            path = directory / name
            unit = _unit(host, path, unread) if name not in found else None
            if unit is not None:
                found[name] = unit
    if others is not None:
        others += (service for service in found.values() if isinstance(service, OtherProgram))
    return tuple(service for service in found.values() if isinstance(service, K3sUnit))


def _unit(host: Host, path: PurePosixPath, unread: list[HardenError]) -> K3sUnit | OtherProgram | None:
    text = unit_files.unit_text(host, path, unread)
    if not text:
        return None
    # Drop-ins, such as those of `systemctl edit`, apply after the unit.
    texts = {path: text, **unit_files.read_dropins(host, path.name, unread)}
    unit = parse_service(
        path, texts, EnvironmentFiles(lambda file: unit_files.unit_text(host, file, unread), host.tree.names)
    )
    return unit or other_program(path, texts)
