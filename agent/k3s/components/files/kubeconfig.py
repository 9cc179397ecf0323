"""Kubeconfigs of components and webhooks. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import InputError
from agent.k3s.components.files import decoding
from agent.k3s.components.files.schema import Problem
from agent.yaml_reader import Mapping, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath

    from agent.yaml_reader import Node


def problems(data: bytes, path: PurePosixPath) -> Iterator[InputError]:
    """Yield why a kubeconfig names no server of a webhook (client-go, tools/clientcmd/validation.go)."""
    root = decoding.first(data, path, "kind Config")
    if isinstance(root, InputError):
        yield root
        return
    for key, expected in (("kind", "Config"), ("apiVersion", "v1")):
        if root.text(key) not in (None, expected):
            yield decoding.error(path, Problem(root.line_of(key), f"`{key}` must be {expected}"))
            return
    chosen = root.text("current-context")
    context = _named(root.get("contexts"), chosen, "context") if chosen else None
    if context is None:
        line = root.line_of("current-context")
        yield decoding.error(path, Problem(line, "`current-context` must be the name of one of `contexts`"))
        return
    cluster = _named(root.get("clusters"), context.text("cluster"), "cluster")
    if cluster is None or not cluster.text("server"):
        message = f"the context {shown(chosen or '')} must name one of `clusters` that has a `server`"
        yield decoding.error(path, Problem((cluster or context).line, message))


def _named(items: Node | None, name: str | None, key: str) -> Mapping | None:
    """Return the content of the last item of a kubeconfig with a name."""
    found = [one.get(key) for one in decoding.mappings(items) if one.text("name") == name]
    return next((one for one in reversed(found) if isinstance(one, Mapping)), None)
