"""Starts of several services of K3s with one configuration file: the first one decides about its drop-in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import PurePosixPath

from agent.base.host import Host
from agent.base.host.systemd import Systemd
from agent.base.host.writable_tree import locked
from agent.base.value import replace
from agent.harden.gate.gate_state import JUDGED, file_of_service
from agent.harden.situation import Request, Situation
from agent.harden.situation.observation import observe_situation

_LOCK = PurePosixPath("/run/k3s-harden-starts.lock")
_WAIT = 60.0


def one_at_a_time(host: Host) -> AbstractContextManager[None]:
    """Let one gate after the other judge, until record_judged() has shown that it let its start pass."""
    return locked(host.writable_tree, _LOCK, wait=_WAIT)


def with_rivals(host: Host, request: Request) -> Situation:
    """Return the situation now, with the services that start or run and need other content in files of this start."""
    situation = observe_situation(host, request)
    return replace(situation, rivals=tuple(_rivals(host, request, situation)))


def _rivals(host: Host, request: Request, situation: Situation) -> Iterator[str]:
    expected = {resource.id: resource for resource in situation.desired}
    names = [unit.path.name for unit in situation.facts.sharing]
    for shown in Systemd(host).show(names, "Id", "ActiveState", "InvocationID"):
        judged = host.tree.text_if_readable(file_of_service(shown["Id"], JUDGED)).partition("\n")[0]
        passed = shown["ActiveState"] in ("activating", "deactivating") and judged == shown["InvocationID"] != ""
        if passed or shown["ActiveState"] in ("active", "reloading"):
            other = replace(request, service=shown["Id"].removesuffix(".service"), start=None)
            theirs = observe_situation(host, other).desired
            if any(expected.get(resource.id, resource) != resource for resource in theirs):
                yield shown["Id"]
