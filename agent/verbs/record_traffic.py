"""The verb record-traffic: adds the connections of this moment to the record of this node."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import PurePosixPath
from shlex import quote
from typing import TypeVar

from agent.base.errors import HardenError, HostError, InputError
from agent.base.host import Host
from agent.base.host.connection_tracking import MOST_TRACKED
from agent.base.host.systemd import Systemd
from agent.base.host.writable_tree import locked
from agent.base.linux.file_systems import TrackedConnection
from agent.base.model import PRIVATE_FILE, File, Location
from agent.base.repair import Edit, Instruction
from agent.base.report import Item, ItemStatus
from agent.base.times import minute, timestamp
from agent.harden.changes.state import STATE, machine_hash, make_directory
from agent.harden.node.site_files import read_settings
from agent.harden.settings.schema import DEFAULT_SETTINGS, Overrides
from agent.harden.settings.stages import last_recording_day
from agent.verbs.traffic_records import (
    CONNECTIONS,
    LONGEST_GAP,
    MOST_ROWS,
    Record,
    Times,
    collected,
    parse_record,
    record_content,
)

_Key = TypeVar("_Key")

TIMER = "k3s-harden-traffic.timer"
_LOCK = STATE / "connections.lock"
"""Not the lock of the host, which the sandbox of a unit cannot take, and for which the gate would wait."""
_CRON = PurePosixPath("/etc/cron.d/k3s-harden-traffic")
_NETWORKS = PurePosixPath("/var/lib/cni/networks")
"""A file for each address that CNI's host-local plugin has given to a pod, with the ID of its sandbox."""
_BUNDLES = PurePosixPath("/run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io")


def record_traffic(host: Host, program: PurePosixPath) -> Iterator[str]:
    """Add the connections of this moment to the record, up to the day in the settings, and yield lines about it.

    Starts the timer that repeats it, and stops it after that day. Raises HostError if the kernel does not show them.
    """
    host.refuse_ordinary_user("record-traffic")
    until, now = read_settings(host, None, Overrides()).traffic_record_until, int(host.now())
    today, systemd = timestamp(now)[:10], Systemd(host)
    if until is None or until < today:
        if systemd.is_running:
            systemd.stop(TIMER)
        yield f"nothing is recorded: `traffic.record-until` {f'ended on {until}' if until else 'is not set'}"
        return
    if until > (latest := last_recording_day(today)):
        problem = f"`traffic.record-until` must be a day up to {latest}; found {until}"
        step = Edit(Location(DEFAULT_SETTINGS), until, latest)
        raise InputError(step.location, problem, step)
    tracked = host.connections()
    if tracked is None:
        raise HostError(
            "cannot read the connections of this node: the kernel refused", Instruction("run it as root on the node")
        )
    with _lock(host):
        record = _earlier(host, now)
        added = _added(record, now, tracked, _pods_of_node(host, record))
        host.writable_tree.write(File(path=CONNECTIONS, content=record_content(added), mode=PRIVATE_FILE))
    yield f"{len(added.connections)} connections recorded in {CONNECTIONS} since {minute(added.begin)}, until {until}"
    if added.is_full:
        most = f"a record has at most {MOST_ROWS} rows, and a sample {MOST_TRACKED} connections"
        yield f"further connections are left out: {most}"
    if not 0 < now - record.last <= LONGEST_GAP:
        yield from _start(host, program)


def _start(host: Host, program: PurePosixPath) -> Iterator[str]:
    systemd, problem = Systemd(host), "systemd does not run"
    if systemd.is_running:
        try:
            systemd.start(TIMER)
        except HostError as error:
            problem = error.message
        else:
            return
    if host.tree.exists(_CRON):
        return
    line = f"* * * * * root {quote(str(program))} record-traffic >/dev/null"
    yield f"this was one sample: {problem}; to repeat it by cron: echo {quote(line)} | sudo tee {_CRON}"


def remove_record(host: Host) -> Sequence[Item]:
    """End the recording, also by cron, and remove the record and those of other nodes. Return what failed."""
    try:
        _remove_record(host)
    except HostError as error:
        return (Item("the record of connections", ItemStatus.FAILED, error.message, error.repair),)
    return ()


