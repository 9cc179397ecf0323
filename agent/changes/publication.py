"""The files of what this node publishes: what its Node should have, and what was sent last."""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent.changes.state import STATE
from agent.errors import HostError
from agent.model import PRIVATE_FILE, File

if TYPE_CHECKING:
    from agent.host import Host

PUBLICATION = STATE / "node-status.json"
"""It does not exist if this host publishes nothing."""
SENT = STATE / "node-status-sent.json"

_MACHINE_ID = PurePosixPath("/etc/machine-id")


class Publication(NamedTuple):
    """What the Node should have after a drift check."""

    kubeconfig: str
    """The path of the kubelet's kubeconfig."""
    when: float
    """The time of the assessment, in seconds since the epoch."""
    annotations: dict[str, str]
    """Empty if all that was published is to be removed."""
    condition: dict[str, str]
    """Without its times."""
    drifted: list[str]
    """The open controls that were not open at an earlier assessment."""


class Sent(NamedTuple):
    """What was sent last."""

    content: str
    """Its digest."""
    when: float
    node: str
    status: str
    """The status of the condition."""
    since: str
    """The time at which the condition got this status, in RFC 3339."""


def read_publication(host: Host) -> Publication | None:
    """Return the content of PUBLICATION; None without it, or if it is not usable."""
    try:
        shape = json.loads(host.tree.read(PUBLICATION) or b"")
        condition = {str(key): str(value) for key, value in shape["condition"].items()}
        annotations = {str(key): str(value) for key, value in shape["annotations"].items()}
        drifted = [str(name) for name in shape["drifted"]]
        return Publication(str(shape["kubeconfig"]), float(shape["when"]), annotations, condition, drifted)
    except (HostError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def read_sent(host: Host) -> Sent | None:
    """Return the content of SENT; None without it, or if it is not usable."""
    try:
        shape = json.loads(host.tree.read(SENT) or b"")
        names = (str(shape[name]) for name in ("node", "status", "since"))
        return Sent(str(shape["content"]), float(shape["when"]), *names)
    except (HostError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def publication_file(path: PurePosixPath, content: Publication | Sent) -> File:
    """Return the file with this content."""
    return File(path=path, content=json.dumps(content._asdict(), indent=2).encode() + b"\n", mode=PRIVATE_FILE)


def machine_hash(host: Host) -> str:
    """Return a hash of the machine ID, which itself must not be published (machine-id(5))."""
    return digest(b"k3s-harden\0" + (host.tree.read(_MACHINE_ID) or b"").strip())


def digest(data: bytes) -> str:
    """Return the first 16 digits of the SHA-256."""
    return hashlib.sha256(data).hexdigest()[:16]
