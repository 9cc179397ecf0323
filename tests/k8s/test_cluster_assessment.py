"""`assess --cluster` on a real API server: verdicts on objects, running arguments, and a large cluster."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from agent.k3s.cis.versions import Benchmark
from tests.k8s import pods
from tests.k8s.assessments import RBAC, Report, assessed, binding, create, hardened_server, in_cluster, requests
from tests.k8s.binaries import Binaries, real_k3s
from tests.k8s.namespaces import NAME
from tests.k8s.node import Node

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("cluster")]

DROPINS = "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d"
KUBELET = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"

LARGE = 100
"""Namespaces, with ten pods each."""

MORE_PAGES = 10
"""Requests for the objects of the large cluster: a page has 250."""

REVIEWS = {
    "users-without-client-certificates",
    "users-without-service-account-tokens",
    "rbac-system-masters",
    "external-secret-storage",
    "image-provenance",
    "namespace-boundaries",
}
"""The manual controls of a new server after apply."""


@pytest.fixture(scope="module")
def stopping(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A server whose configuration the tests change, and whose API server the last of them kills."""
    with hardened_server(tmp_path_factory.mktemp("stopping"), binaries) as node:
        yield node


def test_a_hardened_server_has_few_manual_controls(api: Node) -> None:
    """All other controls of section 5 have a status other than FAIL, for each benchmark."""
    report = assessed(api)
    assert report.with_status("MANUAL") == REVIEWS
    assert {
        item for item in report.with_status("FAIL") if item.startswith(("rbac", "pods", "default", "secrets"))
    } == set()
    assert not any("cannot read" in note or "not assessed" in note for note in report.notes)
    for benchmark in Benchmark:
        older = assessed(api, "--benchmark", benchmark.number)
        assert older.with_status("MANUAL") <= REVIEWS | {"kubelet-ip-address-deny"}


def test_objects_of_kubernetes_are_listed_separately(api: Node) -> None:
    """Each has a reason, because all accounts and roles of a new cluster belong to Kubernetes or K3s."""
    report = assessed(api)
    for control in ("rbac-cluster-admin", "rbac-secrets", "rbac-wildcards", "rbac-create-pods", "rbac-nodes-proxy"):
        observations = report.observations(control)
        assert observations
        assert all(item.startswith("listed apart: ") and item.endswith(")") for item in observations)


def test_the_running_api_server_confirms_its_arguments(api: Node) -> None:
    """/flagz shows each configured value, in the spelling of Kubernetes."""
    if api.client.get(6444, "/flagz").status != 200:
        pytest.skip("this version of Kubernetes has no /flagz")
    report = assessed(api)
    confirmed = [
        item["id"]
        for item in report.json["verdicts"]
        if any("as configured" in e["observation"] for e in item["evidence"])
    ]
    assert len(confirmed) >= 20
    assert [note for note in report.notes if "is configured" in note and "--etcd-" not in note] == []


