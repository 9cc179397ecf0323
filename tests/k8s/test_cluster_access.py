"""What `assess --cluster` asks a real API server: who may do what, and with `--probe` which pods it admits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from agent.cluster.kubernetes.pod_security import CONTROLS, broken_pod
from tests.k8s import pods
from tests.k8s.assessments import RBAC, assessed, binding, hardened_server, in_cluster, logged
from tests.k8s.binaries import Binaries
from tests.k8s.node import Node

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("cluster")]

ADMISSION = "admissionregistration.k8s.io"
AUTHENTICATED = ("Group", "system:authenticated")
CREATE_PODS = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
DEBUG_PODS = {**CREATE_PODS, "operations": ["UPDATE"], "resources": ["pods/ephemeralcontainers"]}
SHOP = "shop"


@contextmanager
def present(node: Node, *objects: dict[str, Any]) -> Iterator[None]:
    """Create objects, and delete them at the end."""
    node.apply(*objects)
    try:
        yield
    finally:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        node.kubectl("delete", "--wait=true", "--filename=-", text=text)


def role(verbs: list[str], group: str, resources: list[str], **more: object) -> dict[str, Any]:
    rule = {"apiGroups": [group], "resources": resources, "verbs": verbs, **more}
    return in_cluster("ClusterRole", "site", RBAC, rules=[rule])


RIGHTS = {
    "rbac-secrets": role(["list"], "", ["secrets"]),
    "rbac-create-pods": role(["create"], "helm.cattle.io", ["helmcharts"]),
    "rbac-webhooks": role(["delete"], ADMISSION, ["validatingadmissionpolicybindings"]),
    "rbac-bind-impersonate-escalate": role(["impersonate:user-info"], "authentication.k8s.io", ["users"]),
    "rbac-token-creation": role(["create"], "", ["serviceaccounts/token"]),
    "rbac-nodes-proxy": role(["get"], "", ["nodes/proxy"], resourceNames=["node-1"]),
}


@pytest.mark.parametrize("control", RIGHTS)
def test_a_right_of_everybody_fails_with_binding_role_and_rule(api: Node, control: str) -> None:
    """The harmless neighbour is the same right of one account."""
    if "impersonate:user-info" in str(RIGHTS[control]) and int(api.binaries.version.split(".")[1]) < 36:
        pytest.skip("constrained impersonation is on by default since 1.36")
    with present(api, RIGHTS[control], binding("site", "site", *AUTHENTICATED)):
        report = assessed(api)
        assert report.status(control) == "FAIL"
        assert report.observations(control)[0].startswith(
            "Group system:authenticated: ClusterRoleBinding site → site: "
        )
    with present(api, RIGHTS[control], binding("site", "site", "User", "anna")):
        assert assessed(api).status(control) == "MANUAL"


def test_a_right_in_one_namespace_is_confirmed_there(api: Node) -> None:
    local = binding("site", "site", "Group", "system:serviceaccounts:shop")
    local |= {"kind": "RoleBinding", "metadata": {"name": "site", "namespace": "default"}}
    with present(api, RIGHTS["rbac-secrets"], local):
        assert assessed(api).status("rbac-secrets") == "FAIL"


@pytest.mark.parametrize(("verbs", "answer"), [(["get"], "NotFound"), (["list", "watch"], "Forbidden")])
def test_list_and_watch_give_no_access_to_nodes_proxy(api: Node, verbs: list[str], answer: str) -> None:
    with present(api, role(verbs, "", ["nodes/proxy"]), binding("site", "site", "User", "anna")):
        for query in ("", "?watch=true"):
            done = api.try_kubectl("get", "--raw", f"/api/v1/nodes/none/proxy/pods{query}", "--as=anna")
            assert f"({answer})" in done.stderr
        assert assessed(api).status("rbac-nodes-proxy") == ("MANUAL" if answer == "NotFound" else "PASS")


def test_requests_change_nothing_and_are_few(api: Node) -> None:
    """Only two kinds of requests are not GET; the API server stores neither."""
    before = len(logged(api))
    assessed(api)
    reviews = [item for item in logged(api)[before:] if item["verb"] != "get" and item["verb"] != "list"]
    assert 50 < len(reviews) <= 130
    assert {item["requestURI"] for item in reviews} == {"/apis/authorization.k8s.io/v1/subjectaccessreviews"}
    before = len(logged(api))
    assessed(api, "--probe")
    others = {item["requestURI"] for item in logged(api)[before:] if item["verb"] == "create"}
    others -= {item["requestURI"] for item in reviews}
    assert others
    assert all(uri.endswith("/pods?dryRun=All") for uri in others)
    assert api.get("pods", "--all-namespaces")["items"] == []


@pytest.fixture(scope="module")
def shop(api: Node) -> Iterator[Node]:
    """A namespace that enforces nothing, with a workload."""
    labels = {"pod-security.kubernetes.io/enforce": "privileged", "team": "shop"}
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SHOP, "labels": labels}}
    api.apply(made)
    api.until("the account exists", lambda: api.try_kubectl("get", "sa", "default", "-n", SHOP).returncode == 0)
    assert api.harden("service-accounts", "--wait", "30").returncode == 0
    api.apply(pods.pod("web", SHOP))
    yield api
    api.kubectl("delete", "namespace", SHOP)


def policy(expression: str) -> dict[str, Any]:
    matched = {"resourceRules": [CREATE_PODS, DEBUG_PODS]}
    spec = {"matchConstraints": matched, "validations": [{"expression": expression}]}
    return in_cluster("ValidatingAdmissionPolicy", "site", ADMISSION, spec=spec)


def policy_binding(*actions: str, **resources: object) -> dict[str, Any]:
    spec = {"policyName": "site", "validationActions": [*actions], "matchResources": resources}
    return in_cluster("ValidatingAdmissionPolicyBinding", "site", ADMISSION, spec=spec)


def webhook(**changes: object) -> dict[str, Any]:
    """Return a webhook whose server does not exist, and which is skipped then."""
    hook = {
        "name": "site.example.com",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [{**CREATE_PODS, **changes}],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "failurePolicy": "Ignore",
    }
    return in_cluster("ValidatingWebhookConfiguration", "site", ADMISSION, webhooks=[hook])


NO_PRIVILEGED = (
    "object.spec.containers.all(c, !has(c.securityContext) || !has(c.securityContext.privileged)"
    " || !c.securityContext.privileged)"
)
IN_ALL = " && ".join(
    f"(!has(object.spec.{kind}) || {NO_PRIVILEGED.replace('containers', kind)})"
    for kind in ("containers", "initContainers", "ephemeralContainers")
)
NOWHERE = {"matchLabels": {"team": "none"}}


@pytest.mark.parametrize(
    "objects",
    [
        [policy("true")],
        [policy(NO_PRIVILEGED), policy_binding("Audit")],
        [policy(NO_PRIVILEGED), policy_binding("Deny", namespaceSelector=NOWHERE)],
        [policy(NO_PRIVILEGED), policy_binding("Deny", objectSelector=NOWHERE)],
        [webhook(operations=["DELETE"])],
    ],
    ids=["unbound", "audit", "no namespace", "no pod", "deletion"],
)
def test_an_engine_that_rejects_no_pod_changes_no_verdict(shop: Node, objects: list[dict[str, Any]]) -> None:
    before = assessed(shop)
    assert before.status("pods-privileged") == "FAIL"
    with present(shop, *objects):
        shop.client.get(6444, "/readyz")
        after = assessed(shop)
    assert [item["status"] for item in after.json["verdicts"]] == [item["status"] for item in before.json["verdicts"]]


def test_a_policy_that_denies_is_to_be_reviewed_or_probed(shop: Node) -> None:
    """A probe shows that one policy forbids privileged pods, and the other nothing."""

    def is_rejected() -> bool:
        path = f"/api/v1/namespaces/{SHOP}/pods?dryRun=All"
        answer = shop.client.request("POST", 6444, path, body=broken_pod("pods-privileged"))
        return "ValidatingAdmissionPolicy 'site'" in answer.text

    for expression, expected in (("true", "FAIL"), (IN_ALL, "PASS")):
        with present(shop, policy(expression), policy_binding("Deny")):
            if expected == "PASS":
                shop.until("the API server has compiled the policy", is_rejected)
            assert assessed(shop).status("pods-privileged") == "MANUAL"
            probed = assessed(shop, "--probe", "-v")
            assert probed.status("pods-privileged") == expected
            assert probed.status("pods-host-pid") == "FAIL"
            named = "ValidatingAdmissionPolicy 'site' with binding 'site' rejects it, in a dry run"
            assert any(named in item for item in probed.observations("pods-privileged")) is (expected == "PASS")
    shop.until("the API server has dropped the policy", lambda: not is_rejected())


ONLY_CONTROLLERS = "request.userInfo.username.startsWith('system:serviceaccount:kube-system:')"


@pytest.mark.parametrize(
    ("expression", "verdict", "named"),
    [
        (NO_PRIVILEGED, "FAIL", "admits it in an init container"),
        (f"{ONLY_CONTROLLERS} || {{}}", "FAIL", "and of system:serviceaccount:kube-system:replicaset-controller"),
        (f"!({ONLY_CONTROLLERS}) || {{}}", "PASS", "rejects it, in a dry run, but admits that of an administrator"),
    ],
    ids=["init containers", "controllers", "administrators"],
)
def test_a_policy_with_an_exception_is_probed_as_those_who_create_pods(
    shop: Node, expression: str, verdict: str, named: str
) -> None:
    """A policy can forget init containers, and except the ServiceAccounts of the controllers, or administrators."""
    expression = expression.format(IN_ALL)
    creator = "system:serviceaccount:kube-system:job-controller"

    def is_rejected() -> bool:
        path, body = f"/api/v1/namespaces/{SHOP}/pods?dryRun=All", broken_pod("pods-privileged")
        users: list[dict[str, str]] = [{}, {"Impersonate-User": creator}]
        answers = [shop.client.request("POST", 6444, path, body=body, headers=user).text for user in users]
        return any("ValidatingAdmissionPolicy 'site'" in answer for answer in answers)

    with present(shop, policy(expression), policy_binding("Deny")):
        shop.until("the API server has compiled the policy", is_rejected)
        report = assessed(shop, "--probe", "-v")
    shop.until("the API server has dropped the policy", lambda: not is_rejected())
    assert report.status("pods-privileged") == verdict
    assert any(named in item for item in report.observations("pods-privileged"))


def test_probes_of_a_hardened_server_find_pod_security_for_each_rule(api: Node) -> None:
    report = assessed(api, "--probe", "-v")
    known = {item["id"] for item in report.json["verdicts"]}
    assert len(known.intersection(CONTROLS)) > 10
    for control in known.intersection(CONTROLS):
        evidence = [item for item in report.observations(control) if "Namespace default: " in item]
        assert len(evidence) == 1
        assert 'PodSecurity "restricted:latest" rejects it, in a dry run' in evidence[0], control


def output_of(node: Node, command: str) -> str:
    """Run the command of an evidence on the node, which has no journal: K3s' own log has its lines."""
    log = "journalctl --identifier=k3s --output=cat"
    own = command.replace("sudo ", "").replace("k3s kubectl", "/usr/local/bin/k3s kubectl")
    done = node.run("sh", "-c", own.replace(log, f"cat {node.log}"))
    # `auth can-i` ends with 1 for no, and grep --count for 0.
    assert not done.returncode or "can-i" in command or done.stdout.strip().endswith("0"), f"{command}: {done.stderr}"
    return done.stdout


