"""TCP sockets of the live machine that accept connections, and the processes that have them.

The kernel is asked through sock_diag(7), as ss(8) does: reading /proc/net/tcp takes 10 ms on a machine with 24 GiB.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Collection, Iterator
from contextlib import suppress

from agent.base.value import Value

_IPV4, _IPV6 = 2, 10
_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_AND_DUMP = 0x301
_LISTEN = 1 << 10
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBxI48x")
_SOCKET = struct.Struct("=BBBB2s2s16s16sI8sIIIII")
_LARGEST_PART = 64 * 1024
_MOST_PARTS = 1000
_LOOPBACK = 127
"""The first byte of 127.0.0.0/8."""
_TIMEOUT = 2.0
"""Seconds. The kernel answers at once."""


class Listener(Value):
    """A TCP socket that accepts connections."""

    port: int
    on_all_addresses: bool
    on_ipv4_loopback: bool
    is_ipv6: bool
    inode: int


class SocketOwner(Value):
    """A process that has a socket."""

    pid: int
    name: str
    control_groups: frozenset[str]
    """The last part of the name of each of its control groups, such as `nginx.service`."""


def tcp_listeners() -> tuple[Listener, ...]:
    """Return the listening sockets of this network namespace; none if the kernel refuses the question."""
    try:
        return tuple(_listeners(_IPV4)) + tuple(_listeners(_IPV6))
    except (OSError, struct.error):
        return ()


def _listeners(family: int) -> Iterator[Listener]:
    import _socket as socket  # without socket.py, which takes 3 ms to import

    request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _LISTEN)
    header = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _REQUEST_AND_DUMP, 0, 0)
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG)
    try:
        kernel.settimeout(_TIMEOUT)
        kernel.sendto(header + request, (0, 0))
        for _ in range(_MOST_PARTS):
            part = kernel.recv(_LARGEST_PART)
            while part:
                size, kind, *_ = _HEADER.unpack_from(part)
                if kind != _SOCK_DIAG_BY_FAMILY:
                    return  # the end, or an error
                yield _listener(part[_HEADER.size : size])
                part = part[max(size, _HEADER.size) :]
    finally:
        kernel.close()


def _listener(message: bytes) -> Listener:
    family, _, _, _, port, _, address, *_, inode = _SOCKET.unpack_from(message)
    is_ipv6 = family == _IPV6
    in_use = address if is_ipv6 else address[:4]
    return Listener(
        int.from_bytes(port, "big"), not any(in_use), not is_ipv6 and in_use[0] == _LOOPBACK, is_ipv6, inode
    )


def socket_owners(root: str, inodes: Collection[int], *, first: Collection[int] = ()) -> dict[int, SocketOwner]:
    """Return the process of each socket, as far as this user can see it, by inode.

    `first` are the processes to look at before all others.
    """
    missing = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[int, SocketOwner] = {}
    for pid in (*first, *_pids(root)):
        if not missing:
            break
        for target in _descriptors(f"{root}/proc/{pid}/fd"):
            if target in missing:
                groups = frozenset(line.rpartition("/")[2] for line in _text(root, pid, "cgroup").splitlines())
                found[missing.pop(target)] = SocketOwner(pid, _text(root, pid, "comm"), groups)
    return found


def _pids(root: str) -> Iterator[int]:
    with suppress(OSError):
        yield from sorted(int(name) for name in os.listdir(f"{root}/proc") if name.isdecimal())


def _descriptors(directory: str) -> Iterator[str]:
    with suppress(OSError):
        for name in os.listdir(directory):
            with suppress(OSError):
                yield os.readlink(f"{directory}/{name}")


def _text(root: str, pid: int, name: str) -> str:
    with suppress(OSError), open(f"{root}/proc/{pid}/{name}", encoding="utf-8", errors="replace") as file:
        return file.read(4096).strip()
    return ""
