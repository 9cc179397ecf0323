"""The authorization configuration of the API server. Expressions of CEL are not checked. Pure."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent import yaml_reader
from agent.errors import InputError
from agent.k3s.components.files import decoding, schema
from agent.k3s.components.files.decoding import CONFIG_GROUP, HEAD
from agent.k3s.components.files.schema import Problem
from agent.k3s.components.names import is_subdomain
from agent.k3s.components.values import SECOND
from agent.yaml_reader import Mapping, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


_AUTHORIZATION: schema.Schema = {
    **HEAD,
    "authorizers": [
        {
            "type": "string",
            "name": "string",
            "webhook": {
                **dict.fromkeys(("authorizedTTL", "timeout", "unauthorizedTTL"), "duration"),
                **dict.fromkeys(("cacheAuthorizedRequests", "cacheUnauthorizedRequests"), "bool"),
                **dict.fromkeys(
                    (
                        *("failurePolicy", "matchConditionSubjectAccessReviewVersion"),
                        "subjectAccessReviewVersion",
                    ),
                    "string",
                ),
                "connectionInfo": {"type": "string", "kubeConfigFile": "string"},
                "matchConditions": [{"expression": "string"}],
            },
        }
    ],
}
_AUTHORIZERS = ("AlwaysAllow", "AlwaysDeny", "ABAC", "Webhook", "RBAC", "Node")


def problems(
    data: bytes, path: PurePosixPath, missing: Callable[[PurePosixPath], bool], *, has_policy: bool
) -> Iterator[InputError]:
    """Yield what the API server rejects in an authorization configuration.

    `missing` returns whether the kubeconfig of a webhook is missing, and `has_policy` is whether the argument
    authorization-policy-file is set.
    """
    versions = tuple(f"{CONFIG_GROUP}/{one}" for one in ("v1", "v1beta1", "v1alpha1"))
    root = decoding.read(data, path, "AuthorizationConfiguration", versions)
    if isinstance(root, InputError):
        yield root
        return
    yield from decoding.located(schema.problems(root, _AUTHORIZATION), path)
    authorizers = decoding.mappings(root.get("authorizers"))
    if not authorizers:
        yield decoding.error(path, Problem(root.line, "`authorizers` must contain at least one authorizer"))
    kinds = [one.text("type") for one in authorizers if one.text("type") != "Webhook"]
    if len(set(kinds)) != len(kinds):
        yield decoding.error(path, Problem(root.line, "`authorizers` contains a type other than Webhook twice"))
    names: set[str] = set()
    for one in authorizers:
        yield from decoding.located(_authorizer(one, names, missing, has_policy=has_policy), path)


def _authorizer(
    one: Mapping, names: set[str], missing: Callable[[PurePosixPath], bool], *, has_policy: bool
) -> Iterator[Problem]:
    kind, name, webhook = one.text("type"), one.text("name"), one.get("webhook")
    if kind not in _AUTHORIZERS:
        yield Problem(one.line, f"`type` must be {yaml_reader.alternatives(_AUTHORIZERS)}")
    if not name or name in names:
        yield Problem(one.line, "each authorizer must have a `name` of its own")
    elif kind != "Webhook" and kind in _AUTHORIZERS and name != kind.lower():
        yield Problem(one.line, f"the authorizer {kind} must have the name {kind.lower()}")
    elif not is_subdomain(name):
        yield Problem(one.line, "`name` must consist of at most 253 lower case letters, digits, - and .")
    if (kind == "Webhook") is not decoding.is_set(webhook):
        yield Problem(one.line, "`webhook` must be set for the type Webhook, and only for it")
    elif isinstance(webhook, Mapping):
        yield from _webhook(webhook, missing)
    if kind == "ABAC" and not has_policy:
        yield Problem(one.line, "the type ABAC needs the argument authorization-policy-file")
    names.add(name or "")


def webhook_files(data: bytes, path: PurePosixPath) -> list[PurePosixPath]:
    """Return the kubeconfigs that an authorization configuration names; none if it cannot be decoded."""
    root = decoding.first(data, path, "authorization configuration")
    found = []
    for one in decoding.mappings(root.get("authorizers") if isinstance(root, Mapping) else None):
        file = decoding.part(decoding.part(one, "webhook"), "connectionInfo").text("kubeConfigFile")
        if file and file.startswith("/"):
            found.append(PurePosixPath(file))
    return found


_LONGEST_TIMEOUT = 30 * SECOND


def _webhook(webhook: Mapping, missing: Callable[[PurePosixPath], bool]) -> Iterator[Problem]:
    line = webhook.line
    timeout = decoding.duration_of(webhook, "timeout")
    if timeout is None or not 0 < timeout <= _LONGEST_TIMEOUT:
        yield Problem(line, "`webhook.timeout` must be more than 0s, and at most 30s")
    for key in ("authorizedTTL", "unauthorizedTTL"):
        if (decoding.duration_of(webhook, key) or 0) < 0:
            yield Problem(line, f"`webhook.{key}` must be more than 0s")
    conditions = decoding.mappings(webhook.get("matchConditions"))
    for key, allowed in (
        ("subjectAccessReviewVersion", ("v1", "v1beta1")),
        ("matchConditionSubjectAccessReviewVersion", ("v1",) if conditions else ("v1", "", None)),
        ("failurePolicy", ("NoOpinion", "Deny")),
    ):
        if webhook.text(key) not in allowed:
            yield Problem(line, f"`webhook.{key}` must be {yaml_reader.alternatives(filter(None, allowed))}")
    if any(not (one.text("expression") or "").strip() for one in conditions):
        yield Problem(line, "an item of `webhook.matchConditions` must contain an expression")
    connection = decoding.part(webhook, "connectionInfo")
    kind, file = connection.text("type"), connection.text("kubeConfigFile") or ""
    if kind not in ("InClusterConfig", "KubeConfigFile"):
        yield Problem(line, "`webhook.connectionInfo.type` must be InClusterConfig or KubeConfigFile")
    elif (kind == "KubeConfigFile") is not file.startswith("/"):
        yield Problem(line, "`webhook.connectionInfo.kubeConfigFile` must be an absolute path for KubeConfigFile")
    elif file and missing(PurePosixPath(file)):
        yield Problem(line, f"`webhook.connectionInfo` requires a file at {shown(file)}")
