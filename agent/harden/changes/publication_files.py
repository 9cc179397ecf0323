"""The files of what this node publishes: what its Node should have, and what was sent last."""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent.base.errors import HostError
from agent.harden.changes.state import STATE

if TYPE_CHECKING:
    from agent.base.host import Host

PUBLICATION = STATE / "node-status.json"
"""It does not exist if this host publishes nothing."""
SENT = STATE / "node-status-sent.json"
"""The time in seconds since the epoch as its first line, then the values of the Publication that was sent."""

_MACHINE_ID = PurePosixPath("/etc/machine-id")


class Publication(NamedTuple):
    """What the Node should have after a drift check."""

    node: str
    """The expected name of the Node; that of the certificate decides."""
    kubeconfig: str
    """The path of the kubelet's kubeconfig; empty if nothing is sent, and only the record has this."""
    when: float
    """The time of the assessment, in seconds since the epoch."""
    annotations: dict[str, str]
    """Empty if the node removes what it has published."""
    condition: dict[str, str]
    """Without lastHeartbeatTime."""
    drifted: list[str]
    """The open controls that were not open at an earlier assessment."""


def read_publication(host: Host) -> Publication | None:
    """Return the content of PUBLICATION; None without it, or if it is not usable."""
    try:
        shape = json.loads(host.tree.read(PUBLICATION) or b"")
        annotations, condition = (
            {str(key): str(value) for key, value in shape[name].items()} for name in ("annotations", "condition")
        )
        node, kubeconfig, when = str(shape["node"]), str(shape["kubeconfig"]), float(shape["when"])
        return Publication(node, kubeconfig, when, annotations, condition, list(map(str, shape["drifted"])))
    except (HostError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def machine_hash(host: Host) -> str:
    """Return a hash of the machine ID, which itself must not be published (machine-id(5))."""
    return digest(b"k3s-harden\0" + (host.tree.read(_MACHINE_ID) or b"").strip())


def digest(data: bytes) -> str:
    """Return the first 16 digits of the SHA-256."""
    return hashlib.sha256(data).hexdigest()[:16]
