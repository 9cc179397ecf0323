"""Records of who connected to which pod, as `record-traffic` keeps one on each node.

A record is JSON with a row for each connection and each pod. Addresses are used again, so an end that is a pod of the
node has its name, and each pod the time in which it had its address.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_network
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from agent.base.errors import InputError
from agent.base.host import Host
from agent.base.host.directories import MOST_FILES, too_many
from agent.base.host.tree import Tree
from agent.base.linux.file_systems import TrackedConnection
from agent.base.model import Location
from agent.base.repair import Instruction
from agent.base.times import minute
from agent.cluster.kubernetes.network_policies import FORMER
from agent.cluster.kubernetes.running_objects import NetworkNode
from agent.harden.changes.state import STATE, hash_of_machine

CONNECTIONS = STATE / "connections.json"
_COLLECTED = STATE / "connections"
MOST_ROWS = 20_000
"""Rows of connections, and of pods."""
LONGEST_GAP = 150
"""Seconds between two samples without a gap: the kernel keeps a TCP connection for 120 seconds after its end."""
_DAY = 86_400
_LONGEST_USE = 31 * _DAY
"""Seconds after which a record does not show any more which ports are unused."""
_FORMAT = "k3s-harden connections 1"
_NAME = r"[a-z0-9][-a-z0-9.]{0,252}"
_WANTED = "a record of `k3s-harden record-traffic`"
_AGAIN = f"copy {CONNECTIONS} of that node again, or remove the file"
_MOST_BYTES = 128 << 20
"""Of all records: those of 100 nodes with many connections."""
_SHOWN = 5
Times = tuple[int, int]


class Record(NamedTuple):
    """What one node has seen. Times are in seconds since the epoch."""

    node: str
    machine: str
    """The hash of its machine ID."""
    begin: int
    last: int
    """The last sample."""
    watched: int = 0
    """Seconds without a gap between samples."""
    is_full: bool = False
    """Whether rows were left out."""
    connections: Mapping[tuple[str, str, int, str], Times] = {}
    """First and last time by client, target, port and protocol."""
    pods: Mapping[tuple[str, str, str], Times] = {}
    """First and last time by address, sandbox, and NAMESPACE/NAME."""


def record_content(record: Record) -> bytes:
    """Return the file of a record, with each row in a line of its own."""
    rows = {name: [[*key, *times] for key, times in getattr(record, name).items()] for name in ("connections", "pods")}
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in {**record._asdict(), **rows}.items()]
    return "".join((f'{{"format": "{_FORMAT}",\n', ",\n".join(lines).replace("], [", "],\n["), "}\n")).encode()


def parse_record(data: bytes, path: PurePosixPath) -> Record:
    """Return a record. Raises InputError for any other file."""
    try:
        shape = json.loads(data)
    except (ValueError, RecursionError) as error:
        line, problem = getattr(error, "lineno", 1), f"it is damaged or incomplete; expected {_WANTED}"
        raise InputError(Location(path, line), problem, Instruction(_AGAIN)) from error
    if not isinstance(shape, dict) or shape.pop("format", "") != _FORMAT:
        raise InputError(Location(path), f"found another format; expected {_WANTED}", Instruction(_AGAIN))
    try:
        return _record(shape)
    except (TypeError, LookupError, ValueError, AttributeError) as error:
        problem = f"found {str(error)[:80]!r}; expected {_WANTED}"
        raise InputError(Location(path), problem, Instruction(_AGAIN)) from error


def _record(shape: dict[str, Any]) -> Record:
    known: set[str] = set()
    connections, pods = {}, {}
    for client, target, port, protocol, *seen in shape.pop("connections"):
        _require(type(port) is int and 0 < port < 1 << 16, f"port {port}")
        _require(re.fullmatch("[A-Z0-9]{1,9}", protocol), f"protocol {protocol}")
        known.update(end for end in (client, target) if end not in known and _require_end(end))
        connections[client, target, port, protocol] = _times(*seen)
    for address, sandbox, name, *had in shape.pop("pods"):
        _require(re.fullmatch(r"[-\w.]{1,128}", sandbox) and "/" in name and _require_end(name), f"pod {name}")
        pods[str(ip_address(address)), sandbox, name] = _times(*had)
    record = Record(**shape)._replace(connections=connections, pods=pods)
    begin, last = _times(record.begin, record.last)
    _require(re.fullmatch(f"{_NAME}|", record.node), f"node {record.node}")
    _require(re.fullmatch("[0-9a-f]{16}", record.machine), f"machine {record.machine}")
    _require(type(record.watched) is int and 0 <= record.watched <= last - begin, f"watched {record.watched}")
    _require(max(len(connections), len(pods)) <= MOST_ROWS, f"more than {MOST_ROWS} rows")
    return record


def _require(is_valid: object, found: str) -> None:
    if not is_valid:
        raise ValueError(found)


def _require_end(text: str) -> bool:
    """Return True for an address, and for the name of a pod. Raises ValueError for any other text."""
    _require("/" not in text or re.fullmatch(f"{_NAME}/{_NAME}", text), f"pod {text}")
    return "/" in text or bool(ip_address(text))


def _times(first: object, last: object) -> Times:
    if type(first) is int and type(last) is int and 0 < first <= last < 1 << 40:
        return first, last
    raise ValueError(f"times {first} to {last}")


def collected(host: Host) -> PurePosixPath | None:
    """Return the directory of this server for the records of all nodes, which `impact` and `apply` read by default."""
    return _COLLECTED if host.tree.names(_COLLECTED) else None


def read_records(tree: Tree, directory: PurePosixPath) -> dict[PurePosixPath, Record]:
    """Return the records in a directory. Raises InputError for a file that is none."""
    total = 0
    names = [name for name in tree.names(directory) if not name.startswith(".")]
    if not names:
        raise InputError(Location(directory), "found no file; expected the record of each node", Instruction(_AGAIN))
    if len(names) > MOST_FILES:
        raise too_many(directory, len(names))
    found = {}
    for path in (directory / name for name in names):
        if tree.link_target(path) is not None:
            raise InputError(Location(path), f"found a symlink; expected {_WANTED}", Instruction(_AGAIN))
        data = tree.read_input(path, _AGAIN)
        total += len(data)
        if total > _MOST_BYTES:
            raise InputError(
                Location(path), f"found more than {_MOST_BYTES} bytes up to it; expected less", Instruction(_AGAIN)
            )
        found[path] = parse_record(data, path)
    return found


class Watched(NamedTuple):
    """What all records have."""

    connections: tuple[TrackedConnection, ...] = ()
    """An end that was a pod is its NAMESPACE/NAME, or FORMER and its address if the name is not known."""
    is_complete: bool = False
    """Whether each node was watched for a day."""
    notes: tuple[str, ...] = ()


def merged(records: Mapping[PurePosixPath, Record], nodes: Sequence[NetworkNode], now: float) -> Watched:
    """Return the connections of all records. Raises InputError for a record of another cluster, or a second one."""
    paths: dict[str, PurePosixPath] = {}
    by_node = {}
    for path, record in records.items():
        name = _node_of(path, record, nodes)
        if name in paths:
            problem = f"found a second record of node {name}, besides {paths[name]}; expected one"
            raise InputError(Location(path), problem, Instruction("remove the older one"))
        paths[name], by_node[name] = path, record
    ends = _Ends(records.values(), nodes)
    found = {
        TrackedConnection(protocol, one, other, port)
        for record in records.values()
        for (client, target, port, protocol), seen in record.connections.items()
        for one in ends.at(client, seen)
        for other in ends.at(target, seen)
    }
    short = [
        name
        for name, record in by_node.items()
        if record.watched < _DAY or record.is_full or record.last < now - _LONGEST_USE
    ]
    missing = [node.name for node in nodes if node.name not in by_node]
    begin, last = min(one.begin for one in records.values()), max(one.last for one in records.values())
    span = f"recorded on {len(records)} nodes from {minute(begin)} to {minute(last)}"
    notes = [f"{span}; UDP, and what ended between two samples, can be missing"]
    lacking = {"no record of": missing, "not watched for a day in the last 31, or with a full record:": short}
    notes += [f"{text} {', '.join(names)}, so no port counts as unused" for text, names in lacking.items() if names]
    is_complete = bool(nodes) and not missing and not short
    if is_complete:
        notes.append("TCP ports to which nothing connected count as unused: a client that connects rarely is not known")
    return Watched(tuple(sorted(found)), is_complete, tuple(notes))


def _node_of(path: PurePosixPath, record: Record, nodes: Sequence[NetworkNode]) -> str:
    """Return the name of the Node that a record is of."""
    same = [
        node.name
        for node in nodes
        if (hash_of_machine(node.machine) == record.machine if node.machine else node.name == record.node)
    ]
    if nodes and not same:
        some = ", ".join(node.name for node in nodes[:_SHOWN]) + ", ..." * (len(nodes) > _SHOWN)
        problem = f"found the record of node {record.node} with a machine ID that no node has; expected one of {some}"
        raise InputError(
            Location(path), problem, Instruction("remove the file, or pass the --kubeconfig of its cluster")
        )
    return record.node if record.node in same or not same else same[0]


class _Ends:
    """Who had an address when."""

    def __init__(self, records: Iterable[Record], nodes: Iterable[NetworkNode]) -> None:
        self._names: dict[str, list[tuple[str, Times]]] = {}
        for record in records:
            for (address, _, name), had in record.pods.items():
                self._names.setdefault(address, []).append((name, had))
        ranges = [ip_network(text, strict=False) for node in nodes for text in node.ranges]
        self._ranges = ranges if self._names else []
        # The first two are those of the node's own interfaces.
        self._of_nodes = {str(address) for network in ranges for address in islice(network, 2)}

    def at(self, end: str, seen: Times) -> Collection[str]:
        """Return the pods that had an address at a time, and otherwise what is known of it."""
        if "/" in end:
            return (end,)
        (first, last), found = seen, self._names.get(end, ())
        names = {name for name, had in found if had[0] - LONGEST_GAP <= last and first <= had[1] + LONGEST_GAP}
        is_pod = end not in self._of_nodes and any(ip_address(end) in network for network in self._ranges)
        return names or (FORMER * is_pod + end,)
