"""Notes for an upgrade of K3s: upgrade_notes.tsv, and three about all upgrades. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.base import package_data
from agent.base.model import SERVERS, Role

if TYPE_CHECKING:
    from agent.base.model import Version


class UpgradeNote(NamedTuple):
    """A note for upgrades to one minor version from an older one."""

    id: str
    minor: int
    """The first minor version with it."""
    text: str
    source: str
    roles: frozenset[Role]
    etcd_only: bool = False
    """Whether it is only for servers whose datastore is embedded etcd."""
    first: str = ""
    """The step before the upgrade; empty if the note is only information."""


NOTES = tuple(
    [
        UpgradeNote(name, int(minor), text, source, frozenset(map(Role, roles.split())), bool(etcd), first)
        for name, minor, roles, etcd, text, source, first in package_data.rows("k3s", "upgrade_notes.tsv")
    ]
)
"""By version."""

SNAPSHOT_FIRST = "snapshot-first"
"""The note whose step depends on the datastore."""

_SNAPSHOT = UpgradeNote(
    SNAPSHOT_FIRST,
    0,
    "Save the datastore and the server's token first: K3s cannot go back to an older minor version.",
    "docs.k3s.io, upgrades and backup",
    SERVERS,
)
_SERVERS_FIRST = UpgradeNote(
    "servers-first",
    0,
    "Upgrade all servers before this agent: a kubelet must not be newer than the API server.",
    "kubernetes.io, version skew policy",
    frozenset({Role.AGENT}),
    first="upgrade all servers of the cluster before this agent",
)
ONE_AT_A_TIME = "one-minor-at-a-time"
"""The note for an upgrade of a server that skips a minor version."""

_ONE_AT_A_TIME = UpgradeNote(
    ONE_AT_A_TIME,
    0,
    "Upgrade one minor version at a time: {steps}. Run preflight for each.",
    "docs.k3s.io, upgrades; kubernetes.io, version skew policy",
    SERVERS,
)


def notes_for_upgrade(
    current: Version | None, target: Version, role: Role, *, has_etcd: bool
) -> tuple[UpgradeNote, ...]:
    """Return the notes for an upgrade. An unknown current version counts as the previous minor version."""
    oldest = target.minor - 1 if current is None else current.minor
    if oldest == target.minor:
        return ()
    notes = [_SNAPSHOT, _SERVERS_FIRST]
    if target.minor - oldest > 1:
        steps = ", ".join(f"v1.{minor}" for minor in range(oldest + 1, target.minor + 1))
        notes.append(_ONE_AT_A_TIME._replace(text=_ONE_AT_A_TIME.text.format(steps=steps)))
    notes += [note for note in NOTES if oldest < note.minor <= target.minor and (has_etcd or not note.etcd_only)]
    return tuple(note for note in notes if role in note.roles)
