"""Admission configuration file of the API server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import yaml_reader
from agent.errors import InputError
from agent.k3s.admission_plugins import POD_SECURITY
from agent.model import Location

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from agent.yaml_reader import Mapping, Node


_GROUPS = ("apiserver.config.k8s.io/", "apiserver.k8s.io/")
"""API groups of an AdmissionConfiguration; the second one is the older name (apiserver/pkg/apis/apiserver/install)."""


def configured_plugins(data: bytes, path: PurePosixPath) -> frozenset[str | None]:
    """Return the admission plugins that an AdmissionConfiguration has entries for.

    Raises InputError for a file that the API server cannot decode.
    """
    return frozenset(item.text("name") for item in _plugins(_configuration(data, path)))


def enforced_level(data: bytes, path: PurePosixPath) -> tuple[str, int]:
    """Return the Pod Security standard that is enforced in namespaces without labels, and the line that sets it.

    The level is empty if the file has none, or names another file. The API server uses the first entry of a plugin.
    Raises InputError for a file that the API server cannot decode.
    """
    document = _configuration(data, path)
    entry = next((item for item in _plugins(document) if item.text("name") == POD_SECURITY), None)
    if entry is None:
        return "", document.line
    defaults = _part(_part(entry, "configuration"), "defaults")
    level = _part(defaults, "enforce")
    if not isinstance(level, yaml_reader.Scalar):
        return "", (defaults or entry).line
    return level.text, level.line


def plugin_paths(data: bytes, path: PurePosixPath) -> list[PurePosixPath]:
    """Return the files that an AdmissionConfiguration names for its plugins; none if it cannot be decoded."""
    try:
        names = [item.text("path") for item in _plugins(_configuration(data, path))]
    except InputError:
        return []
    return [path.parent / name for name in names if name]


def exempt_namespaces(data: bytes, path: PurePosixPath) -> frozenset[str]:
    """Return the namespaces that Pod Security does not check.

    Raises InputError for a file that the API server cannot decode.
    """
    return frozenset(_exempt("namespaces", data, path))


def exempt_requests(data: bytes, path: PurePosixPath) -> tuple[str, ...]:
    """Return the users and runtime classes whose pods Pod Security does not check, in words.

    Raises InputError for a file that the API server cannot decode.
    """
    words = {"usernames": "user", "runtimeClasses": "runtime class"}
    return tuple(f"{word} {name}" for key, word in words.items() for name in _exempt(key, data, path))


def _exempt(key: str, data: bytes, path: PurePosixPath) -> list[str]:
    entry = next((item for item in _plugins(_configuration(data, path)) if item.text("name") == POD_SECURITY), None)
    names = _part(_part(_part(entry, "configuration"), "exemptions"), key)
    items = names.items if isinstance(names, yaml_reader.Sequence) else ()
    return [item.text for item in items if isinstance(item, yaml_reader.Scalar)]


def _configuration(data: bytes, path: PurePosixPath) -> Mapping:
    problem = yaml_reader.json_problem(data)
    if problem:
        raise InputError(Location(path), problem)
    first = yaml_reader.read_first(data, path)
    node = first and yaml_reader.merged(first)
    if not isinstance(node, yaml_reader.Mapping) or node.text("kind") != "AdmissionConfiguration":
        raise InputError(Location(path), "expected the kind AdmissionConfiguration")
    if not (node.text("apiVersion") or "").startswith(_GROUPS):
        raise InputError(Location(path), "expected the apiVersion apiserver.config.k8s.io/v1")
    return node


def _plugins(configuration: Mapping) -> tuple[Mapping, ...]:
    plugins = configuration.get("plugins")
    items = plugins.items if isinstance(plugins, yaml_reader.Sequence) else ()
    return tuple(item for item in items if isinstance(item, yaml_reader.Mapping))


def _part(node: Node | None, key: str) -> Node | None:
    return node.get(key) if isinstance(node, yaml_reader.Mapping) else None
