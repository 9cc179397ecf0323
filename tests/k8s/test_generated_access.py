"""Generated roles and bindings: a control lists an account exactly if the API server allows one of its requests.

ACCESS_GRANTS is their number; `make release-test` tries some thousands.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from agent.assess.checks.cluster.access_answers import RIGHTS
from tests.k8s.assessments import RBAC, Report, assessed, in_cluster
from tests.k8s.node import Node

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("cluster")]

PORT = 6444
SEED, NUMBER, OF_ONE_SEED, AT_ONCE = 20261203, int(os.environ.get("ACCESS_GRANTS", "60")), 60, 15
NAMESPACES = ("default", "generated")
METHODS = {"create": "POST", "patch": "PATCH", "update": "PUT", "get": "GET", "list": "GET", "watch": "GET"}
METHODS |= {"delete": "DELETE", "deletecollection": "DELETE"}
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


class Action(NamedTuple):
    """A verb on a resource, and whose rights count if they are limited to objects by name: any, everybody or none."""

    verb: str
    group: str
    resource: str
    with_names: str
    is_local: bool

    @property
    def path(self) -> str:
        """The path of its request, about an object that does not exist."""
        plural, _, below = self.resource.partition("/")
        prefix = f"/apis/{self.group}/v1" if self.group else "/api/v1"
        inside = "/namespaces/default" if self.is_local and plural != "namespaces" else ""
        named = "/web" if has_name(self.verb, below) and self.verb not in {"list", "watch"} else ""
        query = {"get": "", "list": "", "watch": "?watch=1&timeoutSeconds=1"}.get(self.verb, "?dryRun=All")
        return f"{prefix}{inside}/{plural}{named}{f'/{below}' if below else ''}{query}"


def has_name(verb: str, below: str) -> bool:
    """Return whether a request can name an object: not if it creates one or deletes all."""
    return bool(below) or verb not in {"create", "deletecollection"}


def actions(node: Node) -> dict[str, list[Action]]:
    """Return the actions that each control is about."""
    minor = int(node.binaries.version.split(".")[1])
    local = set(node.kubectl("api-resources", "--namespaced=true", "--output=name").split())

    def is_local(verb: str, group: str, resource: str) -> bool:
        plural, _, below = resource.partition("/")
        if plural == "namespaces":
            return has_name(verb, below)
        return f"{plural}.{group}".rstrip(".") in local or group.endswith("cattle.io") or plural == "serviceaccounts"

    return {
        control: [
            Action(verb, right.group, right.resource, names, is_local(verb, right.group, right.resource))
            for right in rights
            if right.since <= minor
            for names in ["any" if right.on_named_objects else "everybody" * right.everybody_on_named_objects]
            for verb in sorted(right.verbs)
        ]
        for control, (_, rights) in RIGHTS.items()
    }


class Grant(NamedTuple):
    """A binding of an account to a role: a built-in one, or one with these rules."""

    number: int
    kind: str
    subject: str
    namespace: str
    """Of the RoleBinding; empty for a ClusterRoleBinding."""
    role: str = "ClusterRole"
    built_in: str = ""
    rules: tuple[dict[str, list[str]], ...] = ()

    @property
    def title(self) -> str:
        account = self.subject.removeprefix("system:serviceaccount:")
        return f"{self.kind} {account}" if account == self.subject else f"ServiceAccount {account.replace(':', '/')}"

    @property
    def is_everybody(self) -> bool:
        return "site-" not in self.subject

    @property
    def user(self) -> dict[str, Any]:
        """The account of a review, which has no other rights."""
        if self.kind == "ServiceAccount":
            return {"user": f"system:serviceaccount:{self.subject.replace('/', ':')}"}
        return {"user": self.subject} if self.kind == "User" else {"user": "nobody", "groups": [self.subject]}

    def objects(self) -> Iterator[dict[str, Any]]:
        name, inside = f"generated-{self.number}", {"namespace": self.namespace} if self.namespace else {}
        metadata = {"name": name, "labels": {"generated": "yes"}}
        if not self.built_in:
            where = inside if self.role == "Role" else {}
            yield {**in_cluster(self.role, name, RBAC, rules=[*self.rules]), "metadata": {**metadata, **where}}
        namespace, _, account = self.subject.rpartition("/")
        who = {"kind": self.kind, "name": account, **({"namespace": namespace} if namespace else {"apiGroup": RBAC})}
        reference = {"apiGroup": RBAC, "kind": self.role, "name": self.built_in or name}
        made = in_cluster("RoleBinding" if inside else "ClusterRoleBinding", name, RBAC, roleRef=reference)
        yield {**made, "subjects": [who], "metadata": {**metadata, **inside}}


def generated(controls: dict[str, list[Action]], seed: int) -> Iterator[Grant]:
    chance = random.Random(seed)  # noqa: S311 - states of a test
    verbs = [
        *{action.verb: 0 for known in controls.values() for action in known},
        "*",
        "impersonate-on:user-info:list",
        "approve",
    ]
    others = ["pods/log", "configmaps", "nodes", "*/*", "serviceaccounts", "certificatesigningrequests"]

    def rule(namespace: str, *, may_have_urls: bool) -> dict[str, list[str]]:
        if may_have_urls and chance.random() < 0.1:
            return {"verbs": [chance.choice(["get", "*"])], "nonResourceURLs": [chance.choice(["*", "/metrics"])]}
        action = chance.choice(controls[chance.choice([*controls])])
        plural, _, below = action.resource.partition("/")
        like = [*[action.resource] * 6, plural, "*", f"{plural}/*", *[f"*/{below}"] * 2 * bool(below)]
        chosen = {chance.choice(like), *chance.sample([*others, action.resource], chance.choice((0, 0, 1)))}
        return {
            "verbs": sorted({chance.choice([*[action.verb] * 6, *verbs]), chance.choice(verbs)}),
            "apiGroups": chance.choice([*[[action.group]] * 6, ["*"], ["", "apps"], [action.group, "batch"], ["none"]]),
            "resources": sorted(chosen),
            **({"resourceNames": [namespace or "default"]} if chance.random() < 0.3 else {}),
        }

    for number in range(OF_ONE_SEED):
        namespace = chance.choice(["", *NAMESPACES])
        site = [("User", f"site-{number}"), ("Group", f"site-{number}"), ("ServiceAccount", f"other/site-{number}")]
        groups = ("authenticated", "unauthenticated", "nodes", "serviceaccounts", "serviceaccounts:generated")
        everybody = [("Group", f"system:{name}") for name in groups]
        everybody += [("ServiceAccount", "generated/default"), ("User", "system:anonymous")]
        site += [("User", f"system:serviceaccount:other:site-{number}")]
        account = chance.choice(everybody if chance.random() < 0.15 else site)
        role = chance.choice(["ClusterRole", "Role"]) if namespace else "ClusterRole"
        if role == "ClusterRole" and chance.random() < 0.1:
            names = ["admin", "edit", "view", "system:node", *["cluster-admin"] * bool(namespace)]
            yield Grant(number, *account, namespace, built_in=chance.choice(names))
            continue
        rules = tuple(rule(namespace, may_have_urls=not namespace) for _ in range(chance.choice((1, 1, 2))))
        yield Grant(number, *account, namespace, role, rules=rules)


def reviews(grant: Grant, action: Action) -> Iterator[dict[str, Any]]:
    """Yield the questions whether an account may do that with any object, or with those of the name in the rules."""
    plural, _, below = action.resource.partition("/")
    asked = {"verb": action.verb, "group": action.group, "resource": plural, "subresource": below}
    counts = action.with_names == "any" or (action.with_names == "everybody" and grant.is_everybody)
    where = grant.namespace or "default"
    for name in ("", where) if counts and has_name(action.verb, below) else ("",):
        # The API server asks whether an account may bind a ClusterRole in the namespace of the new RoleBinding.
        namespace = where if action.is_local or action.verb == "bind" else ""
        yield {**asked, "namespace": namespace, "name": name}


@contextmanager
def present(node: Node, grants: Sequence[Grant]) -> Iterator[None]:
    node.create_namespaces("generated")
    node.apply(*(item for grant in grants for item in grant.objects()))
    try:
        yield
    finally:
        kinds = "clusterroles,roles,clusterrolebindings,rolebindings"
        node.kubectl("delete", kinds, "--all-namespaces", "--selector=generated", "--wait=false")


def listed(report: Report, control: str) -> set[str]:
    """Return the accounts to which the site granted the right."""
    return {text.split(": ")[0] for text in report.observations(control) if " → " in text} - {"listed apart"}


@pytest.mark.parametrize("seed", range(SEED, SEED + NUMBER // OF_ONE_SEED))
def test_a_control_lists_an_account_exactly_if_it_has_the_right(api: Node, seed: int) -> None:
    of = actions(api)
    made = [*generated(of, seed)]
    different, statuses = [], []
    for batch in (made[start : start + AT_ONCE] for start in range(0, OF_ONE_SEED, AT_ONCE)):
        with present(api, batch):
            report = assessed(api, "-v")
            for control in of.keys() & {item["id"] for item in report.json["verdicts"]}:
                asked = [(grant, body) for grant in batch for action in of[control] for body in reviews(grant, action)]
                bodies = ({"spec": {**grant.user, "resourceAttributes": body}} for grant, body in asked)
                answers = api.client.answers(PORT, REVIEWS, bodies)
                allowed = [grant for (grant, _), answer in zip(asked, answers) if answer.json["status"]["allowed"]]
                statuses.append(
                    "FAIL" if any(grant.is_everybody for grant in allowed) else "MANUAL" if allowed else "PASS"
                )
                titles = {grant.title for grant in allowed}
                if (listed(report, control), report.status(control)) != (titles, statuses[-1]):
                    wrong = [grant for grant in batch if grant.title in titles ^ listed(report, control)]
                    different.append((control, report.status(control), statuses[-1], titles, wrong))
    assert different == []
    assert min(map(statuses.count, ("FAIL", "MANUAL", "PASS"))) > 0


def is_admitted(node: Node, user: str, action: Action) -> bool:
    """Send a request as the user, as a dry run. An object that does not exist is found missing after the right."""
    headers = {"Impersonate-User": user}
    headers |= {"Content-Type": "application/merge-patch+json"} if action.verb == "patch" else {}
    spec = {"containers": [{"name": "a", "image": "none"}]}
    method = METHODS[action.verb]
    body = None if method in {"GET", "DELETE"} else {"metadata": {"name": "web"}, "spec": spec}
    answer = node.client.request(method, PORT, action.path, headers=headers, body=body)
    assert answer.status
    return not (answer.status == 403 and " cannot " in answer.text)


def test_a_request_needs_the_right_that_a_control_is_about(api: Node) -> None:
    found = [
        *{action[:3]: action for known in actions(api).values() for action in known if action.verb in METHODS}.values()
    ]
    rules = [{"verbs": [action.verb], "apiGroups": [action.group], "resources": [action.resource]} for action in found]
    with present(
        api, [Grant(number, "User", f"site-{number}", "", rules=(rule,)) for number, rule in enumerate(rules)]
    ):
        for number, action in enumerate(found):
            assert is_admitted(api, f"site-{number}", action), action
            assert not is_admitted(api, f"site-{(number + 1) % len(found)}", action), action


def test_a_role_binding_with_bind_leads_to_every_right_in_its_namespace(api: Node) -> None:
    """A ClusterRole has no namespace, but the API server asks about the one of the new RoleBinding."""
    made = {"verbs": ["create"], "apiGroups": [RBAC], "resources": ["rolebindings"]}
    grants = [
        Grant(1, "User", "site-1", "", rules=(made,)),
        Grant(2, "User", "site-1", "generated", rules=({**made, "verbs": ["bind"], "resources": ["clusterroles"]},)),
    ]
    own = {"metadata": {"name": "own"}, "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin"}}
    with present(api, grants):
        for namespace, status in (("generated", 201), ("default", 403)):
            path = f"/apis/{RBAC}/v1/namespaces/{namespace}/rolebindings?dryRun=All"
            answer = api.client.request("POST", PORT, path, headers={"Impersonate-User": "site-1"}, body=own)
            assert answer.status == status, answer.text
        assert listed(assessed(api, "-v"), "rbac-bind-impersonate-escalate") == {"User site-1"}


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
