"""Units, drop-ins and files for OpenRC of the gate as this version writes them, and how those of the host differ."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import PurePosixPath
from shlex import quote, split
from typing import Any

from agent.base import package_data
from agent.base.host import Host
from agent.base.host.systemd import Systemd
from agent.base.linux.unit_files import assignments, words
from agent.base.model import EXECUTABLE_FILE, PUBLIC_FILE, File, Location
from agent.base.value import Value
from agent.harden.node.service_units import DROPIN, TEMPLATE
from agent.k3s.roles_and_versions import DEFAULT_DATA_DIR
from agent.k3s.services import OPENRC_DIRECTORY


def is_masked(host: Host, path: PurePosixPath) -> bool:
    """Return whether a unit or drop-in masks others of its name: a link to /dev/null, or an empty file."""
    if host.tree.link_target(path) == "/dev/null":
        return True
    found = host.tree.observe(path)
    return isinstance(found, File) and not found.content


PROGRAM = "k3s-harden"
"""What the name of a program contains that is the gate, such as k3s-harden-1.0.0.pyz."""

PACKAGED_PROGRAM = PurePosixPath("/usr/bin") / PROGRAM
"""The program in the units of this package."""

_REQUIRED = {"Type": "oneshot", "RemainAfterExit": "no", "SuccessExitStatus": "", "RootDirectory": "", "RootImage": ""}
"""Settings without which the unit can succeed though `k3s-harden gate` failed, did not run, or saw another root."""

_OTHER_FILES = (
    *("BindPaths", "BindReadOnlyPaths", "TemporaryFileSystem", "InaccessiblePaths", "MountImages", "ExtensionImages"),
    "ExtensionDirectories",
)
"""Settings with which the gate sees other files than the host, except below /proc."""

_NOT_OF_THIS_HOST = "--help|-h|--version|--root(=.*)?"
"""Options with which the gate judges nothing, or another host."""
_PREFIXES = "-@:+!|"
"""Characters before the path of a program (systemd.service(5))."""


class Difference(Value):
    """The first line in which a file of the gate differs from that of this version."""

    location: Location
    expected: str
    found: str


class GateCommand(Value):
    """A command or another setting of a unit."""

    text: str
    location: Location
    key: str = "ExecStart"

    @property
    def runs_gate(self) -> bool:
        """Whether it runs `k3s-harden gate`, and its failure is the failure of the unit."""
        program, verb, *options = (*_words(self.text), "", "")
        is_gate = PROGRAM in PurePosixPath(program).name and verb == "gate"
        return (
            is_gate
            and not any(re.fullmatch(_NOT_OF_THIS_HOST, option) for option in options)
            and not self.text.startswith("-")
        )

    @property
    def program(self) -> PurePosixPath | None:
        """The program; None if it cannot be determined."""
        path = PurePosixPath("".join(_words(self.text)[:1]).replace("%%", "%"))
        return path if path.is_absolute() else None


def _words(value: str) -> list[str]:
    try:
        return [word for _, word in words(value.lstrip(_PREFIXES), 0)]
    except ValueError:  # an open quote
        return []


def unit_content(name: str, program: PurePosixPath, data_dir: PurePosixPath) -> bytes:
    """Return a unit or drop-in, by its name below a directory of units, for this program and data directory."""
    text = package_data.read("units", *name.split("/")).decode()
    replaced = {str(PACKAGED_PROGRAM): unit_word(program), str(DEFAULT_DATA_DIR): unit_word(data_dir)}
    return re.sub("|".join(map(re.escape, replaced)), lambda found: replaced[found[0]], text).encode()


def unit_word(path: PurePosixPath) -> str:
    """Return a path as one word of a unit: % begins a specifier, and a blank ends a word (systemd.syntax(7))."""
    text = str(path).replace("%", "%%")
    return text if re.fullmatch(r"[\w./%+,:=@-]+", text) else f'"{text}"'


def gate_command(path: PurePosixPath, text: str) -> GateCommand | None:
    """Return the last command of a unit or drop-in; None if it has none."""
    found = [(line, value) for line, key, value in assignments(text) if key == "ExecStart" and value]
    return GateCommand(found[-1][1], Location(path, found[-1][0])) if found else None


def not_of_a_gate(path: PurePosixPath, text: str) -> Iterator[GateCommand]:
    """Yield the settings of a unit or drop-in with which it does not depend on `k3s-harden gate`."""
    command = gate_command(path, text)
    if command is not None and not command.runs_gate:
        yield command
    for line, key, value in assignments(text):
        other_files = key in _OTHER_FILES and any(":/proc/" not in word for word in _words(value))
        if other_files or (key in _REQUIRED and value.strip() not in ("", _REQUIRED[key])):
            yield GateCommand(f"{key}={value}", Location(path, line), key)


def loaded_not_of_a_gate(
    service: str, found: Mapping[str, Any], installed: GateCommand | None
) -> Iterator[GateCommand]:
    """Yield these settings of the gate of a service as systemd has loaded it, by its properties.

    `installed` is the command of its unit, whose program a drop-in can replace by another one of that name.
    """
    unit = Location(PurePosixPath(found["FragmentPath"]))
    commands = [GateCommand(" ".join(map(quote, words)), unit) for _, words, *_ in found["ExecStartEx"]]
    ignored = any("ignore-failure" in flags for _, _, flags, *_ in found["ExecStartEx"])
    is_gate = len(commands) == 1 and not ignored and commands[0].runs_gate
    if not is_gate or (installed is not None and commands[0].program != installed.program):
        yield next(
            (command for command in commands if not command.runs_gate),
            commands[0] if commands else GateCommand("", unit),
        )
    expected = {key: {"no": False}.get(value, value) for key, value in _REQUIRED.items()}
    shown = {**found, "SuccessExitStatus": "" if not any(found["SuccessExitStatus"]) else found["SuccessExitStatus"]}
    yield from (GateCommand(f"{key}={shown[key]}", unit, key) for key, value in expected.items() if shown[key] != value)
    for key in _OTHER_FILES:
        places = ([row] if isinstance(row, str) else row for row in found.get(key, ()))
        if any(not any(str(part).startswith("/proc/") for part in place) for place in places):
            yield GateCommand(f"{key}=", unit, key)
    if f"K3S_HARDEN_SERVICE={service.removesuffix('.service')}" not in found["Environment"]:
        yield GateCommand("K3S_HARDEN_SERVICE has another value", unit, "Environment")


def required_mounts(text: str) -> tuple[PurePosixPath, ...]:
    """Return the paths whose mounts a unit or drop-in waits for."""
    values = (value for _, key, value in assignments(text) if key == "RequiresMountsFor")
    return tuple(PurePosixPath(path.replace("%%", "%")) for value in values for path in _words(value))


def template_difference(path: PurePosixPath, text: str) -> Difference | None:
    """Return how the unit of the gate differs from that of this version, for its own program and data directory."""
    starts = gate_command(path, text)
    program = starts.program if starts else None
    named = required_mounts(text)
    expected = unit_content(TEMPLATE, program or PACKAGED_PROGRAM, named[-1] if named else DEFAULT_DATA_DIR)
    return first_difference(path, text, expected.decode())


def dropin_difference(path: PurePosixPath, text: str) -> Difference | None:
    """Return how the drop-in of a service differs from those of this version, which has one for each role."""
    names = (f"{service}.service.d/{DROPIN}" for service in ("k3s", "k3s-agent"))
    contents = (unit_content(name, PACKAGED_PROGRAM, DEFAULT_DATA_DIR).decode() for name in names)
    found = [first_difference(path, text, content) for content in contents]
    return None if None in found else max(filter(None, found), key=lambda difference: difference.location.line)


def first_difference(path: PurePosixPath, text: str, expected: str) -> Difference | None:
    """Return the first line in which a file of the gate differs from the expected text."""
    last = text.count("\n") + 1
    for line, (found, there) in enumerate(zip_longest(text.split("\n"), expected.split("\n")), 1):
        if found != there:
            return Difference(Location(path, min(line, last)), there or "", found or "")
    return None


CONFIGURATION = PurePosixPath("/etc/rc.conf.d/k3s-harden.conf")
"""OpenRC reads it for each service, after the script of K3s was written by its installer and whatever that has."""

START = PurePosixPath("/usr/local/lib/k3s-harden/start-k3s")
"""What OpenRC starts in the place of K3s."""

_PROGRAM = r"timeout -k 5 120 (.+) gate; then"
_SOFTLEVEL = PurePosixPath("/run/openrc/softlevel")
_OPENRC_RUN = PurePosixPath("/sbin/openrc-run")


def starts_services(host: Host) -> bool:
    """Return whether OpenRC starts the services: it has booted the machine, or the tree has it and no systemd."""
    systemd = Systemd(host)
    if host.is_live:
        return host.tree.exists(_SOFTLEVEL) and not systemd.is_running
    return host.tree.exists(_OPENRC_RUN) and not systemd.reads_units


def services(host: Host) -> tuple[str, ...]:
    """Return the services to which CONFIGURATION applies."""
    names = host.tree.names(OPENRC_DIRECTORY)
    return tuple(name for name in names if re.fullmatch("k3s(-.*)?", name))


def gate_program(start: str) -> PurePosixPath:
    """Return the program in the text of START, or the usual one."""
    found = re.search(_PROGRAM, start)
    return PurePosixPath(split(found[1])[0]) if found else PACKAGED_PROGRAM


def gate_files(program: PurePosixPath) -> tuple[File, File]:
    """Return the files of the gate. START is first, because a service without it would not start."""
    start = package_data.read("units", "openrc", START.name).replace(
        str(PACKAGED_PROGRAM).encode(), quote(str(program)).encode()
    )
    configuration = package_data.read("units", "openrc", CONFIGURATION.name)
    return (
        File(path=START, content=start, mode=EXECUTABLE_FILE),
        File(path=CONFIGURATION, content=configuration, mode=PUBLIC_FILE),
    )
