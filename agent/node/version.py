"""K3s version on this host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import HostError
from agent.model import Version

if TYPE_CHECKING:
    from agent.host import Host
    from agent.k3s.services import Unit
    from agent.settings.schema import Settings

_TIMEOUT = 20.0
"""In seconds."""


def detect_version(host: Host, settings: Settings, unit: Unit | None) -> tuple[Version | None, str]:
    """Return the version from the settings or from `k3s --version`, and its source; None if it is unknown."""
    if settings.k3s_version is not None:
        return settings.k3s_version, "given"
    if not host.is_live:
        return None, "programs in a host tree are not run; pass --k3s-version"
    binary = unit.binary if unit else host.tool("k3s")
    if binary is None or not host.tree.exists(binary):
        return None, "K3s is not installed; pass --k3s-version"
    problem = host.tree.trust_problem(binary)
    if problem:
        return None, f"{binary} is not run, because {problem}; pass --k3s-version"
    try:
        answer = host.run([str(binary), "--version"], timeout=_TIMEOUT)
        # `k3s version v1.36.5+k3s1 (3dd98cc5)`, then a line with Go's version.
        return Version.parse(answer.stdout.split()[2]), f"{binary} --version"
    except (HostError, ValueError, IndexError):
        return None, f"{binary} --version printed no valid version; pass --k3s-version"
