"""The Pod Security level of a namespace."""

from __future__ import annotations

import pytest

from agent.cluster.kubernetes.objects import Namespace
from agent.cluster.kubernetes.pod_security import PodSecurityDefaults, PodSecurityLevel, level_of

DEFAULTS = PodSecurityDefaults(PodSecurityLevel.BASELINE, frozenset({"storage"}))


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("shop", {}, "baseline"),
        ("shop", {"enforce": "restricted"}, "restricted"),
        ("shop", {"enforce": "privileged"}, "privileged"),
        ("shop", {"warn": "restricted"}, "baseline"),
        ("shop", {"enforce": "restricted", "enforce-version": "v1.34"}, "restricted"),
        ("shop", {"enforce": "restricted", "enforce-version": "v1.21"}, "baseline"),
        ("shop", {"enforce": "restricted", "enforce-version": "latest"}, "restricted"),
        ("shop", {"enforce": "Privileged"}, "restricted"),
        ("shop", {"enforce": "exempt"}, "restricted"),
        ("storage", {"enforce": "restricted"}, "exempt"),
    ],
)
def test_the_label_overrides_the_default(name: str, labels: dict[str, str], expected: str) -> None:
    """An exempt namespace has no level. An unknown value is enforced as restricted, an old version is weaker."""
    namespace = Namespace(name, {f"pod-security.kubernetes.io/{key}": value for key, value in labels.items()})
    assert str(level_of(namespace, DEFAULTS)) == expected


def test_an_unknown_default_is_not_a_level() -> None:
    unknown = PodSecurityDefaults(None)
    assert level_of(Namespace("shop", {}), unknown) is None
    labelled = Namespace("shop", {"pod-security.kubernetes.io/enforce": "baseline"})
    assert level_of(labelled, unknown) is PodSecurityLevel.BASELINE


def test_a_level_includes_those_below_it() -> None:
    order = (PodSecurityLevel.PRIVILEGED, PodSecurityLevel.BASELINE, PodSecurityLevel.RESTRICTED)
    for at, level in enumerate(order):
        assert [level.includes(other) for other in order] == [at >= number for number in range(3)]
    assert not any(PodSecurityLevel.EXEMPT.includes(other) for other in order)
