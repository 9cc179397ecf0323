"""Running values compared with configured ones: evidence, verdicts and notes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest

from agent.assess import running_values
from agent.assess.assessment import ControlStatus, Verdict
from agent.assess.benchmark import catalogue
from agent.assess.checks.assessed_node import AssessedNode
from agent.assess.verdict import verdict
from agent.base.host.probe import K3sProcess
from agent.cluster.kubernetes.objects import Json
from agent.cluster.kubernetes.queries import Cluster, Query
from agent.cluster.node_status import parse_node
from agent.k3s.cis.versions import Benchmark
from agent.k3s.roles_and_versions import Role
from agent.reports.assessments.common import noted
from tests.unit.assess.checks.nodes import CheckedNode, fix
from tests.unit.cluster.fleet import sample_nodes

SERVER = "https://127.0.0.1:6444"
BENCHMARK = Benchmark.CIS_2_0
NAME = "server-1"
AGENT = "/var/lib/rancher/k3s/agent"


@pytest.fixture
def host(server: CheckedNode) -> CheckedNode:
    server.put("/etc/hostname", f"{NAME}\n")
    return server


def assessed(host: CheckedNode, flags: Mapping[str, str] | None = None, **kubelets: Json) -> AssessedNode:
    """Return the node, whose components run with these values; `_` in the name of a node is `-`."""
    named = {name.replace("_", "-"): item for name, item in kubelets.items()}
    return host.assessed(Cluster(SERVER, {}, {}, flags=flags, kubelets=named))


def judged(name: str, at: AssessedNode) -> Verdict:
    (control,) = catalogue.controls_named(name)
    return verdict(control, BENCHMARK, at, None)


def notes(at: AssessedNode) -> list[str]:
    return [noted(note) for note in running_values.notes_about_cluster(catalogue.controls_of(BENCHMARK), BENCHMARK, at)]


def last(verdict: Verdict) -> tuple[str, str]:
    return verdict.evidence[-1].observation, verdict.evidence[-1].source


def test_a_running_value_that_is_configured_is_evidence(host: CheckedNode) -> None:
    found = judged("apiserver-profiling", assessed(host, {"profiling": "false"}))
    assert found.status is ControlStatus.PASS
    assert last(found) == ("--profiling=false in the running kube-apiserver, as configured", f"{SERVER}/flagz")


def test_a_compliant_value_that_is_not_running_fails_until_a_restart(host: CheckedNode) -> None:
    at = assessed(host, {"profiling": "true"})
    found = judged("apiserver-profiling", at)
    assert (found.status, found.found) == (ControlStatus.FAIL, "--profiling=true in the running kube-apiserver")
    assert fix(found) == "restart K3s"
    assert last(found)[0] == (
        "--profiling=true in the running kube-apiserver; --profiling=false is configured, so K3s has to restart"
    )
    assert notes(at) == [
        "kube-apiserver runs with --profiling=true, and --profiling=false is configured; fix: restart K3s"
    ]


def test_a_configured_value_that_fails_still_fails_if_a_compliant_value_runs(host: CheckedNode) -> None:
    host.config("kube-apiserver-arg: [profiling=true]\n")
    at = assessed(host, {"profiling": "false"})
    assert judged("apiserver-profiling", at).status is ControlStatus.FAIL
    assert notes(at) == [
        (
            "kube-apiserver runs with --profiling=false, and --profiling=true is configured; location"
            " /etc/rancher/k3s/config.yaml:1; fix: restart K3s"
        )
    ]


def test_a_running_value_that_differs_but_is_compliant_passes(host: CheckedNode) -> None:
    host.config("kube-apiserver-arg: [audit-log-maxage=60]\n")
    at = assessed(host, {"audit-log-maxage": "30"})
    assert judged("audit-log-maxage", at).status is ControlStatus.PASS
    assert len(notes(at)) == 1


def test_an_argument_that_was_removed_still_runs(host: CheckedNode) -> None:
    at = assessed(host, {"token-auth-file": "/etc/tokens"})
    found = judged("apiserver-token-auth-file", at)
    assert (found.status, fix(found)) == (ControlStatus.FAIL, "restart K3s")
    assert judged("apiserver-token-auth-file", assessed(host, {"token-auth-file": ""})).status is ControlStatus.PASS


@pytest.mark.parametrize(
    ("configured", "shown"),
    [
        ("audit-log-maxage=030", "030"),
        ("request-timeout=300s", "5m0s"),
        ("request-timeout=1.5h", "1h30m0s"),
        ("profiling=F", "false"),
        ("authorization-mode=RBAC,Node", "[Node,RBAC]"),
        ("authorization-mode=Node,RBAC", "[Node,RBAC]"),
        ("enable-admission-plugins=NodeRestriction", "[NodeRestriction]"),
    ],
)
def test_spellings_of_the_same_value_are_equal(host: CheckedNode, configured: str, shown: str) -> None:
    host.config(f"kube-apiserver-arg: [{configured!r}]\n")
    assert notes(assessed(host, {configured.partition("=")[0]: shown})) == []


@pytest.mark.parametrize(
    ("name", "silent"), [("apiserver-profiling", "/flagz"), ("kubelet-anonymous-auth", f"kubelet of {NAME}")]
)
def test_a_component_that_does_not_answer_is_not_compliant(host: CheckedNode, name: str, silent: str) -> None:
    """The configuration does not show with what it runs. Another node's kubelet is only a note."""
    host.harden()
    at = assessed(host)
    assert at.cluster is not None
    assert judged(name, at).status is ControlStatus.PASS
    for problem, status in ((silent, ControlStatus.UNKNOWN), ("kubelet of other", ControlStatus.PASS)):
        at.cluster = at.cluster._replace(problems={problem: "cannot read it"})
        found = judged(name, at)
        assert found.status is status
        assert (found.evidence[0].observation == "cannot read it") is (status is ControlStatus.UNKNOWN)


