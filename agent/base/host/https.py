"""HTTPS requests to one server with a client certificate or a token: limited time and size, no redirect, no proxy.

Also what a port answers without a credential: a status of HTTP, and the start of a TLS handshake. This module is
imported in functions, because the import takes longer than most runs of the program.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import struct
import time
from collections.abc import Sequence
from functools import partial
from threading import get_ident
from typing import Any, NamedTuple

from agent.base.errors import HostError, LimitError
from agent.base.host.temporary import memory_file

Address = tuple[str, int]

_AT_ONCE = 1 << 20
_FIRST_LINE = 64
_NEVER = float("inf")


class Response(NamedTuple):
    """The answer of a server."""

    status: int
    body: bytes
    warnings: tuple[str, ...] = ()
    """Headers of the answer."""


class Limits(NamedTuple):
    """The limits of all requests to a server."""

    request: float
    """Seconds for one request and its answer."""
    body: int
    """Bytes of one answer."""
    total: float = _NEVER
    """Seconds for all of them."""


class _BoundedSocket(socket.socket):
    """A socket that is used until a point in time, so that a server cannot extend a timeout by a byte at a time."""

    deadline = _NEVER

    def recv_into(self, *arguments: Any, **named: Any) -> int:  # noqa: ANN401 - those of the base class
        """Read as the base class does. Raises TimeoutError after the deadline."""
        self.settimeout(_left(self.deadline))
        return super().recv_into(*arguments, **named)

    def send(self, *arguments: Any, **named: Any) -> int:  # noqa: ANN401 - those of the base class
        """Write as the base class does. Raises TimeoutError after the deadline."""
        self.settimeout(_left(self.deadline))
        return super().send(*arguments, **named)


class _BoundedTls(_BoundedSocket, ssl.SSLSocket):
    """The same with TLS."""


def _left(deadline: float) -> float:
    """Return the seconds until the deadline. Raises TimeoutError after it."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


