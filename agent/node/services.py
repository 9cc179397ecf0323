"""Services on this host that start K3s."""

from __future__ import annotations

from agent.k3s.services import OPENRC_DIRECTORY, Files, parse
from agent.linux.unit_files import UNIT_DIRECTORIES
from agent.node import unit_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from agent.errors import HardenError
    from agent.host import Host
    from agent.k3s.services import Unit


def installed_units(host: Host, unread: list[HardenError]) -> tuple[Unit, ...]:
    """Return the services that start K3s. Of files with one name, systemd reads the one in the first directory.

    Adds to `unread` the files that systemd reads and this program cannot read.
    """
    found: dict[str, Unit] = {}
    for directory in (*UNIT_DIRECTORIES, OPENRC_DIRECTORY):
        for name in host.tree.names(directory):
            is_service = "." not in name if directory == OPENRC_DIRECTORY else name.endswith(".service")
            if not (is_service and name.startswith("k3s")) or name.startswith("k3s-harden"):
                continue
            path = directory / name
            unit = _unit(host, path, unread) if name not in found else None
            if unit is not None:
                found[name] = unit
    return tuple(found.values())


def _unit(host: Host, path: PurePosixPath, unread: list[HardenError]) -> Unit | None:
    text = unit_files.text(host, path, unread)
    if not text:
        return None
    # Drop-ins, such as those of `systemctl edit`, apply after the unit.
    texts = {path: text, **unit_files.dropins(host, path.name, unread)}
    return parse(path, texts, Files(lambda file: unit_files.text(host, file, unread), host.tree.names))
