"""Audit policies: their problems by the rules of the API server, and the requests that they do not log. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from agent.base.errors import InputError
from agent.base.model import Location
from agent.base.value import Value
from agent.base.yaml_reader import (
    Node,
    Scalar,
    YamlMapping,
    YamlSequence,
    alternatives,
    describe_node,
    first_object,
    items,
    mappings,
    part,
    placeholder_problem,
    scalars,
    shown,
    texts,
)
from agent.k3s.go_values import is_subdomain
from agent.k3s.roles_and_versions import Version

_LEVELS = ("None", "Metadata", "Request", "RequestResponse")
_STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")
_STAGES_OF_A_REQUEST = frozenset({"RequestReceived", "ResponseComplete"})
"""The stages that every request has."""
_USER_GROUPS = "userGroups"
_ALL_USERS = "system:authenticated"
_ADMINISTRATORS = "system:masters"
"""The group of K3s' administrator, who may do everything."""
_EVERYBODY = frozenset({_ALL_USERS, "system:unauthenticated"})
"""Each user is in one of these groups."""
_SELECTORS = ("users", _USER_GROUPS, "verbs", "resources", "namespaces", "nonResourceURLs")
"""Keys of a rule that limit the requests it matches."""

_READ, _CHANGED = ("get", "list", "watch"), ("create", "update", "patch", "delete", "deletecollection")
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

_LONGEST_LIST = 200
"""Characters of a rule's users, verbs or resources that a summary shows."""

_ANY_GROUP_IN = 36
"""The first minor that accepts `*` as the group of a resource (apiserver, pkg/apis/audit/validation)."""


def policy_problems(data: bytes, path: PurePosixPath) -> tuple[InputError, ...]:
    """Return what the API server of any version rejects in an audit policy, and the remaining placeholders."""
    return _problems(data, path, placeholders=True, any_group=False)


def rejected_by_version(data: bytes, path: PurePosixPath, version: Version | None) -> tuple[InputError, ...]:
    """Return what the API server of this version rejects; for an unknown version, what all versions reject."""
    any_group = version is None or version.minor >= _ANY_GROUP_IN
    return _problems(data, path, placeholders=False, any_group=any_group)


def _problems(data: bytes, path: PurePosixPath, *, placeholders: bool, any_group: bool) -> tuple[InputError, ...]:
    """Return the problems; `any_group` is whether the API server accepts `*` as the group of a resource.

    A policy has the apiVersion `audit.k8s.io/v1` (the only one since 1.24), no other kind than `Policy`, and a rule
    (kubernetes, apiserver: pkg/audit/policy/reader.go and pkg/apis/audit/validation).
    """
    try:
        policy = _policy(data, path)
    except InputError as error:
        return (error,)
    # Only for a policy of the site.
    from agent.k3s.components.files.decoding import fields_of, nested_types, wrong_types

    filled_in = scalars(policy) if placeholders else ()
    found = [(scalar.line, problem) for scalar in filled_in if (problem := placeholder_problem(scalar))]
    found += _policy_problems(policy, any_group=any_group)
    lines = {line for line, _ in found}
    # The API server ignores fields that do not exist.
    types = wrong_types(policy, nested_types(fields_of("Policy", minor=0)), is_strict=False)
    found += [(line, problem) for line, problem, _ in types if line not in lines]
    return tuple(InputError(Location(path, line), problem) for line, problem in found)


def why_nothing_is_logged(data: bytes, path: PurePosixPath) -> int | None:
    """Return the line because of which the policy logs no request; None if it logs some.

    The first rule that matches a request decides. Raises InputError for a policy that the API server rejects.
    """
    policy = _policy(data, path)
    for line, problem in _policy_problems(policy, any_group=True):
        raise InputError(Location(path, line), problem)
    excluded: set[str] = set()
    for rule in mappings(policy.get("rules")):
        if _logs(policy, rule):
            return None
        selectors = [key for key in _SELECTORS if items(rule.get(key))]
        if selectors == [_USER_GROUPS]:
            excluded |= {*texts(rule.get(_USER_GROUPS))}
        if not selectors or excluded >= _EVERYBODY:
            return rule.line
    return policy.line


def rules_in_words(data: bytes, path: PurePosixPath) -> list[tuple[int, str]]:
    """Return the line and a summary of each rule. Raises InputError for a file that is not an audit policy."""
    rules = mappings(_policy(data, path).get("rules"))
    return [(rule.line, f"level {shown(rule.text('level') or '')} for {_requests(rule)}") for rule in rules]


def _requests(rule: YamlMapping) -> str:
    limits = {
        # The core API group is "".
        key: ", ".join(scalar.text for item in found for scalar in scalars(item) if scalar.text)
        for key in _SELECTORS
        if (found := items(rule.get(key)))
    }
    return "; ".join(f"{key} {shown(found, _LONGEST_LIST)}" for key, found in limits.items()) or "all requests"


def _policy(data: bytes, path: PurePosixPath) -> YamlMapping:
    node = first_object(data, path)
    if not isinstance(node, YamlMapping):
        raise InputError(Location(path), f"an audit policy must be a mapping; found {describe_node(node)}")
    return node


