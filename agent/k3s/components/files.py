"""Configuration files of the API server at which it exits: admission, encryption, authentication, keys. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent import yaml_reader
from agent.errors import InputError
from agent.k3s.admission_plugins import POD_SECURITY
from agent.k3s.components import schema
from agent.k3s.components.kubelet import DOMAIN
from agent.k3s.components.schema import Problem
from agent.k3s.components.values import InvalidValueError, duration
from agent.yaml_reader import Mapping, Scalar, Sequence, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import PurePosixPath

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
    "authorizers": [{"type": "string", "name": "string", "webhook": "object"}],
}

_SCHEDULER: schema.Schema = {
    **_HEAD,
    **dict.fromkeys(("delayCacheUntilActive", "enableContentionProfiling", "enableProfiling"), "bool"),
    **dict.fromkeys(("parallelism", "percentageOfNodesToScore"), "int32"),
    **dict.fromkeys(("podInitialBackoffSeconds", "podMaxBackoffSeconds"), "int64"),
    "clientConnection": {
        **dict.fromkeys(("acceptContentTypes", "contentType", "kubeconfig"), "string"),
        "burst": "int32",
        "qps": "float",
    },
    "extenders": ["object"],
    "leaderElection": {
        **dict.fromkeys(("leaseDuration", "renewDeadline", "retryPeriod"), "duration"),
        **dict.fromkeys(("resourceLock", "resourceName", "resourceNamespace"), "string"),
        "leaderElect": "bool",
    },
    "profiles": [
        {
            "percentageOfNodesToScore": "int32",
            "pluginConfig": ["object"],
            "plugins": "object",
            "schedulerName": "string",
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
    versions = tuple(f"{_CONFIG_GROUP}/{one}" for one in ("v1", "v1beta1", "v1alpha1"))
    versions = (*versions, "apiserver.k8s.io/v1alpha1")
    root = _read(data, path, "AdmissionConfiguration", versions)
    if isinstance(root, InputError):
        yield root
        return
    yield from _located(schema.problems(root, _ADMISSION), path)
    seen: set[str | None] = set()
    for plugin in _mappings(root.get("plugins")):
        name = plugin.text("name")
        if name in seen:
            continue  # the API server uses the first entry
        seen.add(name)
        if name not in _PLUGINS or not enabled(name):
            continue
        configuration, file = plugin.get("configuration"), plugin.text("path")
        if _is_set(configuration) and configuration is not None:
            yield from _located(_PLUGINS[name](configuration), path)
        elif file:
            named = path.parent / file
            if missing(named):
                line = (plugin.get("path") or plugin).line
                yield _error(path, Problem(line, f"the plugin {name} requires a file at {shown(str(named))}"))
            else:
                yield from _plugin_file(name, named, content(named))


def _plugin_file(name: str, path: PurePosixPath, data: bytes | None) -> Iterator[InputError]:
    if data is None or (not data and name == POD_SECURITY):
        return  # an empty file is the default configuration of PodSecurity
    root = _first(data, path, "configuration of a plugin")
    if isinstance(root, InputError):
        yield root
    else:
        yield from _located(_PLUGINS[name](root), path)


def plugins(data: bytes, path: PurePosixPath) -> Iterator[tuple[str, int]]:
    """Yield the names of the entries of an admission configuration, with their lines.

    Raises InputError if the file is not YAML.
    """
    root = yaml_reader.read_first(data, path)
    for plugin in _mappings(root.get("plugins") if isinstance(root, Mapping) else None):
        name = plugin.text("name")
        if name:
            yield name, (plugin.get("name") or plugin).line


def _pod_security(node: Node) -> Iterator[Problem]:
    if not isinstance(node, Mapping):
        return
    group = "pod-security.admission.config.k8s.io"
    yield from _head(node, "PodSecurityConfiguration", tuple(f"{group}/{one}" for one in ("v1", "v1beta1", "v1alpha1")))
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
    yield from _head(node, "Configuration", ("eventratelimit.admission.k8s.io/v1alpha1",))
    limits = _mappings(node.get("limits"))
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


_PLUGINS: dict[str, Callable[[Node], Iterator[Problem]]] = {
    POD_SECURITY: _pod_security,
    "EventRateLimit": _event_rate_limit,
}


def encryption(data: bytes, path: PurePosixPath, *, has_kms_v1: bool = False) -> Iterator[InputError]:
    """Yield what the API server rejects in an encryption configuration. No message contains a key.

    `has_kms_v1` is whether the feature gate KMSv1 is set; it is off by default.
    """
    root = _read(data, path, "EncryptionConfiguration", (f"{_CONFIG_GROUP}/v1",))
    if isinstance(root, InputError):
        yield root
        return
    yield from _located(schema.problems(root, _ENCRYPTION), path)
    resources = _mappings(root.get("resources"))
    if not resources:
        yield _error(path, Problem(root.line, "`resources` must contain at least one item"))
    for item in resources:
        yield from _located(_encrypted(item, has_kms_v1=has_kms_v1), path)


def _encrypted(item: Mapping, *, has_kms_v1: bool) -> Iterator[Problem]:
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
    for provider in _mappings(item.get("providers")):
        yield from _provider(provider)
        kms = provider.get("kms")
        if isinstance(kms, Mapping):
            yield from _kms(kms, has_kms_v1=has_kms_v1)


def _masked(name: str, names: list[str]) -> bool:
    """Return whether another name is all resources of the group of this one."""
    resource, _, group = name.partition(".")
    return resource != "*" and f"*.{group}" in names


def _provider(provider: Mapping) -> Iterator[Problem]:
    chosen = [entry for entry in provider.entries if _is_set(entry.node)]
    if len(chosen) != 1:
        yield Problem(provider.line, "an item of `providers` must contain exactly one provider")
        return
    kind, node = chosen[0].key, chosen[0].node
    if kind in _KEY_SIZES and isinstance(node, Mapping):
        keys = _mappings(node.get("keys"))
        if not keys:
            yield Problem(node.line, f"`{kind}` must contain at least one key")
        for key in keys:
            yield from _key(kind, key)


def _kms(kms: Mapping, *, has_kms_v1: bool) -> Iterator[Problem]:
    if not (kms.text("endpoint") or "").startswith("unix:"):
        yield Problem(kms.line, "`kms.endpoint` must be a unix URL")
    if (kms.text("apiVersion") or "v1") == "v1" and not has_kms_v1:
        yield Problem(kms.line, "`kms.apiVersion` must be v2, because the feature gate KMSv1 is off")
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
    root = _read(data, path, "AuthenticationConfiguration", versions)
    if isinstance(root, InputError):
        yield root
        return
    yield from _located(schema.problems(root, _AUTHENTICATION), path)
    anonymous = root.get("anonymous")
    if has_anonymous_auth and _is_set(anonymous) and anonymous is not None:
        yield _error(path, Problem(anonymous.line, "`anonymous` cannot be set beside the argument anonymous-auth"))
    if isinstance(anonymous, Mapping) and _mappings(anonymous.get("conditions")):
        enabled = anonymous.get("enabled")
        if not isinstance(enabled, Scalar) or enabled.value is not True:
            yield _error(path, Problem(anonymous.line, "`anonymous.conditions` requires `enabled: true`"))
    seen: set[str] = set()
    for jwt in _mappings(root.get("jwt")):
        yield from _located(_issuer(jwt, seen), path)


def _issuer(jwt: Mapping, seen: set[str]) -> Iterator[Problem]:
    issuer = jwt.get("issuer")
    url = issuer.text("url") if isinstance(issuer, Mapping) else None
    line = (issuer or jwt).line
    if not url or not url.startswith("https://"):
        yield Problem(line, "`issuer.url` must be an https URL")
    elif url in seen:
        yield Problem(line, "two items of `jwt` have the same `issuer.url`")
    seen.add(url or "")
    mappings = jwt.get("claimMappings")
    username = mappings.get("username") if isinstance(mappings, Mapping) else None
    if not isinstance(username, Mapping) or not (username.text("claim") or username.text("expression")):
        yield Problem(jwt.line, "`claimMappings.username` must contain a claim or an expression")
    for name in ("username", "groups"):
        yield from _claim(mappings.get(name) if isinstance(mappings, Mapping) else None, f"claimMappings.{name}")
    for rule in _mappings(jwt.get("claimValidationRules")):
        if rule.text("claim") and rule.text("expression"):
            yield Problem(rule.line, "`claimValidationRules` cannot contain both a claim and an expression")
    audiences = issuer.get("audiences") if isinstance(issuer, Mapping) else None
    if not isinstance(audiences, Sequence) or not audiences.items:
        yield Problem(line, "`issuer.audiences` must contain at least one audience")


def _claim(node: Node | None, name: str) -> Iterator[Problem]:
    if isinstance(node, Mapping) and node.text("claim"):
        if node.text("expression"):
            yield Problem(node.line, f"`{name}` cannot contain both a claim and an expression")
        elif not _is_set(node.get("prefix")):
            yield Problem(node.line, f"`{name}` must contain a prefix, which can be empty")


def authorization(data: bytes, path: PurePosixPath) -> Iterator[InputError]:
    """Yield what the API server rejects in an authorization configuration."""
    versions = tuple(f"{_CONFIG_GROUP}/{one}" for one in ("v1", "v1beta1", "v1alpha1"))
    root = _read(data, path, "AuthorizationConfiguration", versions)
    if isinstance(root, InputError):
        yield root
        return
    yield from _located(schema.problems(root, _AUTHORIZATION), path)
    authorizers = _mappings(root.get("authorizers"))
    if not authorizers:
        yield _error(path, Problem(root.line, "`authorizers` must contain at least one authorizer"))
    names: list[str | None] = []
    kinds = [one.text("type") for one in authorizers if one.text("type") != "Webhook"]
    if len(set(kinds)) != len(kinds):
        yield _error(path, Problem(root.line, "`authorizers` contains a type other than Webhook twice"))
    for one in authorizers:
        kind, name = one.text("type"), one.text("name")
        if kind not in _AUTHORIZERS:
            expected = yaml_reader.alternatives(_AUTHORIZERS)
            yield _error(path, Problem(one.line, f"`type` must be {expected}"))
        if not name or name in names:
            yield _error(path, Problem(one.line, "each authorizer must have a `name` of its own"))
        elif kind != "Webhook" and kind in _AUTHORIZERS and name != kind.lower():
            yield _error(path, Problem(one.line, f"the authorizer {kind} must have the name {kind.lower()}"))
        elif not re.fullmatch(DOMAIN, name, re.ASCII):
            yield _error(path, Problem(one.line, "`name` must consist of lower case letters, digits, - and ."))
        if (kind == "Webhook") is not _is_set(one.get("webhook")):
            yield _error(path, Problem(one.line, "`webhook` must be set for the type Webhook, and only for it"))
        names.append(name)


def scheduler(data: bytes, path: PurePosixPath) -> Iterator[InputError]:
    """Yield what the scheduler rejects in its configuration."""
    root = _read(data, path, "KubeSchedulerConfiguration", ("kubescheduler.config.k8s.io/v1",))
    if isinstance(root, InputError):
        yield root
        return
    yield from _located(schema.problems(root, _SCHEDULER), path)
    for key, low, high in (("parallelism", 1, 2**31), ("percentageOfNodesToScore", 0, 100)):
        node = root.get(key)
        value = node.value if isinstance(node, Scalar) else None
        if node is not None and isinstance(value, (int, float)) and not low <= value <= high:
            yield _error(path, Problem(node.line, f"`{key}` must be from {low} to {high}"))


def kube_proxy(data: bytes, path: PurePosixPath) -> Iterator[InputError]:
    """Yield why kube-proxy cannot decode its configuration. Its fields are not checked."""
    root = _read(data, path, "KubeProxyConfiguration", ("kubeproxy.config.k8s.io/v1alpha1",))
    if isinstance(root, InputError):
        yield root


_PEM = {
    "certificates": (b"CERTIFICATE-----", "a certificate"),
    "key": (b"PRIVATE KEY-----", "a private key"),
    "keys": (b" KEY-----", "a public or private key"),
}

_PEM_ARGUMENTS = {
    "client-ca-file": "certificates",
    "requestheader-client-ca-file": "certificates",
    "service-account-key-file": "keys",
    "service-account-signing-key-file": "key",
    "service-account-private-key-file": "key",
    "tls-cert-file": "certificates",
    "tls-private-key-file": "key",
}
"""Arguments whose file must contain an object in the PEM format (client-go, util/cert and util/keyutil)."""


def pem(argument: str, data: bytes, path: PurePosixPath) -> Iterator[InputError]:
    """Yield a file without the certificate or key that an argument requires."""
    kind = _PEM_ARGUMENTS.get(argument)
    if kind is None:
        return
    mark, what = _PEM[kind]
    others = (b"CERTIFICATE-----",) if kind == "keys" else ()
    if not any(one in data for one in (mark, *others)):
        yield _error(path, Problem(0, f"it does not contain {what} in the PEM format"))


def _read(data: bytes, path: PurePosixPath, kind: str, versions: tuple[str, ...]) -> Mapping | InputError:
    """Return the first document, or why the component cannot decode it."""
    node = _first(data, path, f"kind {kind}")
    if isinstance(node, InputError):
        return node
    wrong = next(_head(node, kind, versions), None)
    return node if wrong is None else _error(path, wrong)


def _first(data: bytes, path: PurePosixPath, expected: str) -> Mapping | InputError:
    problem = yaml_reader.json_problem(data)
    if problem:
        return _error(path, Problem(0, problem))
    try:
        first = yaml_reader.read_first(data, path)
    except InputError as error:
        return error
    node = first and yaml_reader.merged(first)
    return node if isinstance(node, Mapping) else _error(path, Problem(0, f"expected the {expected}"))


def _head(node: Mapping, kind: str, versions: tuple[str, ...]) -> Iterator[Problem]:
    for key, allowed in (("kind", (kind,)), ("apiVersion", versions)):
        if node.text(key) not in allowed:
            found = node.get(key)
            described = yaml_reader.describe_node(found)
            yield Problem((found or node).line, f"expected the {key} {allowed[0]}; found {described}")


def _located(problems: Iterator[Problem], path: PurePosixPath) -> Iterator[InputError]:
    return (_error(path, problem) for problem in problems)


def _error(path: PurePosixPath, problem: Problem) -> InputError:
    from agent.model import Location

    return InputError(Location(path, problem.line), problem.problem)


def _is_set(node: Node | None) -> bool:
    return node is not None and not (isinstance(node, Scalar) and node.value is None)


def _mappings(node: Node | None) -> list[Mapping]:
    items = node.items if isinstance(node, Sequence) else ()
    return [item for item in items if isinstance(item, Mapping)]


def _entries(node: Node | None) -> tuple[yaml_reader.KeyValue, ...]:
    return node.entries if isinstance(node, Mapping) else ()
