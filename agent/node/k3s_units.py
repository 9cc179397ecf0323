"""The services that start K3s: systemd units as install.sh writes them, or an OpenRC script."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent.errors import HostError
from agent.k3s.config import Word, without_secrets
from agent.linux.unit_files import UNIT_DIRECTORIES
from agent.linux.unit_files import settings as unit_settings
from agent.model import Location, Role
from agent.node import unit_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from agent.host import Host

OPENRC_DIRECTORY = PurePosixPath("/etc/init.d")

_ROLES = tuple(role.value for role in Role)
_EXEC_START = re.compile(r"ExecStart=[-@:+!]*(.*)", re.DOTALL)
_OPENRC_COMMAND = re.compile(r"command(?:_args)?=[\"']?(.*?)[\"']?", re.DOTALL)
_ENVIRONMENT = {
    "K3S_CONFIG_FILE": "config",
    "K3S_DATASTORE_CAFILE": "datastore-cafile",
    "K3S_DATASTORE_CERTFILE": "datastore-certfile",
    "K3S_DATASTORE_ENDPOINT": "datastore-endpoint",
    "K3S_DATASTORE_KEYFILE": "datastore-keyfile",
    "K3S_DATA_DIR": "data-dir",
    "K3S_URL": "server",
}
"""Variables that stand for a key of the configuration where it is not given (k3s, pkg/cli/cmds)."""


class Unit(NamedTuple):
    """A service that starts K3s: its words after `k3s server` or `k3s agent`, and what its environment files set.

    `path` is the unit itself; a word may stand in one of its drop-ins. Of the environment only the names in
    _ENVIRONMENT are kept, without secrets: the token is in there, too.
    """

    path: PurePosixPath
    binary: PurePosixPath
    role: Role
    arguments: tuple[Word, ...]
    environment: Mapping[str, str]

    def variable(self, key: str) -> str:
        """The value for a key of K3s' configuration in the environment; "" where there is none."""
        return next((value for name, value in self.environment.items() if _ENVIRONMENT[name] == key), "")

    def argument(self, *names: str) -> str | None:
        """The value of a flag on the command line, under any of its names; None where it is not given."""
        texts = [word.text for word in self.arguments]
        for word, following in zip(texts, (*texts, "")[1:], strict=True):
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
    try:
        texts = {path: (host.tree.read(path) or b"").decode(errors="replace")}
    except HostError:
        return None
    # What `systemctl edit` made of the unit comes after it.
    texts |= unit_files.dropins(host, path.name)
    try:
        words = _command(texts)
    except ValueError:
        return None
    if len(words) < 2 or words[1].text not in _ROLES:  # noqa: PLR2004 - a program and its first argument
        return None
    text = re.sub(r"\\\n", " ", "\n".join(texts.values()))
    files = (
        f"{path}.env",
        f"/etc/default/{path.stem}",
        f"/etc/sysconfig/{path.stem}",
        f"/etc/rancher/k3s/{path.stem}.env",
    )
    environment = _variables("\n".join(word for line in unit_settings(text, "Environment") for word in line))
    for file in (*files, *(word.lstrip("-") for line in unit_settings(text, "EnvironmentFile") for word in line)):
        if file.startswith("/") and "%" not in file:
            environment |= _environment(host, PurePosixPath(file))
    return Unit(path, PurePosixPath(words[0].text), Role(words[1].text), tuple(words[2:]), environment)


def _command(texts: Mapping[PurePosixPath, str]) -> list[Word]:
    """The words of the last ExecStart= of a unit, or of command= and command_args= of an OpenRC script.

    Raises ValueError where a quote is not closed.
    """
    lines = [(Location(path, number), line) for path, text in texts.items() for number, line in _logical_lines(text)]
    started = [(source, found[1]) for source, line in lines if (found := _EXEC_START.fullmatch(line))]
    script = [(source, found[1]) for source, line in lines if (found := _OPENRC_COMMAND.fullmatch(line))]
    return [word for source, text in started[-1:] or script for word in _words(text, source)]


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Each line with its number, what a backslash continues put together; the ends of lines stay, to be counted."""
    first, held = 1, []
    for number, line in enumerate(text.split("\n"), 1):
        held.append(line.removesuffix("\\"))
        if not line.endswith("\\"):
            yield first, " \n".join(held)
            first, held = number + 1, []
    if held:
        yield first, " \n".join(held)


def _words(text: str, start: Location) -> Iterator[Word]:
    import shlex

    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    for word in lexer:
        yield Word(word, Location(start.path, start.line + lexer.lineno - 1))


def _environment(host: Host, path: PurePosixPath) -> Mapping[str, str]:
    try:
        text = (host.tree.read(path) or b"").decode(errors="replace")
    except HostError:
        return {}
    return _variables(text)


def _variables(text: str) -> dict[str, str]:
    pairs = re.findall(r"^(?:export )?(\w+)=[\"']?(.*?)[\"']?\s*$", text, re.MULTILINE)
    return {name: without_secrets(_ENVIRONMENT[name], value) for name, value in pairs if name in _ENVIRONMENT and value}


def chosen(units: Sequence[Unit], role: Role | None) -> Unit | None:
    """The unit whose configuration counts: the one of the role that is asked for, else the only role there is."""
    suitable = [unit for unit in units if role in (None, unit.role)]
    return suitable[0] if len({unit.role for unit in suitable}) == 1 else None
