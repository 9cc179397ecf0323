"""Objects and accounts that K3s and Kubernetes create, with the content that they have and the reason for it.

An object that has the name of one of these, but more rights or another content, belongs to the site.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import starmap
from typing import NamedTuple

from agent.base import package_data
from agent.cluster.kubernetes.objects import RbacRole, RbacRule, Subject, Workload, as_list, at
from agent.cluster.kubernetes.pod_security import LATEST, PodSecurityLevel, violations

SYSTEM_NAMESPACE = "kube-system"
OWN_NAMESPACES = {
    SYSTEM_NAMESPACE: "it has only pods of K3s",
    "kube-public": "it has no pods of the site",
    "kube-node-lease": "it has no pods of the site",
}
"""The namespaces that Kubernetes creates for itself, each with the reason why it needs no standard."""

SYSTEM_MASTERS = Subject("Group", "", "system:masters")
CLUSTER_ADMIN = "cluster-admin"
_DEBUG = "/debug/"


class _BuiltInRole(NamedTuple):
    """A role of K3s or Kubernetes, a row of built_in_roles.tsv."""

    reason: str
    rules: tuple[RbacRule, ...]
    holders: dict[Subject, str]


@cache
def _roles() -> dict[tuple[str, str], _BuiltInRole]:
    """Return the roles by namespace and name."""

    def rule(text: str) -> RbacRule:
        verbs, resources, groups = (frozenset(words.split()) for words in text.split("|"))
        return RbacRule(verbs, groups or frozenset({""}), resources, frozenset())

    return {
        (namespace, name): _BuiltInRole(
            reason, tuple(map(rule, rules.split("; "))), dict(map(_holder, holders.split("; ")))
        )
        for namespace, name, reason, rules, holders in package_data.rows("cluster", "kubernetes", "built_in_roles.tsv")
    }


def _holder(text: str) -> tuple[Subject, str]:
    account, _, reason = text.partition(": ")
    kind, _, path = account.partition(" ")
    namespace, _, name = path.rpartition("/")
    return Subject(kind, namespace, name), reason


class _PackagedWorkload(NamedTuple):
    """A controller that K3s creates in kube-system, a row of packaged_workloads.tsv."""

    kind: str
    name: str
    account: str
    images: str
    adds: str
    host_ports: str
    reason: str


@cache
def _workloads() -> tuple[_PackagedWorkload, ...]:
    return tuple(starmap(_PackagedWorkload, package_data.rows("cluster", "kubernetes", "packaged_workloads.tsv")))


def reason_of_account(subject: Subject, role: tuple[str, str], rules: Iterable[RbacRule]) -> str:
    """Return why an account has these rules of a role on every K3s; empty if the site granted them.

    `role` is its namespace and name.
    """
    found = _roles().get(role)
    return found.holders.get(subject, "") if found is not None and _is_covered(rules, found) else ""


def reason_of_role(role: RbacRole, rules: Iterable[RbacRule]) -> str:
    """Return why a role has these rules, which have wildcards, on every K3s; empty if the site created them."""
    found = _roles().get((role.namespace, role.name))
    if found is None or (any(map(is_wildcard, role.urls)) and role.name != CLUSTER_ADMIN):
        return ""
    return found.reason if _is_covered(rules, found) else ""


def is_wildcard(url: str) -> bool:
    """Return whether a URL of a role covers all URLs, or those of the API server's profiles and log level."""
    prefix = url.rstrip("*")
    return prefix != url and (prefix.startswith(_DEBUG) or _DEBUG.startswith(prefix))


def _is_covered(rules: Iterable[RbacRule], built_in: _BuiltInRole) -> bool:
    # `names` limits a rule further.
    return all(
        any(all("*" in most or part <= most for most, part in zip(known[:3], rule[:3])) for known in built_in.rules)
        for rule in rules
    )


def reason_of_workload(workload: Workload, registry: str = "") -> str:
    """Return why K3s itself runs a pod or controller; empty if the site runs it, or has changed it.

    `registry` is K3s' option system-default-registry.
    """
    kind, _, name = workload.controller.partition(" ")
    kind, name = (kind, name) if kind else (workload.kind, workload.name)
    for row in _workloads():
        is_named = name.startswith(row.name) if row.name.endswith("-") else name == row.name
        if is_named and (kind, workload.account) == (row.kind, row.account) and _is_unchanged(workload, row, registry):
            return row.reason
    return ""


def _is_unchanged(workload: Workload, row: _PackagedWorkload, registry: str) -> bool:
    """Return whether it has the images and no more privileges than those that K3s ships."""
    shipped = {"capabilities_baseline", "sysctls", *(["hostPorts"] if row.host_ports else [])}
    adds = (
        name
        for container in workload.containers
        for name in as_list(at(container.own_context, "capabilities").get("add"))
    )
    return (
        workload.namespace == SYSTEM_NAMESPACE
        and all(_repository(container.image, registry) in row.images.split() for container in workload.containers)
        and all(name in row.adds.split() for name in adds)
        and {found.rule for found in violations(workload.template, PodSecurityLevel.BASELINE, LATEST)} <= shipped
    )


def _repository(image: str, registry: str) -> str:
    """Return an image without its registry, if K3s uses that one, and without tag and digest."""
    name = image.partition("@")[0]
    for known in filter(None, ("docker.io", registry)):
        name = name.removeprefix(f"{known.rstrip('/')}/")
    return name.partition(":")[0]
