"""The gate on this host: its units, and the drop-ins of K3s' services."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from shlex import quote
from types import MappingProxyType

from agent.base.errors import HardenError, HostError
from agent.base.host import Host
from agent.base.host.directories import DirectoryEntry
from agent.base.host.systemd import OLDEST_SYSTEMD, Systemd
from agent.base.linux.file_systems import REGULAR_FILE
from agent.base.linux.unit_files import PACKAGED_UNITS, UNIT_DIRECTORIES, assignments
from agent.base.model import Location, Unreadable
from agent.base.repair import Run, Step
from agent.base.value import Value, replace
from agent.harden.gate import gate_units
from agent.harden.gate.gate_state import GateExceptions, read_exceptions
from agent.harden.gate.gate_units import Difference, GateCommand
from agent.harden.node import service_units
from agent.harden.node.loaded_service import changed_since_load
from agent.harden.node.service_units import DROPINS, TEMPLATE, UNIT, gate_instance, is_of_k3s

_SUFFIX = ".service"
_EXECUTABLE = 0o111
_INSTANCE = r"k3s-harden@.+\.service"


class Gate(Value):
    """The parts of the gate that systemd reads, masked ones excluded, and the starts of K3s since the boot."""

    exceptions: GateExceptions
    """Starts of K3s that the gate blocked, or that pass without it."""
    unit: PurePosixPath | None = None
    """The unit file for use by hand."""
    template: PurePosixPath | None = None
    """The unit file of the gate."""
    mask: PurePosixPath | None = None
    """The file that masks the template."""
    dropins: Mapping[str, PurePosixPath] = MappingProxyType({})
    """The drop-ins by the service that they belong to."""
    masked_dropins: Mapping[str, PurePosixPath] = MappingProxyType({})
    """The files that mask drop-ins, by service."""
    mounts: tuple[PurePosixPath, ...] = ()
    """The paths whose mounts the template, an instance or a drop-in of them waits for."""
    packaged: bool = False
    """Whether the unit of a distribution's package is installed, in addition to any other."""
    is_openrc: bool = False
    """Whether the gate is that of OpenRC: `template` is what OpenRC starts, and each drop-in what makes it do so."""
    is_stale: bool = False
    """Whether systemd still uses older unit files than those on the disk."""
    replaced: tuple[GateCommand, ...] = ()
    """What lets the template, an instance or a service succeed without `k3s-harden gate`, in the unit or a drop-in."""
    differences: tuple[Difference, ...] = ()
    """How the template and the drop-ins of services differ from those of this version."""
    unusable: Mapping[PurePosixPath, ProgramProblem] = MappingProxyType({})
    """The programs of the gate that cannot run or that others can change, each with the reason."""
    unread: tuple[HardenError, ...] = ()
    """Drop-ins of the template or an instance that systemd reads and this program cannot read."""


class ProgramProblem(Value):
    """Why a program cannot be that of the gate."""

    problem: str
    steps: tuple[Step, ...] = ()
    """The fix; empty if the program has to be installed."""


def _openrc_gate(host: Host) -> Gate:
    """Read the parts of the gate under OpenRC."""
    program = gate_units.gate_program(host.tree.text_if_readable(gate_units.START))
    parts = [part for part in gate_units.gate_files(program) if host.tree.exists(part.path)]
    has_gate = {part.path for part in parts}
    problem = program_problem(host, program) if gate_units.START in has_gate else None
    services = gate_units.services(host) if gate_units.CONFIGURATION in has_gate else ()
    texts = ((part, host.tree.text_if_readable(part.path)) for part in parts)
    differences = (gate_units.first_difference(part.path, text, part.content.decode()) for part, text in texts if text)
    return Gate(
        read_exceptions(host),
        template=gate_units.START if gate_units.START in has_gate else None,
        dropins=dict.fromkeys(services, gate_units.CONFIGURATION),
        is_openrc=True,
        differences=tuple(filter(None, differences)),
        unusable={} if problem is None else {program: problem},
    )


