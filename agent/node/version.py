"""K3s version on this host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import HostError
from agent.model import Version
from agent.value import Value

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from agent.host import Host
    from agent.k3s.services import Unit
    from agent.settings.schema import Settings

_TIMEOUT = 3.0
"""In seconds."""


class KnownVersion(Value):
    """The K3s version of this host."""

    version: Version | None
    """None if it is unknown."""
    source: str
    recorded: str = ""
    """The day of the run that recorded it, if K3s did not answer."""


def detect_version(host: Host, settings: Settings, unit: Unit | None, last: Version | None, day: str) -> KnownVersion:
    """Return the version from the settings, from `k3s --version`, or else `last`, which a run on `day` recorded.

    The file on disk counts, not the running process: it is what starts next.
    """
    if settings.k3s_version is not None:
        return KnownVersion(settings.k3s_version, "given")
    if not host.is_live:
        return KnownVersion(None, "programs in a host tree are not run; pass --k3s-version")
    binary = unit.binary if unit else host.tool("k3s")
    if binary is None:
        return KnownVersion(None, "K3s is not installed; pass --k3s-version")
    answer = _ask(host, binary)
    if isinstance(answer, Version):
        return KnownVersion(answer, f"{binary} --version")
    if last is None:
        return KnownVersion(None, f"{answer}; pass --k3s-version")
    return KnownVersion(last, f"last successful run, {day}; {answer}", day)


def _ask(host: Host, binary: PurePosixPath) -> Version | str:
    """Return the version that the program prints, or why it has none."""
    if not host.tree.exists(binary):
        return f"{binary} does not exist"
    problem = host.tree.trust_problem(binary)
    if problem:
        return f"{binary} is not run, because {problem}"
    try:
        # `k3s version v1.36.5+k3s1 (3dd98cc5)`, then a line with Go's version.
        return Version.parse(host.ask_once([str(binary), "--version"], timeout=_TIMEOUT).stdout.split()[2])
    except HostError as error:
        return error.message
    except (ValueError, IndexError):
        return f"{binary} --version printed no valid version"
