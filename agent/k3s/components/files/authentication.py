"""The authentication configuration of the API server. Expressions of CEL are not checked. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent.errors import InputError
from agent.k3s.components.files import decoding, schema
from agent.k3s.components.files.decoding import CONFIG_GROUP, HEAD
from agent.k3s.components.files.schema import Problem
from agent.yaml_reader import Mapping, Scalar, Sequence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath

    from agent.yaml_reader import Node


_CLAIM: dict[str, schema.Schema] = dict.fromkeys(("claim", "expression"), "string")
_AUTHENTICATION: schema.Schema = {
    **HEAD,
    "jwt": [
        {
            "issuer": {
                **dict.fromkeys(("audienceMatchPolicy", "certificateAuthority", "discoveryURL"), "string"),
                **dict.fromkeys(("egressSelectorType", "url"), "string"),
                "audiences": ["string"],
            },
            "claimValidationRules": [{**_CLAIM, "message": "string", "requiredValue": "string"}],
            "claimMappings": {
                "groups": {**_CLAIM, "prefix": "string"},
                "username": {**_CLAIM, "prefix": "string"},
                "extra": [{"key": "string", "valueExpression": "string"}],
                "uid": _CLAIM,
            },
            "userValidationRules": [{"expression": "string", "message": "string"}],
        }
    ],
    "anonymous": {"enabled": "bool", "conditions": [{"path": "string"}]},
}


def problems(data: bytes, path: PurePosixPath, *, has_anonymous_auth: bool) -> Iterator[InputError]:
    """Yield what the API server rejects in an authentication configuration.

    `has_anonymous_auth` is whether the argument anonymous-auth is set, too.
    """
    versions = tuple(f"{CONFIG_GROUP}/{one}" for one in ("v1", "v1beta1", "v1alpha1"))
    root = decoding.read(data, path, "AuthenticationConfiguration", versions)
    if isinstance(root, InputError):
        yield root
        return
    yield from decoding.located(schema.problems(root, _AUTHENTICATION), path)
    anonymous = root.get("anonymous")
    if has_anonymous_auth and decoding.is_set(anonymous) and anonymous is not None:
        yield decoding.error(
            path, Problem(anonymous.line, "`anonymous` cannot be set beside the argument anonymous-auth")
        )
    if isinstance(anonymous, Mapping) and decoding.mappings(anonymous.get("conditions")):
        enabled = anonymous.get("enabled")
        if not isinstance(enabled, Scalar) or enabled.value is not True:
            yield decoding.error(path, Problem(anonymous.line, "`anonymous.conditions` requires `enabled: true`"))
    seen: set[str] = set()
    for jwt in decoding.mappings(root.get("jwt")):
        yield from decoding.located(_issuer(jwt, seen), path)


def _issuer(jwt: Mapping, seen: set[str]) -> Iterator[Problem]:
    issuer = decoding.part(jwt, "issuer")
    url = issuer.text("url")
    if not url or _url_problem(url):
        yield Problem(issuer.line, _url_problem(url or "").format("issuer.url"))
    elif url in seen:
        yield Problem(issuer.line, "two items of `jwt` have the same `issuer.url`")
    seen.add(url or "")
    yield from _discovery(issuer, url or "")
    yield from _audiences(issuer)
    yield from _claims(jwt)


def _discovery(issuer: Mapping, url: str) -> Iterator[Problem]:
    discovery = issuer.text("discoveryURL") or ""
    if discovery and _url_problem(discovery):
        yield Problem(issuer.line, _url_problem(discovery).format("issuer.discoveryURL"))
    elif discovery and discovery.rstrip("/") == url.rstrip("/"):
        yield Problem(issuer.line, "`issuer.discoveryURL` must differ from `issuer.url`")
    authority = issuer.text("certificateAuthority")
    if authority and "CERTIFICATE-----" not in authority:
        yield Problem(issuer.line, "`issuer.certificateAuthority` must contain a certificate in the PEM format")


def _claims(jwt: Mapping) -> Iterator[Problem]:
    claims = decoding.part(jwt, "claimMappings")
    username = claims.get("username")
    if not isinstance(username, Mapping) or not (username.text("claim") or username.text("expression")):
        yield Problem(jwt.line, "`claimMappings.username` must contain a claim or an expression")
    for name in ("username", "groups"):
        yield from _claim(claims.get(name), f"claimMappings.{name}")
    yield from _uid_and_extra(claims)
    for rule in decoding.mappings(jwt.get("claimValidationRules")):
        if bool(rule.text("claim")) is bool(rule.text("expression")):
            yield Problem(rule.line, "an item of `claimValidationRules` must contain either a claim or an expression")
    for rule in decoding.mappings(jwt.get("userValidationRules")):
        if not rule.text("expression"):
            yield Problem(rule.line, "an item of `userValidationRules` must contain an expression")


def _url_problem(url: str) -> str:
    """Return what is wrong with the URL of an issuer, with {} for the name of its field; empty if nothing."""
    if not url.startswith("https://"):
        return "`{}` must be an https URL"
    has_user = "@" in url[len("https://") :].partition("/")[0]
    if has_user or re.search("[?].|#.", url):
        return "`{}` must not contain a user name, a query or a fragment"
    return ""


def _audiences(issuer: Mapping) -> Iterator[Problem]:
    node = issuer.get("audiences")
    audiences = [one.text for one in node.items if isinstance(one, Scalar)] if isinstance(node, Sequence) else []
    line = (node or issuer).line
    if not audiences:
        yield Problem(line, "`issuer.audiences` must contain at least one audience")
    elif "" in audiences or len(set(audiences)) != len(audiences):
        yield Problem(line, "`issuer.audiences` must contain texts, each once")
    policy = issuer.text("audienceMatchPolicy") or ""
    if audiences and policy != "MatchAny" and (policy or len(audiences) > 1):
        yield Problem(line, "`issuer.audienceMatchPolicy` must be MatchAny")


def _uid_and_extra(claims: Mapping) -> Iterator[Problem]:
    uid = claims.get("uid")
    if isinstance(uid, Mapping) and uid.text("claim") and uid.text("expression"):
        yield Problem(uid.line, "`claimMappings.uid` cannot contain both a claim and an expression")
    for extra in decoding.mappings(claims.get("extra")):
        domain, slash, _ = (extra.text("key") or "").partition("/")
        if not slash or not domain or f".{domain}".endswith((".k8s.io", ".kubernetes.io")):
            yield Problem(extra.line, "`key` must begin with a domain of your own and a slash")
        if not extra.text("valueExpression"):
            yield Problem(extra.line, "`valueExpression` must be set")


def _claim(node: Node | None, name: str) -> Iterator[Problem]:
    if isinstance(node, Mapping) and node.text("claim"):
        if node.text("expression"):
            yield Problem(node.line, f"`{name}` cannot contain both a claim and an expression")
        elif not decoding.is_set(node.get("prefix")):
            yield Problem(node.line, f"`{name}` must contain a prefix, which can be empty")
