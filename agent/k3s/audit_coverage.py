"""Which of the requests that the benchmarks name an audit policy does not log. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.value import Value
from agent.base.yaml_reader import first_object, items, mappings, part, texts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath

    from agent.base.yaml_reader import Node, YamlMapping

_READ, _CHANGED = ("get", "list", "watch"), ("create", "update", "patch", "delete")
_CONNECTED = ("create", "get")
_REQUESTS = (
    *(("", resource, (*_READ, *_CHANGED)) for resource in ("secrets", "configmaps")),
    ("authentication.k8s.io", "tokenreviews", ("create",)),
    ("", "pods", _CHANGED),
    ("apps", "deployments", _CHANGED),
    *(("", f"pods/{name}", _CONNECTED) for name in ("exec", "attach", "portforward", "proxy")),
    ("", "services/proxy", _CONNECTED),
)
"""API group, resource and verbs (CIS Kubernetes Benchmark 3.2.2)."""
_STAGES_OF_A_REQUEST = frozenset({"RequestReceived", "ResponseComplete"})
_ALL_USERS = "system:authenticated"


class AuditGap(Value):
    """Requests that the policy does not log."""

    requests: str
    """Their verb and resource."""
    line: int
    """The line of the rule that decides; that of the policy if none matches."""
    is_for_all: bool
    """Whether no such request is logged; otherwise those of some users, namespaces or objects."""


def audit_gaps(data: bytes, path: PurePosixPath) -> tuple[AuditGap, ...]:
    """Return the gaps of a valid policy. Raises InputError for a file that is none."""
    policy = first_object(data, path)
    return tuple(gap for request in _requests() for gap in _gaps(policy, *request))


def _requests() -> Iterator[tuple[str, str, str]]:
    for group, name, verbs in _REQUESTS:
        yield from ((verb, group, name) for verb in verbs)


def _gaps(policy: Node | None, verb: str, group: str, resource: str) -> Iterator[AuditGap]:
    """Yield why requests of this kind are not logged: the first rule that matches a request decides."""
    for rule in mappings(part(policy, "rules")):
        if _matches(rule, verb, group, resource):
            stages = {*texts(part(policy, "omitStages")), *texts(rule.get("omitStages"))}
            is_logged = rule.text("level") != "None" and not stages >= _STAGES_OF_A_REQUEST
            is_for_all = _is_for_all(rule, group, resource)
            if not is_logged:
                yield AuditGap(f"{verb} {resource}", rule.line, is_for_all)
            if is_for_all:
                return
    yield AuditGap(f"{verb} {resource}", policy.line if policy else 0, is_for_all=True)


def _matches(rule: YamlMapping, verb: str, group: str, resource: str) -> bool:
    """Return whether a rule matches some such requests (apiserver, pkg/audit/policy/checker.go)."""
    verbs, resources = texts(rule.get("verbs")), list(mappings(rule.get("resources")))
    return (
        (not verbs or verb in verbs)
        and (not resources or any(_includes(item, group, resource) for item in resources))
        and (bool(resources or items(rule.get("namespaces"))) or not items(rule.get("nonResourceURLs")))
    )


def _includes(item: YamlMapping, group: str, resource: str) -> bool:
    name, _, subresource = resource.partition("/")
    names = {resource, "*", f"{name}/*", *((f"*/{subresource}",) if subresource else ())}
    listed = texts(item.get("resources"))
    return (item.text("group") or "") in {group, "*"} and (not listed or not names.isdisjoint(listed))


def _is_for_all(rule: YamlMapping, group: str, resource: str) -> bool:
    """Return whether a rule that matches some requests of a kind matches all of them."""
    groups = texts(rule.get("userGroups"))
    resources = list(mappings(rule.get("resources")))
    return (
        not items(rule.get("users"))
        and not items(rule.get("namespaces"))
        and (not groups or _ALL_USERS in groups)
        and (
            not resources
            or any(_includes(item, group, resource) and not items(item.get("resourceNames")) for item in resources)
        )
    )
