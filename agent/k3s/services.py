"""Services that start K3s, parsed from systemd units as install.sh writes them, and from OpenRC scripts. Pure."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent.k3s.config import Word
from agent.k3s.options import CONFIG_FILE_VARIABLE, SERVER_ONLY_KEYS, VARIABLES
from agent.linux.unit_files import expanded, logical_lines, settings, words
from agent.model import Location, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

OPENRC_DIRECTORY = PurePosixPath("/etc/init.d")

_ROLES = tuple(role.value for role in Role)
_EXEC_START = re.compile(r"ExecStart=[-@:+!]*(.*)", re.DOTALL)
_OPENRC_COMMAND = re.compile(r"command(?:_args)?=[\"']?(.*?)[\"']?", re.DOTALL)
_VARIABLE = re.compile(r"[ \t]*(?:export )?(\w+)=(.*)", re.DOTALL)


class Unit(NamedTuple):
    """A service that starts K3s."""

    path: PurePosixPath
    """The unit itself. Arguments and variables can come from its drop-ins and environment files."""
    binary: PurePosixPath
    role: Role
    arguments: tuple[Word, ...]
    """The words after `k3s server` or `k3s agent`."""
    environment: Mapping[str, Word]
    """The variables that K3s reads in this role, by name."""

    @property
    def config_path(self) -> PurePosixPath | None:
        """The main configuration file, if it is set. K3S_CONFIG_FILE overrides --config (k3s, pkg/configfilearg)."""
        variable = self.environment.get(CONFIG_FILE_VARIABLE)
        path = variable.text if variable and variable.text else self._argument("--config", "-c")
        return PurePosixPath(path) if path else None

    def _argument(self, *names: str) -> str:
        texts = [word.text for word in self.arguments]
        for position, word in enumerate(texts):
            name, separator, value = word.partition("=")
            if name in names:
                return value if separator else next(iter(texts[position + 1 :]), "")
        return ""


def parse(path: PurePosixPath, texts: Mapping[PurePosixPath, str], read: Callable[[PurePosixPath], str]) -> Unit | None:
    """Parse a unit and its drop-ins; None if the service does not start K3s.

    `texts` has the unit first. `read` returns the text of an environment file, or an empty text if there is none.
    """
    try:
        command = _command(texts)
    except ValueError:
        return None
    if len(command) < 2 or command[1].text not in _ROLES:  # noqa: PLR2004 - a program and its first argument
        return None
    role = Role(command[1].text)
    environment = {name: value for name, value in _environment(path, texts, read) if _is_read(name, role)}
    return Unit(path, PurePosixPath(command[0].text), role, tuple(command[2:]), environment)


def chosen(units: Sequence[Unit], role: Role | None) -> Unit | None:
    """Return the unit whose configuration applies: that of the given role, or else of the only role there is."""
    suitable = [unit for unit in units if role in (None, unit.role)]
    return suitable[0] if len({unit.role for unit in suitable}) == 1 else None


def _command(texts: Mapping[PurePosixPath, str]) -> list[Word]:
    """Return the words of a unit's last ExecStart=, or of an OpenRC script's command= and command_args=.

    Raises ValueError if a quote is not closed.
    """
    lines = [(path, number, line) for path, text in texts.items() for number, line in logical_lines(text)]
    started = [(path, line, found[1]) for path, line, text in lines if (found := _EXEC_START.fullmatch(text))]
    script = [(path, line, found[1]) for path, line, text in lines if (found := _OPENRC_COMMAND.fullmatch(text))]
    return [
        Word(word, Location(path, line))
        for path, first, text in started[-1:] or script
        for line, word in words(text, first)
    ]


def _environment(
    path: PurePosixPath, texts: Mapping[PurePosixPath, str], read: Callable[[PurePosixPath], str]
) -> Iterator[tuple[str, Word]]:
    """Yield the variables of a service, weakest first: EnvironmentFile= overrides Environment= (systemd.exec(5))."""
    for unit, text in texts.items():
        for line, word in settings(text, "Environment"):
            name, _, value = word.partition("=")
            yield name, Word(value, Location(unit, line))
    named = [word.lstrip("-") for text in texts.values() for _, word in settings(text, "EnvironmentFile")]
    for file in filter(None, (expanded(word, path.name) for word in named) if named else _usual_files(path)):
        for number, assignment in enumerate(read(PurePosixPath(file)).split("\n"), 1):
            found = _VARIABLE.match(assignment)
            if found is not None:
                yield found[1], Word(_unquoted(found[2]), Location(PurePosixPath(file), number))


def _usual_files(path: PurePosixPath) -> tuple[str, ...]:
    """Return the environment files of a service that names none, as the OpenRC scripts of install.sh."""
    return (
        f"/etc/default/{path.stem}",
        f"/etc/sysconfig/{path.stem}",
        f"{path}.env",
        f"/etc/rancher/k3s/{path.stem}.env",
    )


def _unquoted(text: str) -> str:
    text = text.strip()
    text = text[1:] if text[:1] in {'"', "'"} else text
    return text[:-1] if text[-1:] in {'"', "'"} else text


def _is_read(variable: str, role: Role) -> bool:
    """Return whether K3s reads a variable in a role. An agent ignores the variables of a server's options."""
    option = VARIABLES.get(variable)
    return variable == CONFIG_FILE_VARIABLE or (
        option is not None and not (role is Role.AGENT and option in SERVER_ONLY_KEYS)
    )