def test_objects_of_the_site_are_found(api: Node) -> None:
    """Each added object that violates a control is reported as found."""
    loose = pods.pod("loose", "loose")
    loose["spec"] |= {"hostNetwork": True, "volumes": [{"name": "etc", "hostPath": {"path": "/etc"}}]}
    (container,) = loose["spec"]["containers"]
    container["env"] = [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}]
    rule = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get"]}
    labels = {"pod-security.kubernetes.io/enforce": "privileged"}
    api.apply({**in_cluster("Namespace", "loose"), "metadata": {"name": "loose", "labels": labels}})
    api.until("the account exists", lambda: api.try_kubectl("get", "sa", "default", "-n", "loose").returncode == 0)
    secret = {**in_cluster("Secret", "db"), "stringData": {"password": "hunter2hunter2"}}
    secret["metadata"] = {"name": "db", "namespace": "loose"}
    # `kubectl apply` on the client writes the content into an annotation, too.
    api.kubectl("apply", "--filename=-", text=json.dumps(secret))
    try:
        labels = {"app": "idle"}
        template = {"metadata": {"labels": labels}, "spec": loose["spec"]}
        idle = in_cluster("Deployment", "idle", "apps")
        idle |= {"metadata": {"name": "idle", "namespace": "loose"}}
        idle |= {"spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}}
        api.apply(
            loose,
            idle,
            in_cluster("ClusterRole", "reader", RBAC, rules=[rule]),
            binding("ops", "cluster-admin", "Group", "ops"),
            binding("everybody", "reader", "Group", "system:authenticated"),
        )
        report = assessed(api, "-v")
        assert report.of("rbac-cluster-admin")["found"] == "1 account: Group ops"
        assert report.of("rbac-wildcards")["found"] == "1 role: ClusterRole reader"
        assert report.status("rbac-secrets") == "FAIL"
        assert report.status("rbac-bind-impersonate-escalate") == "PASS"
        accounts = "2 accounts: ServiceAccount loose/default, Group system:authenticated"
        assert report.of("default-service-accounts")["found"] == accounts
        for control in ("pods-host-network", "pods-host-path", "secrets-as-files", "service-account-token-mounts"):
            assert report.of(control)["found"] == "2 workloads: Pod loose/loose, Deployment loose/idle", control
        assert report.of("namespaces-network-policies")["found"] == "1 namespace: Namespace loose"
        assert report.of("pod-policy-mechanism")["found"] == "1 namespace: Namespace loose"
        assert "hunter2" not in json.dumps(report.json)
    finally:
        api.kubectl("delete", "namespace", "loose", "--wait=false")
        api.kubectl("delete", "clusterrolebinding", "ops", "everybody")
        api.kubectl("delete", "clusterrole", "reader")


def test_a_changed_configuration_needs_a_restart(stopping: Node) -> None:
    """The files are compliant, but the API server still runs with the values at its start."""
    node = stopping
    if node.client.get(6444, "/flagz").status != 200:
        pytest.skip("this version of Kubernetes has no /flagz")
    node.config({"99-late.yaml": {"kube-apiserver-arg+": ["audit-log-maxage=45"]}})
    report = assessed(node)
    assert report.status("audit-log-maxage") == "PASS"
    (note,) = [item for item in report.json["notes"] if "--audit-log-maxage" in item["message"]]
    assert note["message"] == "kube-apiserver runs with --audit-log-maxage=30, and --audit-log-maxage=45 is configured"
    assert note["repair"]["text"] == "restart K3s"


def test_the_drift_check_reports_a_new_administrator_but_not_an_outage(stopping: Node) -> None:
    """With `drift.cluster`. While the API server does not answer, the status of its controls does not change."""
    node = stopping

    def drift() -> list[str]:
        done = node.harden("drift")
        assert done.returncode == 0, done.stderr
        lines = [line for line in done.stdout.splitlines() if not line.startswith("next ")]
        return [line for line in lines if "rbac-" in line or "cluster" in line]

    node.write("/etc/k3s-harden/config.yaml", "drift: {cluster: true}\n", mode=0o600)
    assert drift() == []
    node.apply(binding("ops", "cluster-admin", "Group", "ops"))
    (line,) = drift()
    assert line.startswith("PASS → FAIL rbac-cluster-admin (5.1.1): found 1 account: Group ops")
    node.run("pkill", "-STOP", "kube-apiserver")
    (line,) = drift()
    assert line.startswith("the cluster was not assessed: ")
    node.run("pkill", "-CONT", "kube-apiserver")
    node.wait_for_api()
    assert drift() == []


def test_without_an_answer_the_controls_are_unknown(stopping: Node) -> None:
    """While K3s is stopped, the report contains the commands to run, and a note with the reason."""
    node = stopping
    node.run("pkill", "-STOP", "kube-apiserver")
    started = time.monotonic()
    report = assessed(node)
    assert time.monotonic() - started < 15
    assert report.of("rbac-cluster-admin")["reason"] == "the API server did not answer"
    assert "kubectl get clusterrolebindings" in report.of("rbac-cluster-admin")["repair"]["text"]
    assert [note for note in report.notes if note.startswith("the cluster was not assessed: ")]
    node.run("pkill", "-KILL", "kube-apiserver")
    report = assessed(node)
    assert report.status("rbac-cluster-admin") == "UNKNOWN"


def test_the_number_of_requests_grows_with_pages_and_not_with_objects(api: Node) -> None:
    """The cluster has 100 namespaces and 1,000 pods. The API server's own audit log has the requests."""
    before = requests(api)
    assessed(api)
    small = requests(api) - before
    names = [f"team-{number}" for number in range(LARGE)]
    create(api, [in_cluster("Namespace", name) for name in names])
    last = f"/api/v1/namespaces/{names[-1]}/serviceaccounts/default"
    api.until("the accounts exist", lambda: api.client.get(6444, last).status == 200)
    create(api, [pods.pod(f"web-{number}", name) for name in names for number in range(10)])
    before = requests(api)
    report = assessed(api)
    large = requests(api) - before
    assert report.status("pods-privileged") == "PASS"
    assert report.of("namespaces-network-policies")["found"].startswith(f"{LARGE} namespaces: ")
    assert 0 < small < large <= small + MORE_PAGES


def test_a_changed_configuration_of_the_kubelet_needs_a_restart(
    new_node: Callable[..., Node], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The kubelet shows the value with which it started, also of a file that is too large to be read here."""
    node = new_node()
    assert node.harden("apply").returncode == 0
    node.write(f"{DROPINS}/80-large.conf", f"{KUBELET}authentication: {{anonymous: null}}\n{'#' * (2 << 20)}\n")
    node.start_server()
    node.wait_until_ready()
    if not real_k3s():  # whose name the components in its place do not have
        node.run("cp", "/bin/sleep", "/opt/k3s-server", check=True)
        become = "import os; os.execv('/opt/k3s-server', ['k3s server', '600'])"
        process = node.start(sys.executable, "-c", become, log=tmp_path / "log")
        request.addfinalizer(partial(node.kill, process))
        node.until("its process runs", lambda: node.run("pgrep", "-x", "k3s-server").returncode == 0)
    node.config({"99-late.yaml": {"kubelet-arg+": ["streaming-connection-idle-timeout=7m"]}})
    report = assessed(node)
    assert report.status("streaming-connection-idle-timeout") == "PASS"
    (note,) = [item for item in report.notes if "--streaming-connection-idle-timeout" in item]
    assert note == (
        "kubelet runs with --streaming-connection-idle-timeout=5m0s, and --streaming-connection-idle-timeout=7m is"
        " configured"
    )
    by_files = json.loads(node.harden("assess", "--format", "json").stdout)
    assert Report(by_files).status("kubelet-authorization-mode") == "UNKNOWN"
    assert report.status("kubelet-authorization-mode") == "UNKNOWN"
    node.path("/etc/rancher/k3s/config.yaml.d/99-late.yaml").unlink()
    assert assessed(node).status("kubelet-authorization-mode") == "PASS"
    node.write(f"{DROPINS}/90-late.conf", f"{KUBELET}authentication: {{anonymous: {{enabled: true}}}}\n")
    node.path(f"{DROPINS}/80-large.conf").unlink()
    report = assessed(node)
    assert (report.status("kubelet-anonymous-auth"), report.status("kubelet-authorization-mode")) == ("FAIL", "PASS")
    assert any("90-late.conf changed after K3s started" in item for item in report.notes)


@pytest.mark.xdist_group("server")
def test_the_running_kubelet_confirms_its_configuration(server: Node) -> None:
    """The evidence contains the values in /configz of this node, read through the API server."""
    report = assessed(server)
    for control in ("kubelet-anonymous-auth", "streaming-connection-idle-timeout", "kubelet-read-only-port"):
        (shown,) = [item for item in report.of(control)["evidence"] if "configz" in item["source"]]
        assert "in the running kubelet" in shown["observation"]
        assert f"/nodes/{NAME}/" in shown["source"]
    assert [note for note in report.notes if note.startswith("kubelet runs with")] == []
