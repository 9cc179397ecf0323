"""Starts of K3s that the gate blocks: ended by a compliant run, or released once by root.

The drop-in systemd/k3s.service.d/10-k3s-harden.conf reads and writes the same files in /run/k3s-harden.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from agent.errors import UsageError
from agent.linux.unit_files import UNIT_DIRECTORIES
from agent.model import PRIVATE_FILE, Directory, File, FileMode
from agent.node import gate
from agent.node.gate import STATE
from agent.report import Fact, Item, ItemStatus, Report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.host import Host

ENDED_BY_A_COMPLIANT_RUN = frozenset({"start-blocked", "started-without-gate"})
"""Findings about what `retry_blocked_starts` ends."""

_DIRECTORY = Directory(path=STATE, mode=FileMode(0o755))


def retry_blocked_starts(host: Host) -> tuple[str, ...]:
    """Make the services that the gate blocks try again at once, and forget earlier releases; return the services.

    Called after a run that found the host compliant. systemd keeps a blocked service in its restart loop, so a service
    that was stopped is not started by this.
    """
    blocked = gate.services_with(host, "blocked.")
    for service in blocked:
        host.put(_file(f"retry.{_stem(service)}", b""))
    for service in gate.services_with(host, "released."):
        host.writable_tree.remove_file(STATE / f"released.{_stem(service)}")
    return blocked


def release_once(host: Host, named: Sequence[str]) -> Report:
    """Let K3s start once without its gate, and record the user and the time.

    Raises UsageError for a service that does not exist or has no gate, and HostError for an ordinary user.
    """
    host.refuse_ordinary_user("release")
    if not host.is_live:
        raise UsageError("cannot release a start of K3s in a host tree: no service runs in it", "run it on the host")
    guarded = [service for service in gate.detect_gate(host).dropins if _exists(host, service)]
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
    who = host.user
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(host.now()))
    note = f"{who}, {when}\n"
    items = []
    host.put(_DIRECTORY)
    for service in named or guarded:
        host.put(_file(f"release.{_stem(service)}", note.encode()))
        host.log(f"{service} may start once without its gate: k3s-harden release --once by {who}")
        items.append(Item(service, ItemStatus.CHANGED, "its next start passes without the gate"))
    from agent.plan import next_steps

    return Report(
        verb="release",
        writes=True,
        facts=(Fact("released by", who, when),),
        items=tuple(items),
        findings=(),
        next_steps=next_steps.steps_after_release(named or guarded),
    )


def _exists(host: Host, service: str) -> bool:
    return any(host.tree.exists(directory / service) for directory in UNIT_DIRECTORIES)


def _file(name: str, content: bytes) -> File:
    return File(path=STATE / name, content=content, mode=PRIVATE_FILE)


def _stem(service: str) -> str:
    return service.removesuffix(".service")
