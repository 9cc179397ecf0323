"""Rules of controls that are assessed on objects of the cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.assess.benchmark import catalogue
from agent.assess.checks.answer import Answer, ControlStatus
from agent.assess.checks.assessed_node import AssessedNode
from agent.assess.checks.cluster.cluster_check import ClusterCheck, cluster_rules
from agent.assess.checks.cluster.workload_rules import FORBIDDEN, pod_security_defaults
from agent.base.repair import Repair, Run, RunVerb
from agent.cluster.kubernetes.pod_security import PodSecurityDefaults, PodSecurityLevel
from agent.cluster.kubernetes.queries import CONTROLLERS, PROBES, REQUESTS, Cluster, Probe, Query
from agent.harden.situation import Situation
from agent.harden.situation.observation import observe_situation
from agent.k3s.cis.versions import Benchmark
from agent.reports import repair_texts
from tests.component_files import POD_SECURITY_ADMISSION
from tests.fake import in_memory
from tests.k3s_tree import K3s
from tests.unit.assess.checks.nodes import CheckedNode, node
from tests.unit.cluster.kubernetes.samples import (
    STRICT,
    Json,
    account,
    binding,
    cluster,
    container,
    controller,
    cron_job,
    metadata,
    namespace,
    network_policy,
    pod,
    role,
    rule,
    webhook,
)

DATA = Path(__file__).parents[4] / "data"
PASS, FAIL, MANUAL = ControlStatus.PASS, ControlStatus.FAIL, ControlStatus.MANUAL
REVIEWS = {row.id: row.check for row in catalogue.all_controls() if isinstance(row.check, ClusterCheck)}
LOOSE: Json = {"allowPrivilegeEscalation": True}
Objects = Mapping[Query, Sequence[Json]]


class Server:
    """A server, with the answers of its API server."""

    def __init__(self, host: CheckedNode) -> None:
        self.host = host
        self._situation: Situation | None = None

    def config(self, text: str) -> None:
        self.host.config(text)
        self._situation = None

    def ask(self, name: str, objects: Objects, **fields: Any) -> Answer:
        """Return the answer of a control; `fields` are those of Cluster."""
        return self.of(name, cluster(objects, **fields))

    def of(self, name: str, found: Cluster | None) -> Answer:
        return REVIEWS[name].answer(self.assessed(found))

    def assessed(self, found: Cluster | None = None) -> AssessedNode:
        if self._situation is None:
            self._situation = observe_situation(self.host.host(), self.host.request())
        from agent.assess.evidence import file_evidence

        evidence = file_evidence.read_evidence(self.host.host(), self._situation.facts, ())
        return AssessedNode(self._situation, evidence, cluster=found)


@pytest.fixture(scope="module")
def hardened_node() -> Iterator[CheckedNode]:
    """Yield a server after apply: psa.yaml makes `restricted` the default."""
    with in_memory() as directory:
        made = node(directory / "node", K3s())
        made.harden()
        yield made


@pytest.fixture(scope="module")
def server(hardened_node: CheckedNode) -> Server:
    return Server(hardened_node)


@pytest.fixture
def plain() -> Iterator[Server]:
    """Yield a server without the guide's files."""
    with in_memory() as directory:
        yield Server(node(directory / "node", K3s()))


def shown(answer: Answer) -> list[str]:
    return [item.observation for item in answer.evidence]


def test_an_object_that_is_too_large_hides_no_failure_and_lets_no_control_pass(server: Server) -> None:
    """A tenant can make a pod as large as the API server accepts."""
    gap = {Query.PODS: "cannot read 1 of /api/v1/pods, too large: a/huge"}
    bad, good = BROKEN["pods-privileged"], pod("good")
    failed = server.ask("pods-privileged", {Query.PODS: [bad]}, gaps=gap)
    assert (failed.status, shown(failed)[-1]) == (FAIL, gap[Query.PODS])
    unknown = server.ask("pods-privileged", {Query.PODS: [good]}, gaps=gap)
    assert (unknown.status, shown(unknown)) == (ControlStatus.UNKNOWN, [gap[Query.PODS]])
    other = server.ask("pods-privileged", {Query.PODS: [good]}, gaps={Query.SECRETS: "cannot read 1 of secrets"})
    assert other.status is PASS


@pytest.mark.parametrize(
    ("settings", "edit"),
    [
        ("", "add `waivers: [{}]` to the end of /etc/k3s-harden/config.yaml"),
        (
            "waivers:\n  - {control: kernel.panic, reason: a debugger needs it}\n",
            "add `  - {}` below /etc/k3s-harden/config.yaml:1",
        ),
        (
            "waivers: [{control: kernel.panic, reason: a debugger needs it}]\n",
            "replace `[` by `[{}, ` at /etc/k3s-harden/config.yaml:1",
        ),
    ],
)
def test_the_reason_of_a_review_becomes_a_waiver(plain: Server, settings: str, edit: str) -> None:
    """A program that follows the remediation needs only the reason."""
    plain.host.put("/etc/k3s-harden/config.yaml", settings)
    answer = plain.ask("external-secret-storage", {Query.SECRETS: []})
    waiver = edit.format("{control: external-secret-storage, reason: REASON}")
    assert repair_texts.text(answer.repair) == (
        f"Which reason accepts what was found? REASON (a waiver records it): {waiver}."
        " None (not accepted): change what is listed."
    )


def test_an_unread_object_that_could_protect_makes_a_failure_unknown(server: Server) -> None:
    gap = {Query.NETWORK_POLICIES: "cannot read 1"}
    answer = server.ask("namespaces-network-policies", {Query.NAMESPACES: [namespace("a")]}, gaps=gap)
    assert answer.status is ControlStatus.UNKNOWN


def test_each_control_of_section_5_has_a_rule() -> None:
    """Each rule also belongs to a control."""
    assert {check.rule for check in REVIEWS.values()} == cluster_rules().keys() == REVIEWS.keys()
    section = {
        row.id for row in catalogue.controls_of(Benchmark.CIS_2_1) if row.numbers and _number(row).startswith("5.")
    }
    assert section <= cluster_rules().keys()
    for item in cluster_rules().values():
        assert item.passes or item.fails or item.manual
        assert not any(text.endswith(".") for text in (item.passes, item.fails, item.manual))


def _number(row: Any) -> str:
    return str(row.numbers[Benchmark.CIS_2_1].text) if Benchmark.CIS_2_1 in row.numbers else ""


@pytest.mark.parametrize("name", cluster_rules())
def test_without_an_answer_a_control_is_unknown_with_the_command_of_its_review(server: Server, name: str) -> None:
    """The API server did not answer, or only this list is missing. If it was not asked, the control is manual."""
    review = REVIEWS[name].review
    empty = cluster({})
    rule = cluster_rules()[name]
    without = {query: items for query, items in empty.objects.items() if query not in rule.queries}
    forbidden = {query.value: f"cannot read {query}: forbidden" for query in rule.queries}
    asked = server.of(name, None)
    assert (asked.status, asked.reason) == (MANUAL, review)
    answers = [server.of(name, empty._replace(problem="no answer"))]
    if rule.queries:
        answers.append(server.of(name, empty._replace(objects=without, problems=forbidden)))
        assert shown(answers[-1]) == list(forbidden.values())
    for answer in answers:
        assert (answer.status, answer.reason) == (ControlStatus.UNKNOWN, "the API server did not answer")
    for answer in (asked, *answers):
        assert repair_texts.text(Repair(answer.repair.steps)) == review


DENIED = [network_policy(name) for name in ("default", "kube-public", "kube-system")]


@pytest.mark.parametrize("name", cluster_rules())
def test_a_new_hardened_cluster_has_no_failure(server: Server, name: str) -> None:
    accounts = [account(namespace="default", automounts=False), account(namespace="kube-system")]
    answer = server.ask(name, {Query.SERVICE_ACCOUNTS: accounts, Query.NETWORK_POLICIES: DENIED})
    manual = {
        *("users-without-service-account-tokens", "rbac-system-masters", "external-secret-storage"),
        *("image-provenance", "namespace-boundaries"),
    }
    assert answer.status is (MANUAL if name in manual else PASS)
    assert answer.evidence
    assert bool(answer.reason) is (answer.status is MANUAL)


