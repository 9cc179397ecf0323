"""The admission plugins that an API server version rejects."""

from __future__ import annotations

import pytest

from agent.harden.guide.k3s_options import OPTIONS
from agent.k3s.admission_configuration import is_unknown
from agent.k3s.roles_and_versions import NEWEST_KNOWN, OLDEST_COVERED, Role, Version


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
