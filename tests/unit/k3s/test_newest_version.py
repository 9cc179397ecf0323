"""Each place that has to know the newest minor version of Kubernetes knows it."""

from __future__ import annotations

from agent.base import package_data
from agent.k3s.cis.versions import Benchmark
from agent.k3s.components import tables
from agent.k3s.components.tables import LAST_MINOR
from agent.k3s.roles_and_versions import NEWEST_KNOWN, NEWEST_PREVIEW, OLDEST_COVERED, PREVIEWED, Component, Version
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
