"""What a TCP port of this machine answers without a credential: a status of HTTP, and the start of a TLS handshake.

This module builds the ClientHello, because the ssl module may refuse an old version before the server answers.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from agent.base.errors import HostError
from agent.base.host.https import reason

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    Address = tuple[str, int]

TLS_1_1, TLS_1_2 = 0x0302, 0x0303
_RECORD = struct.Struct("!BHH")
"""Type, version and size of a record."""
_ALERT, _HANDSHAKE, _SERVER_HELLO, _CLIENT_HELLO = 21, 22, 2, 1
_OLDEST, _RENEGOTIATION = 0x0301, 0x00FF
_SESSION = 38
"""The place of the size of the session ID in a ServerHello, after its type, size, version and random number."""
_ENOUGH = 256
"""Bytes of a record with the suite or the alert; a server may send the rest slowly."""
_GROUPS = struct.pack("!3H", 29, 23, 24)
_SIGNATURES = struct.pack("!8H", 0x0403, 0x0503, 0x0603, 0x0804, 0x0401, 0x0501, 0x0203, 0x0201)
_EXTENSIONS = b"".join(
    struct.pack("!HHH", kind, len(values) + 2, len(values)) + values
    for kind, values in ((10, _GROUPS), (13, _SIGNATURES))
)


def tls_answer(address: Address, version: int, suites: Sequence[int], timeout: float) -> tuple[bool, int]:
    """Return whether a server accepts a client of at most this version that offers these suites (RFC 5246).

    The number is that of the suite in its ServerHello, or else that of its alert. Raises HostError for other answers.
    """
    import socket

    listed = struct.pack(f"!{len(suites) + 1}H", *suites, _RENEGOTIATION)
    body = struct.pack("!H32xxH", version, len(listed)) + listed + b"\1\0"
    body += struct.pack("!H", len(_EXTENSIONS)) + _EXTENSIONS
    hello = struct.pack("!I", _CLIENT_HELLO << 24 | len(body)) + body
    try:
        with socket.create_connection(address, timeout) as connection, connection.makefile("rb") as answer:
            connection.sendall(_RECORD.pack(_HANDSHAKE, _OLDEST, len(hello)) + hello)
            kind, _, size = _RECORD.unpack(answer.read(_RECORD.size))
            content = answer.read(min(size, _ENOUGH))
            if kind == _ALERT:
                return False, content[1]
            if (kind, content[0]) == (_HANDSHAKE, _SERVER_HELLO):
                return True, struct.unpack_from("!H", content, _SESSION + 1 + content[_SESSION])[0]
    except OSError as error:
        raise HostError(reason(error)) from error
    except (struct.error, IndexError):
        pass
    raise HostError("the server answered with neither an alert nor a ServerHello")


def anonymous_answer(address: Address, path: str, timeout: float, *, is_tls: bool) -> tuple[int, bytes]:
    """Return the status of a GET request without a credential, and the certificate of the server in DER.

    The status is 0 if the server requires a client certificate or ends the connection. The server need not be trusted:
    it is told nothing. Raises HostError without an answer.
    """
    import socket
    import ssl

    certificate = b""
    try:
        with socket.create_connection(address, timeout) as connection:
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
    except (ssl.SSLError, ConnectionResetError, BrokenPipeError):
        return 0, certificate
    except OSError as error:
        raise HostError(reason(error)) from error
    is_http = len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit()
    return int(words[1]) if is_http else 0, certificate


def own_address() -> str:
    """Return the address with which this machine reaches others; empty without a route. Nothing is sent."""
    import socket

    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
    except OSError:
        return ""
