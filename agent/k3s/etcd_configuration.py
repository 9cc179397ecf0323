"""The configuration that K3s writes for its etcd: the values of its keys, and where each stands. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent import yaml_reader
from agent.errors import InputError
from agent.k3s.options import is_secret
from agent.model import Location
from agent.yaml_reader import Mapping as YamlMapping
from agent.yaml_reader import Scalar, Sequence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath

    from agent.yaml_reader import Node

ETCD_CONFIGURATION = "server/db/etcd/config"
"""Below the data directory, written by K3s."""

_SECTIONS = ("client-transport-security", "peer-transport-security")
_TYPES = {
    "auto-tls": bool,
    "cert-file": str,
    "client-cert-auth": bool,
    "key-file": str,
    "trusted-ca-file": str,
}
"""etcd exits where one of these is anything else."""


class Text(NamedTuple):
    """A value in a file, with its line (from 1)."""

    value: str
    line: int


def values(data: bytes, path: PurePosixPath) -> dict[str, Text]:
    """Each value by its key, dots leading into mappings; `path` is for the messages.

    Lists are joined by commas. What is null is not there, nor is what looks like a secret. Raises InputError where etcd
    would exit at the file, or where it was cut off, in words that hold no value of it.
    """
    documents = yaml_reader.read(data, path)
    if not documents:
        raise InputError(Location(path), "it is empty")
    root = documents[0].node
    if not isinstance(root, YamlMapping):
        raise _unexpected("it must be a mapping", root, path)
    for section in _SECTIONS:
        # K3s always writes both, so that a file without them was cut off.
        if not isinstance(root.get(section), YamlMapping):
            raise _unexpected(f"`{section}` must be there as a mapping", root.get(section) or root, path)
    return dict(_flat(root, "", path))


def _flat(mapping: YamlMapping, prefix: str, path: PurePosixPath) -> Iterator[tuple[str, Text]]:
    for entry in {entry.key: entry for entry in mapping.entries}.values():
        # A key with a dot in it would look like one of a mapping below, which it is not to etcd.
        if "." in entry.key or is_secret(entry.key):
            continue
        key, node = prefix + entry.key, entry.node
        if isinstance(node, YamlMapping):
            yield from _flat(node, f"{key}.", path)
        elif isinstance(node, Sequence):
            yield key, Text(",".join(_text(item) for item in node.items if isinstance(item, Scalar)), node.line)
        elif node.value is not None:
            kind = _TYPES.get(entry.key, object)
            if not isinstance(node.value, kind):
                raise _unexpected(f"`{key}` must be {'true or false' if kind is bool else 'a text'}", node, path)
            yield key, Text(_text(node), node.line)


def _text(scalar: Scalar) -> str:
    return str(scalar.value).lower() if isinstance(scalar.value, bool) else str(scalar.value)


def _unexpected(wanted: str, node: Node, path: PurePosixPath) -> InputError:
    # What is there instead is not said: it is not known what somebody put into a wrong place.
    return InputError(Location(path, node.line), wanted)