def shown_value(observation: str, command: str) -> str:
    """Return what the output of a command has to contain for an observation."""
    first = observation.split(": ", maxsplit=1)[0].split(maxsplit=1)[0]
    if "grep --recursive --count" in command:
        return "0"
    if "stat --format" in command:
        found = re.search(r"root:root|\b0[0-7]{3}\b", observation)
        return found[0].lstrip("0") if found else ""
    if "grep 'Running " in command:
        return observation
    if "sed -n" in command:
        return first.lstrip("-").rstrip(",") if "=" in first else first.rpartition(".")[2]
    return first if "--only-matching" in command else ""


@pytest.mark.xdist_group("server")
def test_each_evidence_can_be_repeated_by_its_command(server: Node) -> None:
    """On the node itself. Only the number of what is left out has none."""
    report = assessed(server, "-v")
    evidence = [(verdict["id"], item) for verdict in report.json["verdicts"] for item in verdict["evidence"]]
    without = {item["observation"] for _, item in evidence if not item["repeat_with"]}
    assert {text for text in without if not re.fullmatch(r"(and )?\d+ more.*", text)} == set()
    # Only K3s itself has this command; the components run without it.
    commands = {item["repeat_with"] for _, item in evidence} - {"", "sudo k3s secrets-encrypt status"}
    outputs = {command: output_of(server, command) for command in commands}
    assert len(outputs) > 120
    for control, item in evidence:
        command = item["repeat_with"]
        assert command not in outputs or shown_value(item["observation"], command) in outputs[command], (control, item)


