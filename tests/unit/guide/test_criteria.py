"""The kinds of value that only the benchmarks ask for; the guide's own are tested with its options."""

from __future__ import annotations

import pytest

from agent.guide.criteria import LeavesGateOn, Loopback

GATE = "RotateKubeletServerCertificate"


@pytest.mark.parametrize(
    "value",
    ["127.0.0.1", "127.0.0.1:10249", "127.8.0.255", "::1", "[::1]", "[::1]:10249"],
)
def test_an_address_of_the_host_itself_is_loopback(value: str) -> None:
    """All of 127.0.0.0/8, and IPv6's one address, which K3s itself uses on a node that has IPv6 alone."""
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
def test_any_other_address_is_not_loopback(value: str) -> None:
    """All interfaces, other hosts, and what only has 127.0.0.1 in it."""
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
def test_a_list_that_leaves_the_gate_on_is_accepted(value: str) -> None:
    """Left out, switched on, or switched on last: the gate is on."""
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
def test_a_list_that_switches_the_gate_off_is_refused(value: str) -> None:
    """In any spelling of false that Go takes, by its own name or with all other beta gates."""
    assert not LeavesGateOn(GATE).accepts(value)


def test_both_say_in_words_what_they_want() -> None:
    """By themselves, and after the name of the argument, as a report shows them."""
    assert (str(Loopback()), Loopback().predicate) == ("127.0.0.1 or ::1", "is 127.0.0.1 or ::1")
    gate_on = LeavesGateOn(GATE)
    assert (str(gate_on), gate_on.predicate) == (f"without {GATE}=false", f"does not contain {GATE}=false")
