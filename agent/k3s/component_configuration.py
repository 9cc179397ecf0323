"""Configurations that K3s writes for its components: etcd's, the kubelet's, and of the encryption of Secrets. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from agent.base import yaml_reader
from agent.base.errors import InputError
from agent.base.model import Location
from agent.base.value import Value
from agent.base.yaml_reader import Node, Scalar, YamlMapping, YamlSequence, first_object, plain
from agent.k3s.config import ConfigValue, MergedConfig
from agent.k3s.default_arguments import FIRST_WITH_KUBELET_FILES, KUBELET_DIRECTORY
from agent.k3s.redaction import is_secret
from agent.k3s.roles_and_versions import Component, Version

ENCRYPTION_CONFIGURATION = "server/cred/encryption-config.json"
"""Path relative to the data directory. K3s writes the file as JSON, and again at each `k3s secrets-encrypt`."""

IDENTITY = "identity"
"""The provider that stores values without encryption."""

_PROVIDERS = frozenset({"aescbc", "aesgcm", IDENTITY, "kms", "secretbox"})
_KEY = rb'\{"name":"[\w.:+-]+","secret":"[\w+/]{43}="\}'
_PROVIDER = rb'\{"(?:identity":\{\}|(?:aescbc|secretbox)":\{"keys":\[KEY(?:,KEY)*\]\})\}'.replace(b"KEY", _KEY)
_AS_K3S_WRITES = (
    rb'\{"kind":"EncryptionConfiguration","apiVersion":"apiserver\.config\.k8s\.io/v1","resources":\[\{"resources":'
    rb'\["secrets"\],"providers":\[ONE(?:,ONE)*\]\}\]\}\s*'.replace(b"ONE", _PROVIDER)
)
_ALL_SECRETS = frozenset({"secrets", "secrets.", "*.", "*.*"})
"""Names of Secrets in an EncryptionConfiguration (apiserver.config.k8s.io/v1): the core group has an empty name."""


FIRST_ENABLING_LATER = ((32, 11, 3), (33, 7, 3), (34, 3, 3), (35, 0, 3))
"""The first releases, by minor, patch and build, in which K3s can encrypt the Secrets of a cluster that has data.

(k3s-io/docs, docs/cli/secrets-encrypt.md)
"""


def release_enabling_later(minor: int) -> str:
    """Return the first release, if possible of this minor, that can encrypt the Secrets of a cluster with data."""
    number = next((release for release in FIRST_ENABLING_LATER if release[0] == minor), FIRST_ENABLING_LATER[0])
    return "v1.{}.{}+k3s{}".format(*number)


def can_be_enabled_later(version: Version) -> bool:
    """Return whether K3s of this version can encrypt the Secrets of a cluster that has data.

    A minor version without its patch has all of its fixes.
    """
    build = re.search(r"\+k3s(\d+)", version.build)
    own = (version.minor, version.patch, int(build[1]) if build else 0)
    first = next((release for release in FIRST_ENABLING_LATER if release[0] == version.minor), None)
    if first is None:
        return own > FIRST_ENABLING_LATER[-1]
    return own >= first or not version.is_release


def providers_of_secrets(data: bytes) -> tuple[str, ...]:
    """Return the names of the providers for Secrets, in order. The first one encrypts new values.

    Empty if the file has no entry for Secrets, which means no encryption. Raises ValueError if the file is not an
    EncryptionConfiguration; the message contains no text of the file, which contains keys.
    """
    return tuple(map(_name, _of_secrets(data)))


def key_of_secrets(data: bytes) -> str:
    """Return the name of the key that encrypts new values of Secrets; empty without one. Raises as the function above.

    K3s names each key but the first after the time at which it made it, as aescbckey-2026-12-02T04:05:06Z.
    """
    for provider in _of_secrets(data)[:1]:
        keys = provider[_name(provider)].get("keys")
        if isinstance(keys, list) and keys and isinstance(keys[0], dict):
            return str(keys[0].get("name", ""))
    return ""


def encryption_problem(data: bytes, path: PurePosixPath, minor: int) -> InputError | None:
    """Return why the API server of a minor version, 0 if it is unknown, exits at the file; None if it uses it."""
    from agent.k3s.components.files.api_server_files import ENCRYPTION
    from agent.k3s.components.files.file_rules import FileContext, rejected_by

    return next(rejected_by(ENCRYPTION, data, path, FileContext(minor)), None)


def is_as_k3s_writes(data: bytes) -> bool:
    """Return whether a file has the form in which K3s writes it, with keys of 32 bytes: the API server uses it."""
    return re.fullmatch(_AS_K3S_WRITES, data) is not None


def _of_secrets(data: bytes) -> list[Any]:
    for item in _items(_document(data), "resources"):
        # The first item that names a resource applies.
        names = {name for name in _items(item, "resources") if isinstance(name, str)}
        if not _ALL_SECRETS.isdisjoint(names):
            return _items(item, "providers")
    return []


def _document(data: bytes) -> object:
    """Return the content as mappings, lists and text."""
    import json

    try:
        return json.loads(data)  # most files, since K3s writes JSON: importing PyYAML takes a tenth of a check
    except (ValueError, RecursionError):
        pass
    try:
        document = first_object(data, PurePosixPath(ENCRYPTION_CONFIGURATION))
    except InputError:
        raise ValueError("it is neither YAML nor JSON") from None
    return document and plain(document)


def _items(mapping: object, key: str) -> list[object]:
    found = mapping.get(key) if isinstance(mapping, dict) else None
    if not isinstance(found, list):
        raise ValueError(f"the list `{key}` is missing")  # noqa: TRY004 - callers catch one type
    return found


def _name(provider: object) -> str:
    if isinstance(provider, dict) and len(provider) == 1:
        ((name, options),) = provider.items()
        if name in _PROVIDERS and isinstance(options, dict):
            return str(name)
    raise ValueError(f"a provider must be one of {', '.join(sorted(_PROVIDERS))}")


_COPY_OF_CONFIG = "10-cli-config.conf"
_COPY_OF_CONFIG_DIR = "20-cli-config-dir"
_FIRST_WITH_CONFIG_DIR = 30
"""The first minor whose kubelet accepts --config-dir without the variable KUBELET_CONFIG_DROPIN_DIR_ALPHA.

