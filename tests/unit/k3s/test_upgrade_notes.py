"""Notes for an upgrade, and removed API versions."""

from __future__ import annotations

import pytest

from agent.k3s.roles_and_versions import NEWEST_PREVIEW, OLDEST_COVERED, Role, Version
from agent.k3s.upgrade_notes import CGROUP_V1, ETCD, NOTES, TRAEFIK, notes_for_upgrade

FROM_35 = ("cgroup-v1-not-supported", "pod-infra-container-image-removed")
SNAPSHOT, ONE = "snapshot-first", "one-minor-at-a-time"
IN_37_1 = ("manifests-of-the-epoch", "authority-hash-validated")


def ids(current: str, target: str, role: Role = Role.SERVER, *, has_etcd: bool = False) -> list[str]:
    known = Version.parse(current) if current else None
    features = (TRAEFIK, CGROUP_V1, *((ETCD,) if has_etcd else ()))
    return [note.id for note in notes_for_upgrade(known, Version.parse(target), role, features)]


def test_each_note_has_a_source_and_a_known_version() -> None:
    assert len({note.id for note in NOTES}) == len(NOTES)
    assert [note.since for note in NOTES] == sorted(note.since for note in NOTES)
    for note in NOTES:
        minors = [minor for minor, _ in note.since]
        assert minors == list(range(minors[0], minors[-1] + 1))
        assert OLDEST_COVERED.minor < minors[0] <= minors[-1] <= NEWEST_PREVIEW.minor
        assert note.source
        assert note.text.endswith(".")


@pytest.mark.parametrize(
    ("current", "target", "expected"),
    [
        ("v1.34.9+k3s1", "1.34", []),
        ("v1.34.1+k3s1", "v1.34.3+k3s1", []),
        ("1.24", "1.25", [SNAPSHOT, "pod-security-policies-removed"]),
        ("v1.34.9+k3s1", "1.35", [SNAPSHOT, *FROM_35]),
        ("", "v1.35.1+k3s1", [SNAPSHOT, *FROM_35]),
        ("v1.33.13+k3s1", "1.34", [SNAPSHOT, "ingress-nginx-not-exempt"]),
        (
            "1.34",
            "1.37",
            [SNAPSHOT, ONE, "traefik-chart-40", *FROM_35, "strict-ip-addresses", "event-qps-unlimited", *IN_37_1],
        ),
        ("v1.37.1+k3s1", "1.38", [SNAPSHOT, "user-namespace-ranges"]),
    ],
)
def test_a_server_gets_the_notes_between_two_versions(current: str, target: str, expected: list[str]) -> None:
    """Notes of the current version are omitted. An unknown version is treated as the one before the target."""
    assert ids(current, target) == expected


ETCD_3_6 = "etcd-3-5-26-before-3-6"


@pytest.mark.parametrize(
    ("note", "current", "target", "is_noted"),
    [
        # v1.33 got etcd 3.6 with v1.33.11. A current version without its patch can be older.
        (ETCD_3_6, "v1.33.7+k3s3", "v1.33.10+k3s1", False),
        (ETCD_3_6, "v1.33.10+k3s1", "v1.33.11+k3s1", True),
        (ETCD_3_6, "v1.33.10+k3s1", "1.33", True),
        (ETCD_3_6, "v1.32.13+k3s1", "v1.33.11+k3s1", True),
        (ETCD_3_6, "v1.33.11+k3s1", "v1.34.9+k3s1", False),
        (ETCD_3_6, "v1.33.11+k3s1", "v1.33.13+k3s1", False),
        (ETCD_3_6, "1.33", "v1.33.13+k3s1", True),
        (ETCD_3_6, "", "1.33", True),
        (ETCD_3_6, "v1.34.1+k3s1", "v1.35.0+k3s1", False),
        # The first releases of 1.25 do not apply a manifest without its policies.
        ("manifests-of-removed-kinds", "v1.24.17+k3s1", "v1.25.0+k3s1", True),
        ("manifests-of-removed-kinds", "v1.24.17+k3s1", "v1.25.3", True),
        ("manifests-of-removed-kinds", "v1.24.17+k3s1", "v1.25.4+k3s1", False),
        ("manifests-of-removed-kinds", "v1.24.17+k3s1", "1.25", False),
        ("manifests-of-removed-kinds", "v1.25.2+k3s1", "v1.25.3+k3s1", False),
        ("manifests-of-removed-kinds", "v1.23.17+k3s1", "v1.26.0+k3s1", False),
        ("containerd-2", "v1.31.5+k3s1", "v1.32.1+k3s1", False),
        ("containerd-2", "v1.32.1+k3s1", "v1.32.2+k3s1", True),
        ("containerd-2", "v1.31.5+k3s1", "v1.31.6+k3s1", True),
        ("containerd-2", "v1.31.6+k3s1", "v1.32.2+k3s1", False),
    ],
)
def test_a_change_is_noted_for_the_first_release_with_it_of_each_minor_version(
    note: str, current: str, target: str, *, is_noted: bool
) -> None:
    assert (note in ids(current, target, has_etcd=True)) == is_noted
    assert ETCD_3_6 not in ids(current, target)


def test_a_note_lists_each_skipped_version() -> None:
    notes = {note.id: note for note in notes_for_upgrade(Version(1, 34, 0), Version(1, 37, 0), Role.SERVER, ())}
    assert "v1.35, v1.36, v1.37" in notes[ONE].text
