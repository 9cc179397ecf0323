"""Admission engines of a site: webhooks and policies that can reject a pod, and the namespaces for which they can."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from agent.cluster.kubernetes.objects import (
    Json,
    Namespace,
    as_list,
    as_mapping,
    as_string,
    at,
    identity,
    rule_texts,
    selects,
)
from agent.cluster.kubernetes.queries import Cluster, Query

ENGINES = (
    Query.VALIDATING_WEBHOOKS,
    Query.MUTATING_WEBHOOKS,
    Query.ADMISSION_POLICIES,
    Query.ADMISSION_POLICY_BINDINGS,
)
"""The queries that this module needs."""


class AdmissionEngine(NamedTuple):
    """A webhook configuration, or a policy."""

    kind: str
    name: str
    selectors: tuple[Json, ...] = ()
    """The namespaceSelector of each of its webhooks, or that of the policy, if it is about every new pod."""

    @property
    def title(self) -> str:
        """Its kind and name."""
        return f"{self.kind} {self.name}"

    def decides_in(self, namespace: Namespace) -> bool:
        """Return whether it is called for every new pod of a namespace."""
        return any(selects(selector, namespace.labels) for selector in self.selectors)


class PolicyBinding(NamedTuple):
    """A ValidatingAdmissionPolicyBinding."""

    policy: str
    selectors: tuple[Json, ...]
    """Its namespaceSelector, if it rejects what the policy forbids in every new pod."""


def engines(cluster: Cluster) -> Iterator[tuple[AdmissionEngine, tuple[PolicyBinding, ...]]]:
    """Yield the engines that can reject a pod, each policy with the bindings by which it can."""
    for query in (Query.VALIDATING_WEBHOOKS, Query.MUTATING_WEBHOOKS):
        yield from ((engine, ()) for engine in cluster.objects[query] if engine.selectors)
    for policy in cluster.objects[Query.ADMISSION_POLICIES]:
        of_policy = (item for item in cluster.objects[Query.ADMISSION_POLICY_BINDINGS] if item.policy == policy.name)
        bound = tuple(item for item in of_policy if item.selectors)
        if policy.selectors and bound:
            yield policy, bound


def engines_of(cluster: Cluster, namespace: Namespace) -> list[str]:
    """Return the titles of the engines that can reject a pod in a namespace."""
    return [
        engine.title
        for engine, bound in engines(cluster)
        if engine.decides_in(namespace)
        and (not bound or any(selects(selector, namespace.labels) for item in bound for selector in item.selectors))
    ]


def webhook(kind: str, item: Json) -> AdmissionEngine:
    """Return a configuration of webhooks of this kind."""
    hooks = map(as_mapping, as_list(as_mapping(item).get("webhooks")))
    found = (hook.get("namespaceSelector") for hook in hooks if _is_about_pods(hook, hook.get("rules")))
    return AdmissionEngine(kind, identity(item)[1], tuple(map(as_mapping, found)))


def admission_policy(item: Json) -> AdmissionEngine:
    """Return a ValidatingAdmissionPolicy."""
    constraints = at(item, "spec", "matchConstraints")
    is_about_pods = _is_about_pods(constraints, constraints.get("resourceRules"))
    selectors = (as_mapping(constraints.get("namespaceSelector")),) if is_about_pods else ()
    return AdmissionEngine("ValidatingAdmissionPolicy", identity(item)[1], selectors)


def policy_binding(item: Json) -> PolicyBinding:
    """Return a ValidatingAdmissionPolicyBinding."""
    spec = at(item, "spec")
    resources = at(spec, "matchResources")
    rules = resources.get("resourceRules") or [_ANY]
    denies = "Deny" in as_list(spec.get("validationActions")) and _is_about_pods(resources, rules)
    selectors = (as_mapping(resources.get("namespaceSelector")),) if denies else ()
    return PolicyBinding(as_string(spec.get("policyName")), selectors)


_ANY: Json = {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}


def _is_about_pods(matches: Mapping[str, Json], rules: Json) -> bool:
    """Return whether requests to create a pod match, whatever its name is and without any label."""
    return (
        any(map(_creates_pods, as_list(rules)))
        and not any(map(_creates_pods, as_list(matches.get("excludeResourceRules"))))
        and selects(matches.get("objectSelector"), {})
    )


def _creates_pods(item: Json) -> bool:
    rule = as_mapping(item)
    parts = (("apiGroups", ""), ("apiVersions", "v1"), ("operations", "CREATE"))
    return (
        all(not {"*", value}.isdisjoint(rule_texts(rule.get(key))) for key, value in parts)
        and not {"*", "*/*", "pods"}.isdisjoint(rule_texts(rule.get("resources")))
        and rule.get("scope") != "Cluster"
        and not rule.get("resourceNames")
    )
