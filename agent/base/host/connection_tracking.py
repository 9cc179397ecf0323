"""Connections that the kernel tracks (conntrack) in the network namespace of this process.

The kernel is asked by ctnetlink, which requires CAP_NET_ADMIN (linux, uapi/linux/netfilter/nfnetlink_conntrack.h).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from agent.base.linux.file_systems import TrackedConnection

_FILE = "/proc/net/nf_conntrack"
"""The same table as text. Few kernels have it."""
_NETFILTER = 12
_HEADER = struct.Struct("=IHHII")
_GET = 1 << 8 | 1
_REQUEST_AND_DUMP = 0x301
_ERROR, _DONE = 2, 3
_INTERRUPTED = 0x10
_ATTRIBUTE = struct.Struct("=HH")
_TYPE = 0x3FFF
"""Without the flags NLA_F_NESTED and NLA_F_NET_BYTEORDER."""
_ORIGINAL, _REPLY = 1, 2
_ADDRESSES, _PORTS = 1, 2
_SOURCE = (1, 3)
"""The address in IPv4 and in IPv6."""
_NUMBER, _SOURCE_PORT = 1, 2
_PROTOCOLS = {6: "TCP", 17: "UDP", 132: "SCTP"}
_LARGEST_PART = 1 << 18
MOST_TRACKED = 200_000
"""Different connections; the rest is not read."""
_TIMEOUT = 5.0
_ATTEMPTS = 3


def tracked_connections() -> tuple[TrackedConnection, ...] | None:
    """Return the tracked connections, each once; None if this process may not read them."""
    for read in (_of_file, *(_of_kernel,) * _ATTEMPTS):
        found: dict[TrackedConnection, None] = {}
        try:
            for connection in read():
                found[connection] = None
                if len(found) == MOST_TRACKED:
                    break
            return tuple(found)
        except (OSError, struct.error, ValueError, LookupError):
            continue
    return None


def _of_file() -> Iterator[TrackedConnection]:
    """Yield the lines of the file. Each has the fields src, dst, sport and dport twice: of a packet, and of a reply."""
    from ipaddress import ip_address

    with open(_FILE, encoding="ascii", errors="replace") as lines:
        for line in lines:
            words = line.split()
            fields = [word.partition("=") for word in words if "=" in word]
            sources = [value for name, _, value in fields if name == "src"]
            ports = [value for name, _, value in fields if name == "sport"]
            if ports:
                client, target = (str(ip_address(text)) for text in sources)
                yield TrackedConnection(words[2].upper(), client, target, int(ports[1]))


def _of_kernel() -> Iterator[TrackedConnection]:
    import socket

    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER) as kernel:
        kernel.settimeout(_TIMEOUT)
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        kernel.bind((0, 0))
        kernel.send(_HEADER.pack(_HEADER.size + 4, _GET, _REQUEST_AND_DUMP, 1, 0) + bytes(4))
        while True:
            part = kernel.recv(_LARGEST_PART)
            while part:
                size, kind, flags, *_ = _HEADER.unpack_from(part)
                if kind == _DONE:
                    return
                if kind == _ERROR or flags & _INTERRUPTED:
                    raise OSError("the kernel refused or interrupted the dump")
                # A message starts with the four bytes of nfgenmsg.
                found = dict(_attributes(part[_HEADER.size + 4 : size]))
                _, client, _ = _source(found[_ORIGINAL])
                protocol, target, port = _source(found[_REPLY])  # the target after NAT
                if port:
                    yield TrackedConnection(protocol, client, target, port)
                part = part[max(size + 3 & ~3, _HEADER.size) :]


def _source(data: bytes) -> tuple[str, str, int]:
    """Return protocol, address and port of the source of a tuple."""
    from ipaddress import ip_address

    addresses, ports = (dict(_attributes(dict(_attributes(data))[kind])) for kind in (_ADDRESSES, _PORTS))
    address = next(value for kind, value in addresses.items() if kind in _SOURCE)
    number = ports[_NUMBER][0]
    port = int.from_bytes(ports.get(_SOURCE_PORT, b""), "big")
    return (_PROTOCOLS.get(number, str(number)), str(ip_address(address)), port)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        size, kind = _ATTRIBUTE.unpack_from(data)
        if size < _ATTRIBUTE.size:
            return
        yield kind & _TYPE, data[_ATTRIBUTE.size : size]
        data = data[size + 3 & ~3 :]
