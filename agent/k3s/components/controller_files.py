"""Files of the controller manager at which it exits: leader migration, and pods that recycle volumes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import InputError
from agent.k3s.components import files, schema
from agent.k3s.components.schema import Problem
from agent.yaml_reader import Mapping, Sequence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath

_GROUP = "controllermanager.config.k8s.io"
_MIGRATION: dict[str, schema.Schema] = {
    "apiVersion": "string",
    "kind": "string",
    "leaderName": "string",
    "controllerLeaders": [{"name": "string", "component": "string"}],
}
_LOCKS = ("leases", "endpoints")


def leader_migration(data: bytes, path: PurePosixPath) -> Iterator[InputError]:
    """Yield what the controller manager rejects in its leader migration.

    Source: controller-manager, pkg/leadermigration/config/config.go.
    """
    versions = tuple(f"{_GROUP}/{one}" for one in ("v1", "v1beta1", "v1alpha1"))
    root = files.read(data, path, "LeaderMigrationConfiguration", versions)
    if isinstance(root, InputError):
        yield root
        return
    has_lock = root.text("apiVersion") != versions[0]
    fields: schema.Schema = {**_MIGRATION, **({"resourceLock": "string"} if has_lock else {})}
    yield from files.located(schema.problems(root, fields), path)
    if not root.text("leaderName"):
        yield files.error(path, Problem(root.line, "`leaderName` must be set"))
    if has_lock and (root.text("resourceLock") or _LOCKS[0]) not in _LOCKS:
        line = (root.get("resourceLock") or root).line
        yield files.error(path, Problem(line, f"`resourceLock` must be {' or '.join(_LOCKS)}"))
    for one in files.mappings(root.get("controllerLeaders")):
        for key in ("name", "component"):
            if not one.text(key):
                yield files.error(path, Problem(one.line, f"`{key}` of an item of `controllerLeaders` must be set"))


def recycler(data: bytes, path: PurePosixPath) -> Iterator[InputError]:
    """Yield why a file is not a pod that recycles a volume. Of its fields, only the volumes are checked.

    Sources: cmd/kube-controller-manager/app/plugins.go; pkg/volume/plugins.go, ValidateRecyclerPodTemplate.
    """
    root = files.first(data, path, "kind Pod")
    if isinstance(root, InputError):
        yield root
        return
    for key, expected in (("kind", "Pod"), ("apiVersion", "v1")):
        # Without a kind or version, the controller manager decodes the file into a Pod.
        if root.text(key) not in (None, "", expected):
            yield files.error(path, Problem((root.get(key) or root).line, f"`{key}` must be {expected}"))
            return
    spec = root.get("spec")
    volumes = spec.get("volumes") if isinstance(spec, Mapping) else None
    if not isinstance(volumes, Sequence) or not volumes.items:
        yield files.error(path, Problem((volumes or root).line, "`spec.volumes` must contain at least one volume"))
