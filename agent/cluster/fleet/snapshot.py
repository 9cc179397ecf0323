"""An earlier output of `fleet --format json`: which reports were seen and verified, and what has changed since."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.cluster.fleet.json_stream import members
from agent.cluster.fleet.published import seconds
from agent.cluster.kubernetes.parsing import as_mapping, as_string
from agent.cluster.node_status import PublishedResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import TextIO

    from agent.cluster.fleet.published import FleetNode
    from agent.cluster.kubernetes.objects import Json

_WORST_LAST = (PublishedResult.COMPLIANT, PublishedResult.FAILED, PublishedResult.UNKNOWN)
KINDS = ("worse", "better", "new", "gone")


class Snapshot(NamedTuple):
    """What an earlier run found, by the full name of each node."""

    time: str
    results: Mapping[str, tuple[PublishedResult, int]]
    """With the number of failed controls."""
    verified: Mapping[str, str]
    """The digests of records whose signature is valid."""
    seen: Mapping[str, str]
    """The time of the newest assessment of each node that was ever read, as text."""


def read_snapshot(stream: TextIO) -> Snapshot:
    """Return a snapshot. Raises ValueError if the text is anything else."""
    found: dict[str, Json] = {}
    results: dict[str, tuple[PublishedResult, int]] = {}
    verified: dict[str, str] = {}
    seen: dict[str, str] = {}
    for key, value in members(stream):
        node = as_mapping(value)
        if key == "seen[]":
            seen[as_string(node.get("name"))] = as_string(node.get("time"))
        if key != "nodes[]":
            found[key] = value
            continue
        cluster, name = as_string(node.get("cluster")), as_string(node.get("name"))
        full = f"{cluster}/{name}" if cluster else name
        failed = node.get("failed")
        results[full] = PublishedResult(node.get("result")), failed if isinstance(failed, int) else 0
        verified[full] = as_string(node.get("verified"))
    if (found.get("verb"), found.get("schema")) != ("fleet", 1):
        raise ValueError("found JSON that is not the output of fleet")
    return Snapshot(as_string(found.get("time")), results, verified, seen)


def changes(nodes: Sequence[FleetNode], before: Snapshot) -> Mapping[str, Sequence[str]]:
    """Return the nodes by KINDS, each with its results then and now."""
    now = {node.full_name: (node.result, node.failed) for node in nodes}
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for name, (result, failed) in now.items():
        if name not in before.results:
            found["new"].append(f"{name} {result}")
            continue
        last, last_failed = before.results[name]
        then, there = ((_WORST_LAST.index(last), last_failed), (_WORST_LAST.index(result), failed))
        text = f"{name} {last} → {result}" if last is not result else f"{name} {last_failed} → {failed} failed"
        if then != there:
            found["worse" if there > then else "better"].append(text)
    found["gone"] += [f"{name} {result}" for name, (result, _) in before.results.items() if name not in now]
    return found


def seen_times(nodes: Iterable[FleetNode], before: Snapshot | None) -> Mapping[str, str]:
    """Return the newest time of each node, those of nodes that are gone included: a later replay is detected."""
    times = dict(before.seen if before else {})
    for node in nodes:
        if node.result is not PublishedResult.UNKNOWN:
            both = (times.get(node.full_name, ""), node.assessed)
            times[node.full_name] = max(both, key=lambda text: seconds(text) or 0)
    return times
