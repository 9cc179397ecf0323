"""Services that start K3s, and what a service starts by its commands and variables. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Protocol

from agent.base.linux.file_systems import differs_by_process
from agent.base.model import Location
from agent.base.value import Value
from agent.k3s.options import CONFIG_FILE_VARIABLE, SERVER_ONLY_KEYS, VARIABLES, Word, options_of
from agent.k3s.redaction import HIDDEN
from agent.k3s.roles_and_versions import K3S_CONFIG_FILE, Role
from agent.k3s.start_command import UnknownValueError, expanded, k3s_command

IsProgram = Callable[[PurePosixPath], bool]
"""Returns whether a program can be one that is followed: it is no script."""

OPENRC_DIRECTORY = PurePosixPath("/etc/init.d")

OF_ONE_PROCESS = "SYSTEMD_EXEC_PID|JOURNAL_STREAM|NOTIFY_SOCKET|WATCHDOG_(PID|USEC)|LISTEN_(PID|FDS|FDNAMES)|FDSTORE"
"""Variables that systemd sets differently for each process of a service (systemd.exec(5))."""


class Files(Protocol):
    """The files of the host as K3s sees them."""

    def on_host(self, path: PurePosixPath) -> PurePosixPath | None:
        """Return the path on the host of a file that K3s sees at a path; None if the host does not have it."""
        ...


class FilesOfUnit(Value):
    """The files of the host as a unit shows them to K3s."""

    real_path: Callable[[PurePosixPath], PurePosixPath]
    """Returns a path on the host without symlinks."""
    directory: str = ""
    """WorkingDirectory="""
    mounts: Mapping[PurePosixPath, PurePosixPath | None] = MappingProxyType({})
    """By directory that the process sees, that of the host; None if the host does not have these files."""

    def on_host(self, path: PurePosixPath) -> PurePosixPath | None:
        """Return the path on the host of a file that K3s sees at a path; None if the host does not have it."""
        absolute = PurePosixPath("/", self.directory.lstrip("!-").replace("~", "/root"), path)
        real = self.real_path(absolute)
        for place in (real, *real.parents):
            if place in self.mounts:
                source = self.mounts[place]
                return None if source is None else source / real.relative_to(place)
        return None if differs_by_process(real) else real if ".." in absolute.parts else absolute


def hidden_directories(protect_home: str, *, private_tmp: bool) -> tuple[PurePosixPath, ...]:
    """Return the directories whose files K3s does not see with these values of ProtectHome= and PrivateTmp=."""
    homes = ("/home", "/root", "/run/user") if protect_home in ("yes", "tmpfs") else ()
    return tuple(map(PurePosixPath, (*homes, *(("/tmp", "/var/tmp") if private_tmp else ()))))  # noqa: S108 - only names


class Command(Value):
    """A command of ExecStart=."""

    words: tuple[Word, ...]
    """The program and its arguments, before variables are replaced."""
    has_variables: bool = True
    """Whether systemd replaces variables in it."""


class ServiceSettings(Value):
    """What a service sets for its process, as systemd has loaded it or as its files say."""

    commands: tuple[Command, ...]
    environment: Mapping[str, Word] = MappingProxyType({})
    """The variables that do not come from environment files."""
    environment_files: tuple[PurePosixPath, ...] = ()
    """The files of EnvironmentFile=; a name can be a pattern."""
    unset: tuple[str, ...] = ()
    """The words of UnsetEnvironment=: names, and assignments."""
    files: Files = FilesOfUnit(lambda path: path)
    before_start: tuple[Word, ...] = ()
    """The commands of ExecStartPre=, each as one word; `-` before it ignores its failure."""
    resets: tuple[Location, ...] = ()
    """The lines with an empty ExecStartPre=, which removes the commands before them."""
    is_loaded: bool = False
    """Whether systemd has shown them."""
    needs_reload: bool = False
    """Whether systemd uses older files than those on the disk."""
    unknown: str = ""
    """Why the command or the variables are not known; empty if they are."""
    not_followed: str = ""
    """Why the process of K3s can have other files or variables than those that are known; empty if it cannot."""

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of all commands."""
        return tuple(word for command in self.commands for word in command.words)


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
        """The main configuration file as K3s gets it; K3S_CONFIG_FILE overrides --config (k3s, pkg/configfilearg).

        Empty if K3s reads no file: only an empty variable is ignored. K3s also takes `-c` and the word after it if `-c`
        is the value of another option. Such a word is not shown.
        """
        variable = self.environment.get(CONFIG_FILE_VARIABLE)
        if variable is not None and variable.text:
            return variable.text
        texts = [word.text for word in self.arguments]
        for position, (word, option) in enumerate(zip(texts, options_of(texts)), 1):
            name, separator, value = word.partition("=")
            if name in ("--config", "-c"):
                return HIDDEN if option != "" else value if separator else "".join(texts[position : position + 1])
        return str(K3S_CONFIG_FILE)

    @property
    def config_path(self) -> PurePosixPath | None:
        """The main configuration file on the host; None if it is not known, or K3s reads none on the host."""
        given = self.given_config
        # K3s appends ".d" to the text for its drop-ins, also to a slash at its end.
        is_file = given not in ("", ".", HIDDEN) and not re.search("(?i)^https?:|/[.]?$", given)
        if self.settings.not_followed or not is_file:
            return None
        return self.on_host(PurePosixPath(re.sub("^/+", "/", given)))

    @property
    def config_problem(self) -> str:
        """Why the main configuration file is not known; empty if it is."""
        if self.config_path is not None:
            return ""
        if not self.given_config:
            return "K3s reads no configuration file, because --config is empty"
        return self.settings.not_followed or "it is no file of this host"

    def on_host(self, path: PurePosixPath) -> PurePosixPath | None:
        """Return the path on the host of a file that K3s sees at a path; None if the host does not have it."""
        return self.settings.files.on_host(path)


