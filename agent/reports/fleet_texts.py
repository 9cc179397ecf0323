"""Texts about the nodes of clusters that the table, the plain lines and the HTML page share."""

from __future__ import annotations

from collections.abc import Iterator

from agent.base.times import timestamp
from agent.cluster.fleet.members import Fleet, shortened
from agent.cluster.fleet.published import BY_NODE, FleetNode
from agent.cluster.node_status import Annotation, PublishedResult
from agent.reports.text import accepted_by_site, count_of, printable

HEADS = ("Cluster", "Node", "Role", "Result", "K3s", "Failed", "Drifting since", "Age", "k3s-harden", "Remarks")


_MOST_MISSING = 1000
_MOST_CLUSTERS = 100


def columns(node: FleetNode) -> tuple[str, ...]:
    """Return the columns of HEADS, without control characters; empty if there is no value."""
    names = (Annotation.FAILED, Annotation.DRIFTING_SINCE, Annotation.VERSION)
    failed, drifting, program = (node.published[name] for name in names)
    age = "" if node.age_seconds is None else f"{max(0, node.age_seconds) // 3600}h{'*' * (node.age_from == BY_NODE)}"
    about = (node.cluster, node.name, node.role, node.result, node.k3s_version)
    texts = (*about, failed, drifting, age, program, "; ".join((*remarks(node), *node.differs)))
    return tuple("" if text is None else printable(str(text)) for text in texts)


def remarks(node: FleetNode) -> Iterator[str]:
    """Yield why a node is not compliant, or else what the site accepts on it."""
    published = node.published
    if node.reason:
        yield node.reason
    if node.result is PublishedResult.COMPLIANT:
        waived, postponed, left_open = (
            published[name] or 0 for name in (Annotation.WAIVED, Annotation.POSTPONED, Annotation.LEFT_OPEN)
        )
        until, profile = published[Annotation.POSTPONED_UNTIL] or "?", published[Annotation.PROFILE]
        yield from accepted_by_site(waived, postponed, until, left_open, profile)
    if broken := published[Annotation.BROKEN]:
        yield f"the hardening breaks {count_of(broken, 'object')}, which `k3s-harden impact` lists"
    if node.end_of_life:
        yield f"{node.k3s_version} has no security fixes since {node.end_of_life}"
    if published[Annotation.OBSERVING_SINCE]:
        yield f"the gate observes since {published[Annotation.OBSERVING_SINCE]}"


def below(fleet: Fleet) -> Iterator[str]:
    """Yield the results by cluster, if there are several, the nodes by failed control, and the notes."""
    clusters = [*fleet.clusters.items()] * (len(fleet.clusters) > 1)
    for name, counts in clusters[:_MOST_CLUSTERS]:
        yield printable(f"{name}: {', '.join(f'{count} {result}' for result, count in counts.items())}")
    left = len(clusters) - _MOST_CLUSTERS
    if left > 0:
        yield f"and {left} more clusters with fewer problems"
    for control, names in fleet.nodes_by_failed_control.items():
        yield printable(f"{control} failed on {len(names)}: {shortened(names)}")
    yield from notes(fleet)


def notes(fleet: Fleet) -> Iterator[str]:
    """Yield which nodes are missing, what has changed, and what the mark of an age means."""
    if fleet.missing:
        yield printable(f"missing {len(fleet.missing)}: {shortened(fleet.missing, _MOST_MISSING)}")
    month = timestamp(fleet.when)[: len("2027-03")]
    ends = [(node.published[Annotation.WAIVED_UNTIL] or "", node.full_name) for node in fleet.nodes]
    ending = [f"{name} on {day}" for day, name in sorted(ends) if day.startswith(month)]
    if ending:
        yield printable(f"a waiver ends this month on {len(ending)}: {shortened(ending)}")
    for kind, names in (fleet.changes or {}).items():
        if fleet.before and names:
            yield printable(f"{kind} since {fleet.before.time}, {len(names)}: {shortened(names)}")
    if any(node.age_from == BY_NODE for node in fleet.nodes):
        yield "* by the clock of the node; only `kubectl get nodes --show-managed-fields` has that of the API server"


def summary(fleet: Fleet) -> str:
    """Return the number of nodes with each result, and why the requirement is not met."""
    counts = ", ".join(f"{count} {result}" for result, count in fleet.counts.items())
    accepted = sum(
        bool(node.published[Annotation.WAIVED] or node.published[Annotation.POSTPONED]) for node in fleet.nodes
    )
    counts += f"; {accepted} with a waiver or a stage" if accepted else ""
    return printable(f"result {int(fleet.exit_code)}: {'; '.join((counts, *fleet.problems))}")
