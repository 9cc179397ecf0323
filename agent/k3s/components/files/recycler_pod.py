"""Pods with which the controller manager recycles volumes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import InputError
from agent.k3s.components.files import decoding
from agent.k3s.components.files.schema import Problem
from agent.yaml_reader import Mapping, Sequence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath


def problems(data: bytes, path: PurePosixPath) -> Iterator[InputError]:
    """Yield why a file is not a pod that recycles a volume. Of its fields, only the volumes are checked.

    Sources: cmd/kube-controller-manager/app/plugins.go; pkg/volume/plugins.go, ValidateRecyclerPodTemplate.
    """
    root = decoding.first(data, path, "kind Pod")
    if isinstance(root, InputError):
        yield root
        return
    for key, expected in (("kind", "Pod"), ("apiVersion", "v1")):
        # Without a kind or version, the controller manager decodes the file into a Pod.
        if root.text(key) not in (None, "", expected):
            yield decoding.error(path, Problem(root.line_of(key), f"`{key}` must be {expected}"))
            return
    spec = root.get("spec")
    volumes = spec.get("volumes") if isinstance(spec, Mapping) else None
    if not isinstance(volumes, Sequence) or not volumes.items:
        yield decoding.error(path, Problem((volumes or root).line, "`spec.volumes` must contain at least one volume"))