def test_a_rejection_by_a_quota_is_no_evidence(shop: Node) -> None:
    """Neither is that by a webhook that supports no dry run: a harmless pod is rejected, too."""
    quota = in_cluster("ResourceQuota", "none", spec={"hard": {"pods": "0"}})
    quota["metadata"] = {"name": "none", "namespace": SHOP}
    with present(shop, quota):
        shop.until("the quota is known", lambda: bool(shop.get("quota", "-n", SHOP)["items"][0].get("status")))
        report = assessed(shop, "--probe")
    (note,) = [item for item in report.notes if item.startswith("cannot probe namespace shop: no pod is admitted: ")]
    assert "exceeded quota" in note
    assert report.status("pods-privileged") == "FAIL"
    assert "Namespace shop: enforces privileged" in report.observations("pods-privileged")


def test_another_authorizer_is_asked(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No object of the cluster shows what a policy of ABAC allows."""
    rule = {
        "apiVersion": "abac.authorization.kubernetes.io/v1beta1",
        "kind": "Policy",
        "spec": {"group": "system:authenticated", "namespace": "*", "resource": "secrets", "readonly": True},
    }
    path = "/etc/rancher/k3s/abac.json"
    arguments = ["authorization-mode=Node,RBAC,ABAC", f"authorization-policy-file={path}"]
    files = {"30-abac.yaml": {"kube-apiserver-arg": arguments}, "../abac.json": json.dumps(rule)}
    with hardened_server(tmp_path_factory.mktemp("abac"), binaries, files) as node:
        report = assessed(node)
        assert report.status("rbac-secrets") == "FAIL"
        assert "the API server allows it to get secrets; no binding" in report.observations("rbac-secrets")[0]
        assert report.status("rbac-token-creation") == "PASS"
