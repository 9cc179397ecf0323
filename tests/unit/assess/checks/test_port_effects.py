"""What ports answer, compared with what is expected of them."""

from __future__ import annotations

import pytest

from agent.assess.checks.answer import ControlStatus, Effect
from agent.assess.checks.assessed_node import AssessedNode
from agent.assess.checks.port_effects import CLOSED, LOOPBACK, Endpoint, Tried, endpoints, port_effects
from tests.unit.assess.checks.nodes import CheckedNode

NOW = "2026-12-02 05:00:00 UTC"
NODE = "10.0.0.5"
REFUSED = (False, 70)
VALID = b"\x17\x0d260101000000Z\x17\x0d270101000000Z"
EXPIRED = b"\x17\x0d240101000000Z\x17\x0d250101000000Z"
SHA1 = b"\x2a\x86\x48\xce\x3d\x04\x01"
REFUSES = Tried(LOOPBACK, (401, VALID), REFUSED, REFUSED)


@pytest.fixture
def server(hardened: CheckedNode) -> AssessedNode:
    return hardened.assessed()


def endpoint(server: AssessedNode, name: str) -> Endpoint:
    return next(found for found in endpoints(server) if found.name == name)


def effects(server: AssessedNode, name: str, *tried: Tried) -> dict[str, Effect]:
    found = port_effects(server, endpoint(server, name), tried, NOW)
    return {effect.subject.partition(" ")[0]: effect for effect in found}


def test_the_ports_are_those_of_the_components_of_the_node(server: AssessedNode) -> None:
    assert [(found.name, found.port) for found in endpoints(server)] == [
        ("K3s' server", 6443),
        ("K3s' supervisor", 6443),
        ("the API server", 6444),
        ("the kubelet", 10250),
        ("the controller manager", 10257),
        ("the scheduler", 10259),
        ("the embedded etcd, for clients", 2379),
        ("the embedded etcd, for HTTP", 2382),
        ("the kubelet, read-only", 10255),
    ]


def test_a_port_that_refuses_everything_is_in_force(server: AssessedNode) -> None:
    found = effects(server, "K3s' server", REFUSES, REFUSES._replace(address=NODE))
    assert [effect.status for effect in found.values()] == [ControlStatus.PASS, ControlStatus.PASS]
    assert found["No"].observed == f"401 at {LOOPBACK}, 401 at {NODE}"
    assert found["No"].configured == "--anonymous-auth=false"
    assert found["TLS"].observed.startswith(f"TLS 1.1 is refused at {LOOPBACK}, a suite outside of the list is refused")


@pytest.mark.parametrize(
    ("name", "tried", "status"),
    [
        ("K3s' server", Tried(LOOPBACK, (200, b"")), ControlStatus.FAIL),
        ("K3s' server", Tried(LOOPBACK, (403, b"")), ControlStatus.FAIL),
        ("K3s' supervisor", Tried(LOOPBACK, (403, b"")), ControlStatus.PASS),
        ("the kubelet", Tried(LOOPBACK, (403, b"")), ControlStatus.FAIL),
        ("the scheduler", Tried(LOOPBACK, (403, b"")), ControlStatus.PASS),
        ("the scheduler", Tried(NODE, (403, b"")), ControlStatus.FAIL),
        ("the scheduler", Tried(NODE, CLOSED), ControlStatus.PASS),
        ("the kubelet", Tried(LOOPBACK, (0, b"")), ControlStatus.PASS),
        ("the kubelet", Tried(LOOPBACK, CLOSED), ControlStatus.UNKNOWN),
        ("the kubelet", Tried(LOOPBACK, "no answer"), ControlStatus.UNKNOWN),
        ("the API server", Tried(LOOPBACK, (503, b"")), ControlStatus.UNKNOWN),
        ("the kubelet, read-only", Tried(LOOPBACK, CLOSED), ControlStatus.PASS),
        ("the kubelet, read-only", Tried(LOOPBACK, (200, b"")), ControlStatus.FAIL),
    ],
)
def test_each_answer_without_a_credential_has_its_meaning(
    server: AssessedNode, name: str, tried: Tried, status: ControlStatus
) -> None:
    """Of a component whose own list of anonymous users is off, 403 means that it is on."""
    assert effects(server, name, tried)["No"].status is status


@pytest.mark.parametrize(
    ("tried", "status", "says"),
    [
        (REFUSES._replace(old_version=(True, 0xC009)), ControlStatus.FAIL, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"),
        (REFUSES._replace(suite=(True, 0xC013)), ControlStatus.FAIL, "a suite outside of the list is accepted"),
        (
            REFUSES._replace(old_version="neither an alert"),
            ControlStatus.UNKNOWN,
            f"TLS 1.1 at {LOOPBACK}: neither an alert",
        ),
        (
            REFUSES._replace(access=(401, EXPIRED)),
            ControlStatus.FAIL,
            "its certificate is valid until 2025-01-01 00:00:00 UTC",
        ),
        (REFUSES._replace(access=(401, VALID + SHA1)), ControlStatus.FAIL, "its certificate is signed with SHA-1"),
    ],
)
def test_only_an_alert_means_that_tls_is_in_force(
    server: AssessedNode, tried: Tried, status: ControlStatus, says: str
) -> None:
    effect = effects(server, "K3s' server", tried)["TLS"]
    assert effect.status is status
    assert says in effect.observed
    assert effect.controls == ("apiserver-cipher-suites",)


def test_without_a_configured_list_only_the_version_is_tried(server: AssessedNode) -> None:
    assert endpoint(server, "the scheduler").forbidden == ()
    forbidden = endpoint(server, "K3s' server").forbidden
    assert "TLS_RSA_WITH_AES_128_CBC_SHA" in forbidden
    assert "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" not in forbidden
    assert "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" not in forbidden
    assert effects(server, "the scheduler", REFUSES._replace(suite="not tried"))["TLS"].status is ControlStatus.PASS
