"""Services that start K3s, parsed from systemd units as install.sh writes them, and from OpenRC scripts. Pure."""

from __future__ import annotations

import re
from contextlib import suppress
from fnmatch import fnmatchcase
from itertools import takewhile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.k3s.config import Word
from agent.k3s.options import CONFIG_FILE_VARIABLE, SERVER_ONLY_KEYS, VARIABLES
from agent.linux.unit_files import assignments, expanded, logical_lines, words
from agent.model import Location, Role
from agent.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

OPENRC_DIRECTORY = PurePosixPath("/etc/init.d")

_USUAL_NAMES = frozenset(("k3s.service", "k3s-server.service", "k3s-agent.service"))
_PROGRAMS = ("k3s", "k3s-server", "k3s-agent")
_ROLES = tuple(role.value for role in Role)
_PREFIXES = "-@:+!|"
"""Characters before the path of a program (systemd.service(5))."""
# Compiled on first use: a host that is being prepared has no service yet.
_OPENRC_COMMAND = r"(?s)command(?:_args)?=[\"']?(.*?)[\"']?"
_VARIABLE_WORD = r"(?a)\$([A-Za-z_]\w*)"
_VARIABLE_IN_WORD = r"(?a)\$(?:\$|\{([A-Za-z_]\w*)\})"
_VARIABLE = r"(?s)[ \t]*(?:export )?(\w+)=(.*)"


class K3sUnit(Value):
    """A service that starts K3s."""

    path: PurePosixPath
    """The unit itself. Arguments and variables can come from its drop-ins and environment files."""
    binary: PurePosixPath
    role: Role
    arguments: tuple[Word, ...]
    """The words after `k3s server` or `k3s agent`."""
    environment: Mapping[str, Word]
    """The variables that K3s reads in this role, by name."""
    before_start: tuple[Word, ...] = ()
    """The commands of ExecStartPre= that systemd runs, each as one word."""
    resets: tuple[Location, ...] = ()
    """The lines with an empty ExecStartPre=, which removes the commands before them."""
    environment_files: tuple[PurePosixPath, ...] = ()
    """The files from which systemd or OpenRC reads variables; some may be missing."""
    environment_directories: tuple[PurePosixPath, ...] = ()
    """The directories of which systemd reads all files with names that match a pattern."""

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


class OtherProgram(Value):
    """A service with K3s' name that starts a program which is not K3s, such as a script that starts K3s."""

    unit: PurePosixPath
    program: Word

    @property
    def role(self) -> Role:
        """The role for which install.sh uses the name of the service."""
        return Role.AGENT if self.unit.stem == "k3s-agent" else Role.SERVER


class EnvironmentFiles(Value):
    """Access to environment files."""

    read: Callable[[PurePosixPath], str]
    """Returns the text of a file; empty if there is none."""
    names: Callable[[PurePosixPath], Sequence[str]]
    """Returns the names in a directory; none if there is none."""


def parse_service(path: PurePosixPath, texts: Mapping[PurePosixPath, str], files: EnvironmentFiles) -> K3sUnit | None:
    """Parse a unit and its drop-ins; None if the service does not start K3s. `texts` has the unit first."""
    patterns = tuple(_environment_patterns(path, texts))
    environment_files = tuple(file for pattern in patterns for file in _matching(pattern, files))
    variables = dict(_environment(texts, environment_files, files))
    try:
        command = _of_k3s(_command(texts, variables))
    except ValueError:
        return None
    if not command:
        return None
    role = Role(command[1].text)
    environment = {name: value for name, value in variables.items() if _is_read(name, role)}
    before_start, resets = _values(texts, "ExecStartPre")
    binary, arguments = PurePosixPath(command[0].text), tuple(command[2:])
    return K3sUnit(
        path,
        binary,
        role,
        arguments,
        environment,
        tuple(before_start),
        tuple(resets),
        environment_files,
        tuple(pattern.parent for pattern in patterns if _has_wildcard(pattern.name)),
    )


def other_program(path: PurePosixPath, texts: Mapping[PurePosixPath, str]) -> OtherProgram | None:
    """Return the program of a service that has K3s' name but, as `parse_service` finds, no command of K3s; or None."""
    if path.name not in _USUAL_NAMES:
        return None  # such as one that takes snapshots
    try:
        command = _command(texts, {})
    except ValueError:
        return None
    return OtherProgram(path, command[0]) if command else None


def only_unit(units: Sequence[K3sUnit]) -> K3sUnit | None:
    """Return the unit whose configuration applies; None if there is none, or if some are servers and others agents."""
    return units[0] if len({unit.role for unit in units}) == 1 else None


def _values(texts: Mapping[PurePosixPath, str], name: str) -> tuple[list[Word], list[Location]]:
    """Return the values of a setting that is a list, and the lines that empty the list (systemd.syntax(7))."""
    values: list[Word] = []
    resets = []
    for path, text in texts.items():
        for line, key, value in assignments(text):
            if key == name and value.strip():
                values.append(Word(value, Location(path, line)))
            elif key == name:
                values.clear()
                resets.append(Location(path, line))
    return values, resets


