"""RBAC: which rules grant a right, and which accounts have it."""

from __future__ import annotations

import pytest

from agent.assess.checks.cluster.access_answers import RIGHTS
from agent.cluster.kubernetes import objects, rbac
from agent.cluster.kubernetes.queries import Query
from agent.cluster.kubernetes.rbac import RbacRight
from tests.unit.cluster.kubernetes.samples import Json, binding, cluster, role, rule

SECRETS = RbacRight(frozenset({"get", "list", "watch"}), "", "secrets")
PROXY = RbacRight(frozenset({"get", "create"}), "", "nodes/proxy")
TOKENS = RbacRight(frozenset({"create"}), "", "serviceaccounts/token", on_named_objects=True)


@pytest.mark.parametrize(
    ("given", "right", "expected"),
    [
        (rule("get", "secrets"), SECRETS, True),
        (rule("watch create", "pods secrets"), SECRETS, True),
        (rule("*", "secrets"), SECRETS, True),
        (rule("list", "*"), SECRETS, True),
        (rule("list", "*", "*"), SECRETS, True),
        (rule("create update", "secrets"), SECRETS, False),
        (rule("get", "secrets", "apps"), SECRETS, False),
        (rule("get", "configmaps"), SECRETS, False),
        (rule("get", "secrets", names="one"), SECRETS, False),
        (rule("get", "nodes"), PROXY, False),
        (rule("get", "nodes/proxy"), PROXY, True),
        (rule("create", "*/proxy"), PROXY, True),
        (rule("get", "nodes/*"), PROXY, False),
        (rule("get", "*"), PROXY, True),
        (rule("get", "nodes/metrics nodes/stats"), PROXY, False),
        (rule("create", "serviceaccounts/token", names="web"), TOKENS, True),
    ],
)
def test_a_rule_grants_a_right(given: Json, right: RbacRight, expected: bool) -> None:
    (parsed,) = objects.role(role("some", given)).rules
    assert rbac.grants(parsed, right) is expected


def names(right: RbacRight, roles: list[Json], *bindings: Json) -> list[str]:
    inside = [role for role in roles if "namespace" in role["metadata"]]
    found = cluster(
        {
            Query.ROLES: inside,
            Query.CLUSTER_ROLES: [role for role in roles if role not in inside],
            Query.ROLE_BINDINGS: [binding for binding in bindings if "namespace" in binding["metadata"]],
            Query.CLUSTER_ROLE_BINDINGS: [binding for binding in bindings if "namespace" not in binding["metadata"]],
        }
    )
    return [str(holder.subject) for holder in rbac.holders(found, [right]) if not holder.reason]


def test_a_right_comes_from_bindings_of_the_cluster_and_of_namespaces() -> None:
    reader = role("reader", rule("get", "secrets"))
    local = role("local", rule("get", "secrets"), namespace="shop")
    assert names(
        SECRETS,
        [reader, local],
        binding("a", "reader", "User anna"),
        binding("b", "reader", "Group ops", namespace="shop"),
        binding("c", "local", "ServiceAccount shop/web", namespace="shop", kind="Role"),
        binding("d", "local", "User eve", namespace="other", kind="Role"),
        binding("e", "missing", "User bob"),
    ) == ["Group ops", "ServiceAccount shop/web", "User anna"]


def test_a_role_binding_grants_no_right_on_objects_of_the_cluster() -> None:
    """Nodes have no namespace, so only a ClusterRoleBinding grants rights on them."""
    proxy = role("proxy", rule("get", "nodes/proxy"))
    assert names(PROXY, [proxy], binding("a", "proxy", "User anna", namespace="shop")) == []
    assert names(PROXY, [proxy], binding("a", "proxy", "User anna")) == ["User anna"]


def test_a_role_binding_grants_a_change_of_its_own_namespace_and_no_new_one() -> None:
    """A request about a namespace by its name is one inside of it."""
    inside = binding("a", "labels", "User anna", namespace="shop")
    for verb, expected in (("patch", ["User anna"]), ("create", [])):
        right = RbacRight(frozenset({verb}), "", "namespaces")
        assert names(right, [role("labels", rule("patch create", "namespaces"))], inside) == expected


