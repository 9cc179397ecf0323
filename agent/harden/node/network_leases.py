"""Directories and files of the CNI plugin host-local, whose mode the settings can change.

Up to v1.3.0 the plugin creates its files with 0644, from v1.4.0 on with 0600 (containernetworking/plugins #950).
K3s has v1.4.0 since v1.26.14, v1.27.11, v1.28.7 and v1.29.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

from agent.base.errors import HostError
from agent.base.host.directories import MOST_FILES, DirectoryEntry
from agent.base.host.tree import Tree
from agent.base.linux.file_systems import DIRECTORY, REGULAR_FILE
from agent.base.model import PRIVATE_FILE, Absent, DefaultPermissions, Directory
from agent.k3s.roles_and_versions import NETWORK_LEASES

LOCK = "lock"
"""Name of an empty file that host-local locks, which the benchmarks exclude."""

_MOST_NETWORKS = 50
"""Limit of directories. A K3s node has one, and one for each additional network of Multus."""


class NetworkLeases(NamedTuple):
    """The directories and files of host-local."""

    directories: tuple[PurePosixPath, ...] = ()
    """The directory, which may be missing, and those in it; empty if one of them cannot have default permissions."""
    open_files: tuple[PurePosixPath, ...] = ()
    """Files to which users other than the owner have access."""


def read_network_leases(tree: Tree) -> NetworkLeases:
    """Return the directories and files whose permissions can be changed.

    Empty if the directory is a symlink or cannot be listed. A file system without access control lists has only files.
    """
    if not isinstance(tree.observe(NETWORK_LEASES), (Absent, Directory)):
        return NetworkLeases()
    try:
        entries = (entry for entry in tree.entries(NETWORK_LEASES) if isinstance(entry, DirectoryEntry))
        found = [NETWORK_LEASES / entry.name for entry in entries if entry.kind == DIRECTORY]
        networks = (NETWORK_LEASES, *found[:_MOST_NETWORKS])
        files = tuple(path for directory in networks for path in _open_files(tree, directory))
    except HostError:
        return NetworkLeases()
    supported = all(isinstance(tree.default_permissions(path), DefaultPermissions) for path in networks)
    return NetworkLeases(networks if supported else (), files)


def _open_files(tree: Tree, directory: PurePosixPath) -> Iterator[PurePosixPath]:
    for entry in tree.entries(directory)[:MOST_FILES]:
        if isinstance(entry, DirectoryEntry) and entry.kind == REGULAR_FILE and entry.name != LOCK:
            is_open = entry.mode & ~PRIVATE_FILE
            yield from (directory / entry.name,) if is_open else ()