def test_accounts_with_cluster_admin_fail_except_those_of_k3s(server: Server) -> None:
    helm = binding("helm-kube-system-traefik", "cluster-admin", "ServiceAccount kube-system/helm-traefik")
    assert server.ask("rbac-cluster-admin", {Query.CLUSTER_ROLE_BINDINGS: [helm]}).status is PASS
    ops = binding("ops", "cluster-admin", "Group ops")
    answer = server.ask("rbac-cluster-admin", {Query.CLUSTER_ROLE_BINDINGS: [helm, ops]})
    assert (answer.status, answer.found) == (FAIL, "1 account: Group ops")
    assert shown(answer) == [
        "Group ops: ClusterRoleBinding ops → cluster-admin",
        (
            "listed apart: Group system:masters: ClusterRoleBinding cluster-admin → cluster-admin"
            " (it is the group of K3s' admin kubeconfig)"
        ),
        (
            "listed apart: ServiceAccount kube-system/helm-traefik: ClusterRoleBinding helm-kube-system-traefik"
            " → cluster-admin (K3s installs Traefik with it)"
        ),
    ]
    assert {item.source for item in answer.evidence} == {
        "https://127.0.0.1:6444/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    }


ADMISSION = "admissionregistration.k8s.io"
TOOL, EVERYBODY = "ServiceAccount ops/tool", "Group system:authenticated"


def granted(given: Json, *subjects: str, name: str = "tool") -> Objects:
    """Return a ClusterRole with this rule, and a binding of it to the subjects."""
    return {
        Query.CLUSTER_ROLES: [role(name, given)],
        Query.CLUSTER_ROLE_BINDINGS: [binding("tool", name, *subjects)],
    }


WEBHOOKS = "validatingwebhookconfigurations"

RIGHTS = {
    "rbac-secrets": rule("list", "secrets"),
    "rbac-create-pods": rule("create", "pods/exec"),
    "rbac-bind-impersonate-escalate": rule("impersonate", "users", names="anna"),
    "rbac-persistent-volumes": rule("create", "persistentvolumes"),
    "rbac-nodes-proxy": rule("get", "nodes/proxy"),
    "rbac-kubelet-subresources": rule("get", "nodes/proxy"),
    "rbac-csr-approval": rule("update", "certificatesigningrequests/approval", "certificates.k8s.io"),
    "rbac-webhooks": rule("patch", "mutatingwebhookconfigurations", ADMISSION),
    "rbac-token-creation": rule("create", "serviceaccounts/token"),
}


@pytest.mark.parametrize(("name", "given"), RIGHTS.items())
def test_accounts_with_a_right_are_listed_for_a_review(server: Server, name: str, given: Json) -> None:
    assert server.ask(name, granted(given)).status is PASS
    answer = server.ask(name, granted(given, TOOL))
    assert (answer.status, answer.found) == (MANUAL, f"1 account: {TOOL}")
    assert answer.reason.startswith("a person has to decide which of the accounts require the right to ")
    answer = server.ask(name, granted(given, TOOL, EVERYBODY))
    assert answer.status is FAIL
    assert shown(answer)[0].startswith(f"{EVERYBODY}: ClusterRoleBinding tool → tool: ")


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        # A command over a WebSocket is a GET request.
        ("rbac-create-pods", rule("get", "pods/exec"), MANUAL),
        ("rbac-create-pods", rule("get", "pods/attach"), MANUAL),
        ("rbac-create-pods", rule("update", "pods/ephemeralcontainers"), MANUAL),
        ("rbac-create-pods", rule("get", "pods pods/log pods/ephemeralcontainers"), PASS),
        ("rbac-create-pods", rule("create", "pods/exec", names="db-0"), PASS),
        ("rbac-create-pods", rule("patch", "namespaces"), MANUAL),
        ("rbac-create-pods", rule("update", "namespaces", names="shop"), MANUAL),
        ("rbac-create-pods", rule("update", "namespaces/finalize"), MANUAL),
        ("rbac-create-pods", rule("patch", "namespaces/status"), MANUAL),
        ("rbac-create-pods", rule("patch", "namespaces/finalize"), PASS),
        ("rbac-create-pods", rule("get list", "namespaces"), PASS),
        ("rbac-create-pods", rule("patch", "deployments", "apps", names="web"), MANUAL),
        ("rbac-create-pods", rule("create", "deployments", "apps", names="web"), PASS),
        ("rbac-create-pods", rule("create", "helmchartconfigs", "helm.cattle.io"), MANUAL),
        ("rbac-create-pods", rule("patch", "helmcharts", "helm.cattle.io", names="traefik"), MANUAL),
        ("rbac-create-pods", rule("update", "addons", "k3s.cattle.io"), MANUAL),
        ("rbac-create-pods", rule("get", "nodes/proxy"), MANUAL),
        ("rbac-create-pods", rule("create", "*/exec"), MANUAL),
        ("rbac-nodes-proxy", rule("list watch", "nodes/proxy"), PASS),
        ("rbac-bind-impersonate-escalate", rule("impersonate-on:user-info:list", "secrets"), PASS),
        # Who deletes a webhook removes what it forbids.
        ("rbac-webhooks", rule("delete", WEBHOOKS, ADMISSION), MANUAL),
        ("rbac-webhooks", rule("get list", WEBHOOKS, ADMISSION), PASS),
        ("rbac-webhooks", rule("delete", WEBHOOKS, ADMISSION, names="a"), MANUAL),
        ("rbac-webhooks", rule("create deletecollection", WEBHOOKS, ADMISSION, names="a"), PASS),
        ("rbac-secrets", rule("get", "secrets", names="db"), PASS),
        ("rbac-wildcards", rule("*", "pods"), FAIL),
        ("rbac-wildcards", rule("get", "*"), FAIL),
        ("rbac-wildcards", rule("get", "pods", "*"), FAIL),
        ("rbac-wildcards", {"verbs": ["get"], "nonResourceURLs": ["*"]}, FAIL),
        ("rbac-wildcards", {"verbs": ["get"], "nonResourceURLs": ["/*"]}, FAIL),
        ("rbac-wildcards", {"verbs": ["get"], "nonResourceURLs": ["/debug/*"]}, FAIL),
        ("rbac-wildcards", {"verbs": ["get"], "nonResourceURLs": ["/debug/pprof/*"]}, FAIL),
        ("rbac-wildcards", {"verbs": ["get"], "nonResourceURLs": ["/metrics", "/healthz/*", "/api*"]}, PASS),
        ("rbac-wildcards", rule("get", "*/scale"), PASS),
        ("rbac-wildcards", rule("create", "*/exec"), FAIL),
        ("rbac-wildcards", rule("get", "*/exec */proxy"), FAIL),
        ("rbac-wildcards", rule("update", "*/status"), FAIL),
        ("rbac-wildcards", rule("get", "*/status */log"), PASS),
        ("rbac-wildcards", rule("get list", "pods", "apps"), PASS),
    ],
)
def test_a_rule_of_an_account_has_a_verdict(server: Server, name: str, given: Json, expected: ControlStatus) -> None:
    """Other verbs can give the same right. Only a complete star is a wildcard."""
    assert server.ask(name, granted(given, TOOL)).status is expected


@pytest.mark.parametrize(
    ("name", "objects", "found"),
    [
        # A right on one object is what an account of a program needs, but not all users.
        ("rbac-secrets", granted(rule("get", "secrets", names="db"), TOOL, EVERYBODY), EVERYBODY),
        ("rbac-create-pods", granted(rule("create", "pods/exec", names="db-0"), TOOL, EVERYBODY), EVERYBODY),
        # Bound to all kubelets, system:node lets each node read all Secrets.
        (
            "rbac-secrets",
            granted(rule("get list watch", "secrets"), "Group system:nodes", name="system:node"),
            "Group system:nodes",
        ),
    ],
)
def test_a_right_of_a_group_of_everybody_fails(server: Server, name: str, objects: Objects, found: str) -> None:
    answer = server.ask(name, objects)
    assert (answer.status, answer.found) == (FAIL, f"1 account: {found}")


def test_cluster_administrators_are_reported_once(server: Server) -> None:
    ops = binding("ops", "cluster-admin", "Group ops")
    answer = server.ask("rbac-secrets", {Query.CLUSTER_ROLE_BINDINGS: [ops]})
    assert (answer.status, answer.found) == (PASS, "only objects that every K3s has")
    assert any("it is a cluster administrator" in item for item in shown(answer))
    everybody = binding("all", "cluster-admin", EVERYBODY)
    assert server.ask("rbac-secrets", {Query.CLUSTER_ROLE_BINDINGS: [everybody]}).status is FAIL
    local = binding("ops", "cluster-admin", "Group ops", namespace="shop")
    assert server.ask("rbac-secrets", {Query.ROLE_BINDINGS: [local]}).status is MANUAL


def test_cluster_admin_in_kube_system_is_that_of_the_cluster(server: Server) -> None:
    """The accounts and Secrets of its controllers are in it, and the guide exempts it from Pod Security."""
    for namespace_, expected in (("kube-system", FAIL), ("shop", PASS)):
        objects = {Query.ROLE_BINDINGS: [binding("ops", "cluster-admin", "Group ops", namespace=namespace_)]}
        assert server.ask("rbac-cluster-admin", objects).status is expected
    local = binding("ops", "cluster-admin", "Group ops", namespace="kube-system", kind="Role")
    assert server.ask("rbac-cluster-admin", {Query.ROLE_BINDINGS: [local]}).status is PASS


@pytest.mark.parametrize(
    ("given", "subject", "expected"),
    [
        (rule("list", "pods"), "Group system:serviceaccounts", FAIL),
        (rule("list", "pods"), "Group system:authenticated", FAIL),
        (rule("list", "pods"), "Group system:serviceaccounts:shop", FAIL),
        (rule("list", "pods"), "ServiceAccount shop/default", FAIL),
        (rule("list", "pods"), "Group ops", PASS),
        (rule("list", "pods"), "Group system:unauthenticated", PASS),
        ({"verbs": ["get"], "nonResourceURLs": ["/version"]}, "Group system:authenticated", PASS),
    ],
)
def test_a_group_gives_its_rights_to_default_accounts(
    server: Server, given: Json, subject: str, expected: ControlStatus
) -> None:
    """The token of a pod without an own account has them, such as those of the role view."""
    objects = {
        Query.CLUSTER_ROLES: [role("reader", given)],
        Query.CLUSTER_ROLE_BINDINGS: [binding("all", "reader", subject)],
    }
    answer = server.ask("default-service-accounts", objects)
    assert answer.status is expected
    if expected is FAIL:
        assert repair_texts.text(Repair(answer.repair.steps)) == "set `subjects: null` in the ClusterRoleBinding all"
    own = [binding("system:basic-user", "system:basic-user", "Group system:authenticated")]
    asks = role("system:basic-user", rule("create", "selfsubjectaccessreviews", "authorization.k8s.io"))
    objects = {Query.CLUSTER_ROLES: [asks], Query.CLUSTER_ROLE_BINDINGS: own}
    assert server.ask("default-service-accounts", objects).status is PASS


def test_roles_with_wildcards_fail_except_those_of_k3s(server: Server) -> None:
    own = [
        role("system:controller:namespace-controller", rule("delete list", "*", "*")),
        role("local-path-provisioner-role", rule("*", "pods")),
    ]
    assert server.ask("rbac-wildcards", {Query.CLUSTER_ROLES: own}).status is PASS
    site = [role("operator", rule("*", "pods"), rule("get", "*", "*"))]
    answer = server.ask("rbac-wildcards", {Query.CLUSTER_ROLES: [*own, *site]})
    assert answer.status is FAIL
    assert shown(answer)[0] == "ClusterRole operator: * in verbs, * in API groups, * in resources"
    for name, extra in (
        ("system:controller:evil", rule("*", "*", "*")),
        ("system:controller:namespace-controller", rule("create", "*", "*")),
        ("local-path-provisioner-role", rule("*", "secrets")),
        ("system:kubelet-api-admin", {"verbs": ["get"], "nonResourceURLs": ["*"]}),
    ):
        answer = server.ask("rbac-wildcards", {Query.CLUSTER_ROLES: [role(name, extra)]})
        assert (answer.status, answer.found) == (FAIL, f"1 role: ClusterRole {name}")
    local = role("local-path-provisioner-role", rule("*", "pods"), namespace="shop")
    assert server.ask("rbac-wildcards", {Query.ROLES: [local]}).found == "1 role: Role shop/local-path-provisioner-role"


