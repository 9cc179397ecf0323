"""audit.yaml and the arguments of the audit log, tested with the events of the real API server."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.k8s import pods
from tests.k8s.node import Node

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("server")]

LOG = "/var/lib/rancher/k3s/server/logs/audit.log"
SECRET = "correct-horse-battery-staple"  # noqa: S105 - the test searches the log for it


RECEIVER = """apiVersion: v1
kind: Config
clusters: [{name: receiver, cluster: {server: "https://127.0.0.1:9"}}]
contexts: [{name: receiver, context: {cluster: receiver, user: node}}]
users: [{name: node, user: {token: x}}]
current-context: receiver
"""
"""A kubeconfig of an address at which nobody listens."""


def events(node: Node, name: str) -> list[dict[str, Any]]:
    return [event for event in _all_events(node) if event.get("objectRef", {}).get("name") == name]


def _all_events(node: Node) -> Iterator[dict[str, Any]]:
    for line in node.path(LOG).read_text().splitlines():
        yield json.loads(line)


def test_every_event_has_metadata_and_no_content(server: Node) -> None:
    """The log contains user, verb and object, but no bodies: the value of a Secret is not in it."""
    data = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "audited", "namespace": "default"}}
    body = {**data, "stringData": {"password": SECRET}}
    answer = server.client.request("POST", 6444, "/api/v1/namespaces/default/secrets", body=body)
    assert answer.status == 201, answer.text
    server.kubectl("get", "secret", "audited", "--output=yaml")
    server.until("the events are written", lambda: len(events(server, "audited")) >= 2)
    found = events(server, "audited")
    assert {event["verb"] for event in found} >= {"create", "get"}
    assert {event["level"] for event in found} == {"Metadata"}
    assert {event["user"]["username"] for event in found} == {"system:admin"}
    assert not any("requestObject" in event or "responseObject" in event for event in found)
    assert SECRET not in server.path(LOG).read_text()


def test_log_covers_all_stages_and_components(server: Node) -> None:
    """Requests of the components are also logged, and every event has the level Metadata."""
    found = list(_all_events(server))
    # A request without credentials has no name.
    users = {event["user"].get("username") for event in found}
    assert {"system:apiserver", "system:kube-scheduler", "system:node:node-1"} <= users
    assert {event["level"] for event in found} == {"Metadata"}
    assert {event["stage"] for event in found} >= {"RequestReceived", "ResponseComplete"}


def test_rejected_pod_is_in_the_log(server: Node) -> None:
    """The event of a rejected request contains its status and the Pod Security level."""
    pod = pods.pod("refused", "default", as_root=True)
    answer = server.client.request("POST", 6444, "/api/v1/namespaces/default/pods", body=pod)
    assert answer.status == 403

    def complete() -> list[dict[str, Any]]:
        # The name of a rejected object is only in the URL and the message.
        found = [event for event in _all_events(server) if event.get("responseStatus", {}).get("code") == 403]
        return [event for event in found if 'pods "refused"' in event["responseStatus"].get("message", "")]

    server.until("the event is written", lambda: bool(complete()))
    assert complete()[0]["annotations"]["pod-security.kubernetes.io/enforce-policy"] == "restricted:latest"


def test_log_is_private(server: Node) -> None:
    """The API server creates the log with mode 0600, in a directory with mode 0700."""
    assert stat.S_IMODE(server.path(LOG).stat().st_mode) == 0o600
    assert stat.S_IMODE(server.path(LOG).parent.stat().st_mode) == 0o700


def test_a_receiver_of_events_that_is_down_does_not_stop_the_api_server(new_node: Callable[..., Node]) -> None:
    """Requests are answered, and their events are in the log of the server."""
    node = new_node()
    node.write("/etc/k3s-harden/config.yaml", "audit: {webhook: /etc/k3s-harden/receiver.yaml}\n")
    assert "`audit.webhook` in the settings names it" in node.harden("apply").stderr
    node.write("/etc/k3s-harden/receiver.yaml", RECEIVER)
    done = node.harden("apply")
    assert done.returncode == 0, done.stdout + done.stderr
    node.start_server()
    node.wait_until_ready()
    for number in range(20):
        node.kubectl("create", "configmap", f"audited-{number}")
    node.until("the events are written", lambda: bool(events(node, "audited-19")))
    assert node.kubectl("get", "configmap", "audited-0", "--output=name").strip() == "configmap/audited-0"
