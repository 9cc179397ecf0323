"""Masks and drop-ins of systemd units on this host."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.errors import AccessDeniedError, HostError, LimitError
from agent.base.host.directories import MOST_FILES, Total, too_many
from agent.base.linux.unit_files import dropin_directories
from agent.base.model import File

if TYPE_CHECKING:
    from agent.base.errors import HardenError
    from agent.base.host import Host

_CONF_D = PurePosixPath("/etc/conf.d")
"""OpenRC's directory of settings of services."""


def is_masked(host: Host, path: PurePosixPath) -> bool:
    """Return whether a unit or drop-in masks others of its name: a link to /dev/null, or an empty file."""
    if host.tree.link_target(path) == "/dev/null":
        return True
    found = host.tree.observe(path)
    return isinstance(found, File) and not found.content


def read_dropins(host: Host, name: str, unread: list[HardenError]) -> dict[PurePosixPath, str]:
    """Return the texts of a unit's drop-ins by path, in order of their names. Earlier directories take precedence.

    Adds to `unread` the files that systemd reads and this program cannot read.
    """
    paths: dict[str, PurePosixPath] = {}
    for directory in dropin_directories(name):
        for file in host.tree.names(directory):
            if file.endswith(".conf"):
                paths.setdefault(file, directory / file)
    if len(paths) > MOST_FILES:
        unread.append(too_many(next(iter(paths.values())).parent, len(paths)))
    total = Total(f"drop-ins of {name}")
    return {paths[file]: unit_text(host, paths[file], unread, total) for file in sorted(paths)[:MOST_FILES]}


def openrc_settings(host: Host, name: str, unread: list[HardenError]) -> dict[PurePosixPath, str]:
    """Return the texts of a service's files in /etc/conf.d by path, also those for one runlevel."""
    names = (file for file in host.tree.names(_CONF_D) if file.partition(".")[0] == name)
    return {_CONF_D / file: unit_text(host, _CONF_D / file, unread) for file in names}


def unit_text(host: Host, path: PurePosixPath, unread: list[HardenError], total: Total | None = None) -> str:
    """Return the text of a file; empty if it is missing, or is nothing that systemd reads.

    Adds an error to `unread` if the file exceeds a limit of this program, or only root can read it.
    """
    try:
        text = host.tree.read_text(path)
        if total is not None:
            total.add(len(text))
    except HostError as error:
        if isinstance(error, (AccessDeniedError, LimitError)):
            unread.append(error)
        return ""
    return text