PACKAGED: Objects = {
    Query[name]: objects
    for name, objects in yaml.safe_load((DATA / "packaged-rbac.yaml").read_text(encoding="utf-8")).items()
}
"""Roles and bindings of K3s' packaged components (k3s, manifests; Traefik's chart)."""


@pytest.mark.parametrize("name", [*RIGHTS, "rbac-cluster-admin", "rbac-wildcards"])
def test_the_rights_of_packaged_components_are_listed_separately(server: Server, name: str) -> None:
    answer = server.ask(name, PACKAGED)
    assert (answer.status, answer.found) == (PASS, "only objects that every K3s has")


def test_default_accounts_must_not_mount_tokens_or_have_rights(server: Server) -> None:
    """The account of kube-system may mount its token (K3s' self-assessments)."""
    good = [account(namespace="kube-system"), account(automounts=False), account("web")]
    assert server.ask("default-service-accounts", {Query.SERVICE_ACCOUNTS: good}).status is PASS
    answer = server.ask("default-service-accounts", {Query.SERVICE_ACCOUNTS: [*good, account(namespace="new")]})
    assert (answer.status, answer.found) == (FAIL, "1 account: ServiceAccount new/default")
    assert repair_texts.text(Repair(answer.repair.steps)) == "sudo k3s-harden service-accounts"
    bound = {Query.ROLE_BINDINGS: [binding("b", "view", "ServiceAccount shop/default", namespace="shop")]}
    answer = server.ask("default-service-accounts", {Query.SERVICE_ACCOUNTS: good, **bound})
    assert answer.status is FAIL
    assert shown(answer)[0] == "ServiceAccount shop/default: has rights by RoleBinding shop/b"
    as_user = {Query.CLUSTER_ROLE_BINDINGS: [binding("b", "view", "User system:serviceaccount:shop:default")]}
    answer = server.ask("default-service-accounts", {Query.SERVICE_ACCOUNTS: good, **as_user})
    assert (answer.status, answer.found) == (FAIL, "1 account: ServiceAccount shop/default")


@pytest.mark.parametrize(
    ("of_account", "of_pod", "expected"),
    [
        (False, None, PASS),
        (None, False, PASS),
        (True, False, PASS),
        (None, None, FAIL),
        (True, None, FAIL),
        (False, True, MANUAL),
    ],
)
def test_a_pod_that_mounts_a_token_must_request_it(
    server: Server, of_account: bool | None, of_pod: bool | None, expected: ControlStatus
) -> None:
    objects = {
        Query.SERVICE_ACCOUNTS: [account("web", automounts=of_account)],
        Query.PODS: [pod("web", serviceAccountName="web", automountServiceAccountToken=of_pod)],
    }
    assert server.ask("service-account-token-mounts", objects).status is expected


