"""Files of components that are not of a kind with a table: kubeconfigs. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.errors import InputError
from agent.base.model import Location
from agent.base.yaml_reader import YamlMapping, mappings, shown
from agent.k3s.components.files.decoding import first_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath

    from agent.base.yaml_reader import Node
    from agent.k3s.components.files.file_rules import FileContext


def rejected_kubeconfig(data: bytes, path: PurePosixPath, _: FileContext) -> Iterator[InputError]:
    """Yield why a kubeconfig names no server (client-go, tools/clientcmd/validation.go)."""
    root = _first(data, path)
    if isinstance(root, InputError):
        yield root
        return
    chosen = root.text("current-context")
    context = _named(root.get("contexts"), chosen, "context") if chosen else None
    if context is None:
        line = root.line_of("current-context")
        yield InputError(Location(path, line), "`current-context` must be the name of one of `contexts`")
        return
    cluster = _named(root.get("clusters"), context.text("cluster"), "cluster")
    if cluster is None or not cluster.text("server"):
        message = f"the context {shown(chosen or '')} must name one of `clusters` that has a `server`"
        yield InputError(Location(path, (cluster or context).line), message)


def _first(data: bytes, path: PurePosixPath) -> YamlMapping | InputError:
    """Return the first document. Its kind and version can be missing: the component decodes it into this kind."""
    try:
        root = first_mapping(data, path, "kind Config")
    except InputError as error:
        return error
    for key, expected in (("kind", "Config"), ("apiVersion", "v1")):
        if root.text(key) not in (None, "", expected):
            return InputError(Location(path, root.line_of(key)), f"`{key}` must be {expected}")
    return root


def _named(items: Node | None, name: str | None, key: str) -> YamlMapping | None:
    """Return the content of the last item of a kubeconfig with a name."""
    found = [item.get(key) for item in mappings(items) if item.text("name") == name]
    return next((content for content in reversed(found) if isinstance(content, YamlMapping)), None)
