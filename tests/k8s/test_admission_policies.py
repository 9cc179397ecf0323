"""Admission policies from files on a running API server: from its first request on, under attack, changed, removed."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pytest

from agent.k3s.roles_and_versions import Version
from tests.k8s.assessments import assessed
from tests.k8s.binaries import Binaries, chosen
from tests.k8s.client import DATA_DIR, Response
from tests.k8s.node import Node

pytestmark = [
    pytest.mark.k8s,
    pytest.mark.xdist_group("admission-policies"),
    pytest.mark.skipif(Version.parse(chosen()).minor < 37, reason="v1.37 is the first that loads policies from files"),
]

SETTINGS = "/etc/k3s-harden/config.yaml"
POLICIES = f"{DATA_DIR}/server/admission/validating/policies.yaml"
PORT = 6444
DENY = """\
network-policies: {namespaces: [shop]}
admission-policies:
  pod-security: deny
  network-policies: deny
  bindings: deny
  service-accounts: on
"""
BIND_ALL = f"{DENY}  bind-administrators: true\n"
ENFORCE = "pod-security.kubernetes.io/enforce"
NAMESPACES, RBAC = "/api/v1/namespaces", "/apis/rbac.authorization.k8s.io/v1"
OWN = f"{NAMESPACES}/own"
POLICIES_OF = "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies"
PROTECTED = f"{POLICIES_OF.format('shop')}/intra-namespace"
STATIC = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
OURS = f"{STATIC}/k3s-harden-bindings.static.k8s.io"
MERGE, APPLY, PATCH = "application/merge-patch+json", "application/apply-patch+yaml", "application/json-patch+json"
FIRST_REQUESTS, WRITES = 100, 1000
FORBIDDEN, NOT_FOUND = 403, 404
SUPERVISOR = {"Impersonate-User": "system:k3s-supervisor", "Impersonate-Group": "system:masters"}
RANCHER = {"Impersonate-User": "system:serviceaccount:cattle-system:rancher"}
HELM = {"Impersonate-User": "system:serviceaccount:kube-system:helm-traefik"}
CONTROLLERS = ("generic-garbage-collector", "namespace-controller")
"""Accounts in kube-system that may change or delete objects of all kinds."""
BOB = {"Impersonate-User": "bob"}
"""Who may do everything with namespaces, NetworkPolicies, roles, bindings and service accounts."""


class Sent(NamedTuple):
    """A request."""

    method: str
    path: str
    body: object = None
    content: str = "application/json"


def labelled(value: str, name: str = ENFORCE) -> dict[str, Any]:
    return {"metadata": {"labels": {name: value}}}


def namespace(name: str, **labels: str) -> Sent:
    labels = {key.replace("_", "-"): value for key, value in labels.items()}
    metadata = {"name": name, "labels": {f"pod-security.kubernetes.io/{key}": value for key, value in labels.items()}}
    return Sent("POST", NAMESPACES, {"metadata": metadata})


def relabel(content: str, subresource: str = "") -> Sent:
    body: object = labelled("privileged")
    if content == PATCH:
        body = [{"op": "add", "path": f"/metadata/labels/{ENFORCE.replace('/', '~1')}", "value": "privileged"}]
    if content == APPLY:
        body = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "own", **labelled("privileged")["metadata"]},
        }
    query = "?fieldManager=me&force=true" if content == APPLY else ""
    return Sent("PATCH", f"{OWN}{subresource}{query}", body, content)


def replaced(subresource: str) -> Sent:
    body = {"metadata": {"name": "own", "labels": {"kubernetes.io/metadata.name": "own", ENFORCE: "privileged"}}}
    return Sent("PUT", f"{OWN}{subresource}", {**body, "spec": {"finalizers": ["kubernetes"]}})


def bound(role: str, *subjects: str, path: str = f"{RBAC}/clusterrolebindings", name: str = "") -> Sent:
    found = [
        {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": each}
        for kind, _, each in (subject.partition(" ") for subject in subjects)
    ]
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    metadata = {"name": name} if name else {"generateName": "all-"}
    return Sent("POST", path, {"metadata": metadata, "roleRef": reference, "subjects": found})


IN_OWN = f"{RBAC}/namespaces/own/rolebindings"
EVERYBODY = "Group system:authenticated"
ESCAPES: Mapping[str, Sent] = {
    "exempt name": namespace("cattle-system"),
    "exempt name of a site that has no Rancher": namespace("cis-operator-system"),
    "exempt name, applied": Sent(
        "PATCH",
        f"{NAMESPACES}/cattle-system?fieldManager=me",
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "cattle-system"}},
        APPLY,
    ),
    "new and privileged": namespace("new", enforce="privileged"),
    "new and baseline": namespace("new", enforce="baseline"),
    "new with an old version": namespace("new", enforce_version="v1.20"),
    "generated name": Sent(
        "POST", NAMESPACES, {"metadata": {"generateName": "new-", **labelled("baseline")["metadata"]}}
    ),
    "merge patch": relabel(MERGE),
    "JSON patch": relabel(PATCH),
    "server-side apply": relabel(APPLY),
    "update": replaced(""),
    "version": Sent("PATCH", OWN, labelled("v1.20", f"{ENFORCE}-version"), MERGE),
    "patch of the status": relabel(MERGE, "/status"),
    "apply of the status": relabel(APPLY, "/status"),
    "update of the status": replaced("/status"),
    "update of the finalizers": replaced("/finalize"),
    "delete a NetworkPolicy": Sent("DELETE", PROTECTED),
    "delete it without waiting": Sent("DELETE", f"{PROTECTED}?gracePeriodSeconds=0&propagationPolicy=Orphan"),
    "delete all of a namespace": Sent("DELETE", POLICIES_OF.format("shop")),
    "delete those of K3s' namespace": Sent("DELETE", POLICIES_OF.format("kube-system")),
    "open a NetworkPolicy": Sent("PATCH", PROTECTED, {"spec": {"ingress": [{}]}}, MERGE),
    "let it select nothing": Sent("PATCH", PROTECTED, {"spec": {"podSelector": {"matchLabels": {"a": "b"}}}}, MERGE),
    "let the garbage collector delete it": Sent(
        "PATCH",
        PROTECTED,
        {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Secret", "name": "gone", "uid": "1"}]}},
        MERGE,
    ),
    "cluster-admin for everybody": bound("cluster-admin", EVERYBODY),
    "admin for the anonymous user": bound("admin", "User system:anonymous"),
    "edit for all pods": bound("edit", "Group system:serviceaccounts"),
    "edit for the unauthenticated, among others": bound("edit", "User carol", "Group system:unauthenticated"),
    "admin of a namespace for everybody": bound("admin", EVERYBODY, path=IN_OWN),
    "everybody as a user": bound("edit", "User system:authenticated", path=IN_OWN),
    "everybody in an existing binding": Sent(
        "PATCH",
        f"{IN_OWN}/carol",
        [
            {
                "op": "add",
                "path": "/subjects/-",
                "value": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:authenticated"},
            }
        ],
        PATCH,
    ),
    "more of everybody in a binding that has some": Sent(
        "PATCH",
        f"{RBAC}/clusterrolebindings/pods",
        [
            {
                "op": "add",
                "path": "/subjects/-",
                "value": {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:anonymous"},
            }
        ],
        PATCH,
    ),
}
ADMITTED: Mapping[str, Sent] = {
    "namespace": namespace("other"),
    "restricted": Sent("PATCH", OWN, labelled("restricted"), MERGE),
    "annotation": Sent("PATCH", OWN, {"metadata": {"annotations": {"a": "b"}}}, MERGE),
    "binding of a person": bound("admin", "User carol", path=IN_OWN),
    "view for all pods": bound("view", "Group system:serviceaccounts", path=IN_OWN),
    "binding that has some of everybody": Sent(
        "PATCH", f"{RBAC}/clusterrolebindings/pods", {"metadata": {"labels": {"a": "b"}}}, MERGE
    ),
    "another NetworkPolicy": Sent(
        "POST", POLICIES_OF.format("own"), {"metadata": {"name": "a"}, "spec": {"podSelector": {}}}
    ),
}
DELETIONS: Mapping[str, Sent] = {
    "delete": Sent("DELETE", OURS),
    "delete all": Sent("DELETE", STATIC),
    "delete its binding": Sent("DELETE", OURS.replace("policies/", "policybindings/")),
    "patch": Sent("PATCH", OURS, {"spec": {"failurePolicy": "Ignore"}}, MERGE),
    "apply": Sent(
        "PATCH",
        f"{OURS}?fieldManager=me&force=true",
        {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "spec": {}},
        APPLY,
    ),
    "create one of its name": Sent(
        "POST",
        STATIC,
        {"metadata": {"name": OURS.rpartition("/")[2]}, "spec": {"validations": [{"expression": "true"}]}},
    ),
}


class Server(NamedTuple):
    """A running server, and the answers to its first requests."""

    node: Node
    first: list[Response]

    def send(self, sent: Sent, who: Mapping[str, str] | None = None, *, dry: bool = True) -> Response:
        """Send a request, by default as the administrator. A dry one passes admission, and stores nothing."""
        path = f"{sent.path}{'&' if '?' in sent.path else '?'}dryRun=All" if dry else sent.path
        headers = {"Content-Type": sent.content, **(who or {})}
        return self.node.client.request(sent.method, PORT, path, headers=headers, body=sent.body)

    def send_with(self, token: str, sent: Sent, headers: Mapping[str, str]) -> Response:
        """Send a dry request with the token of an account."""
        headers = {"Authorization": f"Bearer {token}", "Content-Type": sent.content, **headers}
        path = f"{sent.path}{'&' if '?' in sent.path else '?'}dryRun=All"
        return self.node.client.request(sent.method, PORT, path, certificate=None, headers=headers, body=sent.body)

    def refused(self, cases: Mapping[str, Sent], who: Mapping[str, str] | None = None) -> set[str]:
        """Return the names of the requests that a policy of k3s-harden refuses."""
        return {name for name, sent in cases.items() if is_refused(self.send(sent, who))}

    def apply_settings(self, text: str) -> None:
        self.node.write(SETTINGS, text)
        done = self.node.harden("apply")
        assert "Applied" in done.stdout, done.stdout  # the ports of the stand-in for K3s are those of other processes

    def until_masters_are(self, *, bound: bool) -> None:
        escape = ESCAPES["exempt name"]
        self.node.until("the API server follows", lambda: is_refused(self.send(escape)) == bound)


def is_refused(answer: Response) -> bool:
    return answer.status in (FORBIDDEN, 422) and "ValidatingAdmissionPolicy 'k3s-harden-" in answer.text


@pytest.fixture(scope="module")
def policed(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without a kubelet whose policies bind administrators, too; requests are sent before it listens."""
    with Node(tmp_path_factory.mktemp("policies"), binaries) as node:
        node.run_alone()
        node.write(SETTINGS, BIND_ALL)
        done = node.harden("apply")
        assert done.returncode == 0, done.stdout + done.stderr
        node.start_server("--disable-agent")
        found = Server(node, [])
        tried = [ESCAPES[name] for name in ("exempt name", "new and privileged", "cluster-admin for everybody")]
        deadline = time.monotonic() + 60
        while len(found.first) < FIRST_REQUESTS and time.monotonic() < deadline:
            answer = found.send(tried[len(found.first) % 3], dry=False)
            if answer.status:
                found.first.append(answer)
            else:
                time.sleep(0.01)
        node.wait_for_api()
        node.create_namespaces("own", "shop")
        node.wait_until_deployed()
        resources = "namespaces,namespaces/status,namespaces/finalize,serviceaccounts,serviceaccounts/token"
        resources += "".join(
            f",{name}.rbac.authorization.k8s.io"
            for name in ("roles", "clusterroles", "rolebindings", "clusterrolebindings")
        )
        resources += ",networkpolicies.networking.k8s.io"
        node.kubectl("create", "clusterrole", "manager", "--verb=*", f"--resource={resources}")
        node.kubectl("create", "clusterrolebinding", "manager", "--clusterrole=manager", "--user=bob")
        node.kubectl("create", "rolebinding", "carol", "--clusterrole=admin", "--user=carol", "--namespace=own")
        administrator = ("create", "clusterrolebinding", "--clusterrole=cluster-admin")
        node.kubectl(*administrator, "rancher", "--serviceaccount=cattle-system:rancher")
        node.kubectl(*administrator, "helm", f"--user={HELM['Impersonate-User']}")
        of_pods = found.send(bound("edit", "Group system:serviceaccounts", name="pods"), SUPERVISOR, dry=False)
        assert of_pods.status == 201, of_pods.text
        yield found


