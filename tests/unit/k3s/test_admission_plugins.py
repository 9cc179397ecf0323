"""Which admission plugins the API server of a version has: only what it is sure to exit at is called unknown."""

from __future__ import annotations

import pytest

from agent.guide.k3s_options import OPTIONS
from agent.k3s.admission_plugins import is_unknown
from agent.model import NEWEST_KNOWN, OLDEST_COVERED, Role, Version


@pytest.mark.parametrize(
    ("plugin", "has_it", "has_it_not"),
    [
        ("PodSecurityPolicy", 24, 25),
        ("SecurityContextDeny", 29, 30),
        ("PersistentVolumeLabel", 30, 31),
        ("ValidatingAdmissionPolicy", 26, 25),
        ("MutatingAdmissionPolicy", 32, 31),
        ("PodGroupWorkloadExists", 36, 37),
        ("PodGroupWorkloadExists", 36, 35),
    ],
)
def test_a_plugin_is_known_from_its_first_to_its_last_version(plugin: str, has_it: int, has_it_not: int) -> None:
    """A name of another version is as unknown as a misspelt one."""
    assert not is_unknown(plugin, Version(1, has_it, 0))
    assert is_unknown(plugin, Version(1, has_it_not, 0))


def test_a_name_that_nobody_knows_is_unknown_to_the_covered_versions_alone() -> None:
    """A newer one may have it, and an older one may have had it; what was removed stays unknown to newer ones."""
    for minor in range(OLDEST_COVERED.minor, NEWEST_KNOWN.minor + 1):
        assert is_unknown("NodeRestrictions", Version(1, minor, 0))
    for minor in (OLDEST_COVERED.minor - 1, NEWEST_KNOWN.minor + 1):
        assert not is_unknown("NodeRestrictions", Version(1, minor, 0))
    assert is_unknown("PodSecurityPolicy", Version(1, NEWEST_KNOWN.minor + 1, 0))


@pytest.mark.parametrize("minor", range(OLDEST_COVERED.minor, NEWEST_KNOWN.minor + 1))
def test_the_guide_s_own_plugins_are_known(minor: int) -> None:
    """Whatever our own drop-in can enable on a version, its API server has."""
    version = Version(1, minor, 0)
    values = [
        row.value for row in OPTIONS if row.name == "enable-admission-plugins" and row.applies.to(Role.SERVER, version)
    ]
    plugins = {"AlwaysPullImages", "EventRateLimit", *",".join(values).split(",")}
    assert {plugin for plugin in plugins if is_unknown(plugin, version)} == set()
