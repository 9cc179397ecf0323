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
    """Yield the workloads that rules check: pods, CronJobs, and other controllers that have no pod.

    Pods are preferred to templates, because admission can change them. A CronJob creates further pods.
    """
    with_pods: set[str] = set()
    for query, workload in workloads_with_controllers(cluster):
        if query is Query.PODS:
            with_pods.add(workload.title)
        elif workload.is_dormant or (query is not Query.CRON_JOBS and workload.title in with_pods):
            continue
        yield query, workload
