"""Starts of K3s that the gate blocks: ended by a compliant run, or that pass because root bypasses it.

The drop-in systemd/k3s.service.d/zzz-k3s-harden.conf and systemd/openrc/start-k3s read and write the same files in
/run/k3s-harden.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.errors import HostError, UsageError
from agent.base.host.systemd import Systemd
from agent.base.linux.unit_files import UNIT_DIRECTORIES
from agent.base.model import PUBLIC_DIRECTORY, PUBLIC_FILE, Directory, File
from agent.base.report import Fact, Item, ItemStatus, Report
from agent.base.times import seconds_of, timestamp
from agent.harden.node import gate, gate_units
from agent.harden.node.gate import BYPASS, EACH, RUN_DIRECTORY, UNGATED, file_of_service
from agent.k3s.services import OPENRC_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.base.host import Host

ENDED_BY_A_COMPLIANT_RUN = frozenset({"start-blocked", "started-without-gate", "bypass-in-effect"})
"""Findings about what `end_exceptions` ends."""
_STARTED = PurePosixPath("/run/openrc/started")
"""The services that OpenRC has started. One that the gate blocks is among them, because start-k3s runs."""
_LONGEST = 24 * 60
"""Minutes of the longest bypass."""


def end_exceptions(host: Host) -> tuple[str, ...]:
    """Forget bypasses, used or not, and start the services that the gate blocked; return those being started.

    Called after a run that found the host compliant. Raises HostError if /run or systemd does not permit it.
    """
    found = gate.read_exceptions(host)
    for prefix, services in ((BYPASS, gate.files_of_services(host, BYPASS)), (UNGATED, found.bypassed)):
        for service in services:
            host.writable_tree.remove_file(file_of_service(service, prefix))
    return _start_blocked(host, found.blocked)


def _start_blocked(host: Host, services: Sequence[str]) -> tuple[str, ...]:
    """Start services that the gate blocked, and return those that systemd is starting.

    systemd repeats the start of a blocked service, so this ends the pause. It does not repeat it after
    StartLimitBurst= attempts; the service has then failed. A service that its operator stopped is not started.
    """
    systemd = Systemd(host)
    for unit in systemd.show(services, "Id", "ActiveState", "UnitFileState") if services and systemd.is_running else ():
        if unit.get("ActiveState") == "failed":
            systemd.reset_failed(unit["Id"])
            if unit.get("UnitFileState", "").startswith(("enabled", "static", "linked")):
                systemd.start(unit["Id"])
    # Last, so that the next run repeats this one if it is killed. What OpenRC has started then ends its pause.
    for service in services:
        host.writable_tree.remove_file(file_of_service(service, UNGATED))
    return _started(host, services)


def _started(host: Host, services: Sequence[str]) -> tuple[str, ...]:
    """Return the services among these that run or are being started."""
    if gate_units.starts_services(host):
        return tuple(service for service in services if host.tree.exists(_STARTED / service))
    states = Systemd(host).show(services, "Id", "ActiveState", "Job") if services and Systemd(host).is_running else ()
    return tuple(
        unit["Id"] for unit in states if unit.get("Job") or unit.get("ActiveState") in ("activating", "active")
    )


def minutes_of(duration: str) -> int:
    """Return the minutes of --for. Raises UsageError if it is no duration, or longer than a day."""
    with suppress(ValueError):
        minutes = seconds_of(duration) // 60
        if minutes <= _LONGEST:
            return minutes
    problem = f"cannot use --for: found {duration}, expected a duration of at most 24h"
    raise UsageError(problem, "pass one such as 30m or 2h; by then, fix what the gate reports")


def bypass(host: Host, named: Sequence[str], minutes: int, *, each: bool = False) -> Report:
    """Let K3s start once, or each time, without its gate within these minutes, and record the user and the time.

    Raises UsageError for a service that does not exist or has no gate, and HostError for an ordinary user.
    """
    host.refuse_ordinary_user("bypass")
    if not host.is_live:
        raise UsageError("cannot bypass the gate of a host tree: no service runs in it", "run it on the host")
    directories = (*UNIT_DIRECTORIES, OPENRC_DIRECTORY)
    gated = gate.detect_gate(host).dropins
    guarded = [name for name in gated if any(host.tree.exists(directory / name) for directory in directories)]
    unknown = sorted(set(named) - set(guarded))
    if unknown or not guarded:
        what = unknown[0] if unknown else "K3s"
        names = " or ".join(f"--unit {name}" for name in guarded)
        hint = (
            f"pass {names}"
            if guarded
            else "start K3s as usual: no gate blocks it; if it fails, its own log has the reason"
        )
        raise UsageError(f"cannot bypass the gate of {what}: there is no such service with a gate", hint)
    uptime = gate.uptime(host)
    if not uptime:
        raise HostError("cannot bypass the gate: /proc/uptime, by which the bypass expires, cannot be read")
    services = tuple(named or guarded)
    when, until = timestamp(host.now()), timestamp(host.now() + minutes * 60)
    content = f"{uptime + minutes * 60} {f'{EACH} ' if each else ''}{host.user}, {when}\n".encode()
    starts = "each start" if each else "the next start"
    found = gate.read_exceptions(host)
    longer = {name: one for name, one in found.bypasses.items() if one.is_for_each and not each}
    host.put(Directory(path=RUN_DIRECTORY, mode=PUBLIC_DIRECTORY))
    for service in services:
        host.put(File(path=file_of_service(service, BYPASS), content=content, mode=PUBLIC_FILE))
        host.log(f"{starts} of {service} until {until} passes without its gate: k3s-harden bypass by {host.user}")
    blocked = _start_blocked(host, [service for service in services if service in found.blocked])
    started: tuple[str, ...] = ()
    with suppress(HostError):  # the bypass is in effect, whatever systemd answers
        started = _started(host, services)
    from agent.verbs.advice import next_steps

    return Report(
        verb="bypass",
        writes=True,
        facts=(Fact("bypassed by", host.user, when), Fact("expires", f"until {until}", f"{minutes} minutes later")),
        items=tuple(
            Item(
                service,
                ItemStatus.CHANGED,
                ("is being started; " if service in blocked else "runs; " if service in started else "")
                + f"{starts} until {until} passes without the gate"
                + (f", and no longer each start until {longer[service].until}" if service in longer else ""),
            )
            for service in services
        ),
        findings=(),
        next_steps=next_steps.steps_after_bypass(
            [service for service in services if service not in started], is_openrc=gate_units.starts_services(host)
        ),
    )