class OtherProgram(Value):
    """A service whose command does not lead to one of K3s, such as a script that starts K3s."""

    unit: PurePosixPath
    command: tuple[Word, ...]
    """Its command, or several ones."""
    reason: str = "it starts a program that is not followed"

    @property
    def program(self) -> Word:
        """The program that it starts."""
        return self.command[0]

    @property
    def role(self) -> Role:
        """The role for which install.sh uses the name of the service."""
        return Role.AGENT if self.unit.stem == "k3s-agent" else Role.SERVER


def started_service(
    path: PurePosixPath,
    settings: ServiceSettings,
    variables: Mapping[str, Word],
    is_program: IsProgram,
    unknown_names: str = OF_ONE_PROCESS,
) -> K3sUnit | OtherProgram | None:
    """Return what a service starts with these variables; None if that is nothing.

    `unknown_names` matches the names of variables that are not known if they are not among these.
    """

    def value(name: str) -> Word:
        name, has_start, start = name.partition("=")
        word = variables.get(name, Word("", Location(path)))
        if re.fullmatch(OF_ONE_PROCESS if name in variables else unknown_names, name):
            raise UnknownValueError(f"systemd sets ${name} in its command when it starts")
        if has_start:  # systemd compares the text before the value, so `$A=` finds `A==x`
            is_found = word.text.startswith(f"{start}=")
            return word._replace(text=word.text[len(start) + 1 :] if is_found else "")
        return word

    found: list[K3sUnit | OtherProgram] = []
    for command in settings.commands:
        environment = {**variables}
        try:
            arguments = expanded(command.words[1:], value) if command.has_variables else command.words[1:]
            k3s = k3s_command((command.words[0], *arguments), environment)
        except UnknownValueError as error:
            found.append(OtherProgram(path, command.words, str(error)))
            continue
        if k3s is None:
            found.append(OtherProgram(path, command.words))
        elif not all(map(is_program, k3s.programs)):
            reason = f"{k3s.programs[-1]} or what starts it is a script, or has no absolute path"
            found.append(OtherProgram(path, command.words, reason))
        else:
            read = {name: word for name, word in environment.items() if _is_read(name, k3s.role)}
            found.append(K3sUnit(path, k3s.programs[-1], k3s.role, k3s.arguments, read, settings))
    others = [each for each in found if each != found[0]]
    if others and any(isinstance(each, K3sUnit) for each in found):
        return OtherProgram(path, settings.words, "it has several commands")
    return found[0] if found else None


def only_unit(units: Sequence[K3sUnit]) -> K3sUnit | None:
    """Return the unit whose configuration applies; None if there is none, or if some are servers and others agents."""
    return units[0] if len({unit.role for unit in units}) == 1 else None


def _is_read(variable: str, role: Role) -> bool:
    """Return whether K3s reads a variable in a role. An agent ignores the variables of a server's options."""
    option = VARIABLES.get(variable)
    return variable == CONFIG_FILE_VARIABLE or (
        option is not None and not (role is Role.AGENT and option in SERVER_ONLY_KEYS)
    )
