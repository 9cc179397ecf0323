"""Workloads whose pods a new Pod Security configuration rejects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from agent.cluster.kubernetes.objects import Namespace, Workload
from agent.cluster.kubernetes.pod_security import PodSecurityDefaults, PodSecurityLevel
from agent.cluster.kubernetes.queries import CONTROLLERS, QUERIES, Query
from agent.cluster.kubernetes.rejected_workloads import RejectedWorkload, judged_workloads, rejections
from agent.cluster.reader import parsed_object
from tests.unit.cluster.kubernetes.samples import STRICT, Json, container, controller, cron_job, pod

Objects = dict[Query, list[Json]]
PRIVILEGED = PodSecurityDefaults(PodSecurityLevel.PRIVILEGED)
RESTRICTED = PodSecurityDefaults(PodSecurityLevel.RESTRICTED)
BAD: Json = {"containers": [container(None)]}
GOOD: Json = {"containers": [container(STRICT)], "securityContext": {}}


def parsed(objects: Mapping[Query, Sequence[Json]]) -> list[Workload]:
    return [parsed_object(query, item) for query in QUERIES for item in objects.get(query, ())]


def rejected(
    objects: Mapping[Query, Sequence[Json]],
    *namespaces: Namespace,
    today: PodSecurityDefaults = PRIVILEGED,
    tomorrow: PodSecurityDefaults = RESTRICTED,
) -> list[RejectedWorkload]:
    return rejections(parsed(objects), namespaces or [Namespace("shop", {})], today, tomorrow, 37)


def titles(found: Sequence[RejectedWorkload]) -> list[str]:
    return [item.title for item in found]


def made(kind: str, name: str, spec: Json, **fields: Any) -> Json:
    return cron_job(name, "shop", spec) if kind == "CronJob" else controller(name, "shop", spec, **fields)


@pytest.mark.parametrize(("query", "kind"), CONTROLLERS.items())
@pytest.mark.parametrize("replicas", [0, 2])
def test_the_template_of_each_controller_is_judged_without_a_pod(query: Query, kind: str, replicas: int) -> None:
    objects = {query: [made(kind, "bad", BAD, replicas=replicas), made(kind, "good", GOOD, replicas=replicas)]}
    assert titles(rejected(objects)) == [f"{kind} shop/bad"]


def deployment(spec: Json, revision: Json, pods: Sequence[Json]) -> Objects:
    """Return a Deployment with its ReplicaSet and the pods of that."""
    return {
        Query.DEPLOYMENTS: [controller("web", "shop", spec)],
        Query.REPLICA_SETS: [controller("web-1", "shop", revision, owner="Deployment web", replicas=1)],
        Query.PODS: [pod(f"web-1-{number}", owner="ReplicaSet web-1", **item) for number, item in enumerate(pods)],
    }


def test_equal_pods_are_judged_once_whatever_the_name_of_their_token_volume() -> None:
    token = {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
    pods = [{**BAD, "volumes": [{"name": f"kube-api-access-{number}", **token}]} for number in range(10)]
    (judged,) = judged_workloads(parsed(deployment(BAD, BAD, pods)))
    assert len(judged.templates) == 1


def test_pods_decide_if_a_webhook_has_changed_them() -> None:
    assert rejected(deployment(BAD, BAD, [GOOD, GOOD])) == []
    assert titles(rejected(deployment(GOOD, GOOD, [GOOD, BAD]))) == ["Deployment shop/web"]


def test_an_unfinished_rollout_is_judged_by_its_new_template_and_its_old_pods() -> None:
    """The pods of the old ReplicaSet say nothing about the new template, and are still created again."""
    assert titles(rejected(deployment(BAD, GOOD, [GOOD]))) == ["Deployment shop/web"]
    objects = deployment(GOOD, BAD, [BAD])
    (found,) = rejected(objects)
    assert found.title == "ReplicaSet shop/web-1"
    objects[Query.REPLICA_SETS][0]["spec"]["replicas"] = 0
    objects[Query.PODS].clear()
    assert rejected(objects) == []


@pytest.mark.parametrize(
    ("query", "kind", "label"),
    [
        (Query.DAEMON_SETS, "DaemonSet", "pod-template-generation"),
        (Query.STATEFUL_SETS, "StatefulSet", "controller-revision-hash"),
    ],
)
def test_pods_of_an_earlier_revision_say_nothing_about_the_template(query: Query, kind: str, label: str) -> None:
    for of_pod, expected in (("2", []), ("1", [f"{kind} shop/web"])):
        parent = controller("web", "shop", BAD)
        parent["metadata"]["annotations"] = {"deprecated.daemonset.template.generation": "2"}
        parent["status"] = {"updateRevision": "2"}
        child = pod("web-0", owner=f"{kind} web", **GOOD)
        child["metadata"]["labels"] = {label: of_pod}
        assert titles(rejected({query: [parent], Query.PODS: [child]})) == expected


def test_the_pods_of_a_cron_job_are_those_of_its_jobs() -> None:
    objects = {
        Query.CRON_JOBS: [cron_job("nightly", "shop", BAD)],
        Query.JOBS: [
            {
                **controller("nightly-1", "shop", BAD, owner="CronJob nightly"),
                "status": {"conditions": [{"type": "Complete", "status": "True"}]},
            }
        ],
        Query.PODS: [pod("nightly-1-x", owner="Job nightly-1", **GOOD)],
    }
    assert rejected(objects) == []
    objects[Query.PODS].clear()
    assert titles(rejected(objects)) == ["CronJob shop/nightly"]


@pytest.mark.parametrize("query", [Query.REPLICA_SETS, Query.REPLICATION_CONTROLLERS])
def test_an_edited_template_without_revisions_is_judged_with_the_pods(query: Query) -> None:
    kind = CONTROLLERS[query]
    objects = {query: [controller("web", "shop", BAD)], Query.PODS: [pod("web-1", owner=f"{kind} web", **GOOD)]}
    assert titles(rejected(objects)) == [f"{kind} shop/web"]


def test_pods_of_other_controllers_are_reported_once_and_finished_bare_pods_never() -> None:
    objects = {
        Query.PODS: [
            *(pod(f"db-{number}", owner="Cluster db", **BAD) for number in range(3)),
            pod("tool", **BAD),
            {**pod("done", **BAD), "status": {"phase": "Succeeded"}},
        ]
    }
    assert titles(rejected(objects)) == ["Cluster shop/db", "Pod shop/tool"]


def test_static_pods_of_a_node_are_reported_one_by_one() -> None:
    objects = {Query.PODS: [pod(f"{name}-node-1", owner="Node node-1", **BAD) for name in ("vip", "proxy")]}
    assert titles(rejected(objects)) == ["Pod shop/vip-node-1", "Pod shop/proxy-node-1"]


def test_a_forged_owner_hides_neither_pod_nor_controller() -> None:
    objects = {
        Query.REPLICA_SETS: [controller("a", "shop", BAD, owner="Deployment b", replicas=1)],
        Query.DEPLOYMENTS: [controller("b", "shop", BAD, owner="ReplicaSet a")],
        Query.PODS: [pod("c", owner="Pod c", **BAD), pod("d", "other", owner="Deployment b", **GOOD)],
    }
    found = {item.workload.own_title for item in judged_workloads(parsed(objects))}
    assert {"Deployment shop/b", "Pod shop/c", "Pod other/d"} <= found


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, True),
        ({"enforce": "privileged"}, False),
        ({"enforce": "baseline"}, False),
        ({"enforce": "restricted"}, False),
        ({"warn": "privileged"}, True),
        ({"enforce-version": "v1.30"}, True),
        ({"enforce": "Baseline"}, False),
    ],
)
def test_only_what_changes_is_reported(labels: dict[str, str], expected: bool) -> None:
    """A label decides today and tomorrow: what it rejects is rejected already."""
    item = Namespace("shop", {f"pod-security.kubernetes.io/{key}": value for key, value in labels.items()})
    assert bool(rejected({Query.PODS: [pod("web", **BAD)]}, item)) == expected


def test_a_pod_that_is_rejected_already_hides_no_other_one_of_its_controller() -> None:
    on_host = {**GOOD, "hostNetwork": True}
    objects = {Query.PODS: [pod("db-0", owner="Cluster db", **on_host), pod("db-1", owner="Cluster db", **BAD)]}
    (found,) = rejected(objects, today=PodSecurityDefaults(PodSecurityLevel.BASELINE))
    assert (found.title, {item.rule for item in found.violations} & {"hostNamespaces"}) == ("Cluster shop/db", set())


def test_the_version_of_the_namespace_decides() -> None:
    """A probe of a host is a violation from version 1.34 on."""
    probed = pod("web", "shop", container(STRICT, livenessProbe={"tcpSocket": {"host": "10.0.0.1", "port": 1}}))
    for version, expected in (("v1.33", []), ("v1.34", ["Pod shop/web"]), ("latest", ["Pod shop/web"]), ("x", None)):
        item = Namespace("shop", {"pod-security.kubernetes.io/enforce-version": version})
        assert titles(rejected({Query.PODS: [probed]}, item)) == (["Pod shop/web"] if expected is None else expected)
    pinned = RESTRICTED._replace(minor=33)
    assert rejected({Query.PODS: [probed]}, tomorrow=pinned) == []


def test_exempt_namespaces_users_and_runtime_classes_are_not_checked() -> None:
    objects = {
        Query.PODS: [pod("web", **BAD), pod("sandboxed", runtimeClassName="kata", **BAD)],
        Query.DEPLOYMENTS: [controller("api", "shop", BAD)],
    }
    account = "system:serviceaccount:kube-system:replicaset-controller"
    for exempt, expected in (
        ({"exempt": frozenset({"shop"})}, []),
        ({"runtime_classes": ("kata",)}, ["Pod shop/web", "Deployment shop/api"]),
        ({"users": (account,)}, ["Pod shop/web", "Pod shop/sandboxed"]),
        ({"users": ("admin",)}, ["Pod shop/web", "Pod shop/sandboxed", "Deployment shop/api"]),
    ):
        assert titles(rejected(objects, tomorrow=RESTRICTED._replace(**exempt))) == expected
    assert len(rejected(objects, today=RESTRICTED._replace(exempt=frozenset({"shop"})))) == 3


def test_ephemeral_containers_are_not_created_again() -> None:
    assert rejected({Query.PODS: [pod("web", ephemeralContainers=[container(None)])]}) == []


def test_a_container_of_a_webhook_has_no_patch() -> None:
    """A patch of the template would add a container without an image."""
    injected = {**GOOD, "initContainers": [container(None, name="proxy-init")]}
    (found,) = rejected(deployment(GOOD, GOOD, [injected]))
    assert found.fix is None
    assert [item.field.split("[")[0] for item in found.violations] == ["spec.initContainers"] * 2 + [
        "spec.securityContext.runAsNonRoot",
        "spec.securityContext.seccompProfile.type",
    ]


def test_a_namespace_that_is_not_listed_has_the_default() -> None:
    """It was created between two requests."""
    assert titles(rejected({Query.PODS: [pod("web", "new", **BAD)]})) == ["Pod new/web"]
