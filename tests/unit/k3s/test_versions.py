"""What depends on the version: the newest one is known everywhere, admission plugins, and notes for an upgrade."""

from __future__ import annotations

import pytest

from agent.base import package_data
from agent.harden.guide.k3s_options import OPTIONS
from agent.k3s.admission_configuration import is_unknown
from agent.k3s.cis.versions import Benchmark
from agent.k3s.components import tables
from agent.k3s.components.tables import LAST_MINOR
from agent.k3s.roles_and_versions import (
    NEWEST_KNOWN,
    NEWEST_PREVIEW,
    OLDEST_COVERED,
    PREVIEWED,
    Component,
    Role,
    Version,
)
from agent.k3s.upgrade_notes import CGROUP_V1, ETCD, NOTES, TRAEFIK, notes_for_upgrade
from tests.k8s import binaries


def test_the_tables_of_arguments_have_the_newest_minor() -> None:
    assert NEWEST_KNOWN.minor == LAST_MINOR


def test_the_newest_minor_is_tried_with_real_components() -> None:
    assert binaries.NEWEST.rpartition(".")[0] == NEWEST_KNOWN.family


def test_the_end_of_each_minor_is_known() -> None:
    known = {int(minor) for minor, _ in package_data.rows("k3s", "end_of_life.tsv")}
    assert known == set(range(OLDEST_COVERED.minor, NEWEST_KNOWN.minor + 1))


def test_a_benchmark_is_for_the_newest_minor() -> None:
    assert list(Benchmark)[-1].fits.includes(NEWEST_KNOWN)
    assert list(Benchmark)[-1].fits.last is None


REMOVED_IN_PREVIEW = (
    *("AggregatedDiscoveryRemoveBetaType", "CRDValidationRatcheting", "CustomResourceFieldSelectors"),
    *("DynamicResourceAllocation", "MatchLabelKeysInPodAffinity", "PodSchedulingReadiness"),
    "SeparateTaintEvictionController",
)
LOCKED_IN_PREVIEW = ("DRADeviceTaintRules", "DRADeviceTaints", "EnvFiles", "HPAGeneration", "StrictIPCIDRValidation")
"""Gates that CHANGELOG-1.38 of Kubernetes names, in its sections about v1.38.0-alpha.1 and v1.38.0-alpha.2."""


def test_the_tables_have_the_feature_gates_of_the_preview() -> None:
    """Its arguments are those of the newest minor version."""
    preview, newest = NEWEST_PREVIEW.minor, NEWEST_KNOWN.minor
    assert Version.parse(PREVIEWED).minor == preview
    assert {tables.minors_of_gate(name)[-1] for name in REMOVED_IN_PREVIEW} == {newest}
    locked = [gate for name in LOCKED_IN_PREVIEW if (gate := tables.feature_gate(name, preview)) and gate.is_locked]
    assert len(locked) == len(LOCKED_IN_PREVIEW)
    assert all([*tables.names_of(item, preview)] == [*tables.names_of(item, newest)] for item in Component)


def test_only_the_minor_version_is_a_preview() -> None:
    """A release of it can have arguments and gates that the preview lacks."""
    described = {
        text: tables.describe_or_preview(Version.parse(text)) for text in ("1.37", "1.38", "v1.38.0+k3s1", "1.39")
    }
    assert described == {"1.37": True, "1.38": True, "v1.38.0+k3s1": False, "1.39": False}


def test_an_unlisted_name_is_unknown_only_in_covered_versions() -> None:
    """Other versions may have it. A removed plugin stays unknown in newer versions."""
    for minor in range(OLDEST_COVERED.minor, NEWEST_KNOWN.minor + 1):
        assert is_unknown("NodeRestrictions", Version(1, minor, 0))
    for minor in (OLDEST_COVERED.minor - 1, NEWEST_KNOWN.minor + 1):
        assert not is_unknown("NodeRestrictions", Version(1, minor, 0))
    assert is_unknown("PodSecurityPolicy", Version(1, NEWEST_KNOWN.minor + 1, 0))


@pytest.mark.parametrize("minor", range(OLDEST_COVERED.minor, NEWEST_KNOWN.minor + 1))
def test_plugins_of_the_guide_are_valid(minor: int) -> None:
    version = Version(1, minor, 0)
    values = [
        row.value for row in OPTIONS if row.name == "enable-admission-plugins" and row.applies.to(Role.SERVER, version)
    ]
    plugins = {"AlwaysPullImages", "EventRateLimit", *",".join(values).split(",")}
    assert {plugin for plugin in plugins if is_unknown(plugin, version)} == set()


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
