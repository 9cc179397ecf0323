"""The verb service-accounts, tested with a real API server and kubectl."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.k8s import pods
from tests.k8s.node import Node

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("server")]


def has_token(node: Node, pod: str) -> bool:
    """Create a pod as a dry run, and return whether the API server gives it a token."""
    body = pods.pod(pod, "tokens")
    answer = node.client.request("POST", 6444, "/api/v1/namespaces/tokens/pods?dryRun=All", body=body)
    assert answer.status == 201, answer.text
    return any(volume["name"].startswith("kube-api-access") for volume in answer.json["spec"].get("volumes", ()))


def test_new_pods_get_no_token(server: Node) -> None:
    """Each namespace is patched once. A pod created before has a token, one created after has none."""
    server.create_namespaces("tokens")
    assert has_token(server, "before")
    first = server.harden("service-accounts", "--format", "json")
    assert first.returncode == 0, first.stderr
    changed = {item["id"] for item in json.loads(first.stdout)["items"] if item["status"] == "changed"}
    assert "tokens/default" in changed
    assert not has_token(server, "after")
    accounts = server.get("serviceaccounts", "--all-namespaces", "--field-selector=metadata.name=default")["items"]
    assert {account["automountServiceAccountToken"] for account in accounts} == {False}
    second = server.harden("service-accounts", "--format", "json")
    assert {item["status"] for item in json.loads(second.stdout)["items"]} == {"compliant"}


def test_impact_says_whether_the_audit_log_has_requests_of_an_account(server: Node) -> None:
    namespaces = ("asking", "quiet")
    server.create_namespaces(*namespaces)
    for name in namespaces:
        server.apply(pods.pod("app", name))
    token = server.kubectl("create", "token", "default", "--namespace=asking").strip()
    headers = {"Authorization": f"Bearer {token}"}
    path = "/api/v1/namespaces/asking/pods"
    assert server.client.get(6444, path, certificate=None, headers=headers).status == 403

    def found() -> dict[str, str]:
        breaks = json.loads(server.harden("impact", "--format", "json").stdout)["breaks"]
        accounts = [item for item in breaks if item["topic"] == "default ServiceAccounts"]
        return {item["namespace"]: item["reasons"][0]["found"] for item in accounts}

    server.until("the event is written", lambda: "has requests of it" in found()["asking"])
    assert "the audit log has no request of it" in found()["quiet"]


def test_stopped_api_server_is_an_error(new_node: Callable[..., Node]) -> None:
    """While K3s is stopped, the verb fails with kubectl's reason and changes nothing."""
    done = new_node().harden("service-accounts", "--timeout", "30")
    assert done.returncode == 1
    assert "cannot get namespaces" in done.stderr


def test_new_namespaces_get_a_policy_before_their_first_pod(new_node: Callable[..., Node]) -> None:
    """One with a pod is reported with what impact finds, until it is accepted. Removing the setting removes all."""
    node = new_node()
    node.harden("apply", "--role", "server")
    node.start_server("--disable-agent")
    node.wait_for_api()
    settings = node.path("/etc/k3s-harden/config.yaml")
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text("network-policies: {new-namespaces: true}\n", encoding="utf-8")

    def run(*words: str) -> dict[str, dict[str, str]]:
        done = node.harden("service-accounts", "--wait", "60", "--format", "json", *words)
        items = {item["id"]: item for item in json.loads(done.stdout)["items"]}
        return {name: item for name, item in items.items() if not name.endswith("/default")}

    def statuses(*words: str) -> dict[str, str]:
        return {name.partition(" of ")[0]: item["status"] for name, item in run(*words).items()}

    empty, used = (f"NetworkPolicy {name}/intra-namespace" for name in ("empty", "used"))
    node.create_namespaces("empty", "used", "own")
    node.apply(pods.pod("web", "used"))
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": {"podSelector": {}}}
    node.apply({**policy, "metadata": {"namespace": "own", "name": "of-the-site"}})
    found = run()
    assert "not created, because the namespace has pods: " in found.pop(used)["detail"]
    assert {item["status"] for item in found.values()} == {"changed"}
    assert found.keys() > {empty}
    assert len(found) == 2
    made = node.get("networkpolicy", "intra-namespace", "--namespace=empty")
    assert made["metadata"]["labels"] == {"k3s-harden.internal/new-namespace": "true"}
    node.kubectl("annotate", "namespace", "used", "k3s-harden.internal/network-policies=accepted")
    assert statuses() == {used: "changed"}
    assert statuses() == {}
    settings.unlink()
    assert statuses() == {empty: "changed", used: "changed", "record": "changed"}
    left = {item["metadata"]["namespace"] for item in node.get("networkpolicies", "--all-namespaces")["items"]}
    assert "own" in left
    assert left.isdisjoint({"empty", "used"})
    assert statuses() == {}
    settings.write_text("network-policies: {new-namespaces: true}\n", encoding="utf-8")
    assert statuses() == {empty: "changed", used: "changed", "record": "changed"}
    done = node.harden("revert", "--format", "json")
    items = {item["id"]: item["status"] for item in json.loads(done.stdout)["items"]}
    assert (items[empty], items[used]) == ("changed", "changed"), done.stdout
