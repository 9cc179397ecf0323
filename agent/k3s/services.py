"""Services that start K3s, parsed from systemd units as install.sh writes them, and from OpenRC scripts. Pure."""

from __future__ import annotations

import fnmatch
import re
from contextlib import suppress
from os.path import normpath
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING

from agent.base.linux.unit_files import assignments, expanded, logical_lines, words
from agent.base.model import Location, Role
from agent.base.value import Value
from agent.k3s.config import Word
from agent.k3s.options import CONFIG_FILE_VARIABLE, SERVER_ONLY_KEYS, VARIABLES
from agent.k3s.paths import K3S_CONFIG_FILE
from agent.k3s.start_command import k3s_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

OPENRC_DIRECTORY = PurePosixPath("/etc/init.d")

_PREFIXES = "-@:+!|"
"""Characters before the path of a program (systemd.service(5))."""
# Compiled on first use: a host that is being prepared has no service yet.
_OPENRC_COMMAND = r"(?s)command(?:_args)?=[\"']?(.*?)[\"']?"
_OPENRC_FILE = r"(?m)(?:^|[\s;])(?:source|\.)\s+(/[^\s;]+)"
_VARIABLE_WORD = r"(?a)\$([A-Za-z_]\w*)"
_VARIABLE_IN_WORD = r"(?a)\$(?:\$|\{([A-Za-z_]\w*)\})"
_VARIABLE = r"(?s)[ \t]*(\w+)=(.*)"


class ServiceSettings(Value):
    """What a service sets for its process, as systemd has loaded it or as its files say."""

    command: tuple[Word, ...]
    """The words of ExecStart= before variables are replaced; empty if it starts nothing."""
    environment: Mapping[str, Word] = MappingProxyType({})
    """The variables that do not come from environment files."""
    environment_files: tuple[PurePosixPath, ...] = ()
    """The files of EnvironmentFile=; a name can be a pattern."""
    unset: tuple[str, ...] = ()
    """The words of UnsetEnvironment=: names, and assignments."""
    replaces_variables: bool = True
    directory: str = ""
    """WorkingDirectory="""
    mounts: Mapping[PurePosixPath, PurePosixPath | None] = MappingProxyType({})
    """By directory that the process sees, that of the host; None if the host does not have these files."""
    before_start: tuple[Word, ...] = ()
    """The commands of ExecStartPre=, each as one word; `-` before it ignores its failure."""
    resets: tuple[Location, ...] = ()
    """The lines with an empty ExecStartPre=, which removes the commands before them."""
    is_loaded: bool = False
    """Whether systemd has shown them."""
    needs_reload: bool = False
    """Whether systemd uses older files than those on the disk."""


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
    settings: ServiceSettings
    environment_files: tuple[PurePosixPath, ...] = ()
    """The files from which systemd or OpenRC reads variables; some may be missing."""
    environment_directories: tuple[PurePosixPath, ...] = ()
    """The directories of which systemd reads all files with names that match a pattern."""

    @property
    def given_config(self) -> str:
        """The main configuration file as K3s gets it; K3S_CONFIG_FILE overrides --config (k3s, pkg/configfilearg)."""
        variable = self.environment.get(CONFIG_FILE_VARIABLE)
        return (variable.text if variable else "") or self._argument("--config", "-c") or str(K3S_CONFIG_FILE)

    @property
    def config_path(self) -> PurePosixPath | None:
        """The main configuration file on the host; None if K3s reads another file than any on the host."""
        return None if re.match("https?://", self.given_config) else self.on_host(PurePosixPath(self.given_config))

    def on_host(self, path: PurePosixPath) -> PurePosixPath | None:
        """Return the path on the host of a file that K3s sees at a path; None if the host does not have it."""
        directory = self.settings.directory.lstrip("!-").replace("~", "/root")
        absolute = PurePosixPath(normpath(PurePosixPath("/", directory, path)))
        for place in (absolute, *absolute.parents):
            if place in self.settings.mounts:
                source = self.settings.mounts[place]
                return None if source is None else source / absolute.relative_to(place)
        return absolute

    def _argument(self, *names: str) -> str:
        texts = [word.text for word in self.arguments]
        for position, word in enumerate(texts):
            name, separator, value = word.partition("=")
            if name in names:
                return value if separator else next(iter(texts[position + 1 :]), "")
        return ""


class OtherProgram(Value):
    """A service whose command does not lead to one of K3s, such as a script that starts K3s."""

    unit: PurePosixPath
    program: Word

    @property
    def role(self) -> Role:
        """The role for which install.sh uses the name of the service."""
        return Role.AGENT if self.unit.stem == "k3s-agent" else Role.SERVER