def test_a_token_in_a_projected_volume_is_mounted_without_automount(server: Server) -> None:
    """Admission adds the volume kube-api-access to a pod that does not say no."""
    volume = {"name": "kube-api-access-x7", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
    silent = pod("web", automountServiceAccountToken=False)
    assert server.ask("service-account-token-mounts", {Query.PODS: [silent]}).status is PASS
    own = pod("web", automountServiceAccountToken=False, volumes=[volume])
    answer = server.ask("service-account-token-mounts", {Query.PODS: [own]})
    assert (answer.status, answer.found) == (MANUAL, "1 workload: Pod shop/web")
    automatic = pod("web", volumes=[volume])
    assert server.ask("service-account-token-mounts", {Query.PODS: [automatic]}).status is FAIL
    other = {"name": "ca", "projected": {"sources": [{"configMap": {"name": "ca"}}]}}
    harmless = pod("web", automountServiceAccountToken=False, volumes=[other])
    assert server.ask("service-account-token-mounts", {Query.PODS: [harmless]}).status is PASS


PACKAGED_IMAGES = {
    "coredns": "rancher/mirrored-coredns-coredns:1.14.3",
    "local-path-provisioner": "rancher/local-path-provisioner:v0.0.36",
    "metrics-server": "docker.io/rancher/mirrored-metrics-server:v0.8.1",
    "traefik": "rancher/mirrored-library-traefik@sha256:0a1b",
}
"""By Deployment (k3s, scripts/airgap/image-list.txt)."""


def packaged_spec(name: str, *, image: str = "", **context: Any) -> Json:
    """Return the specification of pods of a Deployment that K3s packages."""
    account = f"{name}-service-account" if name.startswith("local-path") else name
    weak = {**LOOSE, **context}
    return {"containers": [container(weak, image=image or PACKAGED_IMAGES[name])], "serviceAccountName": account}


def packaged_pod(name: str) -> Json:
    return pod(f"{name}-5d4-abc", "kube-system", owner=f"Deployment {name}", **packaged_spec(name))


@pytest.mark.parametrize("name", PACKAGED_IMAGES)
def test_a_pod_is_of_k3s_by_the_deployment_above_its_replica_set(server: Server, name: str) -> None:
    """A pod that names a ReplicaSet that does not exist is of the site."""
    made = pod(f"{name}-5d4-abc", "kube-system", owner=f"ReplicaSet {name}-5d4", **packaged_spec(name))
    above = {
        Query.DEPLOYMENTS: [controller(name, "kube-system", packaged_spec(name))],
        Query.REPLICA_SETS: [
            controller(f"{name}-5d4", "kube-system", packaged_spec(name), owner=f"Deployment {name}", replicas=1)
        ],
    }
    assert server.ask("pods-privilege-escalation", {Query.PODS: [made], **above}).status is PASS
    assert server.ask("pods-privilege-escalation", {Query.PODS: [made]}).status is FAIL


@pytest.mark.parametrize("name", PACKAGED_IMAGES)
def test_a_packaged_deployment_is_of_k3s_only_with_the_content_that_k3s_ships(server: Server, name: str) -> None:
    """Its name, account and labels can be copied, and a site can change it."""

    def found(control: str, spec: Json, kind: Query = Query.DEPLOYMENTS) -> ControlStatus:
        return server.ask(control, {kind: [controller(name, "kube-system", spec)]}).status

    shipped = packaged_spec(name)
    assert found("pods-privilege-escalation", shipped) is PASS
    assert found("pods-privilege-escalation", shipped, Query.DAEMON_SETS) is FAIL
    assert found("pods-privilege-escalation", packaged_spec(name, image="docker.io/evil/miner")) is FAIL
    assert found("pods-privilege-escalation", {**shipped, "serviceAccountName": "web"}) is FAIL
    assert found("pods-privileged", packaged_spec(name, privileged=True)) is FAIL
    assert found("pods-added-capabilities", packaged_spec(name, capabilities={"add": ["SYS_ADMIN"]})) is FAIL
    assert found("pods-host-path", {**shipped, "volumes": [{"name": "v", "hostPath": {"path": "/"}}]}) is FAIL
    for field, control in (
        ("hostPID", "pods-host-pid"),
        ("hostIPC", "pods-host-ipc"),
        ("hostNetwork", "pods-host-network"),
    ):
        assert found(control, {**shipped, field: True}) is FAIL
    ports = {**shipped, "containers": [container(LOOSE, image=PACKAGED_IMAGES[name], ports=[{"hostPort": 22}])]}
    assert found("pods-host-ports", ports) is FAIL


def test_a_registry_of_the_site_is_that_of_k3s_only_if_k3s_is_configured_for_it(plain: Server) -> None:
    """K3s' option system-default-registry is a prefix of the images that K3s packages."""
    mirrored = packaged_spec("coredns", image="registry.example.org:5000/rancher/mirrored-coredns-coredns:1.14.3")
    objects = {
        Query.NAMESPACES: [namespace("default", "restricted")],
        Query.DEPLOYMENTS: [controller("coredns", "kube-system", mirrored)],
    }
    assert plain.ask("pods-privilege-escalation", objects).found == "1 workload: Deployment kube-system/coredns"
    plain.config("system-default-registry: registry.example.org:5000\n")
    assert "coredns" not in plain.ask("pods-privilege-escalation", objects).found


@pytest.mark.parametrize("query", [Query.PODS, Query.DEPLOYMENTS])
def test_a_privileged_helper_of_volumes_is_judged_like_any_workload(server: Server, query: Query) -> None:
    """Its content does not show who created it."""
    busybox = container({"privileged": True}, image="rancher/mirrored-library-busybox:1.37.0")
    made = pod("helper-pod-miner", "kube-system", busybox, volumes=[{"name": "v", "hostPath": {"path": "/"}}])
    made = made if query is Query.PODS else controller("helper-pod-miner", "kube-system", made["spec"])
    for control in ("pods-privileged", "pods-host-path"):
        assert server.ask(control, {query: [made]}).status is FAIL


@pytest.mark.parametrize("first", [True, False])
def test_a_pod_that_names_a_controller_of_k3s_as_its_owner_is_not_hidden(server: Server, first: bool) -> None:
    """The pods of one controller are reported once, and one of the site decides."""
    own = packaged_pod("coredns")
    spec: dict[str, Any] = packaged_spec("coredns", image="docker.io/evil/miner")
    forged = pod("coredns-miner", "kube-system", owner="Deployment coredns", **spec)
    objects = {Query.PODS: [forged, own] if first else [own, forged]}
    for control in ("pods-privilege-escalation", "service-account-token-mounts"):
        answer = server.ask(control, objects)
        assert (answer.status, answer.found) == (FAIL, "1 workload: Deployment kube-system/coredns")


def test_pods_of_k3s_may_mount_a_token(server: Server) -> None:
    coredns = packaged_pod("coredns")
    answer = server.ask("service-account-token-mounts", {Query.PODS: [coredns]})
    assert (answer.status, answer.found) == (PASS, "only objects that every K3s has")
    assert shown(answer) == [
        (
            "listed apart: Deployment kube-system/coredns: mounts the token of coredns"
            " (K3s packages CoreDNS, the DNS server of the cluster)"
        )
    ]
    other = pod("coredns-5d4", "shop", serviceAccountName="coredns")
    assert server.ask("service-account-token-mounts", {Query.PODS: [other]}).status is FAIL


def weak(**context: Any) -> Json:
    """Return a pod that meets the standard `restricted` except for this context of its container."""
    return pod("bad", "shop", container({**STRICT, **context}))


BROKEN: Mapping[str, Json] = {
    "pods-privileged": weak(privileged=True),
    "pods-host-pid": pod("bad", hostPID=True),
    "pods-host-ipc": pod("bad", hostIPC=True),
    "pods-host-network": pod("bad", hostNetwork=True),
    "pods-privilege-escalation": weak(allowPrivilegeEscalation=None),
    "pods-root": weak(runAsUser=0),
    "pods-net-raw": weak(capabilities={"drop": ["CHOWN"]}),
    "pods-added-capabilities": weak(capabilities={"drop": ["ALL"], "add": ["SYS_TIME"]}),
    "pods-assigned-capabilities": weak(capabilities={"drop": ["NET_RAW"]}),
    "pods-windows-host-process": pod("bad", securityContext={"windowsOptions": {"hostProcess": True}}),
    "pods-host-path": pod("bad", volumes=[{"name": "v", "hostPath": {"path": "/etc"}}]),
    "pods-host-ports": pod("bad", "shop", container(STRICT, ports=[{"hostPort": 80}])),
    "pods-proc-mount": weak(procMount="Unmasked"),
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_pod_that_breaks_a_rule_fails_it(server: Server, name: str) -> None:
    """Init containers and CronJobs are also checked."""
    bad = BROKEN[name]
    assert server.ask(name, {Query.PODS: [pod("good")]}).status is PASS
    answer = server.ask(name, {Query.PODS: [pod("good"), bad]})
    assert (answer.status, answer.found) == (FAIL, "1 workload: Pod shop/bad")
    job = cron_job("nightly", "shop", bad["spec"])
    assert server.ask(name, {Query.CRON_JOBS: [job]}).found == "1 workload: CronJob shop/nightly"
    (bad_container,) = bad["spec"]["containers"]
    if bad_container != container():
        init = pod("init", initContainers=[bad_container])
        assert server.ask(name, {Query.PODS: [init]}).status is FAIL


@pytest.mark.parametrize(("dropped", "assigned"), [("ALL", PASS), ("all", FAIL)])
def test_net_bind_service_is_allowed_and_only_the_api_server_compares_the_case(
    server: Server, dropped: str, assigned: ControlStatus
) -> None:
    """A container runtime drops `all`, too, but the API server rejects the pod."""
    good = weak(capabilities={"drop": [dropped], "add": ["NET_BIND_SERVICE"]})
    for name in ("pods-net-raw", "pods-added-capabilities"):
        assert server.ask(name, {Query.PODS: [good]}).status is PASS
    assert server.ask("pods-assigned-capabilities", {Query.PODS: [good]}).status is assigned


@pytest.mark.parametrize(
    "spec",
    [
        {"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}},
        {"securityContext": {"runAsUser": 0}},
        {"securityContext": {"seccompProfile": {"type": "Unconfined"}}},
        {"securityContext": {"appArmorProfile": {"type": "Unconfined"}}},
        {"volumes": [{"name": "v", "nfs": {"server": "a", "path": "/"}}]},
        {"containers": [container(STRICT, livenessProbe={"httpGet": {"host": "127.0.0.1", "port": 80}})]},
    ],
    ids=str,
)
def test_all_that_the_api_server_rejects_needs_a_review_of_the_context(server: Server, spec: dict[str, Any]) -> None:
    """No control is only about these rules of the standard."""
    answer = server.ask("pods-security-context", {Query.PODS: [pod("bad", **spec)]})
    assert (answer.status, answer.found) == (MANUAL, "1 workload: Pod shop/bad")


def test_no_pod_that_the_api_server_rejects_passes_all_controls(server: Server) -> None:
    """Each recorded case is judged alone; a case whose answer depends on the version is left out."""
    lines = (DATA / "pod-security/cases.jsonl").read_text(encoding="utf-8").splitlines()
    rejected, admitted = 0, 0
    for case in map(json.loads, lines):
        answers = {case[version][1] for version in ("1.34.4", "1.37.2")}
        made = {**metadata("x", "shop"), "spec": case["pod"]["spec"]}
        made["metadata"]["annotations"] = case["pod"]["metadata"].get("annotations", {})
        is_rejected = {'"restricted:' in answer for answer in answers}
        if answers == {"ok"} or is_rejected == {True}:
            status = server.ask("pods-security-context", {Query.PODS: [made]}).status
            assert (status is PASS) == (answers == {"ok"}), case["case"]
            rejected, admitted = rejected + (answers != {"ok"}), admitted + (answers == {"ok"})
    assert rejected > 50
    assert admitted > 20


def test_the_context_of_a_container_overrides_that_of_its_pod(server: Server) -> None:
    weak = {key: value for key, value in STRICT.items() if key != "runAsNonRoot"}
    for of_pod, expected in (({"runAsNonRoot": True}, PASS), ({"runAsUser": 1000}, PASS), ({}, FAIL)):
        good = pod("web", "shop", container(weak), securityContext=of_pod)
        assert server.ask("pods-root", {Query.PODS: [good]}).status is expected
    root = pod("web", "shop", container({**weak, "runAsNonRoot": False}), securityContext={"runAsNonRoot": True})
    assert server.ask("pods-root", {Query.PODS: [root]}).status is FAIL


HOST_PID = pod("bad", hostPID=True)["spec"]


@pytest.mark.parametrize("query", CONTROLLERS)
def test_the_template_of_a_controller_without_a_pod_is_judged(server: Server, query: Query) -> None:
    """Its next pod would break the rule, and its namespace is in use."""
    kind = CONTROLLERS[query]
    made = cron_job("idle", "shop", HOST_PID) if kind == "CronJob" else controller("idle", "shop", HOST_PID, replicas=0)
    answer = server.ask("pods-host-pid", {query: [made]})
    assert (answer.status, answer.found) == (FAIL, f"1 workload: {kind} shop/idle")
    assert shown(answer) == [f"{kind} shop/idle: hostPID is true"]
    assert answer.evidence[0].source.endswith(REQUESTS[query].path)
    weak = {Query.NAMESPACES: [namespace("shop", "privileged")], query: [made]}
    assert server.ask("pod-policy-mechanism", weak).status is FAIL
    assert server.ask("service-account-token-mounts", {query: [made]}).found == f"1 workload: {kind} shop/idle"


def test_a_controller_and_its_pods_are_reported_once(server: Server) -> None:
    """The outermost controller is named. Its pods decide, because admission can change what a template has."""
    bad = [pod(f"web-{number}", hostPID=True, owner="ReplicaSet web-5d4") for number in range(3)]
    objects = {
        Query.PODS: bad,
        Query.DEPLOYMENTS: [controller("web", "shop", HOST_PID)],
        Query.REPLICA_SETS: [
            controller("web-5d4", "shop", HOST_PID, owner="Deployment web", replicas=3),
            controller("web-9f8", "shop", HOST_PID, owner="Deployment web", replicas=0),
        ],
        Query.JOBS: [controller("nightly-1", "shop", HOST_PID, owner="CronJob nightly")],
        Query.CRON_JOBS: [cron_job("nightly", "shop", HOST_PID)],
    }
    answer = server.ask("pods-host-pid", objects)
    assert answer.found == "2 workloads: Deployment shop/web, CronJob shop/nightly"
    mended = {**objects, Query.PODS: [pod("web-1", owner="ReplicaSet web-5d4")]}
    assert server.ask("pods-host-pid", mended).found == "1 workload: CronJob shop/nightly"
    assert shown(server.ask("namespace-boundaries", {**objects, Query.NAMESPACES: [namespace("shop")]})) == [
        "Namespace default: 0 workloads of the site",
        "Namespace shop: 2 workloads of the site",
    ]


def test_pods_in_another_namespace_do_not_hide_a_controller(server: Server) -> None:
    """Names of controllers are unique only in their namespace."""
    objects = {
        Query.PODS: [pod("web-1", "other", owner="StatefulSet web")],
        Query.STATEFUL_SETS: [controller("web", "shop", HOST_PID)],
    }
    assert server.ask("pods-host-pid", objects).found == "1 workload: StatefulSet shop/web"


def test_a_template_that_creates_no_more_pods_is_not_judged(server: Server) -> None:
    """Finished Jobs, and the earlier revisions of a controller that is a custom resource, have only history."""
    finished = controller("import", "shop", HOST_PID)
    for kind in ("Complete", "Failed"):
        done = {**finished, "status": {"conditions": [{"type": kind, "status": "True"}]}}
        assert server.ask("pods-host-pid", {Query.JOBS: [done]}).status is PASS
    suspended = {**finished, "status": {"conditions": [{"type": "Suspended", "status": "True"}]}}
    assert server.ask("pods-host-pid", {Query.JOBS: [suspended]}).status is FAIL
    revision = controller("web-5d4", "shop", HOST_PID, owner="Rollout web", replicas=0)
    assert server.ask("pods-host-pid", {Query.REPLICA_SETS: [revision]}).status is PASS


def test_an_owner_that_is_not_listed_hides_no_template(server: Server) -> None:
    """Anybody who may create an object can name an owner that does not exist."""
    forged = controller("web", "shop", HOST_PID, owner="Deployment none", replicas=1)
    assert server.ask("pods-host-pid", {Query.REPLICA_SETS: [forged]}).found == "1 workload: ReplicaSet shop/web"
    itself = controller("web", "shop", HOST_PID, owner="ReplicaSet web", replicas=1)
    assert server.ask("pods-host-pid", {Query.REPLICA_SETS: [itself]}).found == "1 workload: ReplicaSet shop/web"


@pytest.mark.parametrize(
    ("query", "name", "account_name"),
    [
        (Query.DAEMON_SETS, "svclb-traefik-1a2b3c4d", "svclb"),
        (Query.JOBS, "helm-install-traefik", "helm-traefik"),
        (Query.JOBS, "helm-install-traefik-crd", "helm-traefik-crd"),
    ],
)
def test_the_controllers_of_k3s_are_listed_apart(server: Server, query: Query, name: str, account_name: str) -> None:
    """The same object with another account belongs to the site."""
    image = "rancher/klipper-lb:v0.4.17" if query is Query.DAEMON_SETS else "rancher/klipper-helm:v0.10.0-build20260513"
    spec = {"containers": [container(LOOSE, image=image)], "serviceAccountName": account_name}
    made = controller(name, "kube-system", spec, replicas=0)
    answer = server.ask("pods-privilege-escalation", {query: [made]})
    assert answer.status is PASS
    assert any(item.startswith("listed apart: ") and f"kube-system/{name}" in item for item in shown(answer))
    other = controller(name, "kube-system", {**spec, "serviceAccountName": "web"}, replicas=0)
    assert server.ask("pods-privilege-escalation", {query: [other]}).status is FAIL


def test_many_findings_are_limited(server: Server) -> None:
    bad = [pod(f"web-{number}", hostPID=True) for number in range(500)]
    answer = server.ask("pods-host-pid", {Query.PODS: bad})
    assert answer.found == "500 workloads: Pod shop/web-0, Pod shop/web-1, Pod shop/web-2 and 497 more"
    assert len(answer.evidence) == 101
    assert shown(answer)[-1] == "and 400 more"


@pytest.mark.parametrize("name", REVIEWS)
def test_a_field_of_a_wrong_type_counts_as_missing(server: Server, name: str) -> None:
    odd = pod("web", "shop", container({"seccompProfile": {"type": []}, "capabilities": {"add": {}}}))
    assert server.ask(name, {Query.PODS: [odd], Query.NAMESPACES: [namespace("", "privileged")]}).status


SHOP_WITHOUT_STANDARD: Objects = {Query.NAMESPACES: [namespace("shop", "privileged")], Query.PODS: [pod("web")]}


@pytest.mark.parametrize("name", ["pod-policy-mechanism", "pods-privileged"])
def test_a_namespace_that_enforces_nothing_fails_if_it_has_workloads(server: Server, name: str) -> None:
    answer = server.ask(name, {**SHOP_WITHOUT_STANDARD, Query.PODS: []})
    assert (answer.status, answer.found) == (MANUAL, "1 namespace: Namespace shop")
    assert "no workloads" in answer.reason
    assert server.ask(name, SHOP_WITHOUT_STANDARD).status is FAIL
    answer = server.ask(name, {**SHOP_WITHOUT_STANDARD, Query.VALIDATING_WEBHOOKS: [webhook("kyverno", "pods")]})
    assert answer.status is MANUAL
    assert answer.reason == "a person has to decide whether ValidatingWebhookConfiguration kyverno forbids it"
    other = {**SHOP_WITHOUT_STANDARD, Query.VALIDATING_WEBHOOKS: [webhook("certs", "secrets")]}
    assert server.ask(name, other).status is FAIL


_POLICY: Json = {
    **metadata("no-root"),
    "spec": {
        "matchConstraints": {
            "resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
            ]
        }
    },
}
_NOWHERE: Json = {"matchLabels": {"team": "none"}}


def bound(*actions: str, **resources: Json) -> Json:
    spec = {"policyName": "no-root", "validationActions": [*actions], "matchResources": resources}
    return {**metadata("no-root"), "spec": spec}


def changed_webhook(**changes: object) -> Json:
    made = webhook("site", "pods")
    (hook,) = made["webhooks"]
    hook.update({key: value for key, value in changes.items() if key in {"namespaceSelector", "objectSelector"}})
    hook["rules"][0].update({key: value for key, value in changes.items() if key not in hook})
    return made


ENGINES: list[tuple[Objects, ControlStatus]] = [
    ({Query.ADMISSION_POLICIES: [_POLICY]}, FAIL),
    *(
        ({Query.ADMISSION_POLICIES: [_POLICY], Query.ADMISSION_POLICY_BINDINGS: [binding_]}, status)
        for binding_, status in (
            (bound("Deny"), MANUAL),
            (bound("Audit", "Deny"), MANUAL),
            (bound("Audit"), FAIL),
            (bound("Warn"), FAIL),
            (bound("Deny", namespaceSelector=_NOWHERE), FAIL),
            (bound("Deny", objectSelector=_NOWHERE), FAIL),
            ({**bound("Deny"), "spec": {**bound("Deny")["spec"], "policyName": "other"}}, FAIL),
        )
    ),
    *(
        ({Query.VALIDATING_WEBHOOKS: [changed_webhook(**changes)]}, status)
        for changes, status in (
            ({"operations": ["*"]}, MANUAL),
            ({"operations": ["DELETE"]}, FAIL),
            ({"apiVersions": ["v2"]}, FAIL),
            ({"apiGroups": ["apps"]}, FAIL),
            ({"resources": ["pods/exec"]}, FAIL),
            ({"namespaceSelector": _NOWHERE}, FAIL),
            ({"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}}, MANUAL),
            ({"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "Exists"}]}}, FAIL),
            ({"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["b"]}]}}, MANUAL),
            ({"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}}, FAIL),
            ({"objectSelector": {"matchLabels": {"checked": "yes"}}}, FAIL),
        )
    ),
]


@pytest.mark.parametrize("name", ["pod-policy-mechanism", "pods-privileged"])
@pytest.mark.parametrize(("engines", "expected"), ENGINES)
def test_an_engine_counts_if_it_can_reject_every_new_pod_of_the_namespace(
    server: Server, engines: Objects, expected: ControlStatus, name: str
) -> None:
    assert server.ask(name, {**SHOP_WITHOUT_STANDARD, **engines}).status is expected


def test_probes_decide_where_they_have_an_answer(server: Server) -> None:
    objects = {**SHOP_WITHOUT_STANDARD, Query.VALIDATING_WEBHOOKS: [webhook("kyverno", "pods")]}
    name = "pods-privileged"
    rejected = server.ask(name, objects, probes={("shop", name): Probe('webhook "kyverno.svc"')})
    assert rejected.status is PASS
    assert any('webhook "kyverno.svc" rejects it, in a dry run' in text for text in shown(rejected))
    admitted = server.ask(name, objects, probes={("shop", name): Probe("", "in an init container")})
    assert (admitted.status, admitted.found) == (FAIL, "1 namespace: Namespace shop")
    assert shown(admitted)[0] == "Namespace shop: admits it in an init container, in a dry run"
    label = {Query.NAMESPACES: [namespace("shop", "restricted")], Query.PODS: [pod("web")]}
    assert server.ask(name, label).status is PASS
    assert server.ask(name, label, probes={("shop", name): Probe("")}).status is FAIL


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_was_not_probed_is_unknown_unless_it_fails(server: Server, name: str) -> None:
    """The API server can end, or be too slow, between two probes."""
    stopped = {PROBES: "no complete answer in time"}
    hardened = {Query.NAMESPACES: [namespace("shop", "restricted")], Query.PODS: [pod("web")]}
    found = server.of(name, cluster(hardened)._replace(problems=stopped))
    assert (found.status, shown(found)) == (ControlStatus.UNKNOWN, ["no complete answer in time"])
    assert server.of(name, cluster(SHOP_WITHOUT_STANDARD)._replace(problems=stopped)).status is FAIL


ABOUT_CAPABILITIES = {"pods-net-raw", "pods-added-capabilities", "pods-assigned-capabilities"}


@pytest.mark.parametrize(
    ("level", "version", "failing"),
    [
        ("baseline", "latest", {"pods-privilege-escalation", "pods-root", *ABOUT_CAPABILITIES}),
        ("restricted", "v1.21", ABOUT_CAPABILITIES),
        ("restricted", "v1.22", set()),
        ("restricted", "latest", set()),
    ],
)
def test_a_standard_rejects_what_its_version_rejects(
    server: Server, level: str, version: str, failing: set[str]
) -> None:
    labelled = namespace("shop", level)
    labelled["metadata"]["labels"]["pod-security.kubernetes.io/enforce-version"] = version
    objects = {Query.NAMESPACES: [labelled], Query.PODS: [pod("web")]}
    assert {name for name in FORBIDDEN if server.ask(name, objects).status is FAIL} == failing


def test_kube_system_needs_a_standard_only_with_workloads_of_the_site(server: Server) -> None:
    """The guide exempts kube-system, because pods of K3s need more rights."""
    svclb = pod(
        "svclb-web-1",
        "kube-system",
        container(LOOSE, image="rancher/klipper-lb:v0.4.17", ports=[{"hostPort": 80}]),
        owner="DaemonSet svclb-web",
        serviceAccountName="svclb",
    )
    answer = server.ask("pods-host-ports", {Query.PODS: [svclb]})
    assert answer.status is PASS
    assert any(item.startswith("listed apart: Namespace kube-system: is exempt") for item in shown(answer))
    assert any("containers[app].ports.hostPort is 80 (K3s packages the load balancer" in item for item in shown(answer))
    site = pod("agent", "kube-system")
    answer = server.ask("pods-host-ports", {Query.PODS: [svclb, site]})
    assert (answer.status, answer.found) == (
        PASS,
        "all namespaces without exemption enforce the standard baseline or restricted",
    )
    answer = server.ask("pod-policy-mechanism", {Query.PODS: [svclb, site]})
    assert (answer.status, answer.found) == (FAIL, "1 namespace: Namespace kube-system")
    assert server.ask("pod-policy-mechanism", {Query.PODS: [svclb]}).status is PASS


def test_without_the_guide_the_default_standard_is_privileged(plain: Server) -> None:
    used = {Query.NAMESPACES: [namespace("shop")], Query.PODS: [pod("web")]}
    assert plain.ask("pods-privileged", used).status is FAIL
    plain.config("kube-apiserver-arg: [admission-control-config-file=/etc/psa.yaml]\n")
    answer = plain.ask("pods-privileged", used)
    assert answer.status is MANUAL
    assert "the default standard is not known" in answer.reason
    plain.host.put("/etc/psa.yaml", "kind: [\n")
    plain.config("kube-apiserver-arg: [admission-control-config-file=/etc/psa.yaml]\n")
    assert plain.ask("pods-privileged", used).status is MANUAL


def test_with_pod_security_policies_the_default_is_not_known() -> None:
    """This is so up to K3s 1.24. The pods themselves are still checked."""
    with in_memory() as directory:
        old = Server(node(directory / "node", K3s(minor=24)))
        objects = {Query.NAMESPACES: [namespace("shop")], Query.PODS: [pod("web")]}
        assert old.ask("pods-privileged", objects).status is MANUAL
        objects = {**objects, Query.PODS: [BROKEN["pods-privileged"]]}
        assert old.ask("pods-privileged", objects).status is FAIL


@pytest.mark.parametrize("name", ["pod-policy-mechanism", "pods-privileged"])
def test_without_the_plugin_labels_have_no_effect(plain: Server, name: str) -> None:
    """The plugin is disabled in the configuration, or was disabled when the API server started."""
    used = {
        Query.NAMESPACES: [namespace("shop", "restricted"), namespace("default", "restricted")],
        Query.PODS: [pod("web")],
    }
    assert plain.ask(name, used).status is PASS
    assert plain.ask(name, used, flags={"disable-admission-plugins": "[PodSecurity,LimitRanger]"}).status is FAIL
    plain.config("kube-apiserver-arg: [disable-admission-plugins=PodSecurity]\n")
    answer = plain.ask(name, used)
    assert answer.status is FAIL
    assert "Namespace shop: is not checked, because the plugin PodSecurity is disabled" in shown(answer)
    assert repair_texts.text(Repair(answer.repair.steps)) == (
        "remove `kube-apiserver-arg: [disable-admission-plugins=PodSecurity]` at /etc/rancher/k3s/config.yaml:1"
    )


@pytest.mark.parametrize("name", ["pod-policy-mechanism", "pods-privileged"])
def test_exempt_users_and_runtime_classes_need_a_review(plain: Server, name: str) -> None:
    """The namespaces enforce the standard, but not for the pods of these users and classes."""
    exempting = POD_SECURITY_ADMISSION.replace(
        "[kube-system]", "[kube-system], usernames: [anna], runtimeClasses: [kata]"
    )
    plain.host.put("/etc/psa.yaml", exempting)
    plain.config("kube-apiserver-arg: [admission-control-config-file=/etc/psa.yaml]\n")
    answer = plain.ask(name, {Query.NAMESPACES: [namespace("shop")]})
    assert (answer.status, answer.found) == (MANUAL, "2 exemptions: user anna, runtime class kata")
    assert shown(answer)[:2] == [
        "user anna: is exempt in the API server's configuration",
        "runtime class kata: is exempt in the API server's configuration",
    ]
    assert [seen.repeated_by for seen in answer.evidence[:2]] == [
        "sudo grep --line-number --word-regexp anna /etc/psa.yaml",
        "sudo grep --line-number --word-regexp kata /etc/psa.yaml",
    ]


def test_the_evidence_of_an_exempt_namespace_is_its_line_in_the_configuration(plain: Server) -> None:
    plain.host.put("/etc/psa.yaml", POD_SECURITY_ADMISSION)
    plain.config("kube-apiserver-arg: [admission-control-config-file=/etc/psa.yaml]\n")
    answer = plain.ask("pods-host-ports", {Query.NAMESPACES: [namespace("kube-system")]})
    commands = [seen.repeated_by for seen in answer.evidence if "kube-system: is exempt" in seen.observation]
    assert commands == ["sudo grep --line-number --word-regexp kube-system /etc/psa.yaml"]


@pytest.mark.parametrize(
    ("gates", "has_gate"),
    [("", False), ("UserNamespacesPodSecurityStandards=true", True), ("AllAlpha=true", True), ("NodeSwap=true", False)],
)
def test_the_defaults_are_those_of_the_admission_configuration(plain: Server, gates: str, has_gate: bool) -> None:
    written = POD_SECURITY_ADMISSION.replace("enforce: restricted", "enforce: restricted, enforce-version: v1.30")
    plain.host.put("/etc/psa.yaml", written.replace("[kube-system]", "[a], usernames: [anna], runtimeClasses: [kata]"))
    options = ["admission-control-config-file=/etc/psa.yaml", *([f"feature-gates={gates}"] if gates else [])]
    plain.config(f"kube-apiserver-arg: {json.dumps(options)}\n")
    assert pod_security_defaults(plain.assessed().situation) == PodSecurityDefaults(
        PodSecurityLevel.RESTRICTED, frozenset({"a"}), ("anna",), ("kata",), minor=30, has_gate=has_gate
    )


PRIVILEGED: Json = {"privileged": True}
ON, OFF = {"node-1": {"seccompDefault": True}}, {"node-1": {"seccompDefault": False}}


@pytest.mark.parametrize(
    ("context", "kubelets", "expected"),
    [
        ({"seccompProfile": {"type": "RuntimeDefault"}}, {}, PASS),
        ({"seccompProfile": {"type": "Localhost"}}, {}, PASS),
        ({"seccompProfile": {"type": "Unconfined"}}, ON, FAIL),
        ({"seccompProfile": None}, ON, PASS),
        ({"seccompProfile": None}, OFF, FAIL),
        ({"seccompProfile": None}, {}, FAIL),
        (PRIVILEGED, ON, FAIL),
        (PRIVILEGED, {}, FAIL),
    ],
)
def test_a_container_needs_a_seccomp_profile(
    server: Server, context: Json, kubelets: dict[str, Json], expected: ControlStatus
) -> None:
    """The kubelet's default is that of all containers but privileged ones, for which the runtime ignores it."""
    context = context if context is PRIVILEGED else {**STRICT, **context}
    objects = {Query.PODS: [pod("web", "shop", container(context))]}
    assert server.ask("pods-seccomp", objects, kubelets=kubelets).status is expected


@pytest.mark.parametrize(("others", "expected"), [({}, PASS), ({"node-2": {}}, FAIL), (OFF, FAIL)])
def test_the_argument_seccomp_default_of_this_node_is_used(
    server: Server, others: dict[str, Json], expected: ControlStatus
) -> None:
    """Before Kubernetes 1.36, the kubelet does not show it, so the setting of other nodes is unknown."""
    server.config("kubelet-arg: [seccomp-default=true]\n")
    objects = {Query.PODS: [weak(seccompProfile=None)]}
    kubelets: dict[str, Json] = {"node-1": {}, **others}
    assert server.ask("pods-seccomp", objects, kubelets=kubelets).status is expected


def test_security_contexts_are_needed_and_reviewed(server: Server) -> None:
    for context, expected in ((None, FAIL), (LOOSE, MANUAL), (STRICT, PASS)):
        objects = {Query.PODS: [pod("web", "shop", container(context))]}
        assert server.ask("pods-security-context", objects).status is expected


def test_secrets_in_environment_variables_fail_without_their_values(server: Server) -> None:
    item = {"name": "P", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}
    for fields in ({"env": [item, {"name": "Q", "value": "hunter2"}]}, {"envFrom": [{"secretRef": {"name": "db"}}]}):
        answer = server.ask("secrets-as-files", {Query.PODS: [pod("web", "shop", container(STRICT, **fields))]})
        assert answer.status is FAIL
        assert shown(answer) == ["Pod shop/web: container app has Secrets in environment variables: db"]
    plain = container(STRICT, env=[{"name": "Q", "value": "hunter2"}], envFrom=[{"configMapRef": {"name": "c"}}])
    assert server.ask("secrets-as-files", {Query.PODS: [pod("web", "shop", plain)]}).status is PASS


_TCP, _UDP, _SCTP = ("{protocol: TCP}", "{protocol: UDP}", "{protocol: SCTP}")


def _from(port: int) -> str:
    ports = [{"protocol": name, "port": port, "endPort": 65535} for name in ("TCP", "UDP", "SCTP")]
    return json.dumps([{"ingress": [{"ports": ports}]}])


@pytest.mark.parametrize(
    ("ranges", "expected"), [("fd00::/56", FAIL), ("10.42.0.0/16,fd00::/56", PASS), ("10.42.0.0/16", PASS)]
)
def test_a_policy_is_judged_by_the_addresses_of_the_cluster(
    plain: Server, ranges: str, expected: ControlStatus
) -> None:
    plain.config(f"cluster-cidr: {ranges}\n")
    open_ = network_policy("shop", podSelector={}, ingress=[{"from": [{"ipBlock": {"cidr": "::/0"}}]}])
    objects = {Query.NAMESPACES: [namespace("shop")], Query.NETWORK_POLICIES: [*DENIED, open_]}
    assert plain.ask("namespaces-network-policies", {**objects, Query.PODS: [pod("web")]}).status is expected


@pytest.mark.parametrize(
    ("specs", "expected"),
    [
        ("[]", FAIL),
        ("[{podSelector: {}}]", PASS),
        ("[{podSelector: }]", PASS),
        ("[{podSelector: {matchLabels: {}, matchExpressions: []}}]", PASS),
        ("[{podSelector: {matchExpressions: [{key: app, operator: DoesNotExist}]}}]", FAIL),
        ("[{podSelector: {matchLabels: {app: web}}}]", PASS),
        ("[{podSelector: {matchLabels: {app: none}}}]", FAIL),
        ("[{policyTypes: [Egress, Ingress]}]", PASS),
        ("[{policyTypes: [Egress], egress: [{}]}]", FAIL),
        ("[{ingress: [], egress: []}]", PASS),
        ("[{ingress: [{}], egress: []}]", PASS),
        ("[{}, {ingress: [{}]}]", FAIL),
        ("[{}, {podSelector: {matchLabels: {app: web}}, ingress: [{}]}]", FAIL),
        ("[{}, {podSelector: {matchLabels: {app: other}}, ingress: [{}]}]", PASS),
        ("[{ingress: [{}]}]", FAIL),
        ("[{ingress: [{from: []}]}]", FAIL),
        ("[{ingress: [{from: [{podSelector: {}}]}]}]", PASS),
        ("[{ingress: [{from: [{namespaceSelector: {}}]}]}]", PASS),
        ("[{ingress: [{from: [{namespaceSelector: {}, podSelector: {}}]}]}]", PASS),
        ("[{ingress: [{from: [{namespaceSelector: {matchLabels: {a: b}}}]}]}]", PASS),
        ("[{ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}]", FAIL),
        ("[{ingress: [{from: [{ipBlock: {cidr: '::/0'}}]}]}]", PASS),
        ("[{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}, {ipBlock: {cidr: '::/0'}}]}]}]", PASS),
        ("[{ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/1}}, {ipBlock: {cidr: 128.0.0.0/1}}]}]}]", FAIL),
        ("[{ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/1}}]}, {from: [{ipBlock: {cidr: 128.0.0.0/1}}]}]}]", FAIL),
        ("[{ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/1}}, {ipBlock: {cidr: 128.0.0.0/2}}]}]}]", PASS),
        ("[{ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}]}]}]", PASS),
        ("[{ingress: [{from: [{ipBlock: {cidr: none}}]}]}]", PASS),
        ("[{ingress: [{ports: [{port: 80}]}]}]", PASS),
        (f"[{{ingress: [{{ports: [{_TCP}, {_UDP}, {_SCTP}]}}]}}]", FAIL),
        (f"[{{ingress: [{{ports: [{_TCP}]}}, {{ports: [{_UDP}]}}, {{ports: [{_SCTP}]}}]}}]", FAIL),
        (f"[{{ingress: [{{ports: [{_TCP}, {_UDP}]}}]}}]", PASS),
        (_from(1), FAIL),
        (_from(2), PASS),
    ],
)
def test_a_network_policy_has_to_limit_a_pod(server: Server, specs: str, expected: ControlStatus) -> None:
    """Policies are additive, so that one that allows everything makes the others ineffective."""
    labelled = {**pod("web"), **metadata("web", "shop", labels={"app": "web"})}
    policies = [*DENIED, *({**metadata("policy", "shop"), "spec": spec} for spec in yaml.safe_load(specs))]
    objects = {Query.NAMESPACES: [namespace("shop")], Query.NETWORK_POLICIES: policies, Query.PODS: [labelled]}
    answer = server.ask("namespaces-network-policies", objects)
    assert answer.status is expected
    assert expected is PASS or answer.found == "1 namespace: Namespace shop"


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ("", "set `network-policies.namespaces: [a, shop]` in /etc/k3s-harden/config.yaml"),
        (
            "network-policies:\n  namespaces: [db]\n",
            "set `network-policies.namespaces: [db, a, shop]` at /etc/k3s-harden/config.yaml:2",
        ),
    ],
)
def test_namespaces_without_a_policy_become_a_setting(plain: Server, settings: str, setting: str) -> None:
    """Those of Kubernetes get theirs by apply alone."""
    plain.host.put("/etc/k3s-harden/config.yaml", settings)
    listed = [namespace(name) for name in ("a", "shop", "kube-system")]
    answer = plain.ask("namespaces-network-policies", {Query.NAMESPACES: listed})
    assert repair_texts.text(answer.repair) == f"{setting}; then run `sudo k3s-harden apply`"


def test_network_policies_are_enforced_unless_an_option_disables_them(plain: Server) -> None:
    assert plain.ask("cni-network-policies", {}).status is PASS
    plain.config("disable-network-policy: true\n")
    answer = plain.ask("cni-network-policies", {})
    assert answer.status is MANUAL
    assert shown(answer) == ["disable-network-policy: true"]


def test_the_namespace_default_contains_only_its_service(server: Server) -> None:
    assert server.ask("default-namespace", {Query.PODS: [pod("web", "shop")]}).status is PASS
    web = [metadata("web", "default")]
    objects = {Query.PODS: [pod("web", "default")], Query.DEPLOYMENTS: web, Query.DEFAULT_SERVICES: web}
    answer = server.ask("default-namespace", objects)
    assert answer.status is FAIL
    assert answer.found == "3 objects: Pod default/web, Deployment default/web, Service default/web"


@pytest.mark.parametrize(
    ("query", "title"),
    [
        (Query.DEFAULT_CONFIG_MAPS, "ConfigMap default/a"),
        (Query.DEFAULT_SECRETS, "Secret default/a"),
        (Query.DEFAULT_CLAIMS, "PersistentVolumeClaim default/a"),
        (Query.DEFAULT_INGRESSES, "Ingress default/a"),
        (Query.SERVICE_ACCOUNTS, "ServiceAccount default/a"),
        (Query.ROLES, "Role default/a"),
        (Query.ROLE_BINDINGS, "RoleBinding default/a"),
    ],
)
def test_the_namespace_default_contains_no_object_of_another_kind(server: Server, query: Query, title: str) -> None:
    own = {
        Query.DEFAULT_CONFIG_MAPS: [metadata("kube-root-ca.crt", "default")],
        Query.SERVICE_ACCOUNTS: [account(namespace="default"), account("a", "shop")],
        Query.DEFAULT_SECRETS: [metadata("default-token-x2j5k", "default")],
    }
    assert server.ask("default-namespace", own).status is PASS
    answer = server.ask("default-namespace", {**own, query: [*own.get(query, ()), metadata("a", "default")]})
    assert (answer.status, answer.found) == (FAIL, f"1 object: {title}")


def _with_secret(*containers: Json, **fields: Any) -> Json:
    return pod("web", "shop", *containers, automountServiceAccountToken=False, **fields)


@pytest.mark.parametrize(
    "given",
    [
        _with_secret(volumes=[{"name": "a", "secret": {"secretName": "ci"}}]),
        _with_secret(volumes=[{"name": "a", "projected": {"sources": [{"secret": {"name": "ci"}}]}}]),
        _with_secret(container(env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "ci"}}}])),
        _with_secret(container(envFrom=[{"secretRef": {"name": "ci"}}])),
    ],
)
def test_a_secret_with_a_token_is_a_mounted_token(server: Server, given: Json) -> None:
    """Such a token does not even expire."""
    for namespace_, expected in (("shop", MANUAL), ("other", PASS)):
        objects = {Query.PODS: [given], Query.TOKEN_SECRETS: [metadata("ci", namespace_)]}
        assert server.ask("service-account-token-mounts", objects).status is expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"hostPath": {"path": "/etc"}}, FAIL),
        ({"local": {"path": "/"}}, FAIL),
        ({"hostPath": {"path": "/var/lib/rancher/k3s/storage"}}, FAIL),
        ({"hostPath": {"path": "/var/lib/rancher/k3s/storage/pvc-1_shop_data"}}, PASS),
        ({"nfs": {"path": "/etc"}}, PASS),
    ],
)
def test_a_claim_can_be_a_directory_of_the_node(server: Server, source: Json, expected: ControlStatus) -> None:
    """A volume of K3s' provisioner is a directory of its own."""
    claim = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    for namespace_, own in (("shop", expected), ("other", PASS)):
        volume = {**metadata("v"), "spec": {**source, "claimRef": {"namespace": namespace_, "name": "data"}}}
        objects = {Query.PODS: [pod("web", volumes=claim)], Query.PERSISTENT_VOLUMES: [volume]}
        assert server.ask("pods-host-path", objects).status is own


