"""Generated roles and bindings: an account is listed exactly if the API server admits one of its own requests."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.k8s.assessments import RBAC, Report, assessed, in_cluster
from tests.k8s.node import Node

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("cluster")]

PORT = 6444
SEED, NUMBER = 20261202, 80
_POD_SPEC = {"containers": [{"name": "a", "image": "none"}]}


class Action(NamedTuple):
    """A request that needs a right."""

    verb: str
    group: str
    resource: str
    is_in_a_namespace: bool = True

    def path(self, name: str) -> str:
        """Return the path of the request, with the object's name unless it is created."""
        prefix = f"/apis/{self.group}/v1" if self.group else "/api/v1"
        plural, _, below = self.resource.partition("/")
        inside = "/namespaces/default" if self.is_in_a_namespace and plural != "namespaces" else ""
        named = f"/{name}" if self.verb != "create" or below else ""
        return f"{prefix}{inside}/{plural}{named}{f'/{below}' if below else ''}"


POD_ACTIONS = (
    *(Action(verb, "", "pods") for verb in ("create", "patch", "update")),
    *(Action(verb, "apps", name) for verb in ("create", "patch", "update") for name in ("deployments", "daemonsets")),
    *(Action(verb, "batch", "cronjobs") for verb in ("create", "patch")),
    *(
        Action(verb, "helm.cattle.io", name)
        for verb in ("create", "update")
        for name in ("helmcharts", "helmchartconfigs")
    ),
    Action("patch", "k3s.cattle.io", "addons"),
    *(Action(verb, "", "pods/exec") for verb in ("create", "get")),
    Action("patch", "", "pods/ephemeralcontainers"),
    Action("get", "", "nodes/proxy", is_in_a_namespace=False),
    Action("create", "", "namespaces"),
    *(Action(verb, "", name) for verb in ("patch", "update") for name in ("namespaces", "namespaces/status")),
    Action("update", "", "namespaces/finalize"),
)
OTHER_ACTIONS = (
    *(Action(verb, "", name) for verb in ("get", "list", "delete") for name in ("pods", "namespaces", "pods/log")),
    Action("patch", "", "configmaps"),
    Action("impersonate-on:user-info:list", "", "secrets"),
)
METHODS = {"create": "POST", "patch": "PATCH", "update": "PUT", "get": "GET"}
_WITHOUT_NAMES = ("pods/exec", "pods/ephemeralcontainers")
"""A right on one running pod is what a program needs; it counts only for all users."""


class Grant(NamedTuple):
    """An account with the role that is bound to it."""

    number: int
    actions: tuple[Action, ...]
    names: tuple[str, ...]
    is_local: bool
    is_group: bool
    wild: bool

    @property
    def subject(self) -> dict[str, str]:
        return {"kind": "Group" if self.is_group else "User", "name": f"site-{self.number}", "apiGroup": RBAC}

    def objects(self) -> Iterator[dict[str, Any]]:
        """Yield the role and its binding."""
        resources = sorted({action.resource for action in self.actions})
        rule: dict[str, Any] = {
            "verbs": sorted({action.verb for action in self.actions}),
            "apiGroups": sorted({action.group for action in self.actions}),
            "resources": [f"*/{name.partition('/')[2]}" if self.wild and "/" in name else name for name in resources],
        }
        rule |= {"resourceNames": list(self.names)} if self.names else {}
        name = f"generated-{self.number}"
        metadata = {"name": name, "labels": {"generated": "yes"}}
        yield {**in_cluster("ClusterRole", name, RBAC, rules=[rule]), "metadata": metadata}
        reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": name}
        kind = "RoleBinding" if self.is_local else "ClusterRoleBinding"
        made = in_cluster(kind, name, RBAC, roleRef=reference, subjects=[self.subject])
        yield {**made, "metadata": {**metadata, "namespace": "default"} if self.is_local else metadata}


