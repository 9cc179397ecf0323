"""The file that makes the gate observe on a cluster that ran before this program was installed.

Only the scripts of a package write it, at the first installation, so that an installation never hardens a running
cluster. The first successful apply removes it.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.model import Absent
from agent.harden.changes.journal import JOURNAL

if TYPE_CHECKING:
    from agent.base.host import Host

OBSERVES = PurePosixPath("/var/lib/k3s-harden/gate-observes")
"""Contains the day of its creation, YYYY-MM-DD in UTC."""


def observes_since(host: Host) -> str:
    """Return the day since which the gate observes, YYYY-MM-DD; empty if it blocks an unhardened K3s.

    A file that another user can change counts as absent, and so does one with any other content.
    """
    if isinstance(host.tree.stat(OBSERVES), Absent) or host.tree.trust_problem(OBSERVES):
        return ""
    from datetime import date

    try:
        return str(date.fromisoformat((host.tree.text_if_readable(OBSERVES) or "").strip()))
    except ValueError:
        return ""


def is_unhardened_cluster(host: Host, data_dir: PurePosixPath) -> bool:
    """Return whether K3s has run on this host, and no run of apply is in the journal."""
    has_run = any(host.tree.exists(data_dir / name) for name in ("server/db", "agent/client-kubelet.crt"))
    return has_run and not host.tree.names(JOURNAL)


def end_observation(host: Host) -> None:
    """Remove the file. Raises HostError if that fails."""
    if not isinstance(host.tree.stat(OBSERVES), Absent):
        host.put(Absent(OBSERVES))