def test_a_template_counts_if_its_pods_are_of_another_one(server: Server) -> None:
    """Such as after an edit of a StatefulSet that updates on deletion, or of a paused Deployment."""
    bad = {"containers": [container({"privileged": True})]}
    good = pod("a", owner="ReplicaSet web-1")["spec"]
    old = {**pod("web-0", owner="StatefulSet web"), "spec": good}
    old["metadata"]["labels"] = {"controller-revision-hash": "web-1"}
    states = {
        "OnDelete": {
            Query.PODS: [old],
            Query.STATEFUL_SETS: [{**controller("web", "shop", bad), "status": {"updateRevision": "web-2"}}],
        },
        "paused": {
            Query.PODS: [pod("web-1-a", owner="ReplicaSet web-1")],
            Query.REPLICA_SETS: [controller("web-1", "shop", good, owner="Deployment web")],
            Query.DEPLOYMENTS: [controller("web", "shop", bad, paused=True)],
        },
        "ReplicationController": {
            Query.PODS: [pod("web-a", owner="ReplicationController web")],
            Query.REPLICATION_CONTROLLERS: [controller("web", "shop", bad)],
        },
        "ReplicaSet": {
            Query.PODS: [pod("web-a", owner="ReplicaSet web")],
            Query.REPLICA_SETS: [controller("web", "shop", bad)],
        },
        "CronJob": {Query.CRON_JOBS: [cron_job("web", "shop", bad)]},
    }
    for name, objects in states.items():
        assert server.ask("pods-privileged", objects).status is FAIL, name
    # What admission corrected in the pods of the same template is no failure.
    states["OnDelete"][Query.STATEFUL_SETS][0]["status"]["updateRevision"] = "web-1"
    states["paused"][Query.REPLICA_SETS] = [controller("web-1", "shop", bad, owner="Deployment web")]
    for name in ("OnDelete", "paused"):
        assert server.ask("pods-privileged", states[name]).status is PASS, name


