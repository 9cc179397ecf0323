"""Configurations that K3s writes for its components: etcd's and the kubelet's. Pure."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base import yaml_reader
from agent.base.errors import InputError
from agent.base.model import Location
from agent.base.value import Value
from agent.base.yaml_reader import Scalar, YamlMapping, YamlSequence
from agent.k3s.default_arguments import FIRST_WITH_KUBELET_FILES, KUBELET_DIRECTORY
from agent.k3s.redaction import is_secret
from agent.k3s.roles_and_versions import Component

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.base.yaml_reader import Node
    from agent.k3s.config import ConfigValue, MergedConfig
    from agent.k3s.roles_and_versions import Version

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
