"""Workloads of a cluster: pods and the pod templates of controllers, each with its outermost controller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.cluster.kubernetes.queries import Query

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.cluster.kubernetes.objects import Workload
    from agent.cluster.kubernetes.queries import Cluster

CONTROLLERS = {
    Query.DEPLOYMENTS: "Deployment",
    Query.DAEMON_SETS: "DaemonSet",
    Query.STATEFUL_SETS: "StatefulSet",
    Query.REPLICA_SETS: "ReplicaSet",
    Query.REPLICATION_CONTROLLERS: "ReplicationController",
    Query.JOBS: "Job",
    Query.CRON_JOBS: "CronJob",
}
"""The kinds of objects with a pod template, by their query."""

QUERIES = (Query.PODS, *CONTROLLERS)
"""The queries that this module needs."""


def workloads_with_controllers(cluster: Cluster) -> Iterator[tuple[Query, Workload]]:
    """Yield all workloads with the query that lists them.

    The controller of a pod is the outermost one, such as the Deployment of its ReplicaSet. A controller has another
    one only if that is listed, so that the title is always an object that has a template.
    """
    listed = [workload for query in CONTROLLERS for workload in cluster.objects[query]]
    titles = {workload.own_title for workload in listed}
    above = {
        workload.own_title: workload.controller
        for workload in listed
        if workload.controller and workload.title in titles
    }
    for query in QUERIES:
        for workload in cluster.objects[query]:
            if query is Query.PODS:
                yield query, workload._replace(controller=above.get(workload.title, workload.controller))
            else:
                yield query, workload._replace(controller=above.get(workload.own_title, ""))


def workloads_to_check(cluster: Cluster) -> Iterator[tuple[Query, Workload]]:
    """Yield the workloads that rules check: pods, and templates of controllers from which no pod is known to be.

    Such a template can be another one than that of its pods: after an edit of a StatefulSet that updates on deletion,
    of a paused Deployment, or of a ReplicaSet. Pods are preferred to their template, because admission can change them.
    """
    listed = [*workloads_with_controllers(cluster)]
    made = {workload.title for workload in cluster.objects[Query.PODS]}
    revisions = {(item.title, item.revision) for item in cluster.objects[Query.PODS]}
    copies: dict[str, list[object]] = {}
    for query, workload in listed:
        if query is Query.REPLICA_SETS and not workload.is_dormant and workload.own_title in made:
            copies.setdefault(workload.title, []).append(workload.content)
    for query, workload in listed:
        has_pods_of_it = {
            Query.DEPLOYMENTS: workload.content in copies.get(workload.own_title, ()),
            Query.REPLICA_SETS: workload.own_title in made and bool(workload.controller),
            Query.JOBS: workload.own_title in made,
        }.get(query, query in _REVISED and (workload.own_title, workload.revision) in revisions)
        if query is Query.PODS or not (workload.is_dormant or has_pods_of_it):
            yield query, workload


_REVISED = frozenset({Query.DAEMON_SETS, Query.STATEFUL_SETS})
"""Controllers whose pods have a label with the revision of their template."""
