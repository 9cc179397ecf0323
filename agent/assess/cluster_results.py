"""What an assessment says about the cluster: facts, notes, and controls for which it had no answer. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.assess import running_values
from agent.base.report import NODE_UID, Fact
from agent.base.value import replace
from agent.cluster.kubernetes.queries import Query

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.assess.assessment import Assessment
    from agent.assess.benchmark.control import BenchmarkControl
    from agent.assess.checks.assessed_node import AssessedNode
    from agent.cluster.kubernetes.objects import Cluster


def with_cluster(
    assessment: Assessment, controls: Sequence[BenchmarkControl], node: AssessedNode, cluster: Cluster
) -> Assessment:
    """Add the notes about the cluster to an assessment, and the controls for which it had no answer."""
    benchmark = assessment.benchmark
    objects = cluster.objects
    numbers = {str(query): len(objects[query]) for query in running_values.COUNTED if query in objects}
    counts = ", ".join(f"{n} {name.removesuffix('s') if n == 1 else name}" for name, n in numbers.items())
    own = running_values.own_node(node, cluster)
    nodes = (known for known in objects.get(Query.NODES, ()) if known.name == own and known.uid)
    # kube-system is created with the cluster, and cannot be deleted.
    first = (known for known in objects.get(Query.NAMESPACES, ()) if known.name == "kube-system" and known.uid)
    uids = (
        *(Fact(NODE_UID, known.uid, "API server") for known in nodes),
        *(Fact("cluster UID", known.uid, "the namespace kube-system") for known in first),
    )
    found = Fact("cluster", counts or "no answer", cluster.server or "not reached")
    return replace(
        assessment,
        facts=(*assessment.facts, found, *uids),
        notes=(*running_values.notes_about_cluster(controls, benchmark, node), *assessment.notes),
        without_answer=frozenset(running_values.without_answer(controls, benchmark, cluster)),
    )
