"""Criteria of the guide and the benchmarks: which values of an operator are compliant."""

from __future__ import annotations

import pytest

from agent.harden.guide.criteria import (
    AbsolutePath,
    AtLeast,
    Boolean,
    Criterion,
    Duration,
    LeavesGateOn,
    ListExcludes,
    ListIncludes,
    ListSubsetOf,
    Loopback,
    NotEmpty,
)
from agent.harden.guide.k3s_options import newest, oldest

ON, OFF = Boolean(expected=True), Boolean(expected=False)
PLUGINS = ListIncludes(("NodeRestriction", "PodSecurityPolicy"))
GATE = "RotateKubeletServerCertificate"


@pytest.mark.parametrize(
    ("meets", "accepted", "refused"),
    [
        (ON, ["true", "True", "TRUE", "t", "T", "1"], ["false", "0", "yes", "on", "", "tRue", " true"]),
        (OFF, ["false", "False", "FALSE", "f", "F", "0"], ["true", "1", "no", "off", ""]),
        (
            AtLeast(30),
            ["30", "31", "365", "036", "0x1e", "0o36", "0b11110", "+30"],
            ["29", "0", "-30", "30.0", "", "thirty", "30d", "0030", "09", "0x", "1e2", "0x-1f", "٣٠", "9" * 5000],
        ),
        (AtLeast(1), ["1", "12500", "9" * 10], ["0", "-1", "-0", ""]),
        (
            Duration("300s"),
            ["300s", "5m", "1h30m", "1m0s", ".5h"],
            ["0", "0s", "0h0m", "1ns", "100ms", "0.5s", "300", "-5m", "", "5 m"],
        ),
        (AbsolutePath("an audit policy"), ["/etc/audit.yaml", "/a"], ["-", "", "audit.yaml", "/", "/etc/"]),
        (
            PLUGINS,
            ["NodeRestriction,PodSecurityPolicy", "A,PodSecurityPolicy,NodeRestriction,B"],
            ["NodeRestriction", "", "NodeRestrictionX,PodSecurityPolicy", "nodeRestriction,PodSecurityPolicy"],
        ),
        (ListSubsetOf(("A", "B")), ["A", "B", "B,A", "A,A"], ["", "C", "A,C", "a", "A,"]),
        (
            # 127.0.0.0/8, and ::1, which K3s uses on a node with only IPv6. ::1:1024 is an address of its own.
            Loopback(),
            ["127.0.0.1", "127.0.0.1:10249", "127.8.0.255", "::1", "[::1]", "[::1]:10249"],
            [
                *("", "0.0.0.0", "0.0.0.0:10249", "::", "[::]:10249", "10.127.0.1", "127.0.0.1.5"),  # noqa: S104 - refused
                *("127.0.0.1,10.0.0.1", "127.0.0.256", "127.0.0.1\n", "localhost", "::1:1024"),
            ],
        ),
        (
            # The last value counts. The component exits at a value that is no boolean.
            LeavesGateOn(GATE),
            [
                *("", f"{GATE}=true", f"{GATE}=1", "KubeletInUserNamespace=true", "AllAlpha=false", "AllBeta=true"),
                *(f"AllBeta=false,{GATE}=true", f"{GATE}=false,{GATE}=true", f" {GATE} = true ,"),
            ],
            [
                *(f"{GATE}=false", f"{GATE}=False", f"{GATE}=0", f"KubeletInUserNamespace=true,{GATE}=false"),
                *(f" {GATE} = false", f"{GATE}=true,{GATE}=f", "AllBeta=false", f"{GATE}=no", GATE),
            ],
        ),
    ],
    ids=str,
)
def test_equivalent_values_are_accepted(meets: Criterion, accepted: list[str], refused: list[str]) -> None:
    """Every spelling that K3s' components accept, and no weaker value."""
    assert [value for value in accepted if not meets.accepts(value)] == []
    assert [value for value in refused if meets.accepts(value)] == []


def test_a_plugin_that_is_enabled_by_default_can_be_omitted() -> None:
    """K3s' `NodeRestriction` is compliant: the API server enables ServiceAccount by default."""
    assert newest("enable-admission-plugins").meets.accepts("NodeRestriction")
    assert not newest("enable-admission-plugins").meets.accepts("ServiceAccount")
    assert not oldest("enable-admission-plugins").meets.accepts("NodeRestriction")


@pytest.mark.parametrize(
    ("criterion", "text", "predicate"),
    [
        (Loopback(), "127.0.0.1 or ::1", "is 127.0.0.1 or ::1"),
        (LeavesGateOn(GATE), f"without {GATE}=false", f"does not contain {GATE}=false"),
    ],
)
def test_criteria_describe_the_value(criterion: Criterion, text: str, predicate: str) -> None:
    assert (str(criterion), criterion.predicate) == (text, predicate)


@pytest.mark.parametrize(
    ("criterion", "value", "suggestion"),
    [
        (Boolean(expected=False), "true", "false"),
        (AtLeast(1, example=4096), "0", "4096"),
        (ListIncludes(("A", "B")), "C,A", "C,A,B"),
        (ListExcludes(("A",)), "A,B,B", "B"),
        (ListSubsetOf(("A", "B")), "B,C", "B"),
        (ListSubsetOf(("A", "B")), "C", "A,B"),
        (LeavesGateOn(GATE), f"X=true,{GATE}=false", "X=true"),
        (NotEmpty(), "", ""),
    ],
)
def test_a_suggestion_keeps_the_allowed_part_of_a_value(criterion: Criterion, value: str, suggestion: str) -> None:
    """The suggestion is empty if the site has to choose a value."""
    assert criterion.suggestion(value) == suggestion
    assert not suggestion or criterion.accepts(suggestion)