def find_k3s(
    path: PurePosixPath,
    settings: ServiceSettings,
    read: Callable[[PurePosixPath], str],
    names: Callable[[PurePosixPath], Sequence[str]],
) -> K3sUnit | OtherProgram | None:
    """Return what a service starts; None if that is nothing.

    `read` returns the text of a file, and `names` the names in a directory; both are empty if there is none.
    """
    environment_files = tuple(file for pattern in settings.environment_files for file in _matching(pattern, names))
    variables = {**settings.environment, **dict(_of_files(environment_files, read))}
    for word in settings.unset:
        name, has_value, value = word.partition("=")
        if not has_value or (name in variables and variables[name].text == value):
            variables.pop(name, None)
    command = settings.command
    with suppress(ValueError):  # an open quote in a variable
        words_ = _substituted(command[1:], variables) if settings.replaces_variables else command[1:]
        started = k3s_command((*command[:1], *words_), variables)
        if started:
            role = Role(started[1].text)
            environment = {name: value for name, value in variables.items() if _is_read(name, role)}
            directories = tuple(file.parent for file in settings.environment_files if _has_wildcard(file.name))
            binary, arguments = PurePosixPath(started[0].text), tuple(started[2:])
            return K3sUnit(path, binary, role, arguments, environment, settings, environment_files, directories)
    return OtherProgram(path, command[0]) if command else None


def only_unit(units: Sequence[K3sUnit]) -> K3sUnit | None:
    """Return the unit whose configuration applies; None if there is none, or if some are servers and others agents."""
    return units[0] if len({unit.role for unit in units}) == 1 else None


def parse_settings(path: PurePosixPath, texts: Mapping[PurePosixPath, str]) -> ServiceSettings:
    """Parse a unit and its drop-ins, or an OpenRC script. `texts` has the unit first."""
    if path.parent == OPENRC_DIRECTORY:
        return _of_openrc(texts)
    before_start, resets = _values(texts, "ExecStartPre")
    prefix, command = _command(texts)
    environment = (word for word in _words(texts, "Environment") if "=" in word.text)
    files = (expanded(word.text.lstrip("-"), path.name) for word in _words(texts, "EnvironmentFile"))
    return ServiceSettings(
        command,
        environment=dict(assigned(environment)),
        environment_files=tuple(PurePosixPath(file) for file in files if file),
        unset=tuple(word.text for word in _words(texts, "UnsetEnvironment")),
        replaces_variables=":" not in prefix,
        directory="".join(word.text for word in [*_words(texts, "WorkingDirectory")][-1:]),
        before_start=tuple(before_start),
        resets=tuple(resets),
    )


def assigned(words_: Iterable[Word]) -> Iterator[tuple[str, Word]]:
    """Yield the name and value of each assignment."""
    for text, location in words_:
        name, _, value = text.partition("=")
        yield name, Word(value, location)


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


def _words(texts: Mapping[PurePosixPath, str], name: str) -> Iterator[Word]:
    for setting in _values(texts, name)[0]:
        with suppress(ValueError):  # an open quote
            yield from _split(*setting)


def _command(texts: Mapping[PurePosixPath, str]) -> tuple[str, tuple[Word, ...]]:
    """Return the prefix of the last ExecStart=, and its words; none if a quote is not closed."""
    started, _ = _values(texts, "ExecStart")
    if not started:
        return "", ()
    text, location = started[-1]
    command = text.lstrip(_PREFIXES)
    prefix = text.removesuffix(command)
    with suppress(ValueError):
        program, *arguments = _split(command, location)
        return prefix, (program, *arguments[1 if "@" in prefix else 0 :])  # after @, the name that the program gets
    return prefix, ()


def _of_openrc(texts: Mapping[PurePosixPath, str]) -> ServiceSettings:
    """Return the words of command= and command_args=, and the files that the script sources, as that of install.sh."""
    script = [
        Word(found[1], Location(path, line))
        for path, text in texts.items()
        for line, content in logical_lines(text)
        if (found := re.fullmatch(_OPENRC_COMMAND, content))
    ]
    files = (file for text in texts.values() for file in re.findall(_OPENRC_FILE, text))
    with suppress(ValueError):
        command = tuple(word for line in script for word in _split(*line))
        return ServiceSettings(command, environment_files=tuple(map(PurePosixPath, files)), replaces_variables=False)
    return ServiceSettings(())


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


def _of_files(paths: Iterable[PurePosixPath], read: Callable[[PurePosixPath], str]) -> Iterator[tuple[str, Word]]:
    """Yield the variables of environment files (systemd.exec(5)); later ones override earlier ones."""
    for file in paths:
        for number, assignment in enumerate(read(file).split("\n"), 1):
            found = re.match(_VARIABLE, assignment)
            if found is not None:
                yield found[1], Word(_unquoted(found[2]), Location(file, number))


def _matching(pattern: PurePosixPath, names: Callable[[PurePosixPath], Sequence[str]]) -> Iterable[PurePosixPath]:
    """Return the files that match a pattern in the last part of a path, in the order of glob(3)."""
    if not _has_wildcard(pattern.name):
        return (pattern,)
    found = (name for name in names(pattern.parent) if not name.startswith("."))
    return [pattern.with_name(name) for name in sorted(fnmatch.filter(found, pattern.name))]


def _has_wildcard(name: str) -> bool:
    return not set(name).isdisjoint("*?[")


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
