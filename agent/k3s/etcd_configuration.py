"""The configuration file that K3s writes for its etcd: values by key, each with its line. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base import yaml_reader
from agent.base.errors import InputError
from agent.base.model import Location
from agent.base.value import Value
from agent.base.yaml_reader import Scalar, YamlMapping, YamlSequence
from agent.k3s.redaction import is_secret

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath

    from agent.base.yaml_reader import Node

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
