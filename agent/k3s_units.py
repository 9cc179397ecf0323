"""The services that start K3s: systemd units as install.sh writes them, or an OpenRC script."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent.errors import HostError
from agent.model import Role

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.host import Host

UNIT_DIRECTORIES = tuple(
    map(
        PurePosixPath,
        (
            "/etc/systemd/system",
            "/run/systemd/system",
            "/usr/local/lib/systemd/system",
            "/usr/lib/systemd/system",
        ),
    )
)
"""Where systemd looks for units, first found first (systemd.unit(5)); drop-ins of all of them count."""

PACKAGED_UNITS = UNIT_DIRECTORIES[-1]
"""Where a distribution's package puts its units; those of the same name in an earlier directory would hide them."""

GATE = "k3s-harden.service"
DROPIN = "10-k3s-harden.conf"
"""The two halves of the gate: the unit, and a drop-in of each service that starts K3s."""

OPENRC_DIRECTORY = PurePosixPath("/etc/init.d")

_ROLES = tuple(role.value for role in Role)
_ENVIRONMENT = ("K3S_URL", "K3S_DATASTORE_ENDPOINT", "K3S_DATA_DIR", "K3S_CONFIG_FILE")


class Unit(NamedTuple):
    """A service that starts K3s: its words after `k3s server` or `k3s agent`, and what its environment files set.

    Of the environment only the names in _ENVIRONMENT are kept: the token is in there, too.
    """

    path: PurePosixPath
    binary: PurePosixPath
    role: Role
    arguments: tuple[str, ...]
    environment: Mapping[str, str]

    def argument(self, *names: str) -> str | None:
        """The value of a flag on the command line, under any of its names; None where it is not given."""
        for word, following in zip(self.arguments, (*self.arguments, "")[1:], strict=True):
            name, separator, value = word.partition("=")
            if name in names:
                return value if separator else following
        return None


def installed(host: Host) -> tuple[Unit, ...]:
    """The services that start K3s; of two files with one name, systemd reads the one in the earlier directory."""
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
    import shlex

    try:
        text = (host.tree.read(path) or b"").decode(errors="replace")
    except HostError:
        return None
    # What `systemctl edit` made of the unit comes after it, and the last ExecStart= counts.
    text = re.sub(r"\\\n", " ", "\n".join([text, *_dropins(host, path.name)]))
    # systemd's ExecStart=, or command= and command_args= of an OpenRC script.
    command = re.findall(r"^ExecStart=(?:[-@:+!]*)(.*)$", text, re.MULTILINE)[-1:] or [
        " ".join(re.findall(r"^command(?:_args)?=[\"']?(.*?)[\"']?$", text, re.MULTILINE))
    ]
    try:
        words = shlex.split(command[0])
    except ValueError:
        return None
    if len(words) < 2 or words[1] not in _ROLES:  # noqa: PLR2004 - a program and its first argument
        return None
    files = (
        f"{path}.env",
        f"/etc/default/{path.stem}",
        f"/etc/sysconfig/{path.stem}",
        f"/etc/rancher/k3s/{path.stem}.env",
    )
    environment = _variables("\n".join(word for line in _settings(text, "Environment") for word in line))
    for file in (*files, *(word.lstrip("-") for line in _settings(text, "EnvironmentFile") for word in line)):
        if file.startswith("/") and "%" not in file:
            environment |= _environment(host, PurePosixPath(file))
    return Unit(path, PurePosixPath(words[0]), Role(words[1]), tuple(words[2:]), environment)


def _environment(host: Host, path: PurePosixPath) -> Mapping[str, str]:
    try:
        text = (host.tree.read(path) or b"").decode(errors="replace")
    except HostError:
        return {}
    return _variables(text)


def _variables(text: str) -> dict[str, str]:
    pairs = re.findall(r"^(?:export )?(\w+)=[\"']?(.*?)[\"']?\s*$", text, re.MULTILINE)
    return {name: value for name, value in pairs if name in _ENVIRONMENT and value}


def _settings(text: str, name: str) -> list[list[str]]:
    """The words of each line `name=…` of a unit, as systemd.syntax(7) takes quotes."""
    import shlex

    found = []
    for line in re.findall(rf"^{name}=(.*)$", text, re.MULTILINE):
        try:
            found.append(shlex.split(line))
        except ValueError:
            continue
    return found


def _dropins(host: Host, name: str) -> list[str]:
    """The texts of a unit's drop-ins, by file name over all directories; of two with one name the first counts."""
    paths: dict[str, PurePosixPath] = {}
    for directory in UNIT_DIRECTORIES:
        for file in host.tree.names(directory / f"{name}.d"):
            if file.endswith(".conf"):
                paths.setdefault(file, directory / f"{name}.d" / file)
    texts = []
    for file in sorted(paths):
        try:
            texts.append((host.tree.read(paths[file]) or b"").decode(errors="replace"))
        except HostError:
            continue
    return texts


class Gate(NamedTuple):
    """What is there of the gate: its unit, and the drop-ins by the service they are for.

    `mounts` are the paths that the unit waits for to be mounted. `packaged` says that the distribution's package is
    installed, which has a unit of its own whatever else there is.
    """

    unit: PurePosixPath | None
    dropins: Mapping[str, PurePosixPath]
    mounts: tuple[PurePosixPath, ...]
    packaged: bool


def gate(host: Host) -> Gate:
    """Look for both halves of the gate in all directories of systemd."""
    units = [directory / GATE for directory in UNIT_DIRECTORIES if host.tree.exists(directory / GATE)]
    dropins: dict[str, PurePosixPath] = {}
    for directory in UNIT_DIRECTORIES:
        for name in host.tree.names(directory):
            if name.endswith(".service.d") and name.startswith("k3s"):
                path = directory / name / DROPIN
                if host.tree.exists(path):
                    dropins.setdefault(name.removesuffix(".d"), path)
    return Gate(
        unit=units[0] if units else None,
        dropins=dropins,
        mounts=_mounts(host, units[0]) if units else (),
        packaged=PACKAGED_UNITS / GATE in units,
    )


def _mounts(host: Host, unit: PurePosixPath) -> tuple[PurePosixPath, ...]:
    """The paths in RequiresMountsFor= of a unit and its drop-ins, which add to each other."""
    try:
        text = (host.tree.read(unit) or b"").decode(errors="replace")
    except HostError:
        text = ""
    lines = _settings("\n".join([text, *_dropins(host, unit.name)]), "RequiresMountsFor")
    return tuple(PurePosixPath(word) for line in lines for word in line)


def chosen(units: Sequence[Unit], role: Role | None) -> Unit | None:
    """The unit whose configuration counts: the one of the role that is asked for, else the only role there is."""
    suitable = [unit for unit in units if role in (None, unit.role)]
    return suitable[0] if len({unit.role for unit in suitable}) == 1 else None
