"""The admission configuration of the API server, and the files of its plugins. Pure."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent import yaml_reader
from agent.errors import InputError
from agent.k3s.admission_plugins import POD_SECURITY
from agent.k3s.components.files import decoding, schema
from agent.k3s.components.files.decoding import CONFIG_GROUP, HEAD
from agent.k3s.components.files.schema import Problem
from agent.k3s.components.names import is_label, is_subdomain
from agent.yaml_reader import Mapping, Scalar, Sequence, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.yaml_reader import Node

    _Missing = Callable[[PurePosixPath], bool]
    """A function that returns whether a file is missing."""


_ADMISSION: schema.Schema = {
    **HEAD,
    "plugins": [{"name": "string", "path": "string", "configuration": "object"}],
}
_POD_SECURITY: schema.Schema = {
    **HEAD,
    "defaults": dict.fromkeys(
        ("enforce", "enforce-version", "audit", "audit-version", "warn", "warn-version"), "string"
    ),
    "exemptions": {"usernames": ["string"], "namespaces": ["string"], "runtimeClasses": ["string"]},
}
_LEVELS = ("privileged", "baseline", "restricted")
_VERSION = r"latest|v1\.(?:[0-9]|[1-9][0-9]*)"


def problems(
    data: bytes,
    path: PurePosixPath,
    missing: _Missing,
    enabled: Callable[[str], bool],
    content: Callable[[PurePosixPath], bytes | None] = lambda _: None,
) -> Iterator[InputError]:
    """Yield what the API server rejects in its admission configuration, and in the files that it names for plugins.

    `missing` returns whether such a file is missing, `content` its content or None if that is unknown, and `enabled`
    whether a plugin is enabled. The API server reads no entry of a plugin that is disabled.
    """
    root = decoding.read(data, path, "AdmissionConfiguration", (f"{CONFIG_GROUP}/v1", "apiserver.k8s.io/v1alpha1"))
    if isinstance(root, InputError):
        yield root
        return
    yield from decoding.located(schema.problems(root, _ADMISSION), path)
    seen: set[str | None] = set()
    for plugin in decoding.mappings(root.get("plugins")):
        name = plugin.text("name")
        if name in seen:
            continue  # the API server uses the first entry
        seen.add(name)
        if name not in _PLUGINS or not enabled(name):
            continue
        configuration, file = plugin.get("configuration"), plugin.text("path")
        if decoding.is_set(configuration) and configuration is not None:
            yield from decoding.located(_PLUGINS[name](configuration, missing), path)
        elif file:
            named = path.parent / file
            if missing(named):
                line = plugin.line_of("path")
                yield decoding.error(path, Problem(line, f"the plugin {name} requires a file at {shown(str(named))}"))
            else:
                yield from _plugin_file(name, named, content(named))


def _plugin_file(name: str, path: PurePosixPath, data: bytes | None) -> Iterator[InputError]:
    if data is None or (not data and name == POD_SECURITY):
        return  # an empty file is the default configuration of PodSecurity
    root = decoding.first(data, path, "configuration of a plugin")
    if isinstance(root, InputError):
        yield root
    else:
        # The files that this file names were not read.
        yield from decoding.located(_PLUGINS[name](root, lambda _: False), path)


def plugins(data: bytes, path: PurePosixPath) -> Iterator[tuple[str, int]]:
    """Yield the names of the entries of an admission configuration, with their lines.

    Raises InputError if the file is not YAML.
    """
    root = yaml_reader.read_first_document(data, path)
    for plugin in decoding.mappings(root.get("plugins") if isinstance(root, Mapping) else None):
        name = plugin.text("name")
        if name:
            yield name, plugin.line_of("name")


def _pod_security(node: Node, _: _Missing) -> Iterator[Problem]:
    if not isinstance(node, Mapping):
        return
    group = "pod-security.admission.config.k8s.io"
    yield from decoding.head(
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
    exemptions = decoding.part(node, "exemptions")
    for key, is_valid in (("namespaces", is_label), ("runtimeClasses", is_subdomain), ("usernames", bool)):
        yield from _names(exemptions.get(key), key, is_valid)


def _names(node: Node | None, key: str, is_valid: Callable[[str], bool]) -> Iterator[Problem]:
    seen: set[str] = set()
    for item in node.items if isinstance(node, Sequence) else ():
        if not isinstance(item, Scalar) or not isinstance(item.value, (str, type(None))):
            continue
        text = item.value or ""  # Go decodes null as an empty text
        if not is_valid(text):
            yield Problem(item.line, f"`{key}` contains '{shown(text)}', which is not a valid name")
        elif text in seen:
            yield Problem(item.line, f"`{key}` contains '{shown(text)}' twice")
        seen.add(text)


def _event_rate_limit(node: Node, _: _Missing) -> Iterator[Problem]:
    if not isinstance(node, Mapping):
        return
    yield from decoding.head(node, ("Configuration",), ("eventratelimit.admission.k8s.io/v1alpha1",))
    limits = decoding.mappings(node.get("limits"))
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


_IMAGE_POLICY: schema.Schema = {
    "imagePolicy": {
        **dict.fromkeys(("allowTTL", "denyTTL", "retryBackoff"), "int64"),
        "defaultAllow": "bool",
        "kubeConfigFile": "string",
    }
}
_LONGEST_PERIODS = {"allowTTL": 1800, "denyTTL": 1800, "retryBackoff": 300_000}
"""The limits of the periods of ImagePolicyWebhook: seconds, and milliseconds of retryBackoff."""


def _image_policy(node: Node, missing: _Missing) -> Iterator[Problem]:
    """Yield what ImagePolicyWebhook rejects (kubernetes, plugin/pkg/admission/imagepolicy/config.go)."""
    wrong = list(schema.problems(node, _IMAGE_POLICY, is_strict=False))
    yield from wrong
    policy = node.get("imagePolicy") if isinstance(node, Mapping) and not wrong else None
    if not isinstance(policy, Mapping):
        return
    for key, longest in _LONGEST_PERIODS.items():
        yield from schema.outside(policy, key, -1, longest)
    file = policy.text("kubeConfigFile") or ""
    if file.startswith("/") and missing(PurePosixPath(file)):
        line = policy.line_of("kubeConfigFile")
        yield Problem(line, f"the plugin ImagePolicyWebhook requires a file at {shown(file)}")


_PLUGINS: dict[str, Callable[[Node, _Missing], Iterator[Problem]]] = {
    POD_SECURITY: _pod_security,
    "EventRateLimit": _event_rate_limit,
    "ImagePolicyWebhook": _image_policy,
}


def _entries(node: Node | None) -> tuple[yaml_reader.KeyValue, ...]:
    return node.entries if isinstance(node, Mapping) else ()
