"""Sample objects of the Kubernetes API as JSON, and sample clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent.cluster.kubernetes.queries import Cluster, Query
from agent.cluster.reader import parsed_object

Json = dict[str, Any]

SERVER = "https://127.0.0.1:6444"


def metadata(name: str, namespace: str = "", **more: Any) -> Json:
    return {"metadata": {"name": name, **({"namespace": namespace} if namespace else {}), **more}}


def namespace(name: str, enforce: str = "") -> Json:
    return metadata(name, labels={"pod-security.kubernetes.io/enforce": enforce} if enforce else {})


def account(name: str = "default", namespace: str = "shop", *, automounts: bool | None = None) -> Json:
    more = {} if automounts is None else {"automountServiceAccountToken": automounts}
    return {**metadata(name, namespace), **more}


def role(name: str, *rules: Json, namespace: str = "") -> Json:
    """Return a Role, or a ClusterRole without a namespace."""
    return {**metadata(name, namespace), "rules": list(rules)}


def rule(verbs: str, resources: str, groups: str = "", names: str = "") -> Json:
    found = {"verbs": verbs.split(), "resources": resources.split(), "apiGroups": groups.split() or [""]}
    return {**found, **({"resourceNames": names.split()} if names else {})}


def subject(text: str) -> Json:
    """Return a subject: `User anna`, `Group ops`, or `ServiceAccount shop/web`."""
    kind, _, name = text.partition(" ")
    if kind != "ServiceAccount":
        return {"kind": kind, "name": name}
    own, _, name = name.partition("/")
    return {"kind": kind, "namespace": own, "name": name}


def binding(name: str, role_name: str, *subjects: str, namespace: str = "", kind: str = "ClusterRole") -> Json:
    """Return a RoleBinding, or a ClusterRoleBinding without a namespace."""
    reference = {"kind": kind, "name": role_name}
    return {**metadata(name, namespace), "roleRef": reference, "subjects": [subject(name) for name in subjects]}


STRICT: Json = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""A security context that meets the standard `restricted`."""


def container(context: Json | None = STRICT, **fields: Any) -> Json:
    """Return a container; None is no security context."""
    return {"name": "app", **({} if context is None else {"securityContext": context}), **fields}


def pod(name: str, namespace: str = "shop", *containers: Json, owner: str = "", **spec: Any) -> Json:
    """Return a pod; without containers it has one that meets the standard `restricted`."""
    kind, _, controller = owner.partition(" ")
    owners = [{"kind": kind, "name": controller, "controller": True}] if owner else []
    defaults = {"containers": list(containers) or [container()], "securityContext": {}}
    return {**metadata(name, namespace, ownerReferences=owners), "spec": {**defaults, **spec}}


def cron_job(name: str, namespace: str, spec: Json) -> Json:
    return {**metadata(name, namespace), "spec": {"jobTemplate": {"spec": {"template": {"spec": spec}}}}}


def controller(name: str, namespace: str, spec: Json, *, owner: str = "", **fields: Any) -> Json:
    """Return a controller with the pod template of this specification; `fields` are others of its own."""
    made = pod(name, namespace, owner=owner)
    return {**made, "spec": {"template": {"spec": spec}, **fields}}


def network_policy(namespace: str, **spec: Any) -> Json:
    """Return a NetworkPolicy; without a specification it denies all incoming traffic of the namespace."""
    return {**metadata("policy", namespace), "spec": spec or {"podSelector": {}}}


def webhook(name: str, resources: str) -> Json:
    """Return a configuration with one webhook, which is called for the creation of these resources."""
    matched = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": resources.split()}
    return {**metadata(name), "webhooks": [{"rules": [matched]}]}


NEW: Mapping[Query, Sequence[Json]] = {
    Query.NAMESPACES: [namespace(name) for name in ("default", "kube-node-lease", "kube-public", "kube-system")],
    Query.CLUSTER_ROLES: [role("cluster-admin", rule("*", "*", "*"))],
    Query.CLUSTER_ROLE_BINDINGS: [binding("cluster-admin", "cluster-admin", "Group system:masters")],
    Query.DEFAULT_SERVICES: [metadata("kubernetes", "default")],
    Query.NODES: [{**metadata("node-1"), "status": {"conditions": [{"type": "Ready", "status": "True"}]}}],
}
"""The objects of a new cluster, without pods."""


def cluster(objects: Mapping[Query, Sequence[Json]], **fields: Any) -> Cluster:
    """Return a cluster with these objects in addition to those of NEW; other lists are empty."""
    found = {query: (*NEW.get(query, ()), *objects.get(query, ())) for query in Query}
    secrets = {Query.SECRETS: tuple(objects.get(Query.SECRETS, ()))}
    complete = {query: tuple(parsed_object(query, item) for item in items) for query, items in found.items()} | secrets
    return Cluster(SERVER, complete, {}, **fields)
