"""The services that start K3s: systemd units as install.sh writes them, or an OpenRC script."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent import unit_files
from agent.errors import HostError
from agent.model import Role
from agent.unit_files import UNIT_DIRECTORIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.host import Host

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
    text = re.sub(r"\\\n", " ", "\n".join([text, *unit_files.dropins(host, path.name)]))
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
    environment = _variables("\n".join(word for line in unit_files.settings(text, "Environment") for word in line))
    for file in (*files, *(word.lstrip("-") for line in unit_files.settings(text, "EnvironmentFile") for word in line)):
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


def chosen(units: Sequence[Unit], role: Role | None) -> Unit | None:
    """The unit whose configuration counts: the one of the role that is asked for, else the only role there is."""
    suitable = [unit for unit in units if role in (None, unit.role)]
    return suitable[0] if len({unit.role for unit in suitable}) == 1 else None
