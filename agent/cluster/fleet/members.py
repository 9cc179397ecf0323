"""The nodes of clusters, and what is required of them. The exit code follows from both."""

from __future__ import annotations

import re
from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from agent.base.errors import ExitCode
from agent.base.model import Role
from agent.base.value import Value
from agent.cluster.fleet.comparison import differences
from agent.cluster.fleet.published import fleet_node
from agent.cluster.node_status import PublishedResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agent.cluster.fleet.published import FleetNode
    from agent.cluster.kubernetes.objects import ClusterNode

_MOST_NAMED = 20
_PROBLEMS_FIRST = (PublishedResult.FAILED, PublishedResult.UNKNOWN, PublishedResult.COMPLIANT)


class Requirement(NamedTuple):
    """What decides the exit code: the largest age in seconds, whether all are compliant, and how many there are."""

    max_age: float
    is_compliant: bool = False
    expected: int | None = None
    is_full: bool = False
    """Whether no node has a waiver or a stage."""


class Fleet(Value):
    """The nodes of clusters: problems first, then by cluster, servers before agents, in natural order."""

    nodes: tuple[FleetNode, ...]
    when: float
    requirement: Requirement

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
    def problems(self) -> Sequence[str]:
        """Why the requirement is not met. A cluster without nodes never meets it."""
        count, expected = len(self.nodes), self.requirement.expected
        wrong = [node.full_name for node in self.nodes if node.result is not PublishedResult.COMPLIANT]
        found = [f"found {count} nodes, expected {expected or 'some'}"] * (count != expected if expected else not count)
        found += [f"not compliant: {shortened(wrong)}"] * bool(self.requirement.is_compliant and wrong)
        partial = [node.full_name for node in self.nodes if node.full_name not in wrong and not node.is_full]
        return found + [f"with a waiver or a stage: {shortened(partial)}"] * bool(self.requirement.is_full and partial)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code: 3 if the requirement is not met."""
        return ExitCode.NOT_COMPLIANT if self.problems else ExitCode.COMPLIANT


def make_fleet(nodes: Iterable[ClusterNode], now: float, requirement: Requirement) -> Fleet:
    """Return the nodes with their results at this time, and how each differs from most nodes of its role."""
    rows = [fleet_node(node, now, requirement.max_age) for node in nodes]
    found = differences([row.compared for row in rows])
    rows = [row._replace(compared={}, differs=differs) for row, differs in zip(rows, found)]
    return Fleet(tuple(sorted(rows, key=_place)), now, requirement)


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
