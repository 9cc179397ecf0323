"""Manifests directory of a server, as K3s' deploy controller reads it.

By k3s, pkg/deploy/controller.go: the controller walks the directory recursively. It follows links to directories, but
no links below those. It applies files with a known suffix in any case. `NAME.skip` in any directory makes it skip every
file NAME. It deletes what `disable` names: a file without its suffix, or a directory.

Releases before June 2024 do not follow links to directories (k3s-io/k3s #9288).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import PurePosixPath
from types import MappingProxyType

from agent.base.errors import AccessDeniedError, HostError
from agent.base.host.directories import MOST_FILES, DirectoryEntry, too_many
from agent.base.host.tree import Tree
from agent.base.linux.file_systems import DIRECTORY, SYMLINK
from agent.base.model import Absent, Location, Unreadable
from agent.base.value import Value
from agent.k3s.config import MergedConfig, has_suffix

_SKIP = ".skip"


class Manifests(Value):
    """The manifests directory of a server."""

    applied: Mapping[PurePosixPath, bytes] = MappingProxyType({})
    """Content of the files that K3s applies, by path."""
    skips: Mapping[str, PurePosixPath] = MappingProxyType({})
    """The `.skip` files, by the name of the files that K3s skips."""
    disabled: Mapping[str, Location] = MappingProxyType({})
    """Locations in K3s' configuration that disable a name."""
    broken_links: tuple[PurePosixPath, ...] = ()
    """Links without a target. If there is one, K3s applies no manifests."""
    unreadable: tuple[HostError, ...] = ()
    """What could not be read."""


def read_manifests(tree: Tree, directory: PurePosixPath, config: MergedConfig) -> Manifests:
    """Walk the directory, and read the files that K3s applies."""
    walk = _Walk(tree, directory)
    skips = {path.name.removesuffix(_SKIP): path for path in walk.files if path.name.endswith(_SKIP)}
    disabled = {
        name.strip(): at for value, at, _ in config.items("disable") for name in value.split(",") if name.strip()
    }
    paths = [path for path in walk.files if _is_applied(path, directory, skips, disabled)]
    if len(paths) > MOST_FILES:
        walk.unreadable.append(too_many(directory, len(paths)))
    applied: dict[PurePosixPath, bytes] = {}
    for path in paths[:MOST_FILES]:
        try:
            applied[path] = tree.read(path) or b""
        except HostError as error:
            walk.unreadable.append(error)
    return Manifests(applied, skips, disabled, tuple(walk.broken_links), tuple(walk.unreadable))


def _is_applied(path: PurePosixPath, top: PurePosixPath, skipped: Collection[str], disabled: Collection[str]) -> bool:
    if path.name.startswith(".") or path.name in skipped or not has_suffix(path.name, ".yaml", ".yml", ".json"):
        return False
    below = path.relative_to(top)
    return path.stem not in disabled and not any(str(parent) in disabled for parent in below.parents)


class _Walk:
    """The files below a directory, and what prevents reading them."""

    def __init__(self, tree: Tree, top: PurePosixPath) -> None:
        self.tree = tree
        self.files: list[PurePosixPath] = []
        self.broken_links: list[PurePosixPath] = []
        self.unreadable: list[HostError] = []
        self._enter(top, follows_links=True)

    def _enter(self, top: PurePosixPath, *, follows_links: bool) -> None:
        waiting = [top]
        while waiting:
            directory = waiting.pop()
            try:
                entries = self.tree.entries(directory)
            except HostError as error:
                self.unreadable.append(error)
                continue
            for entry in entries:
                if isinstance(entry, Unreadable):
                    kind = AccessDeniedError if entry.access_denied else HostError
                    self.unreadable.append(kind(f"cannot read {entry.id}: {entry.reason}"))
                    continue
                path = directory / entry.name
                if entry.kind == DIRECTORY:
                    waiting.append(path)
                elif entry.kind == SYMLINK and follows_links:
                    target = self.tree.stat(path)
                    if isinstance(target, DirectoryEntry) and target.kind == DIRECTORY:
                        self._enter(path, follows_links=False)
                    else:
                        (self.broken_links if isinstance(target, Absent) else self.files).append(path)
                else:
                    self.files.append(path)
