"""Names and texts of the units of K3s' services and of their gates."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from agent.base.errors import AccessDeniedError, HardenError, HostError, LimitError
from agent.base.host import Host
from agent.base.host.directories import MOST_FILES, Total, too_many
from agent.base.linux.unit_files import dropin_directories

UNIT = "k3s-harden.service"
"""Hardens the host once, for no service of K3s."""

TEMPLATE = "k3s-harden@.service"
"""The gate of one service of K3s, which its drop-in starts."""

DROPIN = "zzz-k3s-harden.conf"
"""The drop-in of each service that starts K3s. It sorts last, so that no other one follows or resets its command."""

OLDER_DROPIN = "10-k3s-harden.conf"
"""The name of this drop-in in releases up to 1.4."""

DROPINS = (DROPIN, OLDER_DROPIN)

_OWN = r"k3s-harden(@.*|-(check|notify@.*|publish|service-accounts|started@.*|traffic))?\.(service|timer)"
_CONF_D = PurePosixPath("/etc/conf.d")
"""OpenRC's directory of settings of services."""


def gate_instance(service: str) -> str:
    """Return the gate of a service: k3s-harden@k3s.service for k3s.service."""
    return TEMPLATE.replace("@", f"@{service.removesuffix('.service')}")


def is_of_k3s(name: str) -> bool:
    """Return whether a service can be one of K3s by its name, and is none of this program.

    A name with an escape of systemd-escape(1) is not supported: the shell in its drop-in would read it.
    """
    return bool(re.fullmatch(r"k3s[-\w.:@]*\.service", name, re.ASCII)) and not re.fullmatch(_OWN, name)


def template_of(name: str) -> str:
    """Return the template of an instance: k3s@.service for k3s@a.service; the name itself for another unit."""
    return re.sub("@.+(?=[.])", "@", name)


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
