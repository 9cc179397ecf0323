"""psa.yaml and the admission plugins, tested with the real API server."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.k8s import pods
from tests.k8s.client import DATA_DIR
from tests.k8s.namespaces import NAME
from tests.k8s.node import Node

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("server")]

REFUSED = 403
CREATED = 201
KUBELET = DATA_DIR / "agent/client-kubelet"


def _privileged(pod: dict[str, Any]) -> None:
    pod["spec"]["containers"][0]["securityContext"] = {"privileged": True}


def created(node: Node, pod: dict[str, Any]) -> tuple[int, str]:
    """Create a pod as a dry run, and return the status and the message of the API server."""
    path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods?dryRun=All"
    answer = node.client.request("POST", 6444, path, body=pod)
    return answer.status, answer.json.get("message", "")


def test_namespace_created_later_is_restricted(server: Node) -> None:
    """A new namespace has the defaults of psa.yaml; its labels override them."""
    server.create_namespaces("later", "open")
    server.kubectl("label", "namespace", "open", "pod-security.kubernetes.io/enforce=privileged", "--overwrite")
    for namespace, status in (("later", REFUSED), ("open", CREATED)):
        pod = pods.pod("breach", namespace)
        _privileged(pod)
        assert created(server, pod)[0] == status


def test_every_exempt_namespace_admits_privileged_pods(server: Node) -> None:
    """The API server exempts each name in psa.yaml."""
    text = server.path("/var/lib/rancher/k3s/server/psa.yaml").read_text()
    plugins = yaml.safe_load(text)["plugins"]
    exempt = next(item for item in plugins if item["name"] == "PodSecurity")["configuration"]["exemptions"][
        "namespaces"
    ]
    names = [*exempt, "not-exempt"]
    server.create_namespaces(*names)
    admitted = []
    for name in names:
        pod = pods.pod("breach", name)
        _privileged(pod)
        if created(server, pod)[0] == CREATED:
            admitted.append(name)
    assert admitted == exempt


def test_workload_that_is_not_restricted_gets_a_warning(server: Node) -> None:
    """The Deployment is admitted, and kubectl shows why its pods will be rejected."""
    pod = pods.pod("breach", "default")
    _privileged(pod)
    template = {"metadata": {"labels": {"app": "breach"}}, "spec": pod["spec"]}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "breach", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "breach"}}, "template": template},
    }
    done = server.try_kubectl("apply", "--dry-run=server", "--filename=-", text=yaml.safe_dump(deployment))
    assert done.returncode == 0
    assert 'would violate PodSecurity "restricted:latest"' in done.stderr


def test_kubelet_can_change_only_its_own_node(server: Node) -> None:
    """NodeRestriction rejects labels of node-restriction.kubernetes.io and changes of other Nodes."""
    server.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-2"}})
    patch = {"Content-Type": "application/merge-patch+json"}
    label = {"metadata": {"labels": {"example.com/fine": "yes"}}}
    restricted = {"metadata": {"labels": {"node-restriction.kubernetes.io/zone": "secure"}}}
    for name, body, status in ((NAME, label, 200), (NAME, restricted, REFUSED), ("node-2", label, REFUSED)):
        path = f"/api/v1/nodes/{name}"
        answer = server.client.request("PATCH", 6444, path, certificate=KUBELET, headers=patch, body=body)
        assert answer.status == status, answer.text
    server.kubectl("delete", "node", "node-2")


def test_anonymous_requests_are_rejected(server: Node) -> None:
    """The API server and the kubelet reject requests without credentials, and the read-only port is closed."""
    assert server.client.get(6444, "/version", certificate=None).status == 401
    assert server.client.get(10250, "/pods", certificate=None).status == 401
    assert server.client.get(10255, "/pods", certificate=None, tls=False).status == 0
