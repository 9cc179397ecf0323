"""The nodes of a cluster, and what is required of them. The exit code follows from both."""

from __future__ import annotations

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


class Requirement(NamedTuple):
    """What decides the exit code: the largest age in seconds, whether all are compliant, and how many there are."""

    max_age: float
    is_compliant: bool = False
    expected: int | None = None


class Fleet(Value):
    """The nodes of a cluster, servers first."""

    nodes: tuple[FleetNode, ...]
    when: float
    requirement: Requirement

    @cached_property
    def counts(self) -> Mapping[PublishedResult, int]:
        """The number of nodes with each result."""
        numbers = Counter(node.result for node in self.nodes)
        return {result: numbers[result] for result in PublishedResult}

    @cached_property
    def nodes_by_failed_control(self) -> Mapping[str, Sequence[str]]:
        """The nodes on which a control failed, the most frequent control first; only of nodes that publish them."""
        found: dict[str, list[str]] = {}
        for node in self.nodes:
            for control in node.failed_controls or ():
                found.setdefault(control, []).append(node.name)
        return dict(sorted(found.items(), key=lambda row: (-len(row[1]), row[0])))

    @cached_property
    def problems(self) -> Sequence[str]:
        """Why the requirement is not met. A cluster without nodes never meets it."""
        count, expected = len(self.nodes), self.requirement.expected
        wrong = [node.name for node in self.nodes if node.result is not PublishedResult.COMPLIANT]
        found = [f"found {count} nodes, expected {expected or 'some'}"] * (count != expected if expected else not count)
        return found + [f"not compliant: {shortened(wrong)}"] * bool(self.requirement.is_compliant and wrong)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code: 3 if the requirement is not met."""
        return ExitCode.NOT_COMPLIANT if self.problems else ExitCode.COMPLIANT


def make_fleet(nodes: Iterable[ClusterNode], now: float, requirement: Requirement) -> Fleet:
    """Return the nodes with their results at this time, and how each differs from most nodes of its role."""
    rows = [fleet_node(node, now, requirement.max_age) for node in nodes]
    found = differences([row.compared for row in rows])
    rows = [row._replace(compared={}, differs=differs) for row, differs in zip(rows, found)]
    return Fleet(tuple(sorted(rows, key=lambda row: (row.role is Role.AGENT, row.name))), now, requirement)


def shortened(names: Sequence[str]) -> str:
    """Return the first names, and how many others there are."""
    left = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {left} more" if left > 0 else "")
