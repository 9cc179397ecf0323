"""The leader migration of the controller manager. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import InputError
from agent.k3s.components.files import decoding, schema
from agent.k3s.components.files.decoding import HEAD
from agent.k3s.components.files.schema import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath


_GROUP = "controllermanager.config.k8s.io"
_MIGRATION: dict[str, schema.Schema] = {
    **HEAD,
    "leaderName": "string",
    "controllerLeaders": [{"name": "string", "component": "string"}],
}
_LOCKS = ("leases", "endpoints")


def problems(data: bytes, path: PurePosixPath) -> Iterator[InputError]:
    """Yield what the controller manager rejects in its leader migration.

    Source: controller-manager, pkg/leadermigration/config/config.go.
    """
    versions = tuple(f"{_GROUP}/{one}" for one in ("v1", "v1beta1", "v1alpha1"))
    root = decoding.read(data, path, "LeaderMigrationConfiguration", versions)
    if isinstance(root, InputError):
        yield root
        return
    has_lock = root.text("apiVersion") != versions[0]
    fields: schema.Schema = {**_MIGRATION, **({"resourceLock": "string"} if has_lock else {})}
    yield from decoding.located(schema.problems(root, fields), path)
    if not root.text("leaderName"):
        yield decoding.error(path, Problem(root.line, "`leaderName` must be set"))
    if has_lock and (root.text("resourceLock") or _LOCKS[0]) not in _LOCKS:
        line = root.line_of("resourceLock")
        yield decoding.error(path, Problem(line, f"`resourceLock` must be {' or '.join(_LOCKS)}"))
    for one in decoding.mappings(root.get("controllerLeaders")):
        for key in ("name", "component"):
            if not one.text(key):
                yield decoding.error(path, Problem(one.line, f"`{key}` of an item of `controllerLeaders` must be set"))
