"""What the API server asks of an audit policy, looked at before it does. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent.errors import InputError
from agent.model import Location
from agent.yaml_reader import (
    Mapping,
    Scalar,
    Sequence,
    alternatives,
    in_words,
    left_in_placeholder,
    read,
    scalars,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath

    from agent.yaml_reader import Node

_LEVELS = ("None", "Metadata", "Request", "RequestResponse")
_STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")
_GROUP = r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?"


def problems(data: bytes, path: PurePosixPath) -> tuple[InputError, ...]:
    """What is wrong with an audit policy, nothing if the API server would take it and no placeholder was left in it.

    It must be `audit.k8s.io/v1`, the only version since 1.24, a `Policy` and have rules, each with a level
    (kubernetes, apiserver: pkg/audit/policy/reader.go and pkg/apis/audit/validation).
    """
    try:
        documents = read(data, path)
    except InputError as error:
        return (error,)
    # The API server takes the first document, and passes the others over.
    node = documents[0].node if documents else None
    if not isinstance(node, Mapping):
        return (InputError(Location(path), "it is empty or no mapping; an audit policy is wanted"),)
    return tuple(InputError(Location(path, line), problem) for line, problem in _policy_problems(node))


def _policy_problems(policy: Mapping) -> Iterator[tuple[int, str]]:
    for scalar in scalars(policy):
        placeholder = left_in_placeholder(scalar)
        if placeholder:
            yield scalar.line, placeholder
    for key, wanted in (("apiVersion", "audit.k8s.io/v1"), ("kind", "Policy")):
        node = policy.get(key)
        if policy.text(key) != wanted:
            yield (
                node.line if node else policy.line,
                f"`{key}` must be {wanted}; found {in_words(node) if node else 'nothing'}",
            )
    rules = policy.get("rules")
    if not isinstance(rules, Sequence) or not rules.items:
        line = rules.line if rules else policy.line
        yield line, "`rules` must be a list with at least one rule, else the API server does not start"
        return
    for rule in rules.items:
        if isinstance(rule, Mapping):
            yield from _rule_problems(rule)
        else:
            yield rule.line, f"a rule must be a mapping; found {in_words(rule)}"


def _rule_problems(rule: Mapping) -> Iterator[tuple[int, str]]:
    level = rule.get("level")
    if rule.text("level") not in _LEVELS:
        found = in_words(level) if level else "nothing"
        yield level.line if level else rule.line, f"`level` of a rule must be {alternatives(_LEVELS)}; found {found}"
    for stage in _listed(rule, "omitStages"):
        if not isinstance(stage, Scalar) or stage.value not in _STAGES:
            yield stage.line, f"`omitStages` must be {alternatives(_STAGES)}; found {in_words(stage)}"
    urls = _listed(rule, "nonResourceURLs")
    for url in urls:
        text = url.value if isinstance(url, Scalar) and isinstance(url.value, str) else ""
        if text != "*" and (not text.startswith("/") or "*" in text[:-1]):
            yield url.line, f"`nonResourceURLs` must begin with / and have * at their end alone; found {in_words(url)}"
    resources = _listed(rule, "resources")
    if urls and (resources or _listed(rule, "namespaces")):
        yield rule.line, "a rule cannot be for `nonResourceURLs` and for `resources` or `namespaces`, too"
    for resource in resources:
        yield from _resource_problems(resource)


def _resource_problems(resource: Node) -> Iterator[tuple[int, str]]:
    if not isinstance(resource, Mapping):
        yield resource.line, f"an item of `resources` must be a mapping with `group`; found {in_words(resource)}"
    else:
        group = resource.text("group")
        if group and not re.fullmatch(_GROUP, group):
            yield (
                resource.line,
                f"`group` must be an API group's name without a version; found '{shown(group)}'",
            )
        if _listed(resource, "resourceNames") and not _listed(resource, "resources"):
            yield resource.line, "`resourceNames` needs `resources` beside it"


def _listed(mapping: Mapping, key: str) -> tuple[Node, ...]:
    node = mapping.get(key)
    return node.items if isinstance(node, Sequence) else ()
