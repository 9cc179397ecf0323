"""Each place that has to know the newest minor version of Kubernetes knows it; admission plugins of each version."""

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