PRIVILEGED_BUT = {**STRICT, "privileged": True, "allowPrivilegeEscalation": True}


@pytest.mark.parametrize(
    "name", ["pods-net-raw", "pods-added-capabilities", "pods-assigned-capabilities", "pods-seccomp"]
)
def test_what_a_privileged_container_drops_has_no_effect(server: Server, name: str) -> None:
    """It has all capabilities and no filter of system calls."""
    assert server.ask(name, {Query.PODS: [pod("web", "shop", container(PRIVILEGED_BUT))]}).status is FAIL


@pytest.mark.parametrize("name", [*FORBIDDEN, "pods-seccomp"])
def test_a_pod_for_windows_that_the_standard_admits_does_not_fail(server: Server, name: str) -> None:
    windows = pod("web", "shop", container({"runAsNonRoot": True}), os={"name": "windows"})
    assert server.ask(name, {Query.PODS: [windows]}).status is PASS
    linux = pod("web", "shop", container({"runAsNonRoot": True}))
    assert server.ask("pods-net-raw", {Query.PODS: [linux]}).status is FAIL


def test_tokens_in_secrets_are_listed(server: Server) -> None:
    from agent.cluster.kubernetes.objects import NamedObject

    found = cluster({})
    secrets = (
        NamedObject("", "ci", "kubernetes.io/service-account-token"),
        NamedObject("", "bootstrap-token-abc", "bootstrap.kubernetes.io/token"),
        NamedObject("", "db", "Opaque"),
    )
    found = found._replace(objects={**found.objects, Query.SECRETS: secrets})
    assert server.of("users-without-service-account-tokens", found).found == "1 token: Secret ci"
    answer = server.of("users-without-bootstrap-tokens", found)
    assert (answer.status, answer.found) == (MANUAL, "1 bootstrap token: Secret bootstrap-token-abc")
    assert server.of("external-secret-storage", found).found == "3 Secrets"


