"""Starts of K3s that the gate blocked, that pass without it, or that differ from what it judged.

The gate of each service and this program write a few files for each service in /run/k3s-harden. A boot removes them.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.times import timestamp
from agent.base.value import Value
from agent.harden.node import openrc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.base.host import Host

RUN_DIRECTORY = PurePosixPath("/run/k3s-harden")

BYPASS = "bypass."
"""A bypass in effect: the uptime in seconds at which it ends, `each` if it is for each start, who gave it, and when."""

EACH = "each"

UNGATED = "ungated."
"""The gate has not passed the last start: it was blocked if the file is empty, and otherwise used this bypass."""

JUDGED = "judged."
"""The invocation of the last start that the gate let pass, and a line for each component argument that it judged."""

UNHARDENED = "unhardened."
"""How the components of the last start differ from that, a line for each."""

UNCONFIRMED = "unconfirmed."
"""Why the last start could not be compared with it."""

_SUFFIX = ".service"
_UPTIME = PurePosixPath("/proc/uptime")


class Bypass(Value):
    """A bypass in effect."""

    until: str
    by: str
    is_for_each: bool
    """Whether it lets each start pass until then, and not only the next one."""


class GateExceptions(Value):
    """Starts of K3s that the gate blocked, or that pass without it, by service."""

    blocked: tuple[str, ...]
    """The services whose last start the gate refused."""
    bypassed: Mapping[str, str]
    """By service whose last start passed without the gate, the user who bypassed the gate and the time."""
    bypasses: Mapping[str, Bypass]
    """The bypasses in effect, by service whose starts pass without the gate."""
    unhardened: Mapping[str, str]
    """By service, how its components differ from what the gate judged."""
    unconfirmed: Mapping[str, str]
    """By service, why it could not be compared with that."""


def read_exceptions(host: Host) -> GateExceptions:
    """Read the files of all services."""
    ungated = files_of_services(host, UNGATED)
    return GateExceptions(
        blocked=tuple(service for service, text in ungated.items() if not text),
        bypassed={service: _given_by(text) for service, text in ungated.items() if text},
        bypasses={
            service: Bypass(timestamp(host.now() + left), _given_by(text), text.split()[1:2] == [EACH])
            for service, text in files_of_services(host, BYPASS).items()
            if (left := _seconds(text.partition(" ")[0]) - uptime(host)) > 0
        },
        unhardened=files_of_services(host, UNHARDENED),
        unconfirmed=files_of_services(host, UNCONFIRMED),
    )


def files_of_services(host: Host, prefix: str) -> dict[str, str]:
    """Return by service the text of its file with this prefix."""
    names = [name for name in host.tree.names(RUN_DIRECTORY) if name.startswith(prefix)]
    suffix = "" if names and openrc.starts_services(host) else _SUFFIX
    return {
        f"{name[len(prefix) :]}{suffix}": host.tree.text_if_readable(RUN_DIRECTORY / name).strip() for name in names
    }


def file_of_service(service: str, prefix: str) -> PurePosixPath:
    """Return the path of a service's file with this prefix."""
    return RUN_DIRECTORY / f"{prefix}{service.removesuffix(_SUFFIX)}"


def uptime(host: Host) -> int:
    """Return the seconds since the boot, in which bypasses end: nobody sets this clock, and a boot ends a bypass.

    It is read from the file that the gate reads, because a container can have its own. 0 if it cannot be read.
    """
    return _seconds(host.tree.text_if_readable(_UPTIME).partition(".")[0])


def _seconds(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,12}", text) else 0


def _given_by(bypass: str) -> str:
    return bypass.partition(" ")[2].removeprefix(f"{EACH} ") or "unknown"
