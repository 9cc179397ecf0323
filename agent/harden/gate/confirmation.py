"""Confirmation of a start: the component arguments that K3s has logged, compared with those that the gate judged."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from agent.base.errors import HostError, UsageError
from agent.base.host.systemd import Systemd
from agent.base.model import PUBLIC_DIRECTORY, PUBLIC_FILE, Directory, File
from agent.base.repair import Instruction, Run, RunVerb
from agent.harden.desired.dropin_options import ADMISSION_PLUGINS_ARGUMENT, configured_values, expected_options
from agent.harden.gate.gate_state import JUDGED, RUN_DIRECTORY, UNCONFIRMED, UNGATED, UNHARDENED, file_of_service
from agent.harden.node.facts import HostFacts, not_run
from agent.harden.node.service_units import gate_instance
from agent.k3s.roles_and_versions import Component

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from agent.base.host import Host
    from agent.harden.gate.starting_service import StartingService
    from agent.harden.settings.schema import Settings

_PAUSES, _PAUSE = 40, 15.0  # ten minutes
_TIMES = ("ActiveState", "Result", "InactiveExitTimestampMonotonic", "ExecMainStartTimestampMonotonic")
_LOGGED = re.compile(r'^time="[^"]*" level=info msg="Running (\S+) (--.*)"\s*$', re.MULTILINE)
"""What K3s logs before it starts a component (k3s, pkg/daemons/control/server.go, pkg/daemons/agent/agent.go).

The kubelet logs texts of pods with all their lines, each after a tab (klog), and only after the start of components.
"""


def record_judged(host: Host, start: StartingService, settings: Settings, facts: HostFacts) -> None:
    """Record the guide's component arguments as the gate has judged them, for confirm(). OpenRC has no invocations."""
    invocation = start.process.environment.get("INVOCATION_ID")
    if not invocation:
        return
    lines = [invocation]
    for row, _ in expected_options(settings, facts):
        component = next((each for each in Component if each.config_key == row.key), None)
        if component is not None and not not_run(component, facts):
            values = configured_values(facts.merged_config, row)
            lines += [f"{component} --{row.name}={value.text}" for value in values if value.text.isprintable()]
    with suppress(HostError):  # such as a read-only /run: the start is then not confirmed
        host.put(Directory(path=RUN_DIRECTORY, mode=PUBLIC_DIRECTORY))
        _put(host, start.name, JUDGED, lines)


def confirm(host: Host, service: str) -> str:
    """Wait until K3s has logged the arguments of its components, and return a line about them.

    Raises HostError if they are not those that the gate judged.
    """
    if not service:
        raise UsageError("cannot confirm a start: no service is given", "pass --service, such as --service k3s")
    host.refuse_ordinary_user("confirm")
    unit, systemd = f"{service.removesuffix('.service')}.service", Systemd(host)
    invocation, *lines = host.tree.text_if_readable(file_of_service(service, JUDGED)).splitlines() or [""]
    judged: dict[str, str] = {}
    for component, _, argument in (line.partition(" ") for line in lines):
        judged[component] = f"{judged.get(component, '')} {argument}"
    for prefix in (UNHARDENED, UNCONFIRMED):
        host.writable_tree.remove_file(file_of_service(service, prefix))
    if _has_passed_no_gate(host, systemd, unit):
        _put(host, service, UNHARDENED, ["the gate did not let this start pass"])
        raise HostError(f"{unit} has started without its gate", RunVerb("check"))
    logged: dict[str, str] = {}
    for pause in (*[_PAUSE] * _PAUSES, 0):
        with suppress(HostError):  # such as a journal that is too large: that is no evidence
            now = systemd.show([unit], "ActiveState", "InvocationID")[0] if invocation and systemd.is_running else {}
            is_start = now.get("ActiveState") in ("activating", "active", "reloading")
            if not is_start or now.get("InvocationID") != invocation:
                return f"{unit}: no start to confirm"
            logged = dict(reversed(_LOGGED.findall(systemd.log(invocation))))  # the first line of each
        if judged.keys() <= logged.keys() or not pause:
            break
        host.sleep(pause)
    differences = [text for component in judged for text in _differences(component, judged, logged)]
    if differences:
        _put(host, service, UNHARDENED, differences)
        raise HostError(
            f"{unit} runs with other arguments than those that the gate judged: {'; '.join(differences)}",
            Instruction("find out what changed K3s' files during its start"),
            Run(f"sudo systemctl restart {unit}"),
        )
    silent = " and ".join(component for component in judged if component not in logged)
    if silent:
        _put(host, service, UNCONFIRMED, [f"it has logged no arguments of {silent}"])
        return f"{unit}: cannot confirm the start: it has logged no arguments of {silent}"
    return f"{unit}: runs with the arguments that the gate judged"


def _has_passed_no_gate(host: Host, systemd: Systemd, unit: str) -> bool:
    """Return whether a service runs though its gate has not succeeded for this start, and root has not bypassed it."""
    if not systemd.is_running or host.tree.text_if_readable(file_of_service(unit, UNGATED)).strip():
        return False
    with suppress(HostError, KeyError, ValueError):
        k3s, gate = (systemd.show([name], *_TIMES)[0] for name in (unit, gate_instance(unit)))
        began, started = int(k3s["InactiveExitTimestampMonotonic"]), int(k3s["ExecMainStartTimestampMonotonic"])
        ran = int(gate["ExecMainStartTimestampMonotonic"])
        return k3s["ActiveState"] == "active" and (ran < began or (ran < started and gate["Result"] != "success"))
    return False


def _differences(component: str, judged: Mapping[str, str], logged: Mapping[str, str]) -> Iterator[str]:
    """Yield the arguments of a component that are not those that the gate judged. One that logged none is unknown."""
    found = _values(logged.get(component, "").replace('\\"', '"').replace("\\\\", "\\"))
    for name, values in _values(judged[component]).items():
        if component in logged and not _is_judged(name, values, found.get(name, [])):
            others = [value for value in found.get(name, []) if value not in values] or found.get(name, [])
            yield f"{component} has {' '.join(f'--{name}={value}' for value in others) or f'no --{name}'}"


def _values(arguments: str) -> dict[str, list[str]]:
    """Return the values of each argument. K3s logs them without quotes."""
    found: dict[str, list[str]] = {}
    for name, _, value in (argument.partition("=") for argument in re.split("(?:^| )--(?=[a-z])", arguments)[1:]):
        found.setdefault(name.replace("_", "-"), []).append(value)
    return found


def _is_judged(name: str, judged: list[str], logged: list[str]) -> bool:
    """Return whether an argument is the judged one. K3s sorts its arguments; old releases pass on only the last."""
    if name == ADMISSION_PLUGINS_ARGUMENT:
        return set(",".join(judged).split(",")) <= set(",".join(logged).split(","))
    return sorted(logged) in (sorted(judged), judged[-1:])


def _put(host: Host, service: str, prefix: str, lines: Iterable[str]) -> None:
    content = "".join(f"{line}\n" for line in lines).encode()
    host.put(File(path=file_of_service(service, prefix), content=content, mode=PUBLIC_FILE))