def _command(texts: Mapping[PurePosixPath, str], variables: Mapping[str, Word]) -> list[Word]:
    """Return the words of a unit's last ExecStart=, or of an OpenRC script's command= and command_args=.

    Raises ValueError if a quote is not closed.
    """
    started, _ = _values(texts, "ExecStart")
    if started:
        text, location = started[-1]
        command = text.lstrip(_PREFIXES)
        prefix = text.removesuffix(command)
        parts = _split(command, location)
        if "@" in prefix:
            del parts[1:2]  # the name that the program gets
        return parts if ":" in prefix else [*parts[:1], *_substituted(parts[1:], variables)]
    script = [
        Word(found[1], Location(path, line))
        for path, text in texts.items()
        for line, content in logical_lines(text)
        if (found := re.fullmatch(_OPENRC_COMMAND, content))
    ]
    return [word for line in script for word in _split(*line)]


def _of_k3s(command: Sequence[Word]) -> list[Word]:
    """Return the words from K3s' program on, with the role as the second one; empty if there is no such command.

    The program of the unit can be one that starts K3s, such as env(1) or a shell. Options of K3s itself can be between
    its program and the role (k3s, pkg/cli/cmds/root.go).
    """
    for words_ in (command, [part for word in command for part in _split(*word)]):
        for position, word in enumerate(words_):
            if position and PurePosixPath(word.text).name not in _PROGRAMS:
                continue
            options = list(takewhile(lambda word: word.text.startswith("-"), words_[position + 1 :]))
            role = words_[position + 1 + len(options) :]
            if role and role[0].text in _ROLES:
                return [word, role[0], *options, *role[1:]]
    return []


def _split(text: str, location: Location) -> list[Word]:
    return [Word(word, Location(location.path, line)) for line, word in words(text, location.line or 0)]


def _substituted(found: Iterable[Word], variables: Mapping[str, Word]) -> Iterator[Word]:
    """Yield words with variables replaced (systemd.service(5)). A word `$NAME` becomes any number of words.

    Raises ValueError if a quote in such a variable is not closed.
    """
    for word in found:
        if "$" not in word.text:
            yield word
            continue
        whole = re.fullmatch(_VARIABLE_WORD, word.text)
        if whole is None:
            text = re.sub(
                _VARIABLE_IN_WORD,
                lambda match: "$" if match[1] is None else variables[match[1]].text if match[1] in variables else "",
                word.text,
            )
            yield word._replace(text=text)
        elif whole[1] in variables:
            value, location = variables[whole[1]]
            yield from (Word(word, location) for _, word in words(value, 0))


def _environment(
    texts: Mapping[PurePosixPath, str], paths: Iterable[PurePosixPath], files: EnvironmentFiles
) -> Iterator[tuple[str, Word]]:
    """Yield the variables of a service, weakest first: EnvironmentFile= overrides Environment= (systemd.exec(5))."""
    for setting in _values(texts, "Environment")[0]:
        with suppress(ValueError):  # an open quote
            for text, location in _split(*setting):
                name, _, value = text.partition("=")
                yield name, Word(value, location)
    for file in paths:
        for number, assignment in enumerate(files.read(file).split("\n"), 1):
            found = re.match(_VARIABLE, assignment)
            if found is not None:
                yield found[1], Word(_unquoted(found[2]), Location(file, number))


def _environment_patterns(path: PurePosixPath, texts: Mapping[PurePosixPath, str]) -> Iterator[PurePosixPath]:
    named: list[str] = []
    for setting in _values(texts, "EnvironmentFile")[0]:
        with suppress(ValueError):
            named += (word.text.lstrip("-") for word in _split(*setting))
    for file in (expanded(word, path.name) for word in named) if named else _usual_files(path):
        if file:
            yield PurePosixPath(file)


def _matching(pattern: PurePosixPath, files: EnvironmentFiles) -> Iterable[PurePosixPath]:
    """Return the files that match a pattern in the last part of a path, in the order of glob(3)."""
    if not _has_wildcard(pattern.name):
        return (pattern,)
    return [pattern.with_name(name) for name in sorted(files.names(pattern.parent)) if _matches(name, pattern.name)]


def _has_wildcard(name: str) -> bool:
    return not set(name).isdisjoint("*?[")


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) and (not name.startswith(".") or pattern.startswith("."))


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
    if text[:1] not in {'"', "'"}:
        return text
    return text[1:-1] if text[-1:] in {'"', "'"} else text[1:]


def _is_read(variable: str, role: Role) -> bool:
    """Return whether K3s reads a variable in a role. An agent ignores the variables of a server's options."""
    option = VARIABLES.get(variable)
    return variable == CONFIG_FILE_VARIABLE or (
        option is not None and not (role is Role.AGENT and option in SERVER_ONLY_KEYS)
    )
