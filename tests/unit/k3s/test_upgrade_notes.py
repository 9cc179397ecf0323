"""Notes for an upgrade, and removed API versions."""

from __future__ import annotations

import pytest

from agent.base.model import NEWEST_KNOWN, OLDEST_COVERED, Role, Version
from agent.k3s.upgrade_notes import NOTES, notes_for_upgrade

FROM_35 = ("cgroup-v1-not-supported", "pod-infra-container-image-removed")
SNAPSHOT, SERVERS, ONE = "snapshot-first", "servers-first", "one-minor-at-a-time"


def ids(current: str, target: str, role: Role = Role.SERVER, *, has_etcd: bool = False) -> list[str]:
    known = Version.parse(current) if current else None
    return [note.id for note in notes_for_upgrade(known, Version.parse(target), role, has_etcd=has_etcd)]


def test_each_note_has_a_source_and_a_known_version() -> None:
    assert len({note.id for note in NOTES}) == len(NOTES)
    assert [note.minor for note in NOTES] == sorted(note.minor for note in NOTES)
    for note in NOTES:
        assert OLDEST_COVERED.minor < note.minor <= NEWEST_KNOWN.minor
        assert note.source
        assert note.text.endswith(".")


@pytest.mark.parametrize(
    ("current", "target", "expected"),
    [
        ("1.34", "1.34", []),
        ("v1.34.1+k3s1", "v1.34.3+k3s1", []),
        ("1.24", "1.25", [SNAPSHOT, "pod-security-policies-removed"]),
        ("1.34", "1.35", [SNAPSHOT, *FROM_35]),
        ("", "1.35", [SNAPSHOT, *FROM_35]),
        ("1.33", "1.34", [SNAPSHOT, "ingress-nginx-not-exempt"]),
        ("1.34", "1.37", [SNAPSHOT, ONE, *FROM_35, "traefik-chart-40", "event-qps-unlimited"]),
    ],
)
def test_a_server_gets_the_notes_between_two_versions(current: str, target: str, expected: list[str]) -> None:
    """Notes of the current version are omitted. An unknown version is treated as the one before the target."""
    assert ids(current, target) == expected


def test_a_note_lists_each_skipped_version() -> None:
    note = next(
        note
        for note in notes_for_upgrade(Version(1, 34, 0), Version(1, 37, 0), Role.SERVER, has_etcd=False)
        if note.id == ONE
    )
    assert "v1.35, v1.36, v1.37" in note.text
