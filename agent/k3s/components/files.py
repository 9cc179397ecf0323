"""Configuration files of the API server at which it exits: admission, encryption, authentication, keys. Pure."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent import yaml_reader
from agent.errors import InputError
from agent.k3s.admission_plugins import POD_SECURITY
from agent.k3s.components import schema
from agent.k3s.components.kubelet import DOMAIN
from agent.k3s.components.schema import Problem
from agent.k3s.components.values import SECOND, InvalidValueError, duration
from agent.yaml_reader import Mapping, Scalar, Sequence, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.yaml_reader import Node

_HEAD: dict[str, schema.Schema] = {"apiVersion": "string", "kind": "string"}

_ADMISSION: schema.Schema = {
    **_HEAD,
    "plugins": [{"name": "string", "path": "string", "configuration": "object"}],
}
_POD_SECURITY: schema.Schema = {
    **_HEAD,
    "defaults": dict.fromkeys(
        ("enforce", "enforce-version", "audit", "audit-version", "warn", "warn-version"), "string"
    ),
    "exemptions": {"usernames": ["string"], "namespaces": ["string"], "runtimeClasses": ["string"]},
}
_KEYS: schema.Schema = {"keys": [{"name": "string", "secret": "string"}]}
_ENCRYPTION: schema.Schema = {
    **_HEAD,
    "resources": [
        {
            "resources": ["string"],
            "providers": [
                {
                    "aesgcm": _KEYS,
                    "aescbc": _KEYS,
                    "secretbox": _KEYS,
                    "identity": {},
                    "kms": {
                        "apiVersion": "string",
                        "name": "string",
                        "cachesize": "int32",
                        "endpoint": "string",
                        "timeout": "duration",
                    },
                }
            ],
        }
    ],
}
_AUTHENTICATION: schema.Schema = {
    **_HEAD,
    "jwt": [
        {
            "issuer": "object",
            "claimValidationRules": ["object"],
            "claimMappings": "object",
            "userValidationRules": ["object"],
        }
    ],
    "anonymous": {"enabled": "bool", "conditions": [{"path": "string"}]},
}
_AUTHORIZATION: schema.Schema = {
    **_HEAD,
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

_CONFIG_GROUP = "apiserver.config.k8s.io"
_LEVELS = ("privileged", "baseline", "restricted")
_VERSION = r"latest|v1\.(?:[0-9]|[1-9][0-9]*)"
_AES = (16, 24, 32)
_KEY_SIZES = {"aescbc": _AES, "aesgcm": _AES, "secretbox": (32,)}
_AUTHORIZERS = ("AlwaysAllow", "AlwaysDeny", "ABAC", "Webhook", "RBAC", "Node")


def admission(
    data: bytes,
    path: PurePosixPath,
    missing: Callable[[PurePosixPath], bool],
    enabled: Callable[[str], bool],
    content: Callable[[PurePosixPath], bytes | None] = lambda _: None,
) -> Iterator[InputError]:
    """Yield what the API server rejects in its admission configuration, and in the files that it names for plugins.

    `missing` returns whether such a file is missing, `content` its content or None if that is unknown, and `enabled`
    whether a plugin is enabled. The API server reads no entry of a plugin that is disabled.
    """
    root = read(data, path, "AdmissionConfiguration", (f"{_CONFIG_GROUP}/v1", "apiserver.k8s.io/v1alpha1"))
    if isinstance(root, InputError):
        yield root
        return
    yield from located(schema.problems(root, _ADMISSION), path)
    seen: set[str | None] = set()
    for plugin in mappings(root.get("plugins")):
        name = plugin.text("name")
        if name in seen:
            continue  # the API server uses the first entry
        seen.add(name)
        if name not in _PLUGINS or not enabled(name):
            continue
        configuration, file = plugin.get("configuration"), plugin.text("path")
        if is_set(configuration) and configuration is not None:
            yield from located(_PLUGINS[name](configuration), path)
        elif file:
            named = path.parent / file
            if missing(named):
                line = (plugin.get("path") or plugin).line
                yield error(path, Problem(line, f"the plugin {name} requires a file at {shown(str(named))}"))
            else:
                yield from _plugin_file(name, named, content(named))


def _plugin_file(name: str, path: PurePosixPath, data: bytes | None) -> Iterator[InputError]:
    if data is None or (not data and name == POD_SECURITY):
        return  # an empty file is the default configuration of PodSecurity
    root = first(data, path, "configuration of a plugin")
    if isinstance(root, InputError):
        yield root
    else:
        yield from located(_PLUGINS[name](root), path)


def plugins(data: bytes, path: PurePosixPath) -> Iterator[tuple[str, int]]:
    """Yield the names of the entries of an admission configuration, with their lines.

    Raises InputError if the file is not YAML.
    """
    root = yaml_reader.read_first(data, path)
    for plugin in mappings(root.get("plugins") if isinstance(root, Mapping) else None):
        name = plugin.text("name")
        if name:
            yield name, (plugin.get("name") or plugin).line


def _pod_security(node: Node) -> Iterator[Problem]:
    if not isinstance(node, Mapping):
        return
    group = "pod-security.admission.config.k8s.io"
    yield from head(
        node, ("PodSecurityConfiguration",), tuple(f"{group}/{one}" for one in ("v1", "v1beta1", "v1alpha1"))
    )
    yield from schema.problems(node, _POD_SECURITY)
    for entry in _entries(node.get("defaults")):
        if isinstance(entry.node, Scalar) and isinstance(entry.node.value, str) and entry.node.value:
            is_version = entry.key.endswith("-version")
            text = entry.node.value
            if is_version and not re.fullmatch(_VERSION, text, re.ASCII):
                yield Problem(entry.line, f"`{entry.key}` must be latest or v1.x; found '{shown(text)}'")
            elif not is_version and text not in _LEVELS:
                expected = yaml_reader.alternatives(_LEVELS)
                yield Problem(entry.line, f"`{shown(entry.key)}` must be {expected}; found '{shown(text)}'")
    exemptions = node.get("exemptions")
    for key, pattern, length in (("namespaces", _LABEL, 63), ("runtimeClasses", DOMAIN, 253), ("usernames", ".+", 0)):
        yield from _names(exemptions.get(key) if isinstance(exemptions, Mapping) else None, key, pattern, length)


_LABEL = "[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"


def _names(node: Node | None, key: str, pattern: str, length: int) -> Iterator[Problem]:
    seen: set[str] = set()
    for item in node.items if isinstance(node, Sequence) else ():
        if not isinstance(item, Scalar) or not isinstance(item.value, (str, type(None))):
            continue
        text = item.value or ""  # Go decodes null as an empty text
        if not re.fullmatch(pattern, text, re.DOTALL) or (length and len(text) > length):
            yield Problem(item.line, f"`{key}` contains '{shown(text)}', which is not a valid name")
        elif text in seen:
            yield Problem(item.line, f"`{key}` contains '{shown(text)}' twice")
        seen.add(text)


def _event_rate_limit(node: Node) -> Iterator[Problem]:
    if not isinstance(node, Mapping):
        return
    yield from head(node, ("Configuration",), ("eventratelimit.admission.k8s.io/v1alpha1",))
    limits = mappings(node.get("limits"))
    if not limits:
        yield Problem(node.line, "`limits` must contain at least one limit")
    for limit in limits:
        if limit.text("type") not in ("Server", "Namespace", "User", "SourceAndObject"):
            yield Problem(limit.line, "`type` must be Server, Namespace, User or SourceAndObject")
        for key in ("qps", "burst"):
            number = limit.get(key)
            value = number.value if isinstance(number, Scalar) else None
            if not isinstance(value, (int, float)) or value <= 0:
                yield Problem((number or limit).line, f"`{key}` must be more than 0")
        size = limit.get("cacheSize")
        cached = size.value if isinstance(size, Scalar) else None
        if isinstance(cached, (int, float)) and cached < 0 and limit.text("type") != "Server":
            yield Problem((size or limit).line, "`cacheSize` must be at least 0")


_PLUGINS: dict[str, Callable[[Node], Iterator[Problem]]] = {
    POD_SECURITY: _pod_security,
    "EventRateLimit": _event_rate_limit,
}


def encryption(data: bytes, path: PurePosixPath, *, has_kms_v1: bool = False) -> Iterator[InputError]:
    """Yield what the API server rejects in an encryption configuration. No message contains a key.

    `has_kms_v1` is whether the feature gate KMSv1 is set; it is off by default.
    """
    root = read(data, path, "EncryptionConfiguration", (f"{_CONFIG_GROUP}/v1",))
    if isinstance(root, InputError):
        yield root
        return
    yield from located(schema.problems(root, _ENCRYPTION), path)
    resources = mappings(root.get("resources"))
    if not resources:
        yield error(path, Problem(root.line, "`resources` must contain at least one item"))
    seen: set[str] = set()
    for item in resources:
        yield from located(_encrypted(item, has_kms_v1=has_kms_v1, seen=seen), path)


def _encrypted(item: Mapping, *, has_kms_v1: bool, seen: set[str]) -> Iterator[Problem]:
    for key in ("resources", "providers"):
        node = item.get(key)
        if not isinstance(node, Sequence) or not node.items:
            yield Problem((node or item).line, f"`{key}` must contain at least one item")
    names = (
        [scalar.text for scalar in yaml_reader.scalars(item.get("resources") or item)] if item.get("resources") else []
    )
    if len(set(names)) != len(names):
        yield Problem(item.line, "`resources` contains a name twice")
    elif len(names) > 1 and ("*.*" in names or any(_masked(name, names) for name in names)):
        yield Problem(item.line, "`resources` contains names that overlap")
    for name in names:
        group = name.partition(".")[2]
        if name == "*" or name != name.lower() or group in ("events.k8s.io", "extensions"):
            yield Problem(item.line, f"`resources` contains '{shown(name)}', which is not a valid resource")
    for provider in mappings(item.get("providers")):
        yield from _provider(provider)
        kms = provider.get("kms")
        if isinstance(kms, Mapping):
            yield from _kms(kms, has_kms_v1=has_kms_v1, seen=seen)


def _masked(name: str, names: list[str]) -> bool:
    """Return whether another name is all resources of the group of this one."""
    resource, _, group = name.partition(".")
    return resource != "*" and f"*.{group}" in names


def _provider(provider: Mapping) -> Iterator[Problem]:
    chosen = [entry for entry in provider.entries if is_set(entry.node)]
    if len(chosen) != 1:
        yield Problem(provider.line, "an item of `providers` must contain exactly one provider")
        return
    kind, node = chosen[0].key, chosen[0].node
    if kind in _KEY_SIZES and isinstance(node, Mapping):
        keys = mappings(node.get("keys"))
        if not keys:
            yield Problem(node.line, f"`{kind}` must contain at least one key")
        for key in keys:
            yield from _key(kind, key)


def _kms(kms: Mapping, *, has_kms_v1: bool, seen: set[str]) -> Iterator[Problem]:
    if not (kms.text("endpoint") or "").startswith("unix:"):
        yield Problem(kms.line, "`kms.endpoint` must be a unix URL")
    version = kms.text("apiVersion") or "v1"
    if version not in ("v1", "v2") or (version == "v1" and not has_kms_v1):
        yield Problem(kms.line, "`kms.apiVersion` must be v2, because the feature gate KMSv1 is off")
    elif version == "v2" and is_set(kms.get("cachesize")):
        yield Problem(kms.line, "`kms.cachesize` is not supported by v2")
    name = kms.text("name") or ""
    if not name or ":" in name or name in seen:
        yield Problem(kms.line, "`kms.name` must be set, without a colon, and different for each provider")
    seen.add(name)
    timeout = kms.text("timeout")
    try:
        is_positive = timeout is None or duration(timeout) > 0
    except InvalidValueError:
        return
    if not is_positive:
        yield Problem(kms.line, "`kms.timeout` must be more than 0s")


def _key(kind: str, key: Mapping) -> Iterator[Problem]:
    from base64 import b64decode

    if not key.text("name"):
        yield Problem(key.line, f"a key of `{kind}` must have a name")
    line = (key.get("secret") or key).line
    try:
        # Go ignores line breaks in base64.
        size = len(b64decode((key.text("secret") or "").replace("\n", "").replace("\r", ""), validate=True))
    except ValueError:
        yield Problem(line, f"`secret` of `{kind}` must be base64")
        return
    if size not in _KEY_SIZES[kind]:
        sizes = yaml_reader.alternatives(str(one) for one in _KEY_SIZES[kind]) if kind != "secretbox" else "32"
        yield Problem(line, f"`secret` of `{kind}` must have {sizes} bytes; found {size}")


def authentication(data: bytes, path: PurePosixPath, *, has_anonymous_auth: bool) -> Iterator[InputError]:
    """Yield what the API server rejects in an authentication configuration.

    `has_anonymous_auth` is whether the argument anonymous-auth is set, too.
    """
    versions = tuple(f"{_CONFIG_GROUP}/{one}" for one in ("v1", "v1beta1", "v1alpha1"))
    root = read(data, path, "AuthenticationConfiguration", versions)
    if isinstance(root, InputError):
        yield root
        return
    yield from located(schema.problems(root, _AUTHENTICATION), path)
    anonymous = root.get("anonymous")
    if has_anonymous_auth and is_set(anonymous) and anonymous is not None:
        yield error(path, Problem(anonymous.line, "`anonymous` cannot be set beside the argument anonymous-auth"))
    if isinstance(anonymous, Mapping) and mappings(anonymous.get("conditions")):
        enabled = anonymous.get("enabled")
        if not isinstance(enabled, Scalar) or enabled.value is not True:
            yield error(path, Problem(anonymous.line, "`anonymous.conditions` requires `enabled: true`"))
    seen: set[str] = set()
    for jwt in mappings(root.get("jwt")):
        yield from located(_issuer(jwt, seen), path)


def _issuer(jwt: Mapping, seen: set[str]) -> Iterator[Problem]:
    issuer = jwt.get("issuer")
    known = issuer if isinstance(issuer, Mapping) else Mapping((), jwt.line)
    url = known.text("url")
    if not url or _url_problem(url):
        yield Problem(known.line, _url_problem(url or "").format("issuer.url"))
    elif url in seen:
        yield Problem(known.line, "two items of `jwt` have the same `issuer.url`")
    seen.add(url or "")
    yield from _discovery(known, url or "")
    yield from _audiences(known)
    yield from _claims(jwt)


def _discovery(known: Mapping, url: str) -> Iterator[Problem]:
    discovery = known.text("discoveryURL") or ""
    if discovery and _url_problem(discovery):
        yield Problem(known.line, _url_problem(discovery).format("issuer.discoveryURL"))
    elif discovery and discovery.rstrip("/") == url.rstrip("/"):
        yield Problem(known.line, "`issuer.discoveryURL` must differ from `issuer.url`")
    authority = known.text("certificateAuthority")
    if authority and "CERTIFICATE-----" not in authority:
        yield Problem(known.line, "`issuer.certificateAuthority` must contain a certificate in the PEM format")


def _claims(jwt: Mapping) -> Iterator[Problem]:
    claims = jwt.get("claimMappings")
    username = claims.get("username") if isinstance(claims, Mapping) else None
    if not isinstance(username, Mapping) or not (username.text("claim") or username.text("expression")):
        yield Problem(jwt.line, "`claimMappings.username` must contain a claim or an expression")
    for name in ("username", "groups"):
        yield from _claim(claims.get(name) if isinstance(claims, Mapping) else None, f"claimMappings.{name}")
    if isinstance(claims, Mapping):
        yield from _more_claims(claims)
    for rule in mappings(jwt.get("claimValidationRules")):
        if bool(rule.text("claim")) is bool(rule.text("expression")):
            yield Problem(rule.line, "an item of `claimValidationRules` must contain either a claim or an expression")
    for rule in mappings(jwt.get("userValidationRules")):
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


def _more_claims(claims: Mapping) -> Iterator[Problem]:
    uid = claims.get("uid")
    if isinstance(uid, Mapping) and uid.text("claim") and uid.text("expression"):
        yield Problem(uid.line, "`claimMappings.uid` cannot contain both a claim and an expression")
    for extra in mappings(claims.get("extra")):
        domain, slash, _ = (extra.text("key") or "").partition("/")
        if not slash or not domain or f".{domain}".endswith((".k8s.io", ".kubernetes.io")):
            yield Problem(extra.line, "`key` must begin with a domain of your own and a slash")
        if not extra.text("valueExpression"):
            yield Problem(extra.line, "`valueExpression` must be set")


def _claim(node: Node | None, name: str) -> Iterator[Problem]:
    if isinstance(node, Mapping) and node.text("claim"):
        if node.text("expression"):
            yield Problem(node.line, f"`{name}` cannot contain both a claim and an expression")
        elif not is_set(node.get("prefix")):
            yield Problem(node.line, f"`{name}` must contain a prefix, which can be empty")


def authorization(
    data: bytes, path: PurePosixPath, missing: Callable[[PurePosixPath], bool], *, has_policy: bool
) -> Iterator[InputError]:
    """Yield what the API server rejects in an authorization configuration.

    `missing` returns whether the kubeconfig of a webhook is missing, and `has_policy` is whether the argument
    authorization-policy-file is set.
    """
    versions = tuple(f"{_CONFIG_GROUP}/{one}" for one in ("v1", "v1beta1", "v1alpha1"))
    root = read(data, path, "AuthorizationConfiguration", versions)
    if isinstance(root, InputError):
        yield root
        return
    yield from located(schema.problems(root, _AUTHORIZATION), path)
    authorizers = mappings(root.get("authorizers"))
    if not authorizers:
        yield error(path, Problem(root.line, "`authorizers` must contain at least one authorizer"))
    kinds = [one.text("type") for one in authorizers if one.text("type") != "Webhook"]
    if len(set(kinds)) != len(kinds):
        yield error(path, Problem(root.line, "`authorizers` contains a type other than Webhook twice"))
    names: set[str] = set()
    for one in authorizers:
        yield from located(_authorizer(one, names, missing, has_policy=has_policy), path)


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
    elif not re.fullmatch(DOMAIN, name, re.ASCII):
        yield Problem(one.line, "`name` must consist of lower case letters, digits, - and .")
    if (kind == "Webhook") is not is_set(webhook):
        yield Problem(one.line, "`webhook` must be set for the type Webhook, and only for it")
    elif isinstance(webhook, Mapping):
        yield from _webhook(webhook, missing)
    if kind == "ABAC" and not has_policy:
        yield Problem(one.line, "the type ABAC needs the argument authorization-policy-file")
    names.add(name or "")


def webhook_files(data: bytes, path: PurePosixPath) -> list[PurePosixPath]:
    """Return the kubeconfigs that an authorization configuration names; none if it cannot be decoded."""
    root = first(data, path, "authorization configuration")
    found = []
    for one in mappings(root.get("authorizers") if isinstance(root, Mapping) else None):
        webhook = one.get("webhook")
        connection = webhook.get("connectionInfo") if isinstance(webhook, Mapping) else None
        file = connection.text("kubeConfigFile") if isinstance(connection, Mapping) else None
        if file and file.startswith("/"):
            found.append(PurePosixPath(file))
    return found


_LONGEST_TIMEOUT = 30 * SECOND


def _webhook(webhook: Mapping, missing: Callable[[PurePosixPath], bool]) -> Iterator[Problem]:
    line = webhook.line
    timeout = _duration(webhook, "timeout")
    if timeout is None or not 0 < timeout <= _LONGEST_TIMEOUT:
        yield Problem(line, "`webhook.timeout` must be more than 0s, and at most 30s")
    for key in ("authorizedTTL", "unauthorizedTTL"):
        if (_duration(webhook, key) or 0) < 0:
            yield Problem(line, f"`webhook.{key}` must be more than 0s")
    conditions = mappings(webhook.get("matchConditions"))
    for key, allowed in (
        ("subjectAccessReviewVersion", ("v1", "v1beta1")),
        ("matchConditionSubjectAccessReviewVersion", ("v1",) if conditions else ("v1", "", None)),
        ("failurePolicy", ("NoOpinion", "Deny")),
    ):
        if webhook.text(key) not in allowed:
            yield Problem(line, f"`webhook.{key}` must be {yaml_reader.alternatives(filter(None, allowed))}")
    if any(not (one.text("expression") or "").strip() for one in conditions):
        yield Problem(line, "an item of `webhook.matchConditions` must contain an expression")
    connection = webhook.get("connectionInfo")
    known = connection if isinstance(connection, Mapping) else Mapping((), line)
    kind, file = known.text("type"), known.text("kubeConfigFile") or ""
    if kind not in ("InClusterConfig", "KubeConfigFile"):
        yield Problem(line, "`webhook.connectionInfo.type` must be InClusterConfig or KubeConfigFile")
    elif (kind == "KubeConfigFile") is not file.startswith("/"):
        yield Problem(line, "`webhook.connectionInfo.kubeConfigFile` must be an absolute path for KubeConfigFile")
    elif file and missing(PurePosixPath(file)):
        yield Problem(line, f"`webhook.connectionInfo` requires a file at {shown(file)}")


def _duration(node: Mapping, key: str) -> int | None:
    """Return a duration in nanoseconds; None if it is not set or not a duration, which the schema reports."""
    text = node.text(key)
    try:
        return None if text is None else duration(text)
    except InvalidValueError:
        return None


def read(data: bytes, path: PurePosixPath, kind: str, versions: tuple[str, ...]) -> Mapping | InputError:
    """Return the first document, or why the component cannot decode it."""
    node = first(data, path, f"kind {kind}")
    if isinstance(node, InputError):
        return node
    wrong = next(head(node, (kind,), versions), None)
    return node if wrong is None else error(path, wrong)


def first(data: bytes, path: PurePosixPath, expected: str, *, can_be_empty: bool = False) -> Mapping | InputError:
    """Return the first document as a mapping, or why the component cannot decode it."""
    problem = yaml_reader.json_problem(data)
    if problem:
        return error(path, Problem(0, problem))
    try:
        document = yaml_reader.read_first(data, path)
    except InputError as invalid:
        return invalid
    node = document and yaml_reader.merged(document)
    if can_be_empty and not is_set(node):
        return Mapping((), 1)
    return node if isinstance(node, Mapping) else error(path, Problem(0, f"expected the {expected}"))


def head(node: Mapping, kinds: tuple[str, ...], versions: tuple[str, ...]) -> Iterator[Problem]:
    """Yield a kind or version that is not one of these; none of each accepts any."""
    for key, allowed in (("kind", kinds), ("apiVersion", versions)):
        if allowed and node.text(key) not in allowed:
            found = node.get(key)
            described = yaml_reader.describe_node(found)
            yield Problem((found or node).line, f"expected the {key} {allowed[0]}; found {described}")


def located(problems: Iterator[Problem], path: PurePosixPath) -> Iterator[InputError]:
    """Return problems of a file with its path."""
    return (error(path, problem) for problem in problems)


def error(path: PurePosixPath, problem: Problem) -> InputError:
    """Return a problem of a file with its path."""
    from agent.model import Location

    return InputError(Location(path, problem.line), problem.problem)


def is_set(node: Node | None) -> bool:
    """Return whether a node exists and is not null."""
    return node is not None and not (isinstance(node, Scalar) and node.value is None)


def mappings(node: Node | None) -> list[Mapping]:
    """Return the mappings in a list; none if the node is not a list."""
    items = node.items if isinstance(node, Sequence) else ()
    return [item for item in items if isinstance(item, Mapping)]


def _entries(node: Node | None) -> tuple[yaml_reader.KeyValue, ...]:
    return node.entries if isinstance(node, Mapping) else ()
