"""Starts of K3s that the gate blocks: ended by a compliant run, or released once by root.

The drop-in systemd/k3s.service.d/zzz-k3s-harden.conf and systemd/openrc/start-k3s read and write the same files in
/run/k3s-harden.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.errors import HostError, UsageError
from agent.base.host.systemd import Systemd
from agent.base.linux.unit_files import UNIT_DIRECTORIES
from agent.base.model import PUBLIC_DIRECTORY, PUBLIC_FILE, Directory, File
from agent.base.report import Fact, Item, ItemStatus, Report
from agent.base.times import timestamp
from agent.harden.node import gate
from agent.harden.node import gate_exceptions as exceptions
from agent.harden.node.gate_exceptions import RELEASE, RUN_DIRECTORY, UNGATED, file_of_service
from agent.k3s.services import OPENRC_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.base.host import Host

ENDED_BY_A_COMPLIANT_RUN = frozenset({"start-blocked", "started-without-gate", "release-in-effect"})
"""Findings about what `end_exceptions` ends."""


def end_exceptions(host: Host) -> tuple[str, ...]:
    """Forget releases, used or not, and start the services that the gate blocked; return those being started.

    Called after a run that found the host compliant. Raises HostError if /run or systemd does not permit it.
    """
    found = exceptions.read_exceptions(host)
    for prefix, services in ((RELEASE, exceptions.files_of_services(host, RELEASE)), (UNGATED, found.released)):
        for service in services:
            host.writable_tree.remove_file(file_of_service(service, prefix))
    return _start_blocked(host, found.blocked)


def _start_blocked(host: Host, services: Sequence[str]) -> tuple[str, ...]:
    """Start services that the gate blocked, and return those that systemd is starting.

    systemd repeats the start of a blocked service, so this ends the pause. It does not repeat it after
    StartLimitBurst= attempts; the service has then failed. A service that its operator stopped is not started.
    """
    systemd = Systemd(host)
    if not services or not systemd.is_running:
        for service in services:  # what OpenRC has started then ends its pause
            host.writable_tree.remove_file(file_of_service(service, UNGATED))
        return ()
    for unit in systemd.show(services, "Id", "ActiveState", "UnitFileState"):
        if unit.get("ActiveState") == "failed":
            systemd.reset_failed(unit["Id"])
            if unit.get("UnitFileState", "").startswith(("enabled", "static", "linked")):
                systemd.start(unit["Id"])
    for service in services:  # last, so that the next run repeats this one if it is killed
        host.writable_tree.remove_file(file_of_service(service, UNGATED))
    states = systemd.show(services, "Id", "ActiveState", "Job")
    return tuple(
        unit["Id"] for unit in states if unit.get("Job") or unit.get("ActiveState") in ("activating", "active")
    )


def release_once(host: Host, named: Sequence[str], minutes: int) -> Report:
    """Let K3s start once without its gate within these minutes, and record the user and the time.

    Raises UsageError for a service that does not exist or has no gate, and HostError for an ordinary user.
    """
    host.refuse_ordinary_user("release")
    if not host.is_live:
        raise UsageError("cannot release a start of K3s in a host tree: no service runs in it", "run it on the host")
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
        raise UsageError(f"cannot release {what}: there is no such service with a gate", hint)
    uptime = exceptions.uptime(host)
    if not uptime:
        raise HostError("cannot release K3s: /proc/uptime, by which the release expires, cannot be read")
    services = tuple(named or guarded)
    when, until = timestamp(host.now()), timestamp(host.now() + minutes * 60)
    release = f"{uptime + minutes * 60} {host.user}, {when}\n".encode()
    host.put(Directory(path=RUN_DIRECTORY, mode=PUBLIC_DIRECTORY))
    for service in services:
        host.put(File(path=file_of_service(service, RELEASE), content=release, mode=PUBLIC_FILE))
        host.log(f"{service} may start once without its gate until {until}: k3s-harden release --once by {host.user}")
    blocked = exceptions.read_exceptions(host).blocked
    started = _start_blocked(host, [service for service in services if service in blocked])
    detail = (f"its next start until {until} passes without the gate", "is being started without the gate")
    from agent.verbs.advice import next_steps

    return Report(
        verb="release",
        writes=True,
        facts=(Fact("released by", host.user, when), Fact("expires", f"until {until}", f"{minutes} minutes later")),
        items=tuple(Item(service, ItemStatus.CHANGED, detail[service in started]) for service in services),
        findings=(),
        next_steps=next_steps.steps_after_release([service for service in services if service not in started]),
    )
