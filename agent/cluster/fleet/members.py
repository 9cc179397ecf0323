"""The nodes of clusters, and what is required of them. The exit code follows from both."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from agent.base.errors import ExitCode
from agent.base.value import Value
from agent.cluster.fleet.published import FleetNode, differences, fleet_node, seconds
from agent.cluster.fleet.snapshot import Snapshot, changes, seen_times
from agent.cluster.kubernetes.objects import ClusterNode
from agent.cluster.node_status import Annotation, PublishedResult
from agent.k3s.roles_and_versions import Role

_MOST_NAMED = 20
_PROBLEMS_FIRST = (PublishedResult.FAILED, PublishedResult.UNKNOWN, PublishedResult.COMPLIANT)


class Requirement(NamedTuple):
    """What decides the exit code: the largest age in seconds, whether all are compliant, and which nodes there are."""

    max_age: float
    is_compliant: bool = False
    expected: int | None = None
    is_full: bool = False
    """Whether no node has a waiver or a stage."""
    names: frozenset[str] = frozenset()
    """Each names a node, CLUSTER/NODE, or a cluster with any node; empty if any are expected."""


class Fleet(Value):
    """The nodes of clusters: problems first, then by cluster, servers before agents, in natural order."""

    nodes: tuple[FleetNode, ...]
    when: float
    requirement: Requirement
    before: Snapshot | None = None
    unread: tuple[str, ...] = ()
    """Why clusters could not be read."""

    @cached_property
    def counts(self) -> Mapping[PublishedResult, int]:
        """The number of nodes with each result."""
        return counted(self.nodes)

    @cached_property
    def clusters(self) -> Mapping[str, Mapping[PublishedResult, int]]:
        """The number of nodes with each result, by cluster: those with a problem first."""
        nodes: dict[str, list[FleetNode]] = {}
        for node in self.nodes:
            nodes.setdefault(node.cluster, []).append(node)
        return {name: counted(found) for name, found in nodes.items()}

    @cached_property
    def nodes_by_failed_control(self) -> Mapping[str, Sequence[str]]:
        """The nodes on which a control failed, the most frequent control first; only of nodes that publish them."""
        found: dict[str, list[str]] = {}
        for node in self.nodes:
            for control in node.failed_controls or ():
                found.setdefault(control, []).append(node.full_name)
        return dict(sorted(found.items(), key=lambda row: (-len(row[1]), row[0])))

    @cached_property
    def _read(self) -> Sequence[FleetNode]:
        """The nodes without clusters that could not be read."""
        return [node for node in self.nodes if node.name]

    @cached_property
    def missing(self) -> Sequence[str]:
        """The expected names that no node has."""
        found = {name for node in self._read for name in (node.full_name, node.cluster)}
        return sorted(self.requirement.names - found, key=natural)

    @cached_property
    def changes(self) -> Mapping[str, Sequence[str]] | None:
        """The nodes that got worse or better, are new or gone; None without a snapshot."""
        return changes(self._read, self.before) if self.before else None

    @property
    def seen(self) -> Mapping[str, str]:
        """The time of the newest report of each node that was ever read, those that are gone included."""
        return seen_times(self._read, self.before)

    @cached_property
    def problems(self) -> Sequence[str]:
        """Why the requirement is not met. A cluster without nodes never meets it."""
        count, expected = len(self._read), self.requirement.expected
        wrong = [node.full_name for node in self.nodes if node.result is not PublishedResult.COMPLIANT]
        found = [*self.unread]
        found += [f"found {count} node{'s' * (count != 1)}, expected {expected or 'some'}"] * (
            count != expected if expected else not count
        )
        found += [f"missing: {shortened(self.missing)}"] * bool(self.missing)
        if names := self.requirement.names:
            others = [node.full_name for node in self.nodes if names.isdisjoint((node.full_name, node.cluster))]
            found += [f"not expected: {shortened(others)}"] * bool(others)
        found += [f"not compliant: {shortened(wrong)}"] * bool(self.requirement.is_compliant and wrong)
        servers = [f"{name} of {cluster}" if cluster else name for cluster, name in self._different_policies()]
        found += [f"servers overwrite each other's policy.yaml: {'; '.join(servers)}"] * bool(
            self.requirement.is_compliant and servers
        )
        partial = [node.full_name for node in self.nodes if node.full_name not in wrong and not node.is_full]
        return found + [f"with a waiver or a stage: {shortened(partial)}"] * bool(self.requirement.is_full and partial)

    def _different_policies(self) -> Iterator[tuple[str, str]]:
        """Yield each cluster whose servers have different policies, which K3s applies in turn, with these servers."""
        clusters: dict[str, dict[str, list[str]]] = {}
        for node in self.nodes:
            if node.policies and node.role is Role.SERVER:
                clusters.setdefault(node.cluster, {}).setdefault(node.policies, []).append(node.name)
        for cluster, found in clusters.items():
            if len(found) > 1:
                yield cluster, ", ".join(map(shortened, found.values()))

    @property
    def exit_code(self) -> ExitCode:
        """The exit code: 3 if the requirement is not met."""
        return ExitCode.NOT_COMPLIANT if self.problems else ExitCode.COMPLIANT


def make_fleet(
    nodes: Iterable[ClusterNode], now: float, requirement: Requirement, before: Snapshot | None = None
) -> Fleet:
    """Return the nodes with their results at this time, and how each differs from most nodes of its role."""
    nodes = [*nodes]
    machines = [node.annotations.get(Annotation.MACHINE, "") for node in nodes]
    rows = [fleet_node(node, now, requirement.max_age) for node in nodes]
    found = differences([row.compared for row in rows])
    rows = [row._replace(compared={}, differs=differs) for row, differs in zip(rows, found)]
    if before:
        rows = [_unknown(row, _replayed(row, before)) for row in rows]
    rows = [_unknown(row, reason) for row, reason in zip(rows, _clones(rows, machines))]
    return Fleet(tuple(sorted(rows, key=_place)), now, requirement, before)


def _unknown(node: FleetNode, reason: str) -> FleetNode:
    return node._replace(result=PublishedResult.UNKNOWN, reason=reason) if reason and not node.leaked else node


def _replayed(node: FleetNode, before: Snapshot) -> str:
    """Return why a report is unknown that is older than one of the same node that was seen."""
    newest = before.seen.get(node.full_name, "")
    is_older = (seconds(node.assessed) or 0) < (seconds(newest) or 0)
    return f"the report of {node.assessed} is older than one seen, of {newest}" if is_older and node.assessed else ""


def _clones(rows: Sequence[FleetNode], machines: Sequence[str]) -> Iterator[str]:
    """Yield why the report of each name with two reports is unknown, and that of each machine with two names.

    A report that does not count proves nothing about others, and one Node may be read from two clusters.
    """
    reports = Counter(row.full_name for row in rows)
    names: dict[str, dict[str, str]] = {}
    for row, machine in zip(rows, machines):
        if machine and row.result is not PublishedResult.UNKNOWN:
            names.setdefault(machine, {})[row.uid or row.full_name] = row.full_name
    for row, machine in zip(rows, machines):
        same = names.get(machine, {}) if row.result is not PublishedResult.UNKNOWN else {}
        others = [name for uid, name in same.items() if uid != (row.uid or row.full_name)]
        cloned = f"the same machine is also {shortened(others, 3)}" if others else ""
        yield f"{reports[row.full_name]} reports have this name" if reports[row.full_name] > 1 else cloned


def counted(nodes: Iterable[FleetNode]) -> Mapping[PublishedResult, int]:
    """Return the number of nodes with each result."""
    numbers = Counter(node.result for node in nodes)
    return {result: numbers[result] for result in PublishedResult}


def _place(node: FleetNode) -> tuple[object, ...]:
    rank = _PROBLEMS_FIRST.index(node.result)
    return rank, natural(node.cluster), node.role is Role.AGENT, natural(node.name)


def natural(text: str) -> tuple[str | int, ...]:
    """Return a sort key by which work-2 comes before work-10."""
    return tuple(int(part) if at % 2 else part for at, part in enumerate(re.split("([0-9]{1,18})", text)))


def shortened(names: Sequence[str], most: int = _MOST_NAMED) -> str:
    """Return the first names, and how many others there are."""
    left = len(names) - most
    return ", ".join(names[:most]) + (f" and {left} more" if left > 0 else "")