def test_no_command_of_an_evidence_prints_a_secret(server: Server) -> None:
    """The JSON of Secrets has their content, and the YAML of a workload the values of its variables."""
    from agent.cluster.kubernetes.objects import NamedObject

    bad = pod("web", "default", container({"privileged": True}))
    found = cluster({Query.PODS: [bad], Query.DEFAULT_SECRETS: [metadata("db", "default")]})
    secrets = (NamedObject("", "ci", "kubernetes.io/service-account-token"), NamedObject("", "db", "Opaque"))
    commands = {
        item.repeated_by
        for name in cluster_rules()
        for objects in (found.objects, {**found.objects, Query.SECRETS: secrets})
        for item in server.of(name, found._replace(objects=objects)).evidence
    }
    assert "sudo k3s kubectl get secrets --all-namespaces" in commands
    tokens = "--field-selector=type=kubernetes.io/service-account-token"
    assert f"sudo k3s kubectl get secrets --all-namespaces {tokens}" in commands
    assert "sudo k3s kubectl get secret db --namespace=default" in commands
    shown = [command for command in commands if " get pod " in command]
    assert shown
    for command in commands:
        assert "secret" not in command or not any(word in command for word in ("--raw", "yaml", "json")), command
    for command in shown:
        assert "{.env[*].valueFrom}" in command
        assert not any(word in command for word in ("yaml", "{.env}", ".value}")), command


