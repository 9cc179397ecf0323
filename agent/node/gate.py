"""The gate as a host has it: k3s-harden.service, and a drop-in of each service that starts K3s."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent.errors import HostError
from agent.linux.unit_files import PACKAGED_UNITS, UNIT_DIRECTORIES
from agent.linux.unit_files import settings as unit_settings
from agent.node import unit_files

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.host import Host

UNIT = "k3s-harden.service"
DROPIN = "10-k3s-harden.conf"
"""The two halves of the gate: the unit, and a drop-in of each service that starts K3s."""


class Gate(NamedTuple):
    """What is there of the gate: its unit, and the drop-ins by the service they are for. What is masked is not there.

    `mask` is what keeps systemd from reading a unit. `mounts` are the paths that the unit waits for to be mounted.
    `packaged` says that the distribution's package is installed, which has a unit of its own whatever else there is.
    """

    unit: PurePosixPath | None
    mask: PurePosixPath | None
    dropins: Mapping[str, PurePosixPath]
    mounts: tuple[PurePosixPath, ...]
    packaged: bool


def look(host: Host) -> Gate:
    """Look for both halves of the gate in all directories of systemd."""
    units = [directory / UNIT for directory in UNIT_DIRECTORIES if host.tree.exists(directory / UNIT)]
    dropins: dict[str, PurePosixPath] = {}
    for directory in UNIT_DIRECTORIES:
        for name in host.tree.names(directory):
            if name.endswith(".service.d") and name.startswith("k3s"):
                path = directory / name / DROPIN
                if host.tree.exists(path):
                    dropins.setdefault(name.removesuffix(".d"), path)
    unit = units[0] if units else None
    mask = unit if unit is not None and unit_files.is_masked(host, unit) else None
    return Gate(
        unit=None if mask else unit,
        mask=mask,
        dropins={service: path for service, path in dropins.items() if not unit_files.is_masked(host, path)},
        mounts=() if mask or unit is None else _mounts(host, unit),
        packaged=PACKAGED_UNITS / UNIT in units,
    )


def _mounts(host: Host, unit: PurePosixPath) -> tuple[PurePosixPath, ...]:
    """The paths in RequiresMountsFor= of a unit and its drop-ins, which add to each other."""
    try:
        text = host.tree.read_text(unit)
    except HostError:
        text = ""
    words = unit_settings("\n".join([text, *unit_files.dropins(host, unit.name).values()]), "RequiresMountsFor")
    return tuple(PurePosixPath(word.replace("%%", "%")) for _, word in words)
