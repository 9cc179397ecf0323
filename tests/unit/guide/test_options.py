"""Criteria of the guide's options: which values of an operator are compliant."""

from __future__ import annotations

import pytest

from agent.guide.criteria import AbsolutePath, AtLeast, Boolean, Criterion, Duration, ListIncludes, ListSubsetOf
from agent.guide.k3s_options import newest, oldest

ON, OFF = Boolean(expected=True), Boolean(expected=False)
THIRTY = AtLeast(30)
TIMEOUT = Duration("300s")
FILE = AbsolutePath("an audit policy")
PLUGINS = ListIncludes(("NodeRestriction", "PodSecurityPolicy"))
SUITES = ListSubsetOf(("A", "B"))


@pytest.mark.parametrize(
    ("meets", "accepted", "refused"),
    [
        (ON, ["true", "True", "TRUE", "t", "T", "1"], ["false", "0", "yes", "on", "", "tRue", " true"]),
        (OFF, ["false", "False", "FALSE", "f", "F", "0"], ["true", "1", "no", "off", ""]),
        (
            THIRTY,
            ["30", "31", "365", "036", "0x1e", "0o36", "0b11110", "+30"],
            ["29", "0", "-30", "30.0", "", "thirty", "30d", "0030", "09", "0x", "1e2", "0x-1f", "٣٠", "9" * 5000],
        ),
        (AtLeast(1), ["1", "12500"], ["0", "-1", "-0", ""]),
        (
            TIMEOUT,
            ["300s", "5m", "1h30m", "0.5s", "1m0s", "100ms", ".5h"],
            ["0", "0s", "0h0m", "300", "-5m", "", "5 m"],
        ),
        (FILE, ["/etc/audit.yaml", "/a"], ["-", "", "audit.yaml", "/", "/etc/"]),
        (
            PLUGINS,
            ["NodeRestriction,PodSecurityPolicy", "A,PodSecurityPolicy,NodeRestriction,B"],
            ["NodeRestriction", "", "NodeRestrictionX,PodSecurityPolicy", "nodeRestriction,PodSecurityPolicy"],
        ),
        (SUITES, ["A", "B", "B,A", "A,A"], ["", "C", "A,C", "a", "A,"]),
    ],
    ids=str,
)
def test_equivalent_values_are_accepted(meets: Criterion, accepted: list[str], refused: list[str]) -> None:
    """Every spelling that K3s' components accept, and no weaker value."""
    assert [value for value in accepted if not meets.accepts(value)] == []
    assert [value for value in refused if meets.accepts(value)] == []


def test_huge_numbers_are_refused_without_conversion() -> None:
    """Python raises an exception for numbers with that many digits."""
    assert not AtLeast(1).accepts("9" * 10_000)
    assert AtLeast(1).accepts("9" * 10)


def test_a_plugin_that_is_enabled_by_default_can_be_omitted() -> None:
    """K3s' `NodeRestriction` is compliant: the API server enables ServiceAccount by default."""
    assert newest("enable-admission-plugins").meets.accepts("NodeRestriction")
    assert not newest("enable-admission-plugins").meets.accepts("ServiceAccount")
    assert not oldest("enable-admission-plugins").meets.accepts("NodeRestriction")


def test_both_names_of_a_chacha20_suite_are_accepted() -> None:
    """Go has a short and a long name."""
    suites = newest("tls-cipher-suites").meets
    assert suites.accepts("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256")
    assert suites.accepts("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305")
    assert not suites.accepts("TLS_RSA_WITH_AES_128_CBC_SHA")
