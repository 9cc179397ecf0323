"""Admission configuration file of the API server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import yaml_reader
from agent.errors import InputError
from agent.model import Location

if TYPE_CHECKING:
    from pathlib import PurePosixPath


def configured_plugins(data: bytes, path: PurePosixPath) -> frozenset[str | None]:
    """Return the admission plugins that an AdmissionConfiguration has entries for.

    Raises InputError for a file that the API server cannot decode.
    """
    documents = yaml_reader.read(data, path)
    node = documents[0].node if documents else None
    if not isinstance(node, yaml_reader.Mapping) or node.text("kind") != "AdmissionConfiguration":
        raise InputError(Location(path), "expected the kind AdmissionConfiguration")
    if not (node.text("apiVersion") or "").startswith("apiserver.config.k8s.io/"):
        raise InputError(Location(path), "expected the apiVersion apiserver.config.k8s.io/v1")
    plugins = node.get("plugins")
    items = plugins.items if isinstance(plugins, yaml_reader.Sequence) else ()
    return frozenset(item.text("name") for item in items if isinstance(item, yaml_reader.Mapping))