Source: kubernetes, cmd/kubelet/app/server.go.
"""


class KubeletSource(Value):
    """A file that the kubelet reads, or a directory in which it reads all *.conf files at any depth."""

    names: tuple[str, ...]
    """Sort key. For a file it is complete; for a directory it is the prefix of the names of its files."""
    path: PurePosixPath
    is_directory: bool


def other_spelling_of_config_dir(config: MergedConfig) -> ConfigValue | None:
    """Return the argument `config_dir`; None if there is none.

    For K3s it has another name than `--config-dir`, which K3s passes too, with its own directory. For the kubelet it is
    the same argument, so the kubelet does not read K3s' defaults in that directory.
    """
    values = config.argument(Component.KUBELET, "config-dir")
    return values[-1] if values and values[-1].spelling else None


def kubelet_sources(config: MergedConfig, version: Version, data_dir: PurePosixPath) -> tuple[KubeletSource, ...]:
    """Return what the kubelet reads at K3s' next start, each with its present path.

    Of two sources with the same names the later one applies. Raises ValueError for a relative path.
    """
    given = (config.argument(Component.KUBELET, name) for name in ("config", "config-dir"))
    file, directory = (values[-1].text if values else "" for values in given)
    if any(path and not path.startswith("/") for path in (file, directory)):
        raise ValueError("the path of the kubelet's configuration is not absolute")
    found = []
    if version.minor >= FIRST_WITH_KUBELET_FILES:
        # K3s copies the operator's files into its own directory (k3s, pkg/daemons/agent/agent.go).
        own = data_dir / KUBELET_DIRECTORY
        if other_spelling_of_config_dir(config) is not None:
            return (KubeletSource((), PurePosixPath(directory), is_directory=True),)
        found.append(KubeletSource((), own, is_directory=True))
        if file and not file.startswith(str(own)):
            found.append(KubeletSource((_COPY_OF_CONFIG,), PurePosixPath(file), is_directory=False))
        if directory and not directory.startswith(str(own)):
            found.append(KubeletSource((_COPY_OF_CONFIG_DIR,), PurePosixPath(directory), is_directory=True))
        return tuple(found)
    if file:
        found.append(KubeletSource((), PurePosixPath(file), is_directory=False))
    if directory and version.minor >= _FIRST_WITH_CONFIG_DIR:
        found.append(KubeletSource((), PurePosixPath(directory), is_directory=True))
    return tuple(found)


ETCD_CONFIGURATION = "server/db/etcd/config"
"""Path of the file, relative to the data directory."""

_SECTIONS = ("client-transport-security", "peer-transport-security")
_TYPES = {"auto-tls": bool, "cert-file": str, "client-cert-auth": bool, "key-file": str, "trusted-ca-file": str}
"""Types of keys. etcd exits if a value has another type."""


class EtcdValue(Value):
    """A value in a file and its line, counted from 1."""

    value: str
    line: int


def etcd_values(data: bytes, path: PurePosixPath) -> dict[str, EtcdValue]:
    """Return each value by its key, with a dot between nested keys and a comma between list items.

    Null values and values that look like a secret are left out. Raises InputError if etcd rejects the file or the file
    is incomplete. The message does not contain values of the file.
    """
    documents = yaml_reader.read_documents(data, path)
    if not documents:
        raise InputError(Location(path), "it is empty")
    root = documents[0].node
    if not isinstance(root, YamlMapping):
        raise _unexpected("it must be a mapping", root, path)
    for section in _SECTIONS:
        # K3s always writes both sections, so a file without them is incomplete.
        if not isinstance(root.get(section), YamlMapping):
            raise _unexpected(f"`{section}` must be a mapping", root.get(section) or root, path)
    return dict(_flat(root, "", path))


def _flat(mapping: YamlMapping, prefix: str, path: PurePosixPath) -> Iterator[tuple[str, EtcdValue]]:
    for entry in {entry.key: entry for entry in mapping.entries}.values():
        # A key that contains a dot would look like a nested key, which etcd does not make of it.
        if "." in entry.key or is_secret(entry.key):
            continue
        key, node = prefix + entry.key, entry.node
        if isinstance(node, YamlMapping):
            yield from _flat(node, f"{key}.", path)
        elif isinstance(node, YamlSequence):
            yield key, EtcdValue(",".join(_text(item) for item in node.items if isinstance(item, Scalar)), node.line)
        elif node.value is not None:
            expected = _TYPES.get(entry.key, object)
            if not isinstance(node.value, expected):
                raise _unexpected(f"`{key}` must be {'true or false' if expected is bool else 'a string'}", node, path)
            yield key, EtcdValue(_text(node), node.line)


def _text(scalar: Scalar) -> str:
    return str(scalar.value).lower() if isinstance(scalar.value, bool) else str(scalar.value)


def _unexpected(expected: str, node: Node, path: PurePosixPath) -> InputError:
    # The message omits the value found: it can be a secret in the wrong place.
    return InputError(Location(path, node.line), expected)