def test_the_command_of_an_evidence_shows_the_very_fact(server: Server) -> None:
    (missing, *_) = server.ask("namespaces-network-policies", {Query.NAMESPACES: [namespace("shop")]}).evidence[::-1]
    assert missing.repeated_by.startswith("sudo k3s kubectl get networkpolicy --namespace=")
    objects = {
        Query.CLUSTER_ROLES: [role("reader", rule("list", "secrets"))],
        Query.CLUSTER_ROLE_BINDINGS: [binding("a", "reader", "User anna")],
    }
    (item, *_) = server.ask("rbac-secrets", objects).evidence
    assert item.repeated_by == "sudo k3s kubectl get clusterrolebinding/a clusterrole/reader --output=yaml"


@pytest.mark.parametrize(
    ("name", "reason"),
    [("cosign", ""), ("kyverno-resource-mutating-webhook-cfg", "whether Kyverno verifies the origin of all images")],
)
def test_possible_image_verifiers_are_listed(server: Server, name: str, reason: str) -> None:
    """Known software is named."""
    assert "nothing in the API server" in server.ask("image-provenance", {}).reason
    answer = server.ask("image-provenance", {Query.MUTATING_WEBHOOKS: [webhook(name, "pods")]})
    assert (answer.status, reason in answer.reason) == (MANUAL, True)
    assert shown(answer) == [f"MutatingWebhookConfiguration {name}: is called for pods"]


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ("", "/opt/containerd/image-verifier/bin/cosign"),
        (
            """[plugins."io.containerd.image-verifier.v1.bindir"]
  bin_dir = '/opt/civ/bin'
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dir = "/var/lib/rancher/k3s/data/cni"
""",
            "/opt/civ/bin/cosign",
        ),
    ],
)
def test_programs_that_containerd_asks_about_images_are_listed(server: Server, config: str, path: str) -> None:
    server.host.put("/var/lib/rancher/k3s/agent/etc/containerd/config.toml", config)
    server.host.put(path, "#!/bin/sh\n", 0o755)
    answer = server.ask("image-provenance", {})
    assert answer.status is MANUAL
    assert shown(answer) == [f"{path}: is asked by containerd of this node before it pulls an image"]


@pytest.mark.parametrize(
    ("policy", "status"),
    [
        ("{imagePolicy: {kubeConfigFile: /k, defaultAllow: false}}", PASS),
        ("{imagePolicy: {kubeConfigFile: /k}}", PASS),
        ("{imagePolicy: {kubeConfigFile: /k, defaultAllow: true}}", MANUAL),
        ("{}", MANUAL),
    ],
)
def test_image_policy_webhook_passes_if_it_fails_closed(plain: Server, policy: str, status: ControlStatus) -> None:
    header = "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\n"
    plain.host.put("/etc/a.yaml", f"{header}plugins: [{{name: ImagePolicyWebhook, configuration: {policy}}}]\n")
    arguments = "enable-admission-plugins=ImagePolicyWebhook, admission-control-config-file=/etc/a.yaml"
    plain.config(f"kube-apiserver-arg: [{arguments}]\n")
    answer = plain.ask("image-provenance", {})
    assert answer.status is status
    assert shown(answer)[0].startswith("ImagePolicyWebhook: ")
    assert ("defaultAllow" in shown(answer)[0]) is (policy != "{}")


WAIVED = (
    "(a waiver records it): add `waivers: [{{control: {}, reason: REASON}}]` to the end of /etc/k3s-harden/config.yaml."
)
IN_CONTAINER = "set `spec.template.spec.containers[app].securityContext."


@pytest.mark.parametrize(
    ("control", "step"),
    [
        ("pods-privilege-escalation", f"{IN_CONTAINER}allowPrivilegeEscalation: false` in the Deployment shop/web"),
        (
            "pods-privileged",
            (
                "Does Deployment shop/web require containers[app].securityContext.privileged?"
                f" Yes {WAIVED.format('pods-privileged')} No (its pods start without):"
                f" {IN_CONTAINER}privileged: false` in the Deployment shop/web."
            ),
        ),
        (
            "pods-added-capabilities",
            (
                "Does Deployment shop/web require SYS_TIME in containers[app].securityContext.capabilities.add?"
                f" Yes {WAIVED.format('pods-added-capabilities')} No (its pods start without):"
                f" {IN_CONTAINER}capabilities.add: []` in the Deployment shop/web."
            ),
        ),
        (
            "pods-host-ports",
            (
                "Does Deployment shop/web require containers[app].ports.hostPort?"
                f" Yes {WAIVED.format('pods-host-ports')} No (its pods start without):"
                " remove it from the manifest of Deployment shop/web."
            ),
        ),
    ],
)
def test_a_workload_is_patched_unless_a_person_knows_that_it_requires_the_field(
    server: Server, control: str, step: str
) -> None:
    answer = server.ask(control, {Query.DEPLOYMENTS: [controller("web", "shop", BROKEN[control]["spec"])]})
    assert repair_texts.text(answer.repair) == step


def test_a_patch_is_made_for_the_controller_of_a_pod_and_names_what_would_undo_it(server: Server) -> None:
    made = controller("web", "shop", BROKEN["pods-privilege-escalation"]["spec"])
    made["metadata"]["annotations"] = {"meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": "shop"}
    spec = made["spec"]["template"]["spec"]
    replica_set = controller("web-1", "shop", spec, owner="Deployment web")
    of_it = pod("web-1-a", owner="ReplicaSet web-1", **spec)
    found = {Query.DEPLOYMENTS: [made], Query.REPLICA_SETS: [replica_set], Query.PODS: [of_it]}
    answer = server.ask("pods-privilege-escalation", found)
    assert repair_texts.text(answer.repair).endswith("in the Deployment shop/web, and in the Helm release shop/web")


def test_what_the_template_does_not_show_is_corrected_by_hand(server: Server) -> None:
    """An older pod can have what the template no longer has."""
    old = pod("web-a", owner="StatefulSet web", hostPID=True)
    answer = server.ask("pods-host-pid", {Query.STATEFUL_SETS: [controller("web", "shop", {})], Query.PODS: [old]})
    assert repair_texts.text(answer.repair) == (
        "correct these workloads, or waive the control with the reason why they require it"
    )


def test_one_answer_corrects_a_limited_number_of_workloads(server: Server) -> None:
    spec = BROKEN["pods-privilege-escalation"]["spec"]
    made = [controller(f"web-{number}", "shop", spec) for number in range(12)]
    answer = server.ask("pods-privilege-escalation", {Query.DEPLOYMENTS: made})
    assert len(answer.repair.steps) == 10


@pytest.mark.parametrize(
    ("labels", "added", "undo"),
    [
        ({}, "enforce=restricted", "enforce-"),
        ({"enforce": "privileged"}, "enforce=restricted", "enforce=privileged"),
        (
            {"enforce": "restricted", "enforce-version": "v1.20"},
            "enforce=restricted enforce-version=latest",
            "enforce=restricted enforce-version=v1.20",
        ),
    ],
)
def test_a_namespace_is_labelled_and_the_label_can_be_taken_back(
    server: Server, labels: dict[str, str], added: str, undo: str
) -> None:
    """Without a label, the default decides, which is weaker here."""
    flags = "pod-security.kubernetes.io/"
    shop = metadata("shop", labels={f"{flags}{key}": value for key, value in labels.items()})
    weak = {"shop": Probe("", "it")} if not labels else {}
    probes = {(name, "pods-net-raw"): probe for name, probe in weak.items()}
    answer = server.ask("pods-net-raw", {Query.NAMESPACES: [shop], Query.PODS: [pod("web")]}, probes=probes)
    (step,) = answer.repair.steps
    assert isinstance(step, Run)
    command = "kubectl label --overwrite namespace shop"
    assert step.line.replace(flags, "") == f"{command} {added}"
    assert step.undo.replace(flags, "") == f"{command} {undo}"


def test_a_label_that_would_reject_a_pod_or_that_has_no_effect_is_no_command(server: Server) -> None:
    weak = {Query.NAMESPACES: [namespace("shop", "privileged")], Query.PODS: [BROKEN["pods-host-pid"]]}
    answer = server.ask("pods-privileged", weak)
    assert repair_texts.text(answer.repair).startswith(
        "label shop with pod-security.kubernetes.io/enforce=baseline, after"
    )


def test_namespaces_without_a_label_get_the_default_of_apply(plain: Server) -> None:
    answer = plain.ask("pods-privileged", {Query.NAMESPACES: [namespace("shop")], Query.PODS: [pod("web")]})
    assert answer.repair.steps == (RunVerb("apply"),)