def _remove_record(host: Host) -> None:
    with suppress(HostError):
        if Systemd(host).is_running and host.tree.exists(CONNECTIONS):
            Systemd(host).stop(TIMER)
    if b" record-traffic" in (host.tree.read(_CRON) or b""):
        host.writable_tree.remove_file(_CRON)
    if directory := collected(host):
        for name in host.tree.names(directory):
            host.writable_tree.remove_file(directory / name)
        host.writable_tree.remove_directory(directory)
    if any(map(host.tree.exists, (CONNECTIONS, _LOCK))):
        with _lock(host):
            for path in (CONNECTIONS, _LOCK):
                host.writable_tree.remove_temporary(path)
                host.writable_tree.remove_file(path)


@contextmanager
def _lock(host: Host) -> Iterator[None]:
    make_directory(host.writable_tree, STATE)
    with locked(host.writable_tree, _LOCK, wait=host.lock_wait):
        yield


def _earlier(host: Host, now: int) -> Record:
    """Return the record so far; an empty one instead of a damaged one, or that of another machine."""
    own = Record(host.name, machine_hash(host), now, 0)
    with suppress(HardenError):
        found = parse_record(host.tree.read(CONNECTIONS) or b"", CONNECTIONS)
        return found if found.machine == own.machine else own
    return own


def _pods_of_node(host: Host, record: Record) -> dict[str, tuple[str, str]] | None:
    """Return sandbox and name of the pods of this node by address; None if their network has no such files."""
    networks = host.tree.names(_NETWORKS)
    known = {(address, sandbox): name for address, sandbox, name in record.pods}
    found = {}
    for path in (_NETWORKS / network / name for network in networks for name in host.tree.names(_NETWORKS / network)):
        with suppress(HostError, ValueError, LookupError):
            address, sandbox = str(ip_address(path.name)), host.tree.read_text(path).split()[0]
            found[address] = (sandbox, known.get((address, sandbox)) or _name_of(host, sandbox))
    return found if networks else None


def _name_of(host: Host, sandbox: str) -> str:
    """Return NAMESPACE/NAME of the pod of a sandbox; empty if containerd does not have it in the usual directory."""
    with suppress(HostError, ValueError, LookupError, TypeError):
        annotations = json.loads(host.tree.read(_BUNDLES / sandbox / "config.json") or b"")["annotations"]
        return "/".join(annotations[f"io.kubernetes.cri.sandbox-{part}"] for part in ("namespace", "name"))
    return ""


def _added(
    record: Record, now: int, tracked: Collection[TrackedConnection], own: Mapping[str, tuple[str, str]] | None
) -> Record:
    """Return a record with the connections to the pods of this node, which are all if these are not known."""
    names = {address: name for address, (_, name) in (own or {}).items() if name}
    seen = [
        (names.get(client, client), names.get(target, target), port, protocol)
        for protocol, client, target, port in tracked
        if (own is None or target in own) and not ip_address(target).is_loopback
    ]
    places = [(address, *found) for address, found in (own or {}).items() if address in names]
    connections, pods = _with(record.connections, seen, now), _with(record.pods, places, now)
    is_cut = len(tracked) >= MOST_TRACKED or not (connections.keys() >= {*seen} and pods.keys() >= {*places})
    is_full = record.is_full or is_cut
    gap = now - record.last
    watched = record.watched + (gap if 0 < gap <= LONGEST_GAP else 0)
    last = max(record.last, now)
    return record._replace(last=last, watched=watched, is_full=is_full, connections=connections, pods=pods)


def _with(rows: Mapping[_Key, Times], keys: Iterable[_Key], now: int) -> dict[_Key, Times]:
    """Return rows with these keys seen now, as far as there is room. The clock can have been set back."""
    found = dict(rows)
    for key in keys:
        if key in found or len(found) < MOST_ROWS:
            first, last = found.get(key, (now, now))
            found[key] = (first, max(last, now))
    return found
