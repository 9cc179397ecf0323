"""Comparison of two contents of a file by meaning, without comments and layout. Pure.

A host that was hardened by hand has the guide's files in another layout; they are compliant and are not rewritten.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base import yaml_reader
from agent.base.errors import InputError
from agent.base.yaml_reader import Scalar, YamlMapping
from agent.harden.guide.guide_files import POD_SECURITY_ADMISSION

if TYPE_CHECKING:
    from agent.base.yaml_reader import Node

_POD_SECURITY_FILE = POD_SECURITY_ADMISSION.path.name
_OPTIONAL = frozenset({"audit", "audit-version", "enforce-version", "exemptions", "warn", "warn-version"})
"""Keys of psa.yaml without which Pod Security enforces as much, or more."""
_SYSCTL_COMMENT_MARKS = ("#", ";")


def is_equivalent(name: str, first: bytes, other: bytes) -> bool:
    """Compare two contents of a file by meaning: YAML by its values, a sysctl.d(5) file by its assignments."""
    if name.endswith((".yaml", ".yml")):
        path = PurePosixPath(name)
        try:
            found, expected = _values(first, path), _values(other, path)
            # A file that begins as that of k3s-harden is cut off or edited, and not one of the site.
            is_own = name == _POD_SECURITY_FILE and first.partition(b"\n")[0] != other.partition(b"\n")[0]
            return found == expected or (is_own and _is_part(found, expected) and _is_part(expected, found, _OPTIONAL))
        except InputError:
            return False
    return name.endswith(".conf") and _assignments(first) == _assignments(other)


def _values(content: bytes, path: PurePosixPath) -> list[object]:
    return [value_of(document.node) for document in yaml_reader.read_documents(content, path)]


def value_of(node: Node) -> object:
    """Return the value of a node, for comparisons: without lines, comments and the order of keys."""
    if isinstance(node, Scalar):
        # With the type: 1 differs from "1", and True from 1.
        return type(node.value), node.value
    if isinstance(node, YamlMapping):
        return {entry.key: value_of(entry.node) for entry in node.entries}
    return [value_of(item) for item in node.items]


def _is_part(part: object, whole: object, optional: frozenset[str] = frozenset()) -> bool:
    """Return whether a value of a file has nothing that another one lacks, except under optional keys."""
    if isinstance(part, dict) and isinstance(whole, dict):
        required = part.keys() - optional
        return all(key in whole and _is_part(part[key], whole[key], optional) for key in required)
    if isinstance(part, list) and isinstance(whole, list):
        return all(any(_is_part(item, other, optional) for other in whole) for item in part)
    return part == whole


def _assignments(content: bytes) -> list[tuple[str, str]]:
    """Return the assignments, sorted. A repeated key is kept, so contents with and without the repetition differ."""
    lines = (line.strip() for line in content.decode("utf-8", "surrogateescape").split("\n"))
    parted = (line.partition("=") for line in lines if line and not line.startswith(_SYSCTL_COMMENT_MARKS))
    return sorted((key.strip(), value.strip()) for key, _, value in parted)
