"""Rules for controls whose answer is in the cluster, and the answers that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from agent.assess.checks.answer import LISTED_APART, Answer, ControlStatus, Evidence
from agent.assess.checks.assessed_node import AssessedNode
from agent.base.repair import Instruction, Repair, Step
from agent.cluster.kubernetes.queries import Cluster, Query

_MOST_LISTED = 100
"""Observations of one answer."""
_MOST_NAMED = 3
"""Objects that `found` names."""


class Listed(NamedTuple):
    """An object that matters for a control, as the evidence lists it."""

    title: str
    """Kind, namespace and name."""
    detail: str
    """What it has or may do."""
    reason: str = ""
    """Why it is on every K3s; empty if the site created it."""
    query: Query | None = None
    """The query that lists it; None for the one that `answer` is called with."""
    command: str = ""
    """The command that shows it, if it is not that of the object."""

    @property
    def text(self) -> str:
        """The object and its detail, for evidence."""
        about = f"{self.title}: {self.detail}" if self.detail else self.title
        return f"{LISTED_APART}{about} ({self.reason})" if self.reason else about


def of_site(observed: Iterable[Listed]) -> list[Listed]:
    """Return the objects that the site created."""
    return [seen for seen in observed if not seen.reason]


class AssessedCluster(NamedTuple):
    """A cluster, and the node whose API server answered."""

    node: AssessedNode
    cluster: Cluster

    @classmethod
    def on(cls, node: AssessedNode, cluster: Cluster) -> AssessedCluster:
        """Return the cluster with the registry that K3s is configured to use on the node."""
        registry = node.facts.merged_config.scalar("system-default-registry")
        return cls(node, cluster._replace(registry=registry.text if registry is not None else ""))

    def answer(
        self,
        status: ControlStatus,
        observed: Iterable[Listed],
        query: Query,
        *steps: Step,
        noun: str = "object",
        reason: str = "",
    ) -> Answer:
        """Return an answer about objects; those of the site are named in `found` and come first in the evidence."""
        observed = [*observed]
        site = of_site(observed)
        listed = [*site, *(seen for seen in observed if seen.reason)]

        def source(of: Query) -> str:
            return f"{self.cluster.server}{of.request.path}"

        shown = [
            Evidence(seen.text, None, source(seen.query or query), seen.title, seen.command)
            for seen in listed[:_MOST_LISTED]
        ]
        if len(listed) > _MOST_LISTED:
            shown.append(Evidence(f"and {len(listed) - _MOST_LISTED} more", source=source(query)))
        if not shown:
            shown.append(Evidence(f"none of {len(self.cluster.objects[query])} {query}", source=source(query)))
        return Answer(
            status,
            found=objects_summary(site, noun) or ("only objects that every K3s has" if observed else "none"),
            evidence=tuple(shown),
            reason=reason,
            repair=Repair(steps),
        )

    def to_review(self, observed: Iterable[Listed], query: Query, noun: str, reason: str = "") -> Answer:
        """Return an answer that lists objects for a person, who decides."""
        step = Instruction("change what is listed")
        return self.answer(ControlStatus.MANUAL, observed, query, step, noun=noun, reason=reason)


class ClusterRule(NamedTuple):
    """How the objects of a cluster decide on a control."""

    queries: tuple[Query, ...]
    decide: Callable[[AssessedCluster], Answer]
    passes: str = ""
    """When the status is PASS, as a sentence without its period; empty if it never is."""
    fails: str = ""
    """When it is FAIL; empty if it never is."""
    manual: str = ""
    """When a person has to decide; empty if never."""

    @property
    def description(self) -> str:
        """The rule as a sentence without its period."""
        texts = (("PASS", self.passes), ("FAIL", self.fails), ("MANUAL", self.manual))
        return "; ".join(f"{status} if {text}".replace(" if always", " always") for status, text in texts if text)


def fails_if_any(  # noqa: PLR0913 - a rule
    queries: tuple[Query, ...],
    find: Callable[[AssessedCluster], Iterable[Listed]],
    noun: str,
    step: str,
    *,
    passes: str,
    fails: str,
) -> ClusterRule:
    """Return a rule that fails if the site created an object that `find` returns. The first query is the evidence."""

    def decide(of: AssessedCluster) -> Answer:
        observed = [*find(of)]
        status = ControlStatus.FAIL if of_site(observed) else ControlStatus.PASS
        return of.answer(status, observed, queries[0], Instruction(step), noun=noun)

    return ClusterRule(queries, decide, passes, fails)


def objects_summary(observed: Iterable[Listed], noun: str) -> str:
    """Return the number of objects with the names of the first ones; empty if there are none."""
    titles = list(dict.fromkeys(seen.title for seen in observed))
    if not titles:
        return ""
    named = ", ".join(titles[:_MOST_NAMED])
    more = f" and {len(titles) - _MOST_NAMED} more" if len(titles) > _MOST_NAMED else ""
    return f"{len(titles)} {noun}{'s' if len(titles) > 1 else ''}: {named}{more}"
