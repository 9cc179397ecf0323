"""Access control of Kubernetes (RBAC): which accounts have a right, and through which bindings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

from agent.cluster.kubernetes.built_in_objects import SYSTEM_NAMESPACE, reason_of_account
from agent.cluster.kubernetes.objects import Binding, RbacRole, RbacRule, Subject
from agent.cluster.kubernetes.queries import AccessReview, Cluster, Query

QUERIES = (Query.CLUSTER_ROLE_BINDINGS, Query.CLUSTER_ROLES, Query.ROLE_BINDINGS, Query.ROLES)
"""The objects of a cluster that determine all rights."""

_ALL = "*"
_OF_PODS = frozenset({"system:authenticated", "system:serviceaccounts"})
_EVERYBODY = _OF_PODS | {"system:unauthenticated", "system:nodes"}
_ALL_ACCOUNTS_OF = "system:serviceaccounts:"


class RbacRight(NamedTuple):
    """A right to use one of these verbs on a resource."""

    verbs: frozenset[str]
    group: str
    resource: str
    """With its subresource, such as nodes/proxy."""
    on_named_objects: bool = False
    """Whether rules that are limited to objects by their names are included."""
    everybody_on_named_objects: bool = False
    """Whether such rules are included for accounts of all users or pods."""
    since: int = 0
    """The first minor version of Kubernetes that has the right."""

    @property
    def is_in_a_namespace(self) -> bool:
        """Whether a RoleBinding can grant it: for a namespace by its name, and to bind a ClusterRole inside of one."""
        is_new = self.resource == "namespaces" and self.verbs == {"create"}
        return self.verbs == {"bind"} or (not is_new and self.resource.partition("/")[0] not in _OF_THE_CLUSTER)


_OF_THE_CLUSTER = frozenset(
    {
        "certificatesigningrequests",
        "clusterroles",
        "groups",
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
        "mutatingwebhookconfigurations",
        "nodes",
        "persistentvolumes",
        "uids",
        "userextras",
        "users",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "validatingwebhookconfigurations",
    }
)
"""Resources without a namespace."""


class RightHolder(NamedTuple):
    """An account with a right."""

    subject: Subject
    binding: Binding
    reason: str
    """Why it has the right on every K3s; empty if the site granted it."""
    rules: tuple[RbacRule, ...] = ()
    """The rules of the role that grant the right."""

    @property
    def is_everybody(self) -> bool:
        """Whether the account is that of all users, pods or nodes, or of pods without an own account."""
        subject = self.subject
        if subject.kind == "ServiceAccount":
            return subject.name == "default"
        if subject.kind == "Group":
            return subject.name in _EVERYBODY or subject.name.startswith(_ALL_ACCOUNTS_OF)
        return subject.name == "system:anonymous"


def holders(cluster: Cluster, rights: Iterable[RbacRight]) -> tuple[RightHolder, ...]:
    """Return each account that has one of the rights, with the binding that grants it, sorted by account."""
    rights = tuple(rights)
    named = [right._replace(on_named_objects=True) for right in rights if right.everybody_on_named_objects]
    found = _bound(cluster, rights)
    known = {holder[:2] for holder in found}
    everybody = (holder for holder in _bound(cluster, named) if holder.is_everybody and holder[:2] not in known)
    return _sorted([*found, *everybody])


def _bound(cluster: Cluster, rights: Sequence[RbacRight]) -> list[RightHolder]:
    """Return each account with a binding to a role that grants one of the rights."""
    everywhere = _granting(cluster, rights)
    inside = _granting(cluster, [right for right in rights if right.is_in_a_namespace])
    return [
        RightHolder(subject, binding, reason_of_account(subject, _role(binding), rules), tuple(rules))
        for binding in bindings(cluster)
        if (rules := (inside if binding.namespace else everywhere).get(_role(binding)))
        for subject in binding.subjects
    ]


def bound_to(cluster: Cluster, role: str) -> tuple[RightHolder, ...]:
    """Return each account that has a ClusterRole in the whole cluster, or in kube-system, whose accounts have it."""
    return _sorted(
        RightHolder(subject, binding, reason_of_account(subject, _role(binding), ()))
        for binding in bindings(cluster)
        if _role(binding) == ("", role) and binding.namespace in {"", SYSTEM_NAMESPACE}
        for subject in binding.subjects
    )


def of_default_accounts(cluster: Cluster) -> Iterator[RightHolder]:
    """Yield the bindings that give default ServiceAccounts rights on objects, by their name or by a group."""
    rules = {(role.namespace, role.name): [rule for rule in role.rules if rule.resources] for role in roles(cluster)}
    for binding in bindings(cluster):
        for subject in binding.subjects:
            granted = rules.get(_role(binding), [])
            if (subject.kind, subject.name) == ("ServiceAccount", "default"):
                yield RightHolder(subject, binding, "")
            elif (
                subject.kind == "Group"
                and (subject.name in _OF_PODS or subject.name.startswith(_ALL_ACCOUNTS_OF))
                and granted
                and not reason_of_account(subject, _role(binding), granted)
            ):
                yield RightHolder(subject, binding, "", tuple(granted))


def explanation(cluster: Cluster, review: AccessReview) -> str:
    """Return the binding, role and rule that grant what a review asks; empty if none does."""
    right = RbacRight(frozenset({review.verb}), review.group, review.resource)
    found = {(role.namespace, role.name): role for role in roles(cluster)}
    for binding in bindings(cluster):
        role = found.get(_role(binding))
        if role and binding.namespace in {"", review.namespace} and any(map(review.account.includes, binding.subjects)):
            for rule in role.rules:
                names = rule.names and review.name in rule.names
                if grants(rule, right._replace(on_named_objects=bool(names))):
                    return f"{binding} → {binding.role}: {rule}"
    return ""


def bindings(cluster: Cluster) -> Iterator[Binding]:
    """Yield all bindings."""
    yield from cluster.objects[Query.CLUSTER_ROLE_BINDINGS]
    yield from cluster.objects[Query.ROLE_BINDINGS]


def roles(cluster: Cluster) -> Iterator[RbacRole]:
    """Yield all roles."""
    yield from cluster.objects[Query.CLUSTER_ROLES]
    yield from cluster.objects[Query.ROLES]


def wildcard_rules(role: RbacRole, rights: Sequence[RbacRight]) -> list[RbacRule]:
    """Return the rules of a role that have `*` as a verb, resource or API group, or one of the rights by `*/exec`."""
    wild = ((rule, frozenset(item for item in rule.resources if item.startswith("*/"))) for rule in role.rules)
    return [
        rule
        for rule, of_each in wild
        if any(_ALL in part for part in rule[:3])
        or any(grants(rule._replace(resources=of_each), right) for right in (rights if of_each else ()))
    ]


def grants(rule: RbacRule, right: RbacRight) -> bool:
    """Return whether a rule grants a right."""
    if rule.names and not right.on_named_objects:
        return False
    return (
        not rule.resources.isdisjoint(_covering(right.resource))
        and not rule.groups.isdisjoint((right.group, _ALL))
        and not rule.verbs.isdisjoint((*right.verbs, _ALL))
    )


@cache
def _covering(resource: str) -> tuple[str, ...]:
    """Return the texts of a rule that cover a resource: `*/log` covers pods/log, and `pods` does not."""
    _, slash, sub = resource.partition("/")
    return (resource, _ALL, f"{_ALL}/{sub}") if slash else (resource, _ALL)


def _granting(cluster: Cluster, rights: Iterable[RbacRight]) -> dict[tuple[str, str], list[RbacRule]]:
    """Return the rules that grant one of the rights, by namespace and name of their role."""
    rights = tuple(rights)
    return {
        (role.namespace, role.name): [rule for rule in role.rules if any(grants(rule, right) for right in rights)]
        for role in roles(cluster)
    }


def _role(binding: Binding) -> tuple[str, str]:
    return (binding.namespace if binding.role_kind == "Role" else "", binding.role)


def _sorted(found: Iterable[RightHolder]) -> tuple[RightHolder, ...]:
    return tuple(sorted(found, key=lambda holder: (holder.subject, holder.binding.namespace, holder.binding.name)))