def test_the_first_requests_are_refused(policed: Server) -> None:
    """They are sent from before the API server listens, as its most powerful user. Some are answered as not ready."""
    assert len(policed.first) == FIRST_REQUESTS
    assert [answer.text for answer in policed.first if answer.status < 400] == []
    assert sum(map(is_refused, policed.first)) > FIRST_REQUESTS / 2
    names = {item["metadata"]["name"] for item in policed.node.get("namespaces")["items"]}
    assert names.isdisjoint({"cattle-system", "new"})


@pytest.mark.parametrize("who", [{}, RANCHER, BOB], ids=["masters", "rancher", "bob"])
def test_nobody_escapes_from_policies_that_bind_administrators(policed: Server, who: Mapping[str, str]) -> None:
    """Rancher's account is a cluster-admin, as in a cluster that Rancher manages."""
    assert ESCAPES.keys() - policed.refused(ESCAPES, who) == set()
    answers = {name: policed.send(sent, who) for name, sent in ADMITTED.items()}
    assert {name: answer.text for name, answer in answers.items() if answer.status >= 400} == {}


@pytest.mark.parametrize("who", [{}, SUPERVISOR], ids=["masters", "supervisor"])
def test_nobody_deletes_a_policy_through_the_api(policed: Server, who: Mapping[str, str]) -> None:
    answers = {name: policed.send(sent, who, dry=False) for name, sent in DELETIONS.items()}
    assert {name for name, answer in answers.items() if answer.status < 400} == {"delete all"}
    assert is_refused(policed.send(ESCAPES["cluster-admin for everybody"]))


