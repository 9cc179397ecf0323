"""What a TCP port of this machine answers without a credential: a status of HTTP, and the start of a TLS handshake.

A ClientHello is built by hand. The ssl module may refuse an old version itself, which would say nothing of the server.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from agent.base.errors import HostError

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    Address = tuple[str, int]

TLS_1_1, TLS_1_2 = 0x0302, 0x0303
_ALERT, _HANDSHAKE, _SERVER_HELLO, _CLIENT_HELLO = 21, 22, 2, 1
_RECORD = struct.Struct("!BHH")
"""Type, version and size of a record."""
_OLDEST = 0x0301
_SESSION = 38
"""The place of the size of the session ID in a ServerHello, after its type, size, version and random number."""
_RENEGOTIATION = 0x00FF
_EXTENSIONS = b"".join(
    struct.pack("!HHH", kind, len(values) + 2, len(values)) + values
    for kind, values in (
        (10, struct.pack("!3H", 29, 23, 24)),  # supported_groups: x25519, secp256r1, secp384r1
        (13, struct.pack("!8H", 0x0403, 0x0503, 0x0603, 0x0804, 0x0401, 0x0501, 0x0203, 0x0201)),
    )
)


class TlsAnswer(NamedTuple):
    """What a server answers to a ClientHello."""

    is_accepted: bool
    """Whether it sent a ServerHello; otherwise it sent an alert."""
    number: int
    """The suite that it chose, or the number of the alert (RFC 5246)."""


class HttpAnswer(NamedTuple):
    """What a server answers to a request without a credential."""

    status: int
    """0 if it requires a client certificate or ended the connection."""
    certificate: bytes
    """In DER; empty without TLS."""


def _connected(address: Address, timeout: float) -> socket.socket:
    import socket

    try:
        return socket.create_connection(address, timeout)
    except ConnectionRefusedError:
        raise ConnectionRefusedError from None
    except OSError as error:
        raise HostError(f"cannot connect: {error.strerror or 'no answer in time'}") from error


def tls_answer(address: Address, version: int, suites: Sequence[int], timeout: float) -> TlsAnswer:
    """Return what a server answers to a client of at most this version that offers these suites.

    Raises ConnectionRefusedError, and HostError for an answer that is neither an alert nor a ServerHello.
    """
    listed = struct.pack(f"!{len(suites) + 1}H", *suites, _RENEGOTIATION)
    extensions = struct.pack("!H", len(_EXTENSIONS)) + _EXTENSIONS
    body = struct.pack("!H", version) + bytes(range(32)) + b"\0" + struct.pack("!H", len(listed)) + listed
    body += b"\1\0" + extensions
    hello = struct.pack("!I", _CLIENT_HELLO << 24 | len(body)) + body
    try:
        with _connected(address, timeout) as connection:
            connection.sendall(_RECORD.pack(_HANDSHAKE, _OLDEST, len(hello)) + hello)
            answer = connection.makefile("rb")
            kind, _, size = _RECORD.unpack(answer.read(_RECORD.size))
            content = answer.read(size)
            if kind == _ALERT:
                return TlsAnswer(is_accepted=False, number=content[1])
            if (kind, content[0]) == (_HANDSHAKE, _SERVER_HELLO):
                (suite,) = struct.unpack_from("!H", content, _SESSION + 1 + content[_SESSION])
                return TlsAnswer(is_accepted=True, number=suite)
    except ConnectionRefusedError:
        raise
    except OSError as error:
        raise HostError(f"no alert and no ServerHello: {error.strerror or 'no answer in time'}") from error
    except (struct.error, IndexError):
        pass
    raise HostError("the server answered with neither an alert nor a ServerHello")


def anonymous_answer(address: Address, path: str, timeout: float, *, is_tls: bool) -> HttpAnswer:
    """Return what a server answers to a GET request without a credential. The server need not be trusted for it.

    Raises ConnectionRefusedError, and HostError without an answer in time.
    """
    import ssl

    certificate = b""
    try:
        with _connected(address, timeout) as connection:
            stream: socket.socket = connection
            if is_tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                stream = secured = context.wrap_socket(connection)
                certificate = secured.getpeercert(binary_form=True) or b""
            with stream:
                fields = f"Host: {address[0]}\r\nUser-Agent: k3s-harden\r\n"
                stream.sendall(f"GET {path} HTTP/1.0\r\n{fields}\r\n".encode())
                words = stream.recv(64).split()
    except ConnectionRefusedError:
        raise
    except (ssl.SSLError, ConnectionError):
        return HttpAnswer(0, certificate)
    except OSError as error:
        raise HostError(f"no answer: {error.strerror or 'not in time'}") from error
    is_http = len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit()
    return HttpAnswer(int(words[1]) if is_http else 0, certificate)


def own_address() -> str:
    """Return the address with which this machine reaches others; empty without a route. Nothing is sent."""
    import socket

    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
    except OSError:
        return ""
