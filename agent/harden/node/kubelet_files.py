"""The kubelet's configuration files on this host, in the order in which the kubelet reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.errors import HostError
from agent.base.host.paths import DIRECTORY
from agent.base.model import Unreadable
from agent.k3s import kubelet_configuration

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from agent.base.host.tree import Tree
    from agent.harden.node.facts import HostFacts


def kubelet_file_paths(tree: Tree, facts: HostFacts) -> tuple[PurePosixPath, ...]:
    """Return the files that the kubelet reads at K3s' next start, each with its present path.

    Raises ValueError for a relative path, and HostError for a directory that cannot be read.
    """
    found: dict[tuple[str, ...], PurePosixPath] = {}
    for source in kubelet_configuration.sources(facts.merged_config, facts.version, facts.data_dir):
        files = _dropins(tree, source.path) if source.is_directory else {(): source.path}
        found.update({(*source.names, *names): path for names, path in files.items()})
    return tuple(found[names] for names in sorted(found))


def _dropins(tree: Tree, directory: PurePosixPath) -> dict[tuple[str, ...], PurePosixPath]:
    """Return the *.conf files at any depth, by their path parts, by which the kubelet sorts them."""
    found = {}
    waiting = [directory]
    while waiting:
        here = waiting.pop()
        for entry in tree.entries(here):
            if isinstance(entry, Unreadable):
                raise HostError(f"cannot read {entry.id}: {entry.reason}")
            path = here / entry.name
            if entry.kind == DIRECTORY:
                waiting.append(path)
            elif path.suffix == ".conf" or entry.name == ".conf":
                found[path.relative_to(directory).parts] = path
    return found