def test_a_stolen_account_cannot_become_an_administrator(policed: Server) -> None:
    """It may do everything with namespaces and bindings, and nothing as somebody else."""
    node = policed.node
    node.kubectl("create", "clusterrolebinding", "thief", "--clusterrole=manager", "--serviceaccount=own:default")
    token = node.kubectl("create", "token", "default", "--namespace=own").strip()
    for name in ("exempt name", "merge patch", "cluster-admin for everybody"):
        sent = ESCAPES[name]
        for headers in ({}, SUPERVISOR, {"Impersonate-User": "a", "Impersonate-Group": "system:masters"}):
            answer = policed.send_with(token, sent, headers)
            assert answer.status == FORBIDDEN, answer.text
            assert headers or is_refused(answer)


@pytest.mark.parametrize("account", CONTROLLERS)
def test_the_token_of_a_controller_does_not_escape(policed: Server, account: str) -> None:
    """Kubernetes permits it to delete each NetworkPolicy, and to write each namespace or its finalizers."""
    token = policed.node.kubectl("create", "token", account, "--namespace=kube-system").strip()
    answers = {name: policed.send_with(token, sent, {}) for name, sent in ESCAPES.items()}
    assert {name for name, answer in answers.items() if answer.status < 400} == set()
    assert {"delete a NetworkPolicy", "update of the finalizers"} & {
        name for name, answer in answers.items() if is_refused(answer)
    }


