"""Masks and drop-ins of systemd units on this host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import HostError
from agent.host.tree import MOST_FILES
from agent.linux.unit_files import UNIT_DIRECTORIES
from agent.model import File

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from agent.host import Host


def is_masked(host: Host, path: PurePosixPath) -> bool:
    """Return whether a unit or drop-in masks others of its name: a link to /dev/null, or an empty file."""
    if host.tree.link_target(path) == "/dev/null":
        return True
    found = host.tree.observe(path)
    return isinstance(found, File) and not found.content


def dropins(host: Host, name: str) -> dict[PurePosixPath, str]:
    """Return the texts of a unit's drop-ins by path, in order of their names. Earlier directories take precedence."""
    paths: dict[str, PurePosixPath] = {}
    for directory in UNIT_DIRECTORIES:
        for file in host.tree.names(directory / f"{name}.d"):
            if file.endswith(".conf"):
                paths.setdefault(file, directory / f"{name}.d" / file)
    texts = {}
    for file in sorted(paths)[:MOST_FILES]:
        try:
            texts[paths[file]] = host.tree.read_text(paths[file])
        except HostError:
            continue
    return texts
