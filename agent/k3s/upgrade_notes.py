"""Notes for an upgrade of K3s: upgrade_notes.tsv, and three about all upgrades. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from agent.base import package_data
from agent.k3s.roles_and_versions import SERVERS, Role, Version

_Releases = tuple[tuple[int, int], ...]
"""Minor version and patch of releases, one for each minor version up to the last."""


class UpgradeNote(NamedTuple):
    """A note for upgrades from a release without a change to one with it."""

    id: str
    text: str
    source: str
    roles: frozenset[Role]
    only_with: str = ""
    """What a host has to have; empty if the note is for each."""
    first: str = ""
    """The step before the upgrade; empty if the note is only information."""
    since: _Releases = ()
    """The first releases with the change."""
    until: _Releases = ()
    """The first releases without it again."""

    def concerns(self, version: Version) -> bool:
        """Return whether a release has the change; a minor version without its patch is its newest release."""
        return _follows(version, self.since) and not _follows(version, self.until)


def _follows(version: Version, releases: _Releases) -> bool:
    own = max((release for release in releases if release[0] <= version.minor), default=None)
    return own is not None and not version.is_before(*own)


def _releases(text: str) -> _Releases:
    return tuple((int(minor), int(patch or 0)) for minor, _, patch in (word.partition(".") for word in text.split()))


NOTES = tuple(
    UpgradeNote(
        name, text, source, frozenset(map(Role, roles.split())), only_with, first, _releases(since), _releases(until)
    )
    for name, since, until, roles, only_with, text, source, first in package_data.rows("k3s", "upgrade_notes.tsv")
)
"""By version."""

ETCD, TRAEFIK, CGROUP_V1 = "etcd", "traefik", "cgroup-v1"
"""What a note needs: embedded etcd, K3s' Traefik, and control groups of version 1 that the kubelet would refuse."""

SNAPSHOT_FIRST = "snapshot-first"
"""The note whose step depends on the datastore."""

_SNAPSHOT = UpgradeNote(
    SNAPSHOT_FIRST,
    "Save the datastore and the server's token first: K3s cannot go back to an older minor version.",
    "docs.k3s.io, upgrades and backup",
    SERVERS,
)
_SERVERS_FIRST = UpgradeNote(
    "servers-first",
    "Upgrade all servers before this agent: a kubelet must not be newer than the API server.",
    "kubernetes.io, version skew policy",
    frozenset({Role.AGENT}),
    first="upgrade all servers of the cluster before this agent",
)
ONE_AT_A_TIME = "one-minor-at-a-time"
"""The note for an upgrade of a server that skips a minor version."""

_ONE_AT_A_TIME = UpgradeNote(
    ONE_AT_A_TIME,
    "Upgrade one minor version at a time: {steps}. Run preflight for each.",
    "docs.k3s.io, upgrades; kubernetes.io, version skew policy",
    SERVERS,
)


def notes_for_upgrade(
    current: Version | None, target: Version, role: Role, features: Collection[str]
) -> tuple[UpgradeNote, ...]:
    """Return the notes for an upgrade.

    `features` is what the host has or may have. An unknown current version counts as the previous minor version, and
    one without its patch as its first release.
    """
    current = current or target._replace(minor=target.minor - 1, patch=0, build="")
    oldest = current._replace(build=current.build or "+k3s1")
    notes = [] if oldest.minor == target.minor else [_SNAPSHOT, _SERVERS_FIRST]
    if target.minor - oldest.minor > 1:
        steps = ", ".join(f"v1.{minor}" for minor in range(oldest.minor + 1, target.minor + 1))
        notes.append(_ONE_AT_A_TIME._replace(text=_ONE_AT_A_TIME.text.format(steps=steps)))
    notes += [note for note in NOTES if note.concerns(target) and not note.concerns(oldest)]
    return tuple(note for note in notes if role in note.roles and (not note.only_with or note.only_with in features))