def test_the_garbage_collector_changes_owners_and_finalizers(policed: Server) -> None:
    """Its owner is deleted without a privileged namespace, a binding for all pods, and a protected NetworkPolicy."""
    node, roles = policed.node, f"{RBAC}/clusterroles"
    node.kubectl("create", "clusterrole", "owner", "--verb=get", "--resource=pods")
    uid = node.get("clusterrole", "owner")["metadata"]["uid"]
    owner = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "name": "owner", "uid": uid}
    dependents = (OWN, f"{RBAC}/clusterrolebindings/pods", PROTECTED)

    def change(path: str, metadata: object) -> None:
        answer = policed.send(Sent("PATCH", path, {"metadata": metadata}, MERGE), SUPERVISOR, dry=False)
        assert answer.status == 200, answer.text

    def metadata_of(path: str) -> dict[str, Any]:
        found: dict[str, Any] = node.client.get(PORT, path).json["metadata"]
        return found

    change(OWN, labelled("privileged")["metadata"])
    for path in dependents:
        change(path, {"ownerReferences": [owner]})
    assert policed.send(Sent("DELETE", f"{roles}/owner?propagationPolicy=Orphan"), dry=False).status < 400
    node.until("it has no dependent", lambda: not any("ownerReferences" in metadata_of(path) for path in dependents))
    node.until("it is deleted", lambda: node.client.get(PORT, f"{roles}/owner").status == NOT_FOUND)
    assert metadata_of(OWN)["labels"][ENFORCE] == "privileged"
    change(OWN, {"labels": {ENFORCE: None}})
    deletion = Sent("DELETE", f"{PROTECTED}?propagationPolicy=Foreground")
    assert policed.send(deletion, SUPERVISOR, dry=False).status < 400
    node.until("it is deleted by its finalizer", lambda: node.client.get(PORT, PROTECTED).status == NOT_FOUND)
    node.kubectl("apply", f"--filename={DATA_DIR}/server/manifests/policy.yaml")


