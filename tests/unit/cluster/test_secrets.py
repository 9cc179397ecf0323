"""Secrets of a cluster: nothing that an object has in secret places is in a report, or in a file of the drift check."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from agent.assess.assessment import Assessment
from agent.assess.evidence.host_assessment import Scope, assess_host
from agent.base.value import replace
from agent.cluster.kubernetes.queries import FLAGS, REQUESTS, Query
from agent.reports.assessments import assessment_text
from agent.reports.formats import Format, Verbosity
from agent.verbs.assess import with_next_steps
from agent.verbs.drift import drift
from tests.fake import in_memory
from tests.k3s_tree import K3s
from tests.unit.assess.checks.nodes import SETTINGS, node
from tests.unit.cluster.api_server import Answer, ApiServer, Handler, answering
from tests.unit.cluster.kubernetes import samples
from tests.unit.cluster.kubernetes.samples import Json, container, controller, cron_job, pod

MARK = "Hunter2x"
"""It is in each secret value. Base64 of it begins with the text below."""
ENCODED = "SHVudGVyMng"
COPIED = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps({"data": {"password": MARK}})}
SPEC = {
    "containers": [
        container(
            {"privileged": True},
            image=f"registry.example/{MARK}",
            command=["sh", "-c", f"login {MARK}"],
            args=[f"--password={MARK}"],
            env=[
                {"name": "PASSWORD", "value": MARK},
                {"name": MARK, "valueFrom": {"secretKeyRef": {"name": "db", "key": MARK}}},
            ],
            livenessProbe={"httpGet": {"httpHeaders": [{"name": "Authorization", "value": MARK}]}},
        )
    ],
    "hostPID": True,
    "imagePullSecrets": [{"name": MARK}],
}


def marked(item: Json) -> Json:
    """Return an object with the mark in places that `kubectl` and operators use for secrets."""
    metadata = {**item["metadata"], "annotations": {**COPIED, "token": MARK}}
    metadata["managedFields"] = [{"manager": MARK}]
    return {**item, "metadata": metadata, "data": {"password": ENCODED}, "stringData": {"password": MARK}}


def objects() -> Mapping[Query, Sequence[Json]]:
    own: dict[Query, list[Json]] = {
        Query.PODS: [{**pod("web", owner="StatefulSet web"), "spec": SPEC, "status": {"message": MARK}}],
        Query.CRON_JOBS: [cron_job("nightly", "shop", SPEC)],
        Query.NAMESPACES: [samples.namespace("shop")],
        Query.SERVICE_ACCOUNTS: [{**samples.account(), "secrets": [{"name": MARK}]}],
        Query.SECRETS: [samples.metadata("db", "shop")],
        Query.CLUSTER_ROLES: [samples.role("tool", samples.rule("*", "secrets"))],
        Query.CLUSTER_ROLE_BINDINGS: [samples.binding("tool", "tool", "User anna")],
        Query.VALIDATING_WEBHOOKS: [
            {
                **samples.metadata("policy"),
                "webhooks": [
                    {
                        "clientConfig": {"url": f"https://u:{MARK}@h", "caBundle": ENCODED},
                        "rules": [{"apiGroups": [""], "resources": ["pods"]}],
                    }
                ],
            }
        ],
    }
    for query in (Query.DEPLOYMENTS, Query.DAEMON_SETS, Query.STATEFUL_SETS, Query.JOBS):
        own[query] = [controller("idle", "shop", SPEC)]
    for query in set(Query) - set(own):
        own[query] = [samples.metadata(f"some-{query.name.lower().replace('_', '-')}", "shop")]
    return {query: [marked(item) for item in (*samples.NEW.get(query, ()), *items)] for query, items in own.items()}


def ignoring_accept(handler: Handler) -> None:
    """Answer as a server that returns complete Secrets although only their columns were requested."""
    answering({"kind": "SecretList", "items": objects()[Query.SECRETS]})(handler)


def table_with_objects(handler: Handler) -> None:
    """Answer as a server that ignores includeObject."""
    columns = [{"name": "Name"}, {"name": "Type"}, {"name": "Data"}]
    rows = [{"cells": ["db", "Opaque", {"password": MARK}], "object": objects()[Query.SECRETS][0]}]
    answering({"kind": "Table", "columnDefinitions": columns, "rows": rows})(handler)


def refused(handler: Handler) -> None:
    """Answer with an error whose text repeats the object."""
    handler.send(403, json.dumps({"kind": "Status", "message": MARK, "details": {"name": ENCODED}}).encode())


def broken(handler: Handler) -> None:
    """Answer with JSON that ends inside of the object."""
    handler.send(200, b'{"items": [{"data": {"password": "' + MARK.encode())


RUNNING: Mapping[str, Answer] = {
    FLAGS.path: answering(
        {
            "kind": "Flagz",
            "flags": {
                "profiling": "true",
                "etcd-servers": f"https://u:{MARK}@127.0.0.1:2379",
                "oidc-client-secret": MARK,
                "token-auth-file": "",
            },
        }
    ),
    "/api/v1/nodes/node-1/proxy/configz": answering(
        {"kubeletconfig": {"staticPodURLHeader": {"Authorization": [MARK]}, "readOnlyPort": 10255}}
    ),
}


@pytest.mark.parametrize("secrets", [None, ignoring_accept, table_with_objects, refused, broken])
def test_no_secret_of_the_cluster_leaves_the_server(secrets: Answer | None) -> None:
    answers = {**RUNNING, **({REQUESTS[Query.SECRETS].path: secrets} if secrets else {})}
    with in_memory() as directory, ApiServer(objects(), answers).running() as api:
        host = node(directory / "node", K3s(), "1.36.1+k3s1")
        host.put("server/cred/admin.kubeconfig", api.kubeconfig(embedded=True))
        host.put(SETTINGS, "drift: {cluster: true}\n")
        host.config(f"kube-apiserver-arg: ['etcd-servers=https://u:{MARK}@127.0.0.1:2379']\n")
        live = replace(host.host(), is_live=True)

        def assessed(scope: Scope) -> Assessment:
            return with_next_steps(live, assess_host(live, host.request(), scope))

        found = assessed(Scope(with_cluster=True))
        by_id = {verdict.control.id: verdict for verdict in found.verdicts}
        assert by_id["pods-privileged"].found == (
            "6 workloads: StatefulSet shop/web, Deployment shop/idle, DaemonSet shop/idle and 3 more"
        )
        assert by_id["secrets-as-files"].evidence[0].observation.endswith("environment variables: db")
        texts = {format_.value: assessment_text(found, format_, Verbosity.VERBOSE) for format_ in Format}
        before = dict(contents(host.root))
        texts["log"] = "\n".join(drift(live, host.request(), assessed))
        written = {path: text for path, text in contents(host.root) if before.get(path) != text}
    assert any(path.endswith("assessment.json") for path in written)
    assert [name for name, text in {**texts, **written}.items() if MARK in text or ENCODED in text] == []


def contents(root: Path) -> Iterator[tuple[str, str]]:
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield str(path.relative_to(root)), path.read_text(encoding="utf-8", errors="replace")
