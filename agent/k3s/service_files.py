"""Services of K3s by their files: systemd units and their environment files, and OpenRC scripts. Pure.

The reader is for what does not start at the moment: host trees, and the next start of K3s. The gate looks at the
process instead. A line that the reader does not understand makes the service unknown: no variable of it is empty.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import PurePosixPath

from agent.base.linux.unit_files import assignments, logical_lines, specified, words
from agent.base.model import Location
from agent.base.value import replace
from agent.k3s.options import Word
from agent.k3s.services import (
    OF_ONE_PROCESS,
    OPENRC_DIRECTORY,
    Command,
    FilesOfUnit,
    IsProgram,
    K3sUnit,
    OtherProgram,
    ServiceSettings,
    hidden_directories,
    started_service,
)

_PREFIXES = "-@:+!|"
"""Characters before the path of a program (systemd.service(5))."""
_SET_BY_SYSTEMD = (
    rf"{OF_ONE_PROCESS}|PATH|LANG|USER|LOGNAME|HOME|SHELL|TERM|INVOCATION_ID|\w+_DIRECTORY|XDG_\w+|MAINPID|MANAGERPID"
    r"|PIDFILE|LOG_NAMESPACE|TRIGGER_\w+|MEMORY_PRESSURE_\w+|REMOTE_\w+|MONITOR_\w+|LC_\w+"
)
"""Variables that systemd sets itself (systemd.exec(5))."""
_NOT_IN_FILES = (
    "Bind(ReadOnly)?Paths|Extension(Directories|Images)|InaccessiblePaths|MountImages|PAMName|PassEnvironment"
    "|PermissionsStartOnly|Root(Directory|DirectoryStartOnly|Image)|TemporaryFileSystem"
)
"""Settings with which K3s gets variables or files that are not those of a tree."""

_TRUE = ("1", "yes", "y", "true", "t", "on")
"""Values of a boolean (systemd.syntax(7))."""
_WITH_ESCAPES = ("ExecStart", "Environment", "EnvironmentFile", "UnsetEnvironment", "WorkingDirectory")

# Compiled on first use: a host that is being prepared has no service yet.
_VARIABLE = r"""(?sx)[ \t]* (?: (?:[#;].*)?(?<!\\)
    | (?![ \t]*[#;]) [^=]* | (?![ \t]*[#;]) (?P<name>[^=]*?)[ \t]*=[ \t]* (?:
    '(?P<single>[^'\\]*)'[ \t]* | "(?P<double>[^"\\]*)"[ \t]* | (?P<plain>(?:[^ \t\\'"][^\\]*?)?)[ \t]* ) )"""
"""A line of an environment file that neither continues nor is continued (systemd, src/basic/env-file.c)."""
_SHELL_VARIABLE = r"""(?ax)\s* (?: (?:\#.*)? | (?P<name>[A-Za-z_]\w*)= (?:
    '(?P<single>[^']*)' | "(?P<double>[^"$`\\]*)" | (?P<plain>[\w./:,@%+=-]*) ) \s* )"""
"""A line of an environment file that a shell reads, whose meaning depends only on its text."""
_OPENRC_LINE = r"""(?sx) (?:\#.*)? | \w+\(\)\s*\{ | \} | set\ [-+]o\ allexport
    | (?P<key>command(?:_args)?)=["']?(?P<command>[^"$`<>;&|()]*?)(?:\s+>>\S+\s+2>&1)?["']?
    | if\ \[\ -f\ (?P<file>/[^\s$;]+)\ \];\ then\ (?:source|\.)\ (?P=file);\ fi
    | (?!command|start_stop_daemon_args|supervise_daemon_args|directory)(?!.*K3S_)[a-z_]+=[^`;&|()]*
    | \s+ (?!.*(?:\b(?:export|source|eval|command\w*|K3S_\w+)\b|[\s;]\.\s)) .*"""
"""A line of an OpenRC script as that of K3s' install.sh."""


def predicted_service(
    path: PurePosixPath,
    settings: ServiceSettings,
    read: Callable[[PurePosixPath], str],
    names: Callable[[PurePosixPath], Sequence[str]],
    is_program: IsProgram,
) -> K3sUnit | OtherProgram | None:
    """Return what a service will start; None if that is nothing.

    `read` returns the text of a file, and `names` the names in a directory; both are empty if there is none.
    """
    variables = {**settings.environment}
    files = [file for pattern in settings.environment_files for file in _matching(pattern, names)]
    lines = [line for file in files for line in _lines(file, read(file), of_shell=path.parent == OPENRC_DIRECTORY)]
    variables.update(assigned(line for line in lines if line.text))
    has_patterns = any(_has_wildcard(str(pattern.parent)) for pattern in settings.environment_files)
    unknown = settings.unknown or "EnvironmentFile= has a pattern for directories" * has_patterns
    unknown = unknown or "".join([f"{line.location} is not understood" for line in lines if not line.text][:1])
    for word in settings.unset:
        name, has_value, value = word.partition("=")
        if not has_value or (name in variables and variables[name].text == value):
            variables.pop(name, None)
    result = started_service(path, settings, variables, is_program, _SET_BY_SYSTEMD)
    if not isinstance(result, K3sUnit):
        return result
    if unknown:
        return OtherProgram(path, settings.words, unknown)
    directories = tuple(file.parent for file in settings.environment_files if _has_wildcard(file.name))
    return replace(result, environment_files=tuple(files), environment_directories=directories)


def _lines(file: PurePosixPath, text: str, *, of_shell: bool) -> Iterator[Word]:
    """Yield each assignment of an environment file without quotes, and an empty word for any other line."""
    for number, line in enumerate(text.split("\n"), 1):
        for part in [line] if of_shell else line.split("\r"):
            found = re.fullmatch(_SHELL_VARIABLE if of_shell else _VARIABLE, part)
            if found is None or found["name"]:
                value = found and (found["single"] or found["double"] or found["plain"] or "")
                yield Word(f"{found['name']}={value}" if found else "", Location(file, number))


def parse_settings(path: PurePosixPath, texts: Mapping[PurePosixPath, str]) -> ServiceSettings:
    """Parse a unit and its drop-ins, or an OpenRC script. `texts` has the unit first."""
    if path.parent == OPENRC_DIRECTORY:
        return _of_openrc(texts)
    before_start, resets = _values(texts, "ExecStartPre")
    commands = tuple(
        Command(_specified(command.words, path), command.has_variables)
        for word in _values(texts, "ExecStart")[0]
        if (command := _command(word)).words
    )
    environment = _specified((word for word in _words(texts, "Environment") if "=" in word.text), path)
    files = _specified((word._replace(text=word.text.lstrip("-")) for word in _words(texts, "EnvironmentFile")), path)
    unset = _specified(_words(texts, "UnsetEnvironment"), path)
    directory = _specified(_values(texts, "WorkingDirectory")[0][-1:], path)
    unknown = [
        f"{key}= at {Location(file, line)} is not followed"
        for file, text in texts.items()
        for line, key, value in assignments(text)
        if value and re.fullmatch(_NOT_IN_FILES, key)
    ]
    used = (*ServiceSettings(commands).words, *environment, *files, *unset, *directory)
    unclear = [word for key in _WITH_ESCAPES for word in _values(texts, key)[0] if "\\" in word.text]
    unclear += [word for word in _values(texts, "ExecStart")[0] if re.match(rf"[{_PREFIXES}]*\+", word.text)]
    unclear += [word for word in used if word.text == ";" or "\0" in word.text]
    unknown += [f"{word.location} has an escape, a specifier, the prefix + or several commands" for word in unclear]
    return ServiceSettings(
        commands,
        environment=dict(assigned(environment)),
        environment_files=tuple(PurePosixPath(word.text) for word in files if re.match("/[^\0]*$", word.text)),
        unset=tuple(word.text for word in unset),
        before_start=tuple(before_start),
        resets=tuple(resets),
        unknown="".join(unknown[:1]),
    )


def files_of_unit(
    texts: Mapping[PurePosixPath, str], real_path: Callable[[PurePosixPath], PurePosixPath]
) -> FilesOfUnit:
    """Return the files of the host as a unit and its drop-ins show them to K3s."""
    last = {key: value.strip() for text in texts.values() for _, key, value in assignments(text)}
    home, temporary = last.get("ProtectHome", "").lower(), last.get("PrivateTmp", "").lower()
    hidden = hidden_directories("yes" if home in _TRUE else home, private_tmp=temporary in (*_TRUE, "disconnected"))
    return FilesOfUnit(real_path, last.get("WorkingDirectory", ""), {real_path(place): None for place in hidden})


def assigned(words_: Iterable[Word]) -> Iterator[tuple[str, Word]]:
    """Yield the name and value of each assignment."""
    for text, location in words_:
        name, _, value = text.partition("=")
        yield name, Word(value, location)


def _specified(words_: Iterable[Word], unit: PurePosixPath) -> tuple[Word, ...]:
    return tuple(word._replace(text=specified(word.text, unit.name)) for word in words_)


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


def _command(setting: Word) -> Command:
    """Return a command of ExecStart=; without words if a quote is not closed."""
    command = setting.text.lstrip(_PREFIXES)
    prefix = setting.text.removesuffix(command)
    with suppress(ValueError):
        program, *arguments = _split(command, setting.location)
        # After @, the name that the program gets. K3s looks for --config there, too.
        named = arguments[:1] if "@" in prefix else []
        program = next((name for name in named if name.text.startswith("-")), program)
        return Command((program, *arguments[len(named) :]), ":" not in prefix)
    return Command(())


def _of_openrc(texts: Mapping[PurePosixPath, str]) -> ServiceSettings:
    """Return the words of command= and command_args=, and the files that the script sources, as that of install.sh."""
    unknown, files = "", []
    script: dict[str, Word] = {}
    for path, text in texts.items():
        for line, content in logical_lines(text):
            found = re.fullmatch(_OPENRC_LINE, content)
            if found is None or (path.parent != OPENRC_DIRECTORY and not re.fullmatch(r"\s*(#.*)?", content)):
                unknown = unknown or f"{Location(path, line)} is not understood"
            elif found["key"]:
                script[found["key"]] = Word(found["command"], Location(path, line))
            elif found["file"]:
                files.append(PurePosixPath(found["file"]))
    with suppress(ValueError):
        command = tuple(word for line in script.values() for word in _split(*line))
        commands = (Command(command, has_variables=False),) if command else ()
        return ServiceSettings(commands, environment_files=tuple(files), unknown=unknown)
    return ServiceSettings(())


def _split(text: str, location: Location) -> list[Word]:
    return [Word(word, Location(location.path, line)) for line, word in words(text, location.line or 0)]


def _matching(pattern: PurePosixPath, names: Callable[[PurePosixPath], Sequence[str]]) -> Iterable[PurePosixPath]:
    """Return the files that match a pattern in the last part of a path, in the order of glob(3)."""
    if not _has_wildcard(pattern.name):
        return (pattern,)
    found = (name for name in names(pattern.parent) if not name.startswith("."))
    return [pattern.with_name(name) for name in sorted(fnmatch.filter(found, pattern.name))]


def _has_wildcard(name: str) -> bool:
    return not set(name).isdisjoint("*?[")