def test_what_k3s_and_kubernetes_do_is_admitted(policed: Server) -> None:
    """K3s' deploy controller writes its NetworkPolicies, and a namespace with a protected one is deleted."""
    node = policed.node
    change = Sent("PATCH", PROTECTED, {"metadata": {"labels": {"a": "b"}}}, MERGE)
    assert is_refused(policed.send(change))
    assert policed.send(change, SUPERVISOR, dry=False).status == 200
    assert policed.send(ESCAPES["exempt name"], SUPERVISOR).status == 201
    account = node.get("serviceaccount", "default", "--namespace=own")
    assert account["automountServiceAccountToken"] is False
    node.kubectl("delete", "namespace", "shop", "--timeout=60s")
    node.create_namespaces("shop")
    node.kubectl("apply", f"--filename={DATA_DIR}/server/manifests/policy.yaml")
    assert is_refused(policed.send(change))


def rename_into_place(path: Path, data: bytes) -> None:
    """Replace the policies as `apply` does."""
    new = path.with_name("policies.new")
    new.write_bytes(data)
    new.chmod(0o600)
    new.rename(path)


def test_no_request_is_admitted_while_files_are_written(policed: Server) -> None:
    """The API server answers requests of an administrator meanwhile."""
    path = policed.node.path(POLICIES)
    content, number, is_over = path.read_bytes(), 0, threading.Event()

    def write() -> None:
        nonlocal number
        while not is_over.is_set() or number < WRITES:
            rename_into_place(path, content + b"# %d\n" % number)
            number += 1
            time.sleep(0.002)
        rename_into_place(path, content)

    writer = threading.Thread(target=write)
    writer.start()
    body = ESCAPES["exempt name"].body
    answers = policed.node.client.answers(PORT, f"{NAMESPACES}?dryRun=All", [body] * WRITES)
    is_over.set()
    writer.join()
    assert [answer.text for answer in answers if not is_refused(answer)] == []
    assert number >= WRITES


def test_assess_compares_the_files_with_what_the_api_server_has_loaded(policed: Server) -> None:
    """An invalid expression, which only the API server finds, leaves the earlier policies in effect."""
    path = policed.node.path(POLICIES)
    content = path.read_bytes()
    digest = f"sha256:{sha256(content + bytes(1)).hexdigest()}"
    control = "admission-policies-from-files"

    def is_loaded() -> bool:
        return digest in policed.node.client.get(PORT, "/metrics").text

    policed.node.until("the last content is loaded", is_loaded)
    report = assessed(policed.node)
    assert report.status(control) == "PASS", report.of(control)
    for name in (control, "namespaces-network-policies", "default-service-accounts", "pods-privileged"):
        (shown,) = (text for text in report.observations(name) if digest in text)
        assert shown.endswith("; the running API server has loaded this content")

    def failed() -> int:
        return policed.node.component_log("kube-apiserver").count('manifest config" err=')

    before = failed()
    rename_into_place(path, content.replace(b"object.roleRef.kind !=", b"object.(roleRef.kind !="))
    policed.node.until("the API server has tried the new content", lambda: failed() > before)
    assert is_refused(policed.send(ESCAPES["cluster-admin for everybody"]))
    report = assessed(policed.node)
    assert report.status(control) == "FAIL"
    assert report.of(control)["found"] == "the running API server has loaded other files"
    rename_into_place(path, content)


