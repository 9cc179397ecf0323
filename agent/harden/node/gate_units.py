"""The units and drop-ins of the gate as this version writes them, and how those of the host differ."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base import package_data
from agent.base.linux.unit_files import assignments, words
from agent.base.model import Location
from agent.base.value import Value
from agent.k3s.paths import DEFAULT_DATA_DIR

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

UNIT = "k3s-harden.service"
"""Hardens the host once, for no service of K3s."""

TEMPLATE = "k3s-harden@.service"
"""The gate of one service of K3s, which its drop-in starts."""

DROPIN = "10-k3s-harden.conf"
"""The drop-in of each service that starts K3s."""

PACKAGED_PROGRAM = PurePosixPath("/usr/bin/k3s-harden")
"""The program in the units of this package."""

WRITABLE_HOME = "ProtectHome=no"
"""Setting of the gate for a data directory in a home directory."""

_REQUIRED = {"Type": "oneshot", "RemainAfterExit": "no", "SuccessExitStatus": "", "RootDirectory": "", "RootImage": ""}
"""Settings without which the unit can succeed though `k3s-harden gate` failed, did not run, or saw another root."""

SHOWN = ("ExecStart", *_REQUIRED)
"""The settings that decide whether the unit is a gate."""

_READ_ONLY_HOME = "ProtectHome=read-only"
_READ_ONLY_FOR_THE_GATE = tuple(map(PurePosixPath, ("/home", "/root", "/run/user")))
_WITHOUT_GATE = frozenset(("--help", "-h", "--version"))
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
        is_gate = "k3s-harden" in PurePosixPath(program).name and verb == "gate"
        return is_gate and _WITHOUT_GATE.isdisjoint(options) and not self.text.startswith("-")

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
    if name in (TEMPLATE, UNIT) and is_in_a_home(data_dir):
        replaced[_READ_ONLY_HOME] = WRITABLE_HOME
    return re.sub("|".join(map(re.escape, replaced)), lambda found: replaced[found[0]], text).encode()


def unit_word(path: PurePosixPath) -> str:
    """Return a path as one word of a unit: % begins a specifier, and a blank ends a word (systemd.syntax(7))."""
    text = str(path).replace("%", "%%")
    return text if re.fullmatch(r"[\w./%+,:=@-]+", text) else f'"{text}"'


def is_in_a_home(path: PurePosixPath) -> bool:
    """Return whether the gate can write a path only with WRITABLE_HOME."""
    return any(path.is_relative_to(place) for place in _READ_ONLY_FOR_THE_GATE)


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
        if key in _REQUIRED and value.strip() not in ("", _REQUIRED[key]):
            yield GateCommand(f"{key}={value}", Location(path, line), key)


def loaded_not_of_a_gate(shown: Mapping[str, str]) -> Iterator[str]:
    """Yield the names of these settings, of a unit that systemd has loaded and systemctl shows."""
    command = re.fullmatch(r"\{ path=.*? ; argv\[\]=(.*?) ; ignore_errors=no ; [^{]*", shown.get("ExecStart", ""))
    if command is None or not GateCommand(command[1], Location(PurePosixPath())).runs_gate:
        yield "ExecStart"
    yield from (key for key, value in _REQUIRED.items() if shown.get(key, value) != value)


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
    found = []
    for service in ("k3s.service", "k3s-agent.service"):
        expected = unit_content(f"{service}.d/{DROPIN}", PACKAGED_PROGRAM, DEFAULT_DATA_DIR).decode()
        difference = first_difference(path, text, expected)
        if difference is None:
            return None
        found.append(difference)
    return max(found, key=lambda difference: difference.location.line)


def first_difference(path: PurePosixPath, text: str, expected: str) -> Difference | None:
    """Return the first line in which a file of the gate differs from the expected text."""
    if text == expected:
        return None
    here, there = text.split("\n"), expected.split("\n")
    common = min(len(here), len(there))
    line = next((number for number in range(common) if here[number] != there[number]), common)
    return Difference(
        Location(path, min(line + 1, len(here))),
        there[line] if line < len(there) else "",
        here[line] if line < len(here) else "",
    )