class HttpsClient:
    """A connection to a server for each thread, which is opened at its first request and kept."""

    def __init__(  # noqa: PLR0913 - the last one is by name
        self, host: str, port: int, authority: bytes, certificate: bytes, limits: Limits, *, token: str = ""
    ) -> None:
        """Raise HostError if a PEM text cannot be used. `certificate` contains the private key, too.

        With a bearer token, it is empty.
        """
        self._headers = {"User-Agent": "k3s-harden", **({"Authorization": f"Bearer {token}"} if token else {})}
        self._limits = limits
        self._end = time.monotonic() + limits.total
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.sslsocket_class = _BoundedTls
        try:
            context.load_verify_locations(cadata=authority.decode("ascii"))
            if not token:
                with memory_file(certificate) as path:  # the ssl module reads only files
                    # An encrypted key is an error with an empty password. Without one, OpenSSL prompts on the terminal.
                    context.load_cert_chain(path, password=b"")
        except (OSError, ValueError) as error:
            raise HostError(f"cannot use the client certificate for {host}: {reason(error)}") from error
        self._new = partial(http.client.HTTPSConnection, host, port, timeout=limits.request, context=context)
        self._connections: dict[int, http.client.HTTPSConnection] = {}
        self.url = f"https://{f'[{host}]' if ':' in host else host}:{port}"

    def __enter__(self) -> HttpsClient:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._connections.values():
            connection.close()

    def get(self, path: str, accept: str) -> Response:
        """Send a GET request. Raises HostError without an answer, and LimitError if it is too large."""
        return self._exchange("GET", path, {"Accept": accept})

    def patch(self, path: str, body: bytes, content_type: str) -> Response:
        """Send a PATCH request. Raises HostError as `get` does."""
        return self._exchange("PATCH", path, {"Accept": "application/json", "Content-Type": content_type}, body)

    def post(self, path: str, body: bytes, as_user: str = "") -> Response:
        """Send a POST request with JSON, impersonating a user if there is one. Raises HostError as `get` does."""
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        return self._exchange("POST", path, {**headers, **({"Impersonate-User": as_user} if as_user else {})}, body)

    def delete(self, path: str) -> Response:
        """Send a DELETE request. Raises HostError as `get` does."""
        return self._exchange("DELETE", path, {"Accept": "application/json"})

    def _exchange(self, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> Response:
        deadline = min(self._end, time.monotonic() + self._limits.request)
        connection = self._connections.get(get_ident()) or self._connections.setdefault(get_ident(), self._new())
        try:
            left = _left(deadline)
            if connection.sock is None:
                connection.timeout = left
                connection.connect()
            if isinstance(connection.sock, _BoundedSocket):
                connection.sock.deadline = deadline
                connection.sock.settimeout(left)
            connection.request(method, path, body, {**headers, **self._headers})
            response = connection.getresponse()
            warnings = tuple(response.headers.get_all("Warning", ()))
            return Response(response.status, _body(response, self._limits.body, deadline), warnings)
        except (OSError, http.client.HTTPException, ValueError, MemoryError) as error:
            connection.close()
            verb = "read" if method == "GET" else "write"
            kind = LimitError if isinstance(error, (_TooLargeError, MemoryError)) else HostError
            raise kind(f"cannot {verb} {path.partition('?')[0]}: {reason(error)}") from error


class _TooLargeError(ValueError):
    """An answer is larger than its limit."""


def _body(response: http.client.HTTPResponse, limit: int, deadline: float) -> bytes:
    found = bytearray()
    while chunk := response.read(_AT_ONCE):
        found += chunk
        if len(found) > limit:
            raise _TooLargeError(f"the answer is larger than {limit >> 20} MiB")
        _left(deadline)
    return bytes(found)


_TLS = struct.Struct("!BHH")
"""Type, version and size of a TLS record."""
TLS_1_1, TLS_1_2 = 0x0302, 0x0303
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


def _connected(address: Address, timeout: float) -> _BoundedSocket:
    deadline = time.monotonic() + timeout
    connection = _BoundedSocket(fileno=socket.create_connection(address, timeout).detach())
    connection.deadline = deadline
    return connection


def tls_answer(address: Address, version: int, suites: Sequence[int], timeout: float) -> tuple[bool, int]:
    """Return whether a server accepts a client of at most this version that offers these suites (RFC 5246).

    The number is that of the suite in its ServerHello, or else that of its alert. The ClientHello is made here, because
    the ssl module may refuse an old version before the server answers. Raises HostError for other answers.
    """
    listed = struct.pack(f"!{len(suites) + 1}H", *suites, _RENEGOTIATION)
    body = struct.pack("!H32xxH", version, len(listed)) + listed + b"\1\0"
    body += struct.pack("!H", len(_EXTENSIONS)) + _EXTENSIONS
    hello = struct.pack("!I", _CLIENT_HELLO << 24 | len(body)) + body
    try:
        with _connected(address, timeout) as connection, connection.makefile("rb") as answer:
            connection.sendall(_TLS.pack(_HANDSHAKE, _OLDEST, len(hello)) + hello)
            kind, _, size = _TLS.unpack(answer.read(_TLS.size))
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
    it is told nothing, and no more than the status is read. Raises HostError without an answer.
    """
    certificate = b""
    try:
        with _connected(address, timeout) as connection:
            stream: socket.socket = connection
            if is_tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                connection.settimeout(_left(connection.deadline))
                stream = secured = context.wrap_socket(connection)
                certificate = secured.getpeercert(binary_form=True) or b""
            with stream:
                fields = f"Host: {address[0]}\r\nUser-Agent: k3s-harden\r\n"
                stream.sendall(f"GET {path} HTTP/1.0\r\n{fields}\r\n".encode())
                stream.settimeout(_left(connection.deadline))
                words = stream.recv(_FIRST_LINE).split()
    except (ssl.SSLError, ConnectionResetError, BrokenPipeError):
        return 0, certificate
    except OSError as error:
        raise HostError(reason(error)) from error
    is_http = len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit()
    return int(words[1]) if is_http else 0, certificate


def own_address() -> str:
    """Return the address with which this machine reaches others; empty without a route. Nothing is sent."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
    except OSError:
        return ""


def reason(error: Exception) -> str:
    """Return why there is no answer of a server."""
    # Up to Python 3.9, socket.timeout is not the built-in TimeoutError.
    if isinstance(error, (TimeoutError, socket.timeout)):
        return "no complete answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {getattr(error, 'verify_message', '') or error.reason or error.args[-1]}"
    if isinstance(error, OSError):
        return error.strerror or "the connection failed"
    if isinstance(error, (_TooLargeError, MemoryError)):
        return str(error) or "the answer takes too much memory"
    is_cut_off = isinstance(error, http.client.IncompleteRead)
    return "the answer is incomplete" if is_cut_off else f"the answer is not valid HTTP ({type(error).__name__})"