def test_administrators_are_exempt_by_default(policed: Server) -> None:
    """The running API server follows `apply`. Helm's and Rancher's accounts are administrators; bob is not."""
    policed.apply_settings(DENY)
    policed.until_masters_are(bound=False)
    for who in ({}, HELM, RANCHER):
        assert policed.refused(ESCAPES, who) == set()
    assert ESCAPES.keys() - policed.refused(ESCAPES, BOB) == set()


EXISTING: Mapping[str, Sent] = {
    "Namespace/cattle-system": namespace("cattle-system"),
    "Namespace/i-privileged": namespace("i-privileged", enforce="privileged"),
    "Namespace/i-baseline": namespace("i-baseline", enforce="baseline"),
    "Namespace/i-old": namespace("i-old", enforce_version="v1.30"),
    "ClusterRoleBinding/i-anonymous": bound("cluster-admin", "User carol", "User system:anonymous", name="i-anonymous"),
    "own/RoleBinding/i-everybody": bound("admin", EVERYBODY, path=IN_OWN, name="i-everybody"),
    "own/RoleBinding/i-user": bound("edit", "User system:unauthenticated", path=IN_OWN, name="i-user"),
}
"""Objects that a policy refuses, by what `impact` calls them."""
HARMLESS = (
    namespace("i-restricted", enforce="restricted", enforce_version="latest"),
    namespace("i-warned", warn="privileged"),
    bound("view", "Group system:serviceaccounts", name="i-view"),
    bound("cluster-admin", "Group i-own", "Group system:serviceaccounts:own", name="i-group"),
    Sent(
        "POST",
        IN_OWN,
        {
            "metadata": {"name": "i-role"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "admin"},
            "subjects": [
                {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:authenticated"},
                {"kind": "ServiceAccount", "namespace": "own", "name": "default"},
            ],
        },
    ),
)
LISTS = {
    "Namespace": NAMESPACES,
    "ClusterRoleBinding": f"{RBAC}/clusterrolebindings",
    "RoleBinding": f"{RBAC}/rolebindings",
}


def test_impact_names_what_is_refused_if_it_is_created_again(policed: Server) -> None:
    """For each namespace and binding of the cluster, bob sends the request that creates it again.

    Kubernetes creates its own namespaces, and the policies admit that. As an update, bob's request is admitted.
    """
    policed.node.write(SETTINGS, DENY)
    policed.node.harden("apply")
    policed.until_masters_are(bound=False)
    for sent in (*EXISTING.values(), *HARMLESS):
        answer = policed.send(sent, dry=False)
        assert answer.status == 201, answer.text
    creations, updates = again(policed)
    refused = policed.refused(creations, BOB)
    statuses = {policed.send(creations[name], BOB).status for name in creations.keys() - refused}
    assert (statuses, policed.refused(updates, BOB)) == ({409}, set())
    assert EXISTING.keys() <= refused
    done = policed.node.harden("impact", "--format", "json")
    breaks = [item for item in json.loads(done.stdout)["breaks"] if item["topic"] == "admission policies"]
    assert {"/".join(filter(None, (item["namespace"], item["kind"], item["name"]))) for item in breaks} == refused
    assert {item["when"] for item in breaks} == {"when it is created again"}


def again(server: Server) -> tuple[Mapping[str, Sent], Mapping[str, Sent]]:
    """Return for each namespace and binding the requests that create it again, and that write it unchanged."""
    creations, updates = {}, {}
    for kind, path in LISTS.items():
        for item in json.loads(server.node.client.get(PORT, path).text)["items"]:
            name, own = item["metadata"]["name"], item["metadata"].get("namespace", "")
            if kind == "Namespace" and (name == "default" or name.startswith("kube-")):
                continue
            title = "/".join(filter(None, (own, kind, name)))
            at = path.replace("/rolebindings", f"/namespaces/{own}/rolebindings")
            updates[title] = Sent("PUT", f"{at}/{name}", item)
            metadata = {key: item["metadata"].get(key) for key in ("name", "labels")}
            creations[title] = Sent("POST", at, {**item, "metadata": metadata})
    return creations, updates


def test_the_running_api_server_follows_revert(policed: Server) -> None:
    """Nothing is left of the policies, and nothing is refused, without a restart."""
    done = policed.node.harden("revert")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not policed.node.path(str(PurePosixPath(POLICIES).parents[1])).exists()
    policed.node.until("nothing is refused", lambda: not policed.refused(ESCAPES, BOB))