def generated() -> Iterator[Grant]:
    chance = random.Random(SEED)  # noqa: S311 - states of a test
    for number in range(NUMBER):
        actions = tuple(chance.sample((*POD_ACTIONS, *OTHER_ACTIONS), chance.choice((1, 1, 1, 2))))
        may_be_named = not any(action.resource in _WITHOUT_NAMES for action in actions)
        names = ("web",) if may_be_named and chance.random() < 0.3 else ()
        yield Grant(number, actions, names, *(chance.random() < 0.3 for _ in range(3)))


def is_admitted(node: Node, grant: Grant, action: Action) -> bool:
    """Send a request as the account, as a dry run. An object that does not exist is found missing after the right."""
    headers = {"Impersonate-User": "anna" if grant.is_group else grant.subject["name"]}
    headers |= {"Impersonate-Group": grant.subject["name"]} if grant.is_group else {}
    headers |= {"Content-Type": "application/merge-patch+json"} if action.verb == "patch" else {}
    body = None if action.verb == "get" else {"metadata": {"name": "web"}, "spec": _POD_SPEC}
    path = f"{action.path('web')}?dryRun=All" if body else action.path("web")
    answer = node.client.request(METHODS[action.verb], PORT, path, headers=headers, body=body)
    assert answer.status
    return not (answer.status == 403 and " cannot " in answer.text)


def test_an_account_is_listed_exactly_if_it_can_get_to_a_pod(api: Node) -> None:
    made = [*generated()]
    api.apply(*(item for grant in made for item in grant.objects()))
    try:
        listed = _listed(assessed(api, "-v"))
        admitted = {grant.number for grant in made if any(is_admitted(api, grant, action) for action in POD_ACTIONS)}
    finally:
        for kind in ("clusterroles", "clusterrolebindings", "namespaces/default/rolebindings"):
            api.client.request("DELETE", PORT, f"/apis/{RBAC}/v1/{kind}?labelSelector=generated")
    wrong = {grant for grant in made if (grant.number in listed) != (grant.number in admitted)}
    assert wrong == set()
    assert NUMBER // 4 < len(admitted) < NUMBER


def _listed(report: Report) -> set[int]:
    observations = report.observations("rbac-create-pods")
    return {int(text.split(" site-")[1].split(":")[0]) for text in observations if " site-" in text.split(":")[0]}


def labels_as(node: Node, user: str) -> str:
    """Return the standard of a namespace after a user tried to change it through each way."""
    body = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}
    headers = {"Impersonate-User": user, "Content-Type": "application/merge-patch+json"}
    for below in ("", "/status"):
        node.client.request("PATCH", PORT, f"/api/v1/namespaces/loose{below}", headers=headers, body=body)
    found = node.get("namespace", "loose")
    found["metadata"]["labels"] |= body["metadata"]["labels"]
    finalize = "/api/v1/namespaces/loose/finalize"
    node.client.request("PUT", PORT, finalize, headers={"Impersonate-User": user}, body=found)
    return str(node.get("namespace", "loose")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"])


@pytest.mark.parametrize(
    ("verb", "resource", "changes"),
    [
        ("patch", "namespaces", True),
        ("patch", "namespaces/status", True),
        ("update", "namespaces/finalize", True),
        ("get", "namespaces", False),
    ],
)
def test_who_updates_a_namespace_chooses_its_standard(api: Node, verb: str, resource: str, changes: bool) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    rule = {"verbs": [verb], "apiGroups": [""], "resources": [resource]}
    who = [{"kind": "User", "name": "eve", "apiGroup": RBAC}]
    reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "labels"}
    api.apply(
        {**in_cluster("Namespace", "loose"), "metadata": {"name": "loose", "labels": labels}},
        in_cluster("ClusterRole", "labels", RBAC, rules=[rule]),
        in_cluster("ClusterRoleBinding", "labels", RBAC, roleRef=reference, subjects=who),
    )
    try:
        assert labels_as(api, "eve") == ("privileged" if changes else "restricted")
        assert assessed(api).status("rbac-create-pods") == ("MANUAL" if changes else "PASS")
    finally:
        api.kubectl("delete", "clusterrole/labels", "clusterrolebinding/labels", "namespace/loose")