STRONG = {
    "authentication": {
        "anonymous": {"enabled": False},
        "webhook": {"enabled": True},
        "x509": {"clientCAFile": f"{AGENT}/client-ca.crt"},
    },
    "tlsCertFile": f"{AGENT}/serving-kubelet.crt",
    "tlsPrivateKeyFile": f"{AGENT}/serving-kubelet.key",
    "authorization": {"mode": "Webhook"},
    "streamingConnectionIdleTimeout": "4h0m0s",
    "makeIPTablesUtilChains": True,
}


def test_a_kubelet_is_compared_by_the_fields_of_its_configuration(host: CheckedNode) -> None:
    """A missing field has its zero value, such as 0 for read-only-port."""
    host.config("kubelet-arg: [streaming-connection-idle-timeout=5m]\n")
    at = assessed(host, server_1={**STRONG, "streamingConnectionIdleTimeout": "5m0s"})
    found = judged("kubelet-read-only-port", at)
    assert found.status is ControlStatus.PASS
    assert judged("streaming-connection-idle-timeout", at).status is ControlStatus.PASS
    assert last(judged("kubelet-anonymous-auth", at)) == (
        "--anonymous-auth=false in the running kubelet, as configured",
        f"{SERVER}/api/v1/nodes/{NAME}/proxy/configz",
    )
    open_ = assessed(host, server_1={**STRONG, "readOnlyPort": 10255})
    assert judged("kubelet-read-only-port", open_).status is ControlStatus.FAIL


def test_a_secret_is_neither_compared_nor_shown(host: CheckedNode) -> None:
    """The API server shows flags with their secrets, but the configuration is read without them."""
    host.config("kube-apiserver-arg: ['etcd-servers=https://user:hunter2@db:2379']\n")
    at = assessed(host, {"etcd-servers": "[https://user:hunter3@db:2379]", "oidc-client-secret": "hunter4"})
    assert "hunter" not in str(notes(at))
    assert notes(at) == []


def test_a_node_name_with_an_id_is_recognized_as_this_host(host: CheckedNode) -> None:
    """K3s can append an ID to the node name (`with-node-id`). Any other name is another host."""
    at = assessed(host, server_1_4f2a={**STRONG, "authentication": {"anonymous": {"enabled": True}}})
    assert judged("kubelet-anonymous-auth", at).status is ControlStatus.FAIL
    at = assessed(host, agent_1={**STRONG, "authentication": {"anonymous": {"enabled": True}}})
    assert judged("kubelet-anonymous-auth", at).status is ControlStatus.PASS
    host.config("disable-agent: true\n")
    at = assessed(host, server_1={**STRONG, "readOnlyPort": 1})
    assert notes(at) == []


def test_a_kubelet_of_another_node_that_is_not_compliant_has_a_note(host: CheckedNode) -> None:
    """Its configuration is not on this host, so no control fails."""
    weak: Mapping[str, Any] = {**STRONG, "readOnlyPort": 10255}
    assert notes(assessed(host, server_1=STRONG, agent_1=weak, agent_2=STRONG)) == [
        "the kubelet of node agent-1 runs with --read-only-port=10255, which does not meet the benchmark"
    ]


def test_components_without_running_values_change_no_verdict(host: CheckedNode) -> None:
    """Kubernetes before 1.36 and nodes that are not ready show no values."""
    for name in ("apiserver-profiling", "kubelet-anonymous-auth"):
        (control,) = catalogue.controls_named(name)
        at = assessed(host)
        assert verdict(control, BENCHMARK, at, None).evidence == control.check_of(BENCHMARK).answer(at).evidence
    assert notes(assessed(host)) == []


