"""The settings of a service as systemd has loaded it, which can differ from its files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any

from agent.base.errors import HardenError, HostError
from agent.base.host import Host
from agent.base.host.systemd import Systemd
from agent.base.linux.unit_files import assignments, dropin_directories, specified, words
from agent.base.model import Location
from agent.base.repair import DAEMON_RELOAD
from agent.base.value import replace
from agent.harden.node.service_units import unit_text
from agent.k3s.options import Word
from agent.k3s.service_files import assigned, parse_settings
from agent.k3s.services import Command, FilesOfUnit, ServiceSettings, hidden_directories

Located = Callable[[Iterable[str]], tuple[Word, ...]]

_UNITS_LOADED = PurePosixPath("/run/systemd/systemd-units-load")
"""systemd sets its time of modification whenever it has read all unit files (systemd, src/core/manager.c)."""

_NOT_FOLLOWED = (
    *("ExtensionDirectories", "ExtensionImages", "InaccessiblePaths", "MountImages", "PAMName"),
    "RootDirectoryStartOnly",
)
"""Properties with which K3s gets files or variables that the command of the gate does not have, or can create."""

_OFF = ("", "0", "f", "false", "n", "no", "off")
_FOLLOWED_FLAGS = {"ambient", "ignore-failure", "no-env-expand", "no-setuid"}

_OF_SYSTEMD = Location(PurePosixPath("/proc/1/environ"))
"""Location of a variable of systemd itself; DefaultEnvironment= or `systemctl set-environment` can have set it."""


def loaded_settings(host: Host, path: PurePosixPath, unread: list[HardenError]) -> ServiceSettings | None:
    """Ask systemd for the settings of a service; None if it has not loaded the service or does not answer."""
    directories = dropin_directories(path.name)
    files = (top / name for top in directories for name in ("", *host.tree.names(top)))
    if host.pod_node and changed_since_load(host, (path, *files)):
        reason = f"cannot determine how systemd starts {path.name}: its files changed after systemd loaded them"
        unread.append(HostError(reason, DAEMON_RELOAD))
    with suppress(HostError, KeyError, TypeError, ValueError, IndexError):
        systemd = Systemd(host)
        found = systemd.properties(path.name)
        settings, located = settings_of_commands(host, path, found, unread)
        # What PassEnvironment= names, systemd got from the kernel or a container manager.
        own = host.tree.read_text(_OF_SYSTEMD.path).split("\0") if found["PassEnvironment"] else []
        passed = [text for text in own if text.partition("=")[0] in found["PassEnvironment"]]
        return replace(
            settings,
            environment=dict(
                assigned(
                    (
                        *(Word(text, _OF_SYSTEMD) for text in (*systemd.environment(), *passed)),
                        *located(found["Environment"]),
                    )
                )
            ),
            environment_files=tuple(PurePosixPath(file) for file, _ in found["EnvironmentFiles"]),
            unset=tuple(found["UnsetEnvironment"]),
            files=FilesOfUnit(host.tree.real_path, found["WorkingDirectory"], _mounts(host, found)),
        )
    return None


def settings_of_commands(
    host: Host, path: PurePosixPath, found: Mapping[str, Any], unread: list[HardenError]
) -> tuple[ServiceSettings, Located]:
    """Return the commands of a service by its properties, and a function that locates texts in the service's files."""
    # Debian 12 and older name the directory by its link /lib.
    files = (re.sub("^/lib/", "/usr/lib/", file) for file in (found["FragmentPath"], *found["DropInPaths"]) if file)
    texts = {file: unit_text(host, file, unread) for file in map(PurePosixPath, files)}
    parsed = parse_settings(path, texts)
    locations = _locations(path.name, parsed)

    def located(texts: Iterable[str]) -> tuple[Word, ...]:
        return tuple(Word(text, locations.get(plain(text), Location(path))) for text in texts)

    settings = ServiceSettings(
        commands=tuple(
            # K3s looks for --config in its own name, too, which the prefix @ sets.
            Command(located((name if name.startswith("-") else program, *arguments)), "no-env-expand" not in flags)
            for program, (name, *arguments), flags, *_ in found["ExecStartEx"]
        ),
        before_start=located(
            ("-" if "ignore-failure" in flags else "") + " ".join(arguments)
            for _, arguments, flags, *_ in found["ExecStartPreEx"]
        ),
        resets=parsed.resets,
        is_loaded=True,
        needs_reload=found["NeedDaemonReload"],
        not_followed=next(_not_followed(host, found, texts.values()), ""),
    )
    return settings, located


def _not_followed(host: Host, found: Mapping[str, Any], texts: Iterable[str]) -> Iterator[str]:
    # A hidden property, which systemd does not list (systemd, src/core/dbus-service.c).
    in_files = (key for text in texts for _, key, value in assignments(text) if value.strip().lower() not in _OFF)
    yield from (f"{key}= is not followed" for key in in_files if key == "PermissionsStartOnly")
    yield from (f"{name}= is not followed" for name in _NOT_FOLLOWED if found.get(name))
    flags = {flag for _, _, flags, *_ in found["ExecStartEx"] for flag in flags}
    yield from (f"the prefix of ExecStart= for `{flag}` is not followed" for flag in sorted(flags - _FOLLOWED_FLAGS))
    for source, place, is_optional, _ in (*found["BindPaths"], *found["BindReadOnlyPaths"]):
        if is_optional and not host.tree.exists(PurePosixPath(source)):
            yield f"{source} for BindPaths= at {place} is missing, and can exist when K3s starts"


def changed_since_load(host: Host, paths: Iterable[PurePosixPath]) -> bool | None:
    """Return whether one of these changed after systemd had read all unit files; None if that is not known."""
    loaded = host.tree.times(_UNITS_LOADED)
    if loaded is None:
        return None
    return any(times is not None and times.changed > loaded.written for times in map(host.tree.times, paths))


def _mounts(host: Host, found: Mapping[str, Any]) -> dict[PurePosixPath, PurePosixPath | None]:
    mounts: dict[PurePosixPath, PurePosixPath | None] = {}
    if found["RootDirectory"] or found["RootImage"]:
        mounts[PurePosixPath("/")] = PurePosixPath(found["RootDirectory"]) if found["RootDirectory"] else None
    hidden = hidden_directories(found["ProtectHome"], private_tmp=found["PrivateTmp"])
    for place in (*hidden, *(PurePosixPath(place) for place, _ in found["TemporaryFileSystem"])):
        mounts[host.tree.real_path(place)] = None
    for source, place, *_ in (*found["BindPaths"], *found["BindReadOnlyPaths"]):
        mounts[host.tree.real_path(PurePosixPath(place))] = PurePosixPath(source)
    return mounts


def _locations(name: str, parsed: ServiceSettings) -> dict[str, Location]:
    """Return the locations in the files of a service, by the text that systemd shows."""
    found = [(word.text, word.location) for command in parsed.commands for word in command.words]
    found += [(f"{key}={word.text}", word.location) for key, word in parsed.environment.items()]
    for text, location in parsed.before_start:
        with suppress(ValueError):  # an open quote
            found.append((" ".join(word for _, word in words(re.sub("^[@:+!|]+", "", text), 0)), location))
    return {plain(specified(text, name)): location for text, location in found}


def plain(text: str) -> str:
    """Return a text with its white space reduced to single blanks."""
    return " ".join(text.split())