def _policy_problems(policy: YamlMapping, *, any_group: bool) -> Iterator[tuple[int, str]]:
    version, kind = policy.get("apiVersion"), policy.get("kind")
    if policy.text("apiVersion") != "audit.k8s.io/v1":
        found = describe_node(version)
        yield (version or policy).line, f"`apiVersion` must be audit.k8s.io/v1; found {found}"
    # The kind can be missing, because the API server decodes the file into a Policy.
    if kind is not None and not (isinstance(kind, Scalar) and kind.value in ("Policy", "", None)):
        yield kind.line, f"`kind` must be Policy; found {describe_node(kind)}"
    yield from _stage_problems(policy)
    rules = policy.get("rules")
    if not isinstance(rules, YamlSequence) or not rules.items:
        yield (rules or policy).line, "`rules` must be a list with at least one rule"
        return
    for rule in rules.items:
        if isinstance(rule, YamlMapping):
            yield from _rule_problems(rule, any_group=any_group)
        else:
            yield rule.line, f"a rule must be a mapping; found {describe_node(rule)}"


def _rule_problems(rule: YamlMapping, *, any_group: bool) -> Iterator[tuple[int, str]]:
    if rule.text("level") not in _LEVELS:
        level = rule.get("level")
        found = describe_node(level)
        yield (level or rule).line, f"`level` of a rule must be {alternatives(_LEVELS)}; found {found}"
    yield from _stage_problems(rule)
    urls = items(rule.get("nonResourceURLs"))
    for url in urls:
        text = url.value if isinstance(url, Scalar) and isinstance(url.value, str) else ""
        if text != "*" and (not text.startswith("/") or "*" in text[:-1]):
            yield url.line, f"`nonResourceURLs` must start with / and can only end in *; found {describe_node(url)}"
    resources = items(rule.get("resources"))
    if urls and (resources or items(rule.get("namespaces"))):
        yield rule.line, "a rule with `nonResourceURLs` cannot have `resources` or `namespaces`"
    for resource in resources:
        yield from _resource_problems(resource, any_group=any_group)


def _stage_problems(mapping: YamlMapping) -> Iterator[tuple[int, str]]:
    for stage in items(mapping.get("omitStages")):
        if not isinstance(stage, Scalar) or stage.value not in _STAGES:
            yield stage.line, f"`omitStages` must be {alternatives(_STAGES)}; found {describe_node(stage)}"


def _resource_problems(resource: Node, *, any_group: bool) -> Iterator[tuple[int, str]]:
    if not isinstance(resource, YamlMapping):
        yield resource.line, f"an item of `resources` must be a mapping with `group`; found {describe_node(resource)}"
        return
    group = resource.text("group")
    if group and not (any_group and group == "*") and not is_subdomain(group):
        yield resource.line, f"`group` must be the name of an API group without a version; found '{shown(group)}'"
    if items(resource.get("resourceNames")) and not items(resource.get("resources")):
        yield resource.line, "`resourceNames` requires `resources` in the same item"


class AuditGap(Value):
    """Requests that the policy does not log."""

    requests: str
    """Their verb and resource."""
    line: int
    """The line of the rule that decides; that of the policy if none matches."""
    is_for_all: bool
    """Whether no such request is logged, at least of administrators; otherwise those of some users, namespaces or
    objects."""


def audit_gaps(data: bytes, path: PurePosixPath) -> tuple[AuditGap, ...]:
    """Return the gaps of a valid policy. Raises InputError for a file that is none."""
    policy = first_object(data, path)
    requests = ((verb, group, name) for group, name, verbs in _REQUESTS for verb in verbs)
    return tuple(dict.fromkeys(gap for request in requests for gap in _gaps(policy, *request)))


def _gaps(policy: Node | None, verb: str, group: str, resource: str) -> Iterator[AuditGap]:
    """Yield why requests of this kind are not logged: the first rule that matches a request decides."""
    for of in ((_ALL_USERS, _ADMINISTRATORS), (_ALL_USERS,)):
        for rule in mappings(part(policy, "rules")):
            if _matches(rule, verb, group, resource):
                is_for_all = _is_for_all(rule, group, resource, of)
                if not _logs(policy, rule):
                    yield AuditGap(f"{verb} {resource}", rule.line, is_for_all)
                if is_for_all:
                    break
        else:
            yield AuditGap(f"{verb} {resource}", policy.line if policy else 0, is_for_all=True)


def _logs(policy: Node | None, rule: YamlMapping) -> bool:
    stages = {*texts(part(policy, "omitStages")), *texts(rule.get("omitStages"))}
    return rule.text("level") != "None" and not stages >= _STAGES_OF_A_REQUEST


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


def _is_for_all(rule: YamlMapping, group: str, resource: str, of: tuple[str, ...]) -> bool:
    """Return whether a rule that matches some requests of a kind matches all of them that members of groups make."""
    groups = texts(rule.get("userGroups"))
    resources = list(mappings(rule.get("resources")))
    return (
        not items(rule.get("users"))
        and not items(rule.get("namespaces"))
        and (not groups or not {*groups}.isdisjoint(of))
        and (
            not resources
            or any(_includes(item, group, resource) and not items(item.get("resourceNames")) for item in resources)
        )
    )