def test_lists_that_could_not_be_read_have_a_note(host: CheckedNode) -> None:
    at = assessed(host)
    at.cluster = Cluster("", {}, {}, problem="cannot reach it")
    assert notes(at) == ["the cluster was not assessed: cannot reach it"]
    at.cluster = Cluster(SERVER, {}, {"pods": "cannot read /api/v1/pods: no"})
    assert notes(at) == ["cannot read /api/v1/pods: no"]


DROPIN = f"{AGENT}/etc/kubelet.conf.d/90-site.conf"
KUBELET = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"


def runs_since(host: CheckedNode, seconds: float) -> None:
    """Let K3s run since that many seconds after now, when the files are written."""
    host.processes = (K3sProcess(4711, Role.SERVER, time.time() + seconds),)


@pytest.mark.parametrize(
    ("since", "status"), [(3600, ControlStatus.PASS), (-3600, ControlStatus.FAIL), (None, ControlStatus.FAIL)]
)
def test_a_kubelet_that_has_read_a_file_decides(host: CheckedNode, since: float | None, status: ControlStatus) -> None:
    """A file that changed after the start of K3s is in effect after the next one."""
    host.put(DROPIN, f"{KUBELET}authentication: {{anonymous: {{enabled: true}}}}\n")
    if since:
        runs_since(host, since)
    found = judged("kubelet-anonymous-auth", assessed(host, server_1=STRONG))
    assert found.status is status
    assert last(found)[0].startswith(
        "--anonymous-auth=false in the running kubelet; --anonymous-auth=true is configured"
    )


@pytest.mark.parametrize(
    ("running", "status"),
    [(STRONG, ControlStatus.PASS), ({**STRONG, "authorization": {"mode": "AlwaysAllow"}}, ControlStatus.FAIL)],
)
@pytest.mark.parametrize("since", [3600, -3600])
def test_a_kubelet_decides_what_its_files_do_not_show(
    host: CheckedNode, running: Json, status: ControlStatus, since: float
) -> None:
    host.put(DROPIN, "{")
    runs_since(host, since)
    for control in ("kubelet-authorization-mode", "kubelet-event-qps"):
        assert judged(control, assessed(host)).status is ControlStatus.UNKNOWN
    found = judged("kubelet-authorization-mode", assessed(host, server_1=running))
    is_open = since < 0 and status is ControlStatus.PASS
    assert found.status is (ControlStatus.UNKNOWN if is_open else status)
    events = judged("kubelet-event-qps", assessed(host, server_1=running))
    assert events.status is (ControlStatus.PASS if since > 0 else ControlStatus.UNKNOWN)


def test_what_no_file_sets_any_more_fails_although_the_kubelet_runs_with_it(host: CheckedNode) -> None:
    runs_since(host, 3600)
    at = assessed(host, server_1={**STRONG, "podPidsLimit": 4096})
    assert judged("kubelet-pod-max-pids", at).status is ControlStatus.FAIL


@pytest.mark.parametrize(("shown", "status"), [({}, "PASS"), ({"seccompDefault": True}, "PASS"), (None, "FAIL")])
def test_the_argument_seccomp_default_is_compared_if_the_kubelet_shows_it(
    host: CheckedNode, shown: Json | None, status: str
) -> None:
    host.config("kubelet-arg: [seccomp-default=true]\n")
    at = assessed(host, {}, server_1={**STRONG, **({"seccompDefault": False} if shown is None else shown)})
    found = judged("kubelet-seccomp-default", at)
    assert found.status == status
    assert bool(notes(at)) is (status == "FAIL")
    assert [item.source for item in found.evidence if item.source] == (
        [] if shown == {} else [f"{SERVER}/api/v1/nodes/{NAME}/proxy/flagz"]
    )


def test_servers_that_differ_have_a_note_and_so_have_secrets_that_all_can_read(host: CheckedNode) -> None:
    """The secret itself is not shown. Arguments are compared within a role and K3s version."""
    at = assessed(host)
    assert at.cluster
    usual = ["--flannel-backend", "none"]
    servers = {"server-1": usual, "server-2": usual, "server-3": ["-t=hunter2"]}
    items = [sample_nodes.node(name, role="server", arguments=words) for name, words in servers.items()]
    nodes = tuple(map(parse_node, [*items, sample_nodes.node("agent-1")]))
    at.cluster = at.cluster._replace(objects={Query.NODES: nodes})
    assert notes(at) == [
        (
            "server server-3: the annotation k3s.io/node-args has the secret of --token; fix: replace the secret, and"
            " set it in K3s' configuration file instead of the command line"
        ),
        "server server-3: --flannel-backend is not set, most have none",
    ]
