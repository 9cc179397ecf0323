"""NetworkPolicies of a site with the names of ours are saved before K3s replaces them, and come back."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from agent.base.host.probe import K3sProcess
from agent.base.model import Role
from agent.cli.verbs import converge
from agent.cli.verbs.revert import revert
from agent.cli.verbs.site_policies import SAVED
from agent.cluster.kubernetes.queries import Query
from agent.harden.settings.schema import Overrides
from agent.harden.situation import Request
from tests.fake import fake_host, in_memory
from tests.unit.cluster.api_server import ApiServer, drop_connection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.base.host import Host
    from agent.base.report import Report
    from tests.unit.cluster.api_server import Handler

REQUEST = Request(Overrides(role="server", k3s_version="1.34"))
RUNNING = K3sProcess(1, Role.SERVER, 0.0)
POLICY = "var/lib/rancher/k3s/server/manifests/policy.yaml"
ADDON = "/apis/k3s.cattle.io/v1/namespaces/kube-system/addons/policy"
OWN = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
NAME = "NetworkPolicy default/intra-namespace"
SPEC = {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"]}


def policy(name: str = "intra-namespace", **metadata: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    """Return a policy as the API server lists it."""
    given = {"name": name, "namespace": "default", "uid": "1", "resourceVersion": "2", "labels": {"a": "b"}}
    return {"metadata": {**given, "managedFields": [{}], **metadata}, "spec": SPEC}


BY_K3S = policy("default-network-ingress-webhook-policy", annotations={"objectset.rio.cattle.io/owner-name": "policy"})


class Server:
    """A server on which K3s runs, and its API server, whose deploy controller applies policy.yaml at once."""

    def __init__(self, root: Path, *policies: dict[str, Any]) -> None:
        self.root = root
        self.created = 201
        answers = {ADDON: self._addon, OWN: lambda handler: handler.send(self.created, b"{}")}
        self.api = ApiServer({Query.NETWORK_POLICIES: policies}, answers)

    def _addon(self, handler: Handler) -> None:
        checksum = sha256((self.root / POLICY).read_bytes()).hexdigest()
        handler.send(200, json.dumps({"spec": {"checksum": checksum}}).encode())

    @property
    def host(self) -> Host:
        config = self.root / "var/lib/rancher/k3s/server/cred/admin.kubeconfig"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(self.api.kubeconfig(embedded=True))
        config.chmod(0o600)
        return fake_host(self.root, processes=(RUNNING,), is_live=True)

    @property
    def saved(self) -> list[Any]:
        path = self.root / str(SAVED).lstrip("/")
        return list(json.loads(path.read_text())["items"]) if path.exists() else []

    def settings(self, text: str) -> None:
        path = self.root / "etc/k3s-harden/config.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def apply(self, host: Host | None = None) -> Report:
        return converge.apply(host or self.host, REQUEST, accept_impact=True)


@pytest.fixture
def server() -> Iterator[Server]:
    with in_memory() as root:
        (root / "etc").mkdir()
        (root / "var/lib/rancher/k3s/server/tls").mkdir(parents=True)
        found = Server(root, policy(), policy("of the site"), BY_K3S)
        with found.api.running():
            yield found


def details(report: Report) -> dict[str, str]:
    return {item.id: item.detail for item in report.items if "NetworkPolic" in item.id or item.id == str(SAVED)}


def test_only_policies_of_the_site_with_our_names_are_saved_as_they_were(server: Server) -> None:
    assert details(server.apply()) == {NAME: f"saved in {SAVED}, because K3s replaces it"}
    metadata = {"name": "intra-namespace", "namespace": "default", "labels": {"a": "b"}}
    about = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    assert server.saved == [{**about, "metadata": metadata, "spec": SPEC}]


@pytest.mark.parametrize("way", ["revert", "stage"])
def test_they_come_back_when_k3s_has_removed_ours(server: Server, way: str) -> None:
    server.apply()
    (saved,) = server.saved
    if way == "stage":
        server.settings("stages: {until: 2027-03-31, network-policies: off}\n")
        report = server.apply()
    else:
        report = revert(server.host, last=False, force=False)
    assert details(report) == {NAME: "created again, as it was before policy.yaml"}
    assert (server.api.posts, server.saved) == ([saved], [])
    server.settings("")
    assert details(server.apply()) == {NAME: f"saved in {SAVED}, because K3s replaces it"}


@pytest.mark.parametrize(("status", "left"), [(409, 0), (403, 1), (404, 1)])
def test_one_that_cannot_be_created_stays_saved(server: Server, status: int, left: int) -> None:
    server.apply()
    server.created = status
    report = revert(server.host, last=False, force=False)
    assert (int(report.exit_code), len(server.saved)) == (0, left)
    hint = next(item.hint for item in report.items if item.id == NAME)
    assert ("kubectl create -f" in hint) is bool(left)


def test_an_api_server_that_dies_meanwhile_only_delays_them(server: Server) -> None:
    server.apply()
    server.settings("stages: {until: 2027-03-31, network-policies: off}\n")
    alive = server.api.answers
    server.api.answers = {**alive, OWN: drop_connection}
    assert str(SAVED) in details(server.apply())
    assert len(server.saved) == 1
    server.api.answers = alive
    assert details(server.apply()) == {NAME: "created again, as it was before policy.yaml"}
    assert server.saved == []


def test_without_a_k3s_that_runs_they_stay_saved_and_the_report_says_so(server: Server) -> None:
    server.apply()
    report = revert(fake_host(server.root, is_live=True), last=False, force=False)
    assert "which has to be deleted first" in details(report)[NAME]
    assert (len(server.saved), server.api.posts) == (1, [])


def test_without_an_answer_the_report_says_that_nothing_was_saved(server: Server) -> None:
    host = server.host
    server.api.answers = {"/apis/networking.k8s.io/v1/networkpolicies": _unavailable}
    report = server.apply(host)
    assert "are not saved" in details(report)["NetworkPolicies"]
    assert (server.root / POLICY).exists()


def _unavailable(handler: Handler) -> None:
    handler.send(503, b"{}")


@pytest.mark.parametrize("way", ["later run", "stopped", "postponed"])
def test_nobody_is_asked_if_policy_yaml_is_not_written_with_policies(server: Server, way: str) -> None:
    if way == "later run":
        server.apply()
        server.api.asked.clear()
    if way == "postponed":
        server.settings("stages: {until: 2027-03-31, network-policies: off}\n")
    server.apply(fake_host(server.root, is_live=True) if way == "stopped" else None)
    assert server.api.asked == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"items": 3}', '{"items": [null]}', "[" * 100_000])
def test_a_damaged_copy_is_like_none(server: Server, content: str) -> None:
    server.apply()
    (server.root / str(SAVED).lstrip("/")).write_text(content)
    report = revert(server.host, last=False, force=False)
    assert (int(report.exit_code), server.api.posts) == (0, [])