def detect_gate(host: Host) -> Gate:
    """Read the parts of the gate in all directories of systemd, or those of OpenRC."""
    if gate_units.starts_services(host):
        return _openrc_gate(host)
    unread: list[HardenError] = []
    units, templates = (
        [path for top in UNIT_DIRECTORIES if host.tree.exists(path := top / name)] for name in (UNIT, TEMPLATE)
    )
    template = next(iter(templates), None)
    instances = [
        top / name for top in UNIT_DIRECTORIES for name in host.tree.names(top) if re.fullmatch(_INSTANCE, name)
    ]
    mask = next((path for path in (*templates[:1], *instances) if gate_units.is_masked(host, path)), None)
    dropins = _dropins(host)
    masked = {service: path for service, path in dropins.items() if gate_units.is_masked(host, path)}
    is_stale = bool(units or templates or dropins) and _is_stale(host, dropins, [*units, *templates, *dropins.values()])
    dropins = {service: path for service, path in dropins.items() if service not in masked}
    found = Gate(
        read_exceptions(host),
        unit=next(iter(units), None),
        mask=mask,
        dropins=dropins,
        masked_dropins=masked,
        packaged=any(path.parent == PACKAGED_UNITS for path in (*units, *templates)),
        is_stale=is_stale,
    )
    if mask is not None:
        return found
    later = [command for service in dropins for command in _ignoring(service_units.read_dropins(host, service, []))]
    texts = {path: host.tree.text_if_readable(path) for path in (*templates[:1], *instances)}
    for name in (TEMPLATE, *map(gate_instance, dropins)):
        texts.update(service_units.read_dropins(host, name, unread))
    return replace(
        found,
        template=template,
        mounts=gate_units.required_mounts("\n".join(texts.values())),
        replaced=(*_replaced(host, template, texts, dropins), *later),
        differences=tuple(_differences(host, template, dropins)),
        unusable=_unusable(host, texts),
        unread=tuple(unread),
    )


def can_have_gate(host: Host, gate: Gate) -> bool:
    """Return whether this host has no part of the gate, and is a running one that can have it."""
    if not host.is_live or host.pod_node or gate.template or gate.mask or gate.dropins:
        return False
    try:
        return gate.is_openrc or (Systemd(host).is_running and (Systemd(host).version or 0) >= OLDEST_SYSTEMD)
    except HostError:
        return False


def _replaced(
    host: Host, template: PurePosixPath | None, texts: Mapping[PurePosixPath, str], services: Collection[str]
) -> Iterator[GateCommand]:
    """Yield what makes the gate another one: as systemd has loaded it, or by its files if systemd does not answer."""
    installed = None if template is None else gate_units.gate_command(template, texts[template])
    in_files = [command for path, text in texts.items() for command in gate_units.not_of_a_gate(path, text)]
    try:
        shown = {service: Systemd(host).properties(gate_instance(service)) for service in services}
        loaded = [found for name in services for found in gate_units.loaded_not_of_a_gate(name, shown[name], installed)]
    except (HostError, KeyError, TypeError, ValueError, IndexError):
        yield from in_files
        return
    starts = (gate_units.gate_command(path, text) for path, text in texts.items())
    located = {command.key: command.location for command in (*filter(None, starts), *in_files)}
    for found in dict.fromkeys(loaded):
        location = located.get(found.key, found.location)
        same = (command for command in in_files if command.key == found.key)
        yield next(same, replace(found, location=location))


def _ignoring(texts: Mapping[PurePosixPath, str]) -> Iterator[GateCommand]:
    """Yield the lines of a service's drop-ins after that of the gate, which empties the first of these lists."""
    for path, text in texts.items():
        for line, key, value in assignments(text) if path.name > DROPINS[0] else ():
            if (key == "SuccessExitStatus" and value) or (key == "UnsetEnvironment" and not value):
                yield GateCommand(f"{key}={value}", Location(path, line), key)