@pytest.mark.parametrize(("verb", "expected"), [("bind", ["User anna"]), ("escalate", [])])
def test_a_role_binding_grants_to_bind_a_cluster_role_inside_of_its_namespace(verb: str, expected: list[str]) -> None:
    """Anna may bind cluster-admin there. No RoleBinding lets her change a ClusterRole."""
    group = "rbac.authorization.k8s.io"
    rights = [right for right in RIGHTS["rbac-bind-impersonate-escalate"][1] if right.resource == "clusterroles"]
    inside = binding("a", "tool", "User anna", namespace="shop")
    found = [names(right, [role("tool", rule(verb, "clusterroles", group))], inside) for right in rights]
    assert [name for each in found for name in each] == expected


def test_accounts_of_kubernetes_and_k3s_have_a_reason() -> None:
    controller = role("system:controller:expand-controller", rule("get", "secrets"))
    site = role("site", rule("get", "secrets"))
    job = "ServiceAccount kube-system/expand-controller"
    traefik = "ServiceAccount kube-system/traefik"
    roles = [controller, site, role("traefik-kube-system", rule("get", "secrets"))]
    assert names(SECRETS, roles, binding("a", "system:controller:expand-controller", job)) == []
    assert names(SECRETS, roles, binding("a", "traefik-kube-system", traefik)) == []
    assert names(SECRETS, roles, binding("a", "site", job, traefik)) == [job, traefik]
    assert names(SECRETS, roles, binding("a", "system:controller:expand-controller", "User eve")) == ["User eve"]
    assert names(SECRETS, roles, binding("a", "cluster-admin", traefik)) == [traefik]
    assert names(SECRETS, roles, binding("a", "cluster-admin", "ServiceAccount kube-system/helm-traefik")) == []


@pytest.mark.parametrize(
    ("name", "given", "account"),
    [
        ("system:controller:evil", rule("*", "*", "*"), "ServiceAccount kube-system/evil"),
        ("system:evil", rule("get", "secrets"), "ServiceAccount kube-system/coredns"),
        ("system:kube-scheduler", rule("get", "secrets"), "User system:kube-scheduler"),
        ("system:kube-controller-manager", rule("get", "secrets"), "ServiceAccount kube-system/coredns"),
        ("system:controller:job-controller", rule("list", "secrets"), "ServiceAccount kube-system/job-controller"),
        ("traefik-kube-system", rule("*", "secrets"), "ServiceAccount kube-system/traefik"),
    ],
)
def test_the_name_of_a_role_of_kubernetes_is_no_reason(name: str, given: Json, account: str) -> None:
    assert names(SECRETS, [role(name, given)], binding("a", name, account)) == [account]


@pytest.mark.parametrize("name", ["system:node", "system:kubelet-api-admin"])
def test_a_role_that_bypasses_the_node_authorizer_has_no_reason(name: str) -> None:
    """Bound to all kubelets, it lets each node read the Secrets of all pods."""
    nodes = "Group system:nodes"
    assert names(SECRETS, [role(name, rule("get", "secrets"))], binding("a", name, nodes)) == [nodes]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Group system:authenticated", True),
        ("Group system:unauthenticated", True),
        ("Group system:serviceaccounts", True),
        ("Group system:serviceaccounts:shop", True),
        ("User system:anonymous", True),
        ("ServiceAccount shop/default", True),
        ("ServiceAccount shop/web", False),
        ("Group system:nodes", True),
        ("Group ops", False),
        ("User system:authenticated", False),
    ],
)
def test_groups_of_all_users_are_recognized(name: str, expected: bool) -> None:
    found = cluster({Query.CLUSTER_ROLE_BINDINGS: [binding("a", "cluster-admin", name)]})
    (holder,) = [holder for holder in rbac.holders(found, [SECRETS]) if not holder.reason]
    assert holder.is_everybody is expected
