"""The verb bypass: root lets K3s start without its gate."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from agent.base.errors import HostError, UsageError
from agent.base.host import Host
from agent.base.linux.unit_files import UNIT_DIRECTORIES
from agent.base.model import PUBLIC_DIRECTORY, PUBLIC_FILE, Directory, File
from agent.base.report import Fact, Item, ItemStatus, Report
from agent.base.times import seconds_of, timestamp
from agent.harden.gate import gate_state, gate_units, installed_gate
from agent.harden.gate.gate_state import BYPASS, EACH, RUN_DIRECTORY, file_of_service
from agent.k3s.services import OPENRC_DIRECTORY

_LONGEST = 24 * 60
"""Minutes of the longest bypass."""


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
    gated = installed_gate.detect_gate(host).dropins
    guarded = [name for name in gated if any(host.tree.exists(directory / name) for directory in directories)]
    unknown = sorted(set(named) - set(guarded))
    if unknown or not guarded:
        what = unknown[0] if unknown else "K3s"
        names = " or ".join(f"--unit {name}" for name in guarded)
        usual = "start K3s as usual: no gate blocks it; if it fails, its own log has the reason"
        problem = f"cannot bypass the gate of {what}: there is no such service with a gate"
        raise UsageError(problem, f"pass {names}" if guarded else usual)
    uptime = gate_state.uptime(host)
    if not uptime:
        raise HostError("cannot bypass the gate: /proc/uptime, by which the bypass expires, cannot be read")
    services = tuple(named or guarded)
    when, until = timestamp(host.now()), timestamp(host.now() + minutes * 60)
    content = f"{uptime + minutes * 60} {f'{EACH} ' if each else ''}{host.user}, {when}\n".encode()
    starts = "each start" if each else "the next start"
    found = gate_state.read_exceptions(host)
    longer = {name: one for name, one in found.bypasses.items() if one.is_for_each and not each}
    host.put(Directory(path=RUN_DIRECTORY, mode=PUBLIC_DIRECTORY))
    for service in services:
        host.put(File(path=file_of_service(service, BYPASS), content=content, mode=PUBLIC_FILE))
        host.log(f"{starts} of {service} until {until} passes without its gate: k3s-harden bypass by {host.user}")
    blocked = gate_state.start_blocked(host, [service for service in services if service in found.blocked])
    started: tuple[str, ...] = ()
    with suppress(HostError):  # the bypass is in effect, whatever systemd answers
        started = gate_state.started_services(host, services)
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