def _differences(
    host: Host, template: PurePosixPath | None, dropins: Mapping[str, PurePosixPath]
) -> Iterator[Difference]:
    compared = dict.fromkeys(dropins.values(), gate_units.dropin_difference)
    if template is not None:
        compared[template] = gate_units.template_difference
    for path, difference in compared.items():
        text = host.tree.text_if_readable(path)  # an ordinary user may not read it
        found = difference(path, text) if text else None
        if found is not None:
            yield found


def _unusable(host: Host, texts: Mapping[PurePosixPath, str]) -> dict[PurePosixPath, ProgramProblem]:
    found = {path: gate_units.gate_command(path, text) for path, text in texts.items()}
    # The command of a drop-in takes the place of the one in the unit.
    replaced = any(command and path.parent.name == f"{TEMPLATE}.d" for path, command in found.items())
    commands = (command for path, command in found.items() if command and not (replaced and path.name == TEMPLATE))
    programs = dict.fromkeys(command.program for command in commands if command.runs_gate)
    problems = ((path, program_problem(host, path)) for path in programs if path is not None)
    return {path: problem for path, problem in problems if problem is not None}


def program_problem(host: Host, program: PurePosixPath) -> ProgramProblem | None:
    """Return why the gate cannot run this program as root, or must not; None if it can, or if that is unknown."""
    found = host.tree.stat(program)
    if isinstance(found, Unreadable) and found.access_denied:
        return None
    if isinstance(found, DirectoryEntry) and found.kind != REGULAR_FILE:
        return ProgramProblem(f"it is a {found.kind}")
    distrusted = host.tree.distrusted(program)
    if distrusted is not None:
        return ProgramProblem(distrusted.problem, distrusted.steps)
    if isinstance(found, DirectoryEntry) and not found.mode & _EXECUTABLE:
        return ProgramProblem(
            f"it is not executable: its mode is {found.mode}", (Run(f"sudo chmod 0755 {quote(str(program))}"),)
        )
    return None


def _dropins(host: Host) -> dict[str, PurePosixPath]:
    found: dict[str, PurePosixPath] = {}
    for directory in UNIT_DIRECTORIES:
        for name in _dropin_directories(host, directory):
            for path in filter(host.tree.exists, (directory / name / dropin for dropin in DROPINS)):
                found.setdefault(name.removesuffix(".d"), path)
    return found


def _is_stale(host: Host, dropins: Collection[str], files: Iterable[PurePosixPath]) -> bool:
    systemd = Systemd(host)
    # A file that was removed has changed its directory.
    directories = (top / name for top in UNIT_DIRECTORIES for name in _dropin_directories(host, top))
    if not systemd.is_running or changed_since_load(host, (*files, *UNIT_DIRECTORIES, *directories)) is False:
        return False
    others = (name for directory in UNIT_DIRECTORIES for name in host.tree.names(directory) if is_of_k3s(name))
    services = {*dropins, *others}
    names = {UNIT, *services, *map(gate_instance, services)}
    try:
        units = systemd.show(names, "Id", "LoadState", "NeedDaemonReload", "DropInPaths")
    except HostError:
        return False
    for unit in units:
        if unit.get("NeedDaemonReload") == "yes":
            return True
        # systemd 247 does not notice the first drop-in of a service.
        is_loaded = any(f"/{dropin}" in unit.get("DropInPaths", "") for dropin in DROPINS)
        if unit.get("LoadState") == "loaded" and unit["Id"] in services and is_loaded != (unit["Id"] in dropins):
            return True
    return False


def _dropin_directories(host: Host, directory: PurePosixPath) -> Iterator[str]:
    return (name for name in host.tree.names(directory) if name.endswith(f"{_SUFFIX}.d") and name.startswith("k3s"))
