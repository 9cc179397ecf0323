"""The gate on hosts whose init is OpenRC: two files for all services of K3s."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from shlex import quote, split
from typing import TYPE_CHECKING

from agent.base import package_data
from agent.base.host.systemd import Systemd
from agent.base.model import EXECUTABLE_FILE, PUBLIC_FILE, File
from agent.harden.node.gate_units import PACKAGED_PROGRAM
from agent.k3s.services import OPENRC_DIRECTORY

if TYPE_CHECKING:
    from agent.base.host import Host

CONFIGURATION = PurePosixPath("/etc/rc.conf.d/k3s-harden.conf")
"""OpenRC reads it for each service, after the script of K3s was written by its installer and whatever that has."""

START = PurePosixPath("/usr/local/lib/k3s-harden/start-k3s")
"""What OpenRC starts in the place of K3s."""

_PROGRAM = r"timeout -k 5 120 (.+) gate; then"
_SOFTLEVEL = PurePosixPath("/run/openrc/softlevel")
_OPENRC_RUN = PurePosixPath("/sbin/openrc-run")


def starts_services(host: Host) -> bool:
    """Return whether OpenRC starts the services: it has booted the machine, or the tree has it and no systemd."""
    systemd = Systemd(host)
    if host.is_live:
        return host.tree.exists(_SOFTLEVEL) and not systemd.is_running
    return host.tree.exists(_OPENRC_RUN) and not systemd.reads_units


def services(host: Host) -> tuple[str, ...]:
    """Return the services to which CONFIGURATION applies."""
    names = host.tree.names(OPENRC_DIRECTORY)
    return tuple(name for name in names if re.fullmatch("k3s(-.*)?", name))


def gate_program(start: str) -> PurePosixPath:
    """Return the program in the text of START, or the usual one."""
    found = re.search(_PROGRAM, start)
    return PurePosixPath(split(found[1])[0]) if found else PACKAGED_PROGRAM


def gate_files(program: PurePosixPath) -> tuple[File, File]:
    """Return the files of the gate. START is first, because a service without it would not start."""
    start = package_data.read("units", "openrc", START.name).replace(
        str(PACKAGED_PROGRAM).encode(), quote(str(program)).encode()
    )
    configuration = package_data.read("units", "openrc", CONFIGURATION.name)
    return (
        File(path=START, content=start, mode=EXECUTABLE_FILE),
        File(path=CONFIGURATION, content=configuration, mode=PUBLIC_FILE),
    )
