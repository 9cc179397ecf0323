"""Why K3s may start though its host is not hardened, and which starts the gate blocked: files in /run and /var/lib.

systemd/k3s.service.d/zzz-k3s-harden.conf and systemd/openrc/start-k3s read and write those in /run/k3s-harden.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from agent.base.host import Host
from agent.base.host.systemd import Systemd
from agent.base.model import Absent
from agent.base.times import timestamp
from agent.base.value import Value
from agent.harden.changes.journal import JOURNAL
from agent.harden.gate import gate_units

RUN_DIRECTORY = PurePosixPath("/run/k3s-harden")

BYPASS = "bypass."
"""A bypass in effect: the uptime in seconds at which it ends, `each` if it is for each start, who gave it, and when."""

EACH = "each"

UNGATED = "ungated."
"""The gate did not pass the last start. An empty file: it blocked it. Otherwise: the bypass that the start used."""

JUDGED = "judged."
"""The invocation of the last start that the gate let pass, and a line for each component argument that it judged."""

UNHARDENED = "unhardened."
"""How the components of the last start differ from that, a line for each."""

UNCONFIRMED = "unconfirmed."
"""Why the last start could not be compared with it."""

_UPTIME = PurePosixPath("/proc/uptime")

OBSERVES = PurePosixPath("/var/lib/k3s-harden/gate-observes")
"""Contains the day of its creation, YYYY-MM-DD in UTC."""

_STARTED = PurePosixPath("/run/openrc/started")
"""The services that OpenRC has started. One that the gate blocks is among them, because start-k3s runs."""

_SUFFIX = ".service"


class Bypass(Value):
    """A bypass in effect."""

    until: str
    by: str
    is_for_each: bool
    """Whether it lets each start pass until then, and not only the next one."""


class GateExceptions(Value):
    """Why starts of K3s pass though the host is not hardened, and those that the gate blocked, by service."""

    observes_since: str
    """The day since which the gate observes, YYYY-MM-DD; empty if it blocks an unhardened K3s."""
    blocked: tuple[str, ...]
    """The services whose last start the gate refused."""
    bypassed: Mapping[str, str]
    """By service whose last start passed without the gate, the user who bypassed the gate and the time."""
    bypasses: Mapping[str, Bypass]
    """The bypasses in effect, by service whose starts pass without the gate."""
    unhardened: Mapping[str, str]
    """By service, how its components differ from what the gate judged."""
    unconfirmed: Mapping[str, str]
    """By service, why it could not be compared with that."""


def read_exceptions(host: Host) -> GateExceptions:
    """Read all files of the gate."""
    ungated = files_of_services(host, UNGATED)
    return GateExceptions(
        observes_since=observes_since(host),
        blocked=tuple(service for service, text in ungated.items() if not text),
        bypassed={service: _given_by(text) for service, text in ungated.items() if text},
        bypasses={
            service: Bypass(timestamp(host.now() + left), _given_by(text), text.split()[1:2] == [EACH])
            for service, text in files_of_services(host, BYPASS).items()
            if (left := _seconds(text.partition(" ")[0]) - uptime(host)) > 0
        },
        unhardened=files_of_services(host, UNHARDENED),
        unconfirmed=files_of_services(host, UNCONFIRMED),
    )


def files_of_services(host: Host, prefix: str) -> dict[str, str]:
    """Return by service the text of its file with this prefix."""
    names = [name for name in host.tree.names(RUN_DIRECTORY) if name.startswith(prefix)]
    suffix = "" if names and gate_units.starts_services(host) else _SUFFIX
    return {
        f"{name[len(prefix) :]}{suffix}": host.tree.text_if_readable(RUN_DIRECTORY / name).strip() for name in names
    }


def file_of_service(service: str, prefix: str) -> PurePosixPath:
    """Return the path of a service's file with this prefix."""
    return RUN_DIRECTORY / f"{prefix}{service.removesuffix(_SUFFIX)}"


def uptime(host: Host) -> int:
    """Return the seconds since the boot, in which bypasses end: nobody sets this clock, and a boot ends a bypass.

    It is read from the file that the gate reads, because a container can have its own. 0 if it cannot be read.
    """
    return _seconds(host.tree.text_if_readable(_UPTIME).partition(".")[0])


def _seconds(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,12}", text) else 0


def _given_by(bypass: str) -> str:
    return bypass.partition(" ")[2].removeprefix(f"{EACH} ") or "unknown"


def observes_since(host: Host) -> str:
    """Return the day since which the gate observes, YYYY-MM-DD; empty if it blocks an unhardened K3s.

    A file that another user can change counts as absent, and so does one with any other content.
    """
    if isinstance(host.tree.stat(OBSERVES), Absent) or host.tree.trust_problem(OBSERVES):
        return ""
    from datetime import date

    try:
        return str(date.fromisoformat((host.tree.text_if_readable(OBSERVES) or "").strip()))
    except ValueError:
        return ""


def is_unhardened_cluster(host: Host, data_dir: PurePosixPath) -> bool:
    """Return whether K3s has run on this host, and no run of apply is in the journal."""
    has_run = any(host.tree.exists(data_dir / name) for name in ("server/db", "agent/client-kubelet.crt"))
    return has_run and not host.tree.names(JOURNAL)


def end_observation(host: Host) -> None:
    """Let the gate block again. Raises HostError if that fails."""
    if not isinstance(host.tree.stat(OBSERVES), Absent):
        host.put(Absent(OBSERVES))


def end_exceptions(host: Host) -> tuple[str, ...]:
    """End the observation and bypasses, start the services that the gate blocked, and return those being started.

    Called after a run that found the host compliant. Raises HostError if /run or systemd does not permit it.
    """
    end_observation(host)
    found = read_exceptions(host)
    for prefix, services in ((BYPASS, files_of_services(host, BYPASS)), (UNGATED, found.bypassed)):
        for service in services:
            host.writable_tree.remove_file(file_of_service(service, prefix))
    return start_blocked(host, found.blocked)


def start_blocked(host: Host, services: Sequence[str]) -> tuple[str, ...]:
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
    return started_services(host, services)


def started_services(host: Host, services: Sequence[str]) -> tuple[str, ...]:
    """Return the services among these that run or are being started."""
    if gate_units.starts_services(host):
        return tuple(service for service in services if host.tree.exists(_STARTED / service))
    states = Systemd(host).show(services, "Id", "ActiveState", "Job") if services and Systemd(host).is_running else ()
    return tuple(
        unit["Id"] for unit in states if unit.get("Job") or unit.get("ActiveState") in ("activating", "active")
    )
