"""Connections that the kernel tracks, as text and from ctnetlink."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest

from agent.base.host import connection_tracking
from agent.base.linux.file_systems import TrackedConnection

# A client behind a NAT, whose address the reply does not have: the source of the packet counts, and who answers.
LINES = """\
ipv4     2 tcp      6 431999 ESTABLISHED src=192.0.2.9 dst=10.0.0.1 sport=40000 dport=30080 src=10.42.1.5 dst=10.0.0.1 \
sport=8080 dport=50000 [ASSURED] mark=0 zone=0 use=2
ipv4     2 icmp     1 29 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=1 src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=1 use=2
ipv6     10 udp      17 20 src=fd00:0000:0000:0000:0000:0000:0000:0001 dst=fd00::2 sport=1 dport=53 \
src=fd00:0000:0000:0000:0000:0000:0000:0002 dst=fd00::1 sport=53 dport=1 use=2
"""
SEEN = (TrackedConnection("TCP", "192.0.2.9", "10.42.1.5", 8080), TrackedConnection("UDP", "fd00::1", "fd00::2", 53))


def attribute(kind: int, content: bytes) -> bytes:
    return struct.pack("=HH", len(content) + 4, kind) + content + b"\0" * (-len(content) % 4)


def end(kind: int, protocol: int, source: str, port: int) -> bytes:
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    address = attribute(3 if ":" in source else 1, socket.inet_pton(family, source))
    ports = attribute(1, bytes([protocol])) + attribute(2, struct.pack("!H", port)) * bool(port)
    return attribute(kind | 0x8000, attribute(1 | 0x8000, address) + attribute(2 | 0x8000, ports))


def message(kind: int, content: bytes = b"", flags: int = 2) -> bytes:
    return struct.pack("=IHHII", 16 + len(content), kind, flags, 1, 0) + content


class Kernel:
    """A netlink socket that answers with these parts."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = [*parts]

    def __call__(self, *_: object) -> Kernel:
        return self

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __getattr__(self, _: str) -> object:
        return lambda *_: None

    def recv(self, _: int) -> bytes:
        return self.parts.pop(0)


def connection(protocol: int, client: str, target: str, port: int, flags: int = 2) -> bytes:
    return message(0x100, bytes(4) + end(1, protocol, client, 40000) + end(2, protocol, target, port), flags)


FLOWS = connection(6, "192.0.2.9", "10.42.1.5", 8080) + connection(1, "10.0.0.1", "10.0.0.2", 0)
MORE = connection(17, "fd00::1", "fd00::2", 53) + connection(6, "192.0.2.9", "10.42.1.5", 8080)


def test_the_file_has_priority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "nf_conntrack"
    file.write_text(LINES)
    monkeypatch.setattr(connection_tracking, "_FILE", str(file))
    assert connection_tracking.tracked_connections() == SEEN


@pytest.mark.parametrize(
    ("parts", "seen"),
    [
        ([FLOWS, MORE + message(3)], SEEN),
        ([connection(17, "fd00::1", "fd00::2", 53, flags=0x12), FLOWS, MORE + message(3)], SEEN),
        ([message(2, struct.pack("=i", -1))] * 3, None),
    ],
    ids=["each connection once", "again after an interrupted dump", "nothing after a refusal"],
)
def test_the_kernel_lists_connections(
    parts: list[bytes], seen: tuple[TrackedConnection, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_tracking, "_FILE", "/nonexistent")
    monkeypatch.setattr(socket, "socket", Kernel(*parts))
    assert connection_tracking.tracked_connections() == seen


def test_different_connections_are_read_up_to_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is seen again does not count."""
    file = tmp_path / "nf_conntrack"
    first, _, second = LINES.splitlines(keepends=True)
    file.write_text(first * 3 + second + first.replace("10.42.1.5", "10.42.1.6"))
    monkeypatch.setattr(connection_tracking, "_FILE", str(file))
    monkeypatch.setattr(connection_tracking, "MOST_TRACKED", 2)
    assert connection_tracking.tracked_connections() == SEEN
