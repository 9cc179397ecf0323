"""The probe of Pod Security: what it sends, and that it leaves nothing behind."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.base.errors import HostError
from agent.base.host.https import HttpsClient, Response
from agent.cluster.kubernetes import objects
from agent.cluster.kubernetes.pod_security import PodSecurityLevel, Standard
from agent.cluster.pod_security_probe import UnexpectedAnswer, pod_security_probe
from agent.reports import repair_texts
from tests.unit.cluster.kubernetes.samples import STRICT, container, controller, cron_job, pod

RESTRICTED = Standard(PodSecurityLevel.RESTRICTED)
WARNING = '299 - "would violate PodSecurity \\"restricted:latest\\": host namespaces (hostNetwork=true)"'


class Client:
    """An API server that warns about each pod with a host network."""

    def __init__(self, *, judges: bool = True, created: int = 201, deleted: int = 200, fails: bool = False) -> None:
        self.judges, self.created, self.deleted, self.fails = judges, created, deleted, fails
        self.sent: list[tuple[str, str]] = []
        self.bodies: list[Any] = []

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def post(self, path: str, body: bytes) -> Response:
        self.sent.append(("POST", path))
        self.bodies.append(json.loads(body))
        if path == "/api/v1/namespaces":
            return Response(self.created, b"{}")
        if self.fails:
            raise HostError("the connection failed")
        if not self.bodies[-1]["template"]["spec"].get("containers"):
            return Response(422, b"{}")
        is_bad = self.judges and self.bodies[-1]["template"]["spec"].get("hostNetwork")
        return Response(201, b"{}", (WARNING,) if is_bad else ())

    def delete(self, path: str) -> Response:
        self.sent.append(("DELETE", path))
        return Response(self.deleted, b"{}")


def probed(client: Client, *items: Any) -> list[UnexpectedAnswer]:
    def connect() -> HttpsClient:
        return client  # type: ignore[return-value]

    with pod_security_probe(connect, RESTRICTED, 37) as probe:
        for item in items:
            probe.judging(objects.pod)(item)
    return probe.differences


def test_one_namespace_is_created_and_deleted() -> None:
    client = Client()
    assert probed(client, pod("good"), pod("also-good"), pod("bad", hostNetwork=True)) == []
    (create, *asked, delete) = client.sent
    assert create == ("POST", "/api/v1/namespaces")
    name = client.bodies[0]["metadata"]["name"]
    assert name.startswith("k3s-harden-impact-")
    assert client.bodies[0]["metadata"]["labels"] == {
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/warn": "restricted",
        "pod-security.kubernetes.io/warn-version": "latest",
    }
    # The control and two different templates.
    assert asked == [("POST", f"/api/v1/namespaces/{name}/podtemplates?dryRun=All")] * 3
    assert delete == ("DELETE", f"/api/v1/namespaces/{name}")


@pytest.mark.parametrize(
    "item", [pod("a", hostPID=True), controller("a", "shop", {"hostPID": True, "containers": [container(STRICT)]})]
)
def test_an_answer_that_was_not_predicted_is_a_difference(item: Any) -> None:
    """This API server does not warn about the process namespace."""
    client = Client()
    (found,) = probed(client, {**item, "spec": item["spec"].get("template", item)["spec"]})
    assert found == UnexpectedAnswer("Pod shop/a", predicted=True, answer="")


def test_a_template_that_the_api_server_cannot_judge_is_a_difference_if_it_was_predicted_to_be_admitted() -> None:
    (found,) = probed(Client(), {**pod("a"), "spec": {"containers": []}})
    assert (found.predicted, found.answer.split(":")[0]) == (False, "not judged")


def test_templates_of_all_controllers_are_sent_without_ephemeral_containers() -> None:
    client = Client()
    spec: dict[str, Any] = {"containers": [container(STRICT)], "ephemeralContainers": [container(None)]}
    probed(client, controller("a", "shop", spec), cron_job("b", "shop", spec), pod("c", "shop", **spec))
    assert [body["template"]["spec"] for body in client.bodies[2:]] == [
        {"containers": [container(STRICT)]},
        {"containers": [container(STRICT)], "securityContext": {}},
    ]


def test_without_a_warning_for_the_control_there_is_no_answer() -> None:
    client = Client(judges=False)
    with pytest.raises(HostError, match="does not judge pods"):
        probed(client, pod("a"))
    assert client.sent[-1][0] == "DELETE"


@pytest.mark.parametrize("client", [Client(created=403), Client(fails=True)], ids=["forbidden", "no connection"])
def test_a_failure_leaves_no_namespace_behind(client: Client) -> None:
    with pytest.raises(HostError):
        probed(client, pod("a"))
    assert client.sent[-1][0] == "DELETE"


def test_a_namespace_that_cannot_be_deleted_is_named() -> None:
    with pytest.raises(HostError, match="cannot delete the temporary namespace k3s-harden-impact-") as caught:
        probed(Client(deleted=403))
    assert repair_texts.text(caught.value.repair).startswith("kubectl delete namespace k3s-harden-impact-")
