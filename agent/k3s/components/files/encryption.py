"""The encryption configuration of the API server. No message contains a key. Pure."""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING

from agent import yaml_reader
from agent.errors import InputError
from agent.k3s.components.files import decoding, schema
from agent.k3s.components.files.decoding import CONFIG_GROUP, HEAD
from agent.k3s.components.files.schema import Problem
from agent.yaml_reader import Mapping, Sequence, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath


_KEYS: schema.Schema = {"keys": [{"name": "string", "secret": "string"}]}
_ENCRYPTION: schema.Schema = {
    **HEAD,
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
_OLD_KIND = ("v1", "EncryptionConfig")
"""The version and kind of an old error in the documentation, still accepted (apiserver/pkg/apis/apiserver/v1)."""
_AES = (16, 24, 32)
_KEY_SIZES = {"aescbc": _AES, "aesgcm": _AES, "secretbox": (32,)}


def problems(data: bytes, path: PurePosixPath, *, has_kms_v1: bool = False) -> Iterator[InputError]:
    """Yield what the API server rejects in an encryption configuration. No message contains a key.

    `has_kms_v1` is whether the feature gate KMSv1 is set; it is off by default.
    """
    root = decoding.first(data, path, "kind EncryptionConfiguration")
    if isinstance(root, InputError):
        yield root
        return
    if (root.text("apiVersion"), root.text("kind")) != _OLD_KIND:
        wrong = next(decoding.head(root, ("EncryptionConfiguration",), (f"{CONFIG_GROUP}/v1",)), None)
        if wrong is not None:
            yield decoding.error(path, wrong)
            return
    yield from decoding.located(schema.problems(root, _ENCRYPTION), path)
    resources = decoding.mappings(root.get("resources"))
    if not resources:
        yield decoding.error(path, Problem(root.line, "`resources` must contain at least one item"))
    seen: set[str] = set()
    for item in resources:
        yield from decoding.located(_encrypted(item, has_kms_v1=has_kms_v1, seen=seen), path)


def _encrypted(item: Mapping, *, has_kms_v1: bool, seen: set[str]) -> Iterator[Problem]:
    for key in ("resources", "providers"):
        node = item.get(key)
        if not isinstance(node, Sequence) or not node.items:
            yield Problem((node or item).line, f"`{key}` must contain at least one item")
    names = [scalar.text for scalar in decoding.items(item, "resources")]
    if len(set(names)) != len(names):
        yield Problem(item.line, "`resources` contains a name twice")
    elif len(names) > 1 and ("*.*" in names or any(_masked(name, names) for name in names)):
        yield Problem(item.line, "`resources` contains names that overlap")
    for name in names:
        group = name.partition(".")[2]
        if name == "*" or name != name.lower() or group in ("events.k8s.io", "extensions"):
            yield Problem(item.line, f"`resources` contains '{shown(name)}', which is not a valid resource")
    for provider in decoding.mappings(item.get("providers")):
        yield from _provider(provider)
        kms = provider.get("kms")
        if isinstance(kms, Mapping):
            yield from _kms(kms, has_kms_v1=has_kms_v1, seen=seen)


def _masked(name: str, names: list[str]) -> bool:
    """Return whether another name is all resources of the group of this one."""
    resource, _, group = name.partition(".")
    return resource != "*" and f"*.{group}" in names


def _provider(provider: Mapping) -> Iterator[Problem]:
    chosen = [entry for entry in provider.entries if decoding.is_set(entry.node)]
    if len(chosen) != 1:
        yield Problem(provider.line, "an item of `providers` must contain exactly one provider")
        return
    kind, node = chosen[0].key, chosen[0].node
    if kind in _KEY_SIZES and isinstance(node, Mapping):
        keys = decoding.mappings(node.get("keys"))
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
    elif version == "v2" and decoding.is_set(kms.get("cachesize")):
        yield Problem(kms.line, "`kms.cachesize` is not supported by v2")
    name = kms.text("name") or ""
    if not name or ":" in name or name in seen:
        yield Problem(kms.line, "`kms.name` must be set, without a colon, and different for each provider")
    seen.add(name)
    timeout = decoding.duration_of(kms, "timeout")
    if timeout is not None and timeout <= 0:
        yield Problem(kms.line, "`kms.timeout` must be more than 0s")


def _key(kind: str, key: Mapping) -> Iterator[Problem]:
    if not key.text("name"):
        yield Problem(key.line, f"a key of `{kind}` must have a name")
    line = key.line_of("secret")
    try:
        # Go ignores line breaks in base64.
        size = len(b64decode((key.text("secret") or "").replace("\n", "").replace("\r", ""), validate=True))
    except ValueError:
        yield Problem(line, f"`secret` of `{kind}` must be base64")
        return
    if size not in _KEY_SIZES[kind]:
        sizes = yaml_reader.alternatives(str(one) for one in _KEY_SIZES[kind]) if kind != "secretbox" else "32"
        yield Problem(line, f"`secret` of `{kind}` must have {sizes} bytes; found {size}")
