"""Criteria that only the benchmarks use; test_options.py tests the others."""

from __future__ import annotations

import pytest

from agent.guide.criteria import (
    AtLeast,
    Boolean,
    Criterion,
    LeavesGateOn,
    ListExcludes,
    ListIncludes,
    ListSubsetOf,
    Loopback,
    NotEmpty,
)

GATE = "RotateKubeletServerCertificate"


@pytest.mark.parametrize(
    "value",
    ["127.0.0.1", "127.0.0.1:10249", "127.8.0.255", "::1", "[::1]", "[::1]:10249"],
)
def test_loopback_addresses_are_accepted(value: str) -> None:
    """These are 127.0.0.0/8, and ::1, which K3s uses on a node with only IPv6."""
    assert Loopback().accepts(value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "0.0.0.0",  # noqa: S104 - refused
        "0.0.0.0:10249",
        "::",
        "[::]:10249",
        "10.127.0.1",
        "127.0.0.1.5",
        "127.0.0.1,10.0.0.1",
        "127.0.0.256",
        "127.0.0.1\n",
        "localhost",
        # An IPv6 address of its own, not ::1 with a port.
        "::1:1024",
    ],
)
def test_other_addresses_are_rejected(value: str) -> None:
    """These are all interfaces, other hosts, and text that contains 127.0.0.1."""
    assert not Loopback().accepts(value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        f"{GATE}=true",
        f"{GATE}=1",
        "KubeletInUserNamespace=true",
        "AllAlpha=false",
        "AllBeta=true",
        f"AllBeta=false,{GATE}=true",
        f"{GATE}=false,{GATE}=true",
        f" {GATE} = true ,",
    ],
)
def test_a_list_that_leaves_the_gate_enabled_is_accepted(value: str) -> None:
    """The list does not contain the gate, or its last value enables the gate."""
    assert LeavesGateOn(GATE).accepts(value)


@pytest.mark.parametrize(
    "value",
    [
        f"{GATE}=false",
        f"{GATE}=False",
        f"{GATE}=0",
        f"KubeletInUserNamespace=true,{GATE}=false",
        f" {GATE} = false",
        f"{GATE}=true,{GATE}=f",
        "AllBeta=false",
        # Not a boolean, at which the component exits.
        f"{GATE}=no",
        GATE,
    ],
)
def test_a_list_that_disables_the_gate_is_rejected(value: str) -> None:
    """The list contains the gate or AllBeta, with any spelling of false in Go."""
    assert not LeavesGateOn(GATE).accepts(value)


def test_criteria_describe_the_value() -> None:
    """The description exists as a noun phrase and as the predicate of a sentence."""
    assert (str(Loopback()), Loopback().predicate) == ("127.0.0.1 or ::1", "is 127.0.0.1 or ::1")
    gate_on = LeavesGateOn(GATE)
    assert (str(gate_on), gate_on.predicate) == (f"without {GATE}=false", f"does not contain {GATE}=false")


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
