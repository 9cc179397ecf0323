"""The first apply on a server where K3s runs, which asks the API server what breaks at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.assess.assessment import ControlStatus
from agent.base.host.probe import K3sProcess
from agent.base.model import FixOwner, Remediation, Role
from agent.base.value import replace
from agent.cli.verbs import converge
from agent.cli.verbs.drift import drift
from agent.cluster.kubernetes.queries import Query
from agent.harden.settings.schema import Overrides
from agent.harden.situation import Request
from tests.fake import fake_host, in_memory
from tests.unit.assessed import KEYS, assessment, verdict
from tests.unit.cluster.api_server import ApiServer, drop_connection
from tests.unit.cluster.kubernetes import samples

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.base.host import Host

REQUEST = Request(Overrides(role="server", k3s_version="1.34"))
RUNNING = K3sProcess(1, Role.SERVER, 0.0)
VERSION = b'{"gitVersion": "v1.34.0+k3s1"}'
POLICY = "var/lib/rancher/k3s/server/manifests/policy.yaml"


@pytest.fixture
def root() -> Iterator[Path]:
    with in_memory() as directory:
        (directory / "etc").mkdir()
        (directory / "var/lib").mkdir(parents=True)
        yield directory


def server(root: Path, *processes: K3sProcess) -> Host:
    return fake_host(root, processes=processes, is_live=True)


def with_api(root: Path, api: ApiServer) -> None:
    config = root / "var/lib/rancher/k3s/server/cred/admin.kubeconfig"
    config.parent.mkdir(parents=True)
    config.write_text(api.kubeconfig(embedded=True))
    config.chmod(0o600)


@pytest.mark.parametrize("dies", [False, True])
def test_nothing_is_changed_if_the_api_server_does_not_answer(root: Path, *, dies: bool) -> None:
    """Also if it dies while it is read."""
    answers = {"/version": lambda handler: handler.send(200, VERSION), "/api/v1/pods": drop_connection}
    with ApiServer(samples.NEW, answers).running() as api:
        if dies:
            with_api(root, api)
        report = converge.apply(server(root, RUNNING), REQUEST)
    assert int(report.exit_code) == 3
    assert {"impact-unknown", "breaks-at-once"} & {finding.id for finding in report.findings}
    assert [str(step.step) for step in report.next_steps if "--accept-impact" in str(step.step)]
    assert not (root / POLICY).exists()
    assert not (root / "var/lib/k3s-harden").exists()


def pod(name: str, namespace: str, labels: dict[str, str], address: str) -> dict[str, object]:
    """Return a running pod that declares port 9000."""
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    container = {"name": "main", "ports": [{"containerPort": 9000}]}
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
    return {"metadata": metadata, "spec": {"containers": [container], "nodeName": "node-1"}, "status": status}


def test_nothing_is_changed_if_an_object_breaks_at_once(root: Path) -> None:
    pods = [pod("web", "default", {"app": "web"}, "10.42.0.5"), pod("client", "shop", {"app": "client"}, "10.42.0.6")]
    api = ApiServer({**samples.NEW, Query.PODS: pods}, {"/version": lambda handler: handler.send(200, VERSION)})
    with api.running():
        with_api(root, api)
        report = converge.apply(server(root, RUNNING), REQUEST)
    found = [finding.message for finding in report.findings if finding.id == "breaks-at-once"]
    assert (int(report.exit_code), any("default" in message for message in found)) == (3, True)
    assert not (root / POLICY).exists()


@pytest.mark.parametrize("way", ["accepted", "not running", "agent", "gate", "journal"])
def test_the_cluster_is_not_asked_what_breaks(way: str, root: Path) -> None:
    """An accepted impact, a K3s that does not run, an agent, the gate, and each run after the first."""
    request = REQUEST if way != "agent" else replace(REQUEST, overrides=Overrides(role="agent", k3s_version="1.34"))
    with ApiServer().running() as api:
        with_api(root, api)
        running = server(root, *(() if way == "not running" else (RUNNING,)))
        if way == "journal":
            converge.apply(server(root), REQUEST)
            (root / POLICY).unlink()
        if way == "gate":
            converge.gate(running, request)
        else:
            converge.apply(running, request, accept_impact=way == "accepted")
        # Policies of the site that K3s replaces are saved before policy.yaml is written.
        asked = ["/apis/networking.k8s.io/v1/networkpolicies?limit=250"] * (way in ("accepted", "journal"))
        assert [path for _, path, _ in api.asked] == asked
    assert (root / POLICY).exists() is (way != "agent")


def test_a_repair_by_the_drift_check_accepts_no_impact(root: Path) -> None:
    """Nobody reads the question of a timer, so the log has it."""
    path = root / "etc/k3s-harden/config.yaml"
    path.parent.mkdir()
    path.write_text("drift: {repair: true}\n")
    (root / "run").mkdir()
    (root / "run/k3s-harden.lock").touch()
    found = verdict(KEYS, ControlStatus.FAIL)._replace(remediation=Remediation(owner=FixOwner.APPLY))
    lines = list(drift(server(root, RUNNING), REQUEST, lambda **_: assessment(found)))
    assert [line for line in lines if line.startswith("it is not known what breaks in the cluster")]
    assert not (root / POLICY).exists()
