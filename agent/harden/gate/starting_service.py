"""The service of K3s that waits for this gate: what its process really gets (docs/adr/0033).

systemd runs ExecStartPre= of K3s' drop-in with the variables, the directory, the root and the mounts of ExecStart=.
Only the command comes from systemd. Under OpenRC, start-k3s is the process that becomes K3s.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from agent.base.errors import HostError
from agent.base.host import Host
from agent.base.host.service_process import ServiceProcess, ancestors, service_process
from agent.base.host.systemd import Systemd
from agent.base.model import Location
from agent.base.repair import Instruction, RunVerb
from agent.base.value import Value, replace
from agent.harden.gate import gate_units
from agent.harden.node.configuration import configuration_texts
from agent.harden.node.installed_services import is_program
from agent.harden.node.loaded_service import settings_of_commands
from agent.harden.node.service_units import DROPIN, gate_instance
from agent.k3s.options import Word
from agent.k3s.service_files import assigned
from agent.k3s.services import OPENRC_DIRECTORY, Command, K3sUnit, OtherProgram, ServiceSettings, started_service

_BUS = PurePosixPath("/run/dbus/system_bus_socket")
_START_PRE = "start-pre"
_COMPARED = ("ControlPID", "ExecStartEx", "ExecStartPreEx", "InvocationID", "SubState")
_DECIDES = ": decides after systemctl"


class StartingService(Value):
    """A service whose start waits for this gate."""

    name: str
    """Without `.service`."""
    process: ServiceProcess
    shown: Mapping[str, Any]
    """What systemd shows of it; empty under OpenRC."""
    service: K3sUnit | OtherProgram | None


def starting_service(host: Host, name: str) -> StartingService | None:
    """Return the service that waits for this gate; None if none does, as for a gate that is started by hand.

    `name` is its name without `.service`. Raises HostError if it cannot be determined what K3s gets.
    """
    if not name or not (host.is_live and host.runs_as_root):
        return None
    if gate_units.starts_services(host):
        return _started_by_openrc(host, name)
    if not Systemd(host).is_running or not host.tree.exists(_BUS):
        return None
    unit = f"{name}.service"
    try:
        return _started_by_systemd(host, unit)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise HostError(f"cannot determine what {unit} starts: systemd shows {error!r}") from error


def start_problem(host: Host, start: StartingService, config_path: PurePosixPath) -> str:
    """Look at the start again, and return how it differs from what was judged; empty if it does not.

    systemd has the same control process as before, so its number was that of no other process meanwhile.
    `config_path` is the main configuration file that was judged.
    """
    again = starting_service(host, start.name)
    if again is None or (again.process, again.shown) != (start.process, start.shown):
        return "its command, variables or directory changed while the gate was running"
    process, service = start.process, start.service
    given = service.given_config if isinstance(service, K3sUnit) and service.config_path is not None else ""
    seen = process.absolute(PurePosixPath(given)) if given else None
    tree = process.tree
    by_k3s, judged = configuration_texts(tree, seen or config_path), configuration_texts(host.tree, config_path)
    if [(text.path.name, text.data) for text in by_k3s] != [(text.path.name, text.data) for text in judged]:
        return f"it sees other files than this host in {seen or config_path} or its drop-ins, or they have just changed"
    return ""


def _started_by_systemd(host: Host, unit: str) -> StartingService | None:
    found = Systemd(host).properties(unit, again=True)
    if found["SubState"] != _START_PRE or not found["ControlPID"]:
        return None
    commands = [(" ".join(words), flags, pid) for _, words, flags, _, _, _, _, pid, *_ in found["ExecStartPreEx"]]
    running = [(text, flags) for text, flags, pid in commands if pid == found["ControlPID"]]
    if not running:
        raise HostError(f"cannot judge the start of {unit}: systemd read its files again, and repeats the start")
    ((text, flags),) = running
    starts_gate = f"start {gate_instance(unit)}"
    # The last command of the drop-in waits for the next attempt, and the gate has judged this one already.
    if starts_gate not in text or (text == commands[-1][0] and f"{_DECIDES} {starts_gate}" in text):
        return None
    has_dropin = any(PurePosixPath(path).name == DROPIN for path in found["DropInPaths"])
    is_followed = has_dropin and starts_gate not in commands[-1][0]
    if is_followed or "privileged" in flags:
        problem = "other commands of ExecStartPre= follow it" if is_followed else "it has the prefix +"
        remove = Instruction(f"remove what follows {DROPIN} or changes it")
        message = f"cannot judge the start of {unit} by the command of the gate: {problem}"
        raise HostError(message, remove, RunVerb("install"))
    process = service_process(host, found["ControlPID"])
    invocation = bytes(found["InvocationID"]).hex()
    if process.environment.get("INVOCATION_ID") != invocation:
        raise HostError(
            f"cannot judge the start of {unit}: process {process.pid} does not belong to it, and systemd repeats it",
            Instruction("if that does not help, remove INVOCATION_ID from what sets its variables"),
        )
    path = PurePosixPath(found["FragmentPath"]).with_name(found["Id"])
    settings, located = settings_of_commands(host, path, found, [])
    variables = dict(assigned(located(process.variables)))
    settings = replace(settings, files=process)
    service = started_service(path, settings, variables, partial(is_program, process.tree))
    return StartingService(unit.removesuffix(".service"), process, {name: found[name] for name in _COMPARED}, service)


def _started_by_openrc(host: Host, name: str) -> StartingService | None:
    for pid in ancestors():
        try:
            process = service_process(host, pid)
        except HostError:  # it has ended
            continue
        if process.words[1:3] == (str(gate_units.START), name):
            path = OPENRC_DIRECTORY / name
            words = tuple(Word(word, Location(path)) for word in process.words[3:])
            variables = {key: Word(value, Location(path)) for key, value in process.environment.items()}
            commands = (Command(words, has_variables=False),) if words else ()
            settings = ServiceSettings(commands, files=process)
            found = started_service(path, settings, variables, partial(is_program, process.tree))
            return StartingService(name, process, {}, found)
    return None
