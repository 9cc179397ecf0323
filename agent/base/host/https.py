"""HTTPS requests to one server with a client certificate or a token: limited time and size, no redirect, no proxy.

This module is imported in functions, because the import takes longer than most runs of the program.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.base.errors import HostError, LimitError
from agent.base.host.memory import memory_file

if TYPE_CHECKING:
    from types import TracebackType

_AT_ONCE = 1 << 20
_FIRST_LINE = 64


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
    total: float
    """Seconds for all of them."""
    body: int
    """Bytes of one answer."""


class _BoundedSocket(ssl.SSLSocket):
    """A socket that is used until a point in time, so that a server cannot extend a timeout by a byte at a time."""

    deadline = float("inf")

    def recv_into(self, *arguments: Any, **named: Any) -> int:  # noqa: ANN401 - those of SSLSocket
        """Read as SSLSocket does. Raises TimeoutError after the deadline."""
        self._limit()
        return super().recv_into(*arguments, **named)

    def send(self, *arguments: Any, **named: Any) -> int:  # noqa: ANN401 - those of SSLSocket
        """Write as SSLSocket does. Raises TimeoutError after the deadline."""
        self._limit()
        return super().send(*arguments, **named)

    def _limit(self) -> None:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self.settimeout(left)


class HttpsClient:
    """A connection to a server, which is opened at the first request and kept."""

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
        context.sslsocket_class = _BoundedSocket
        try:
            context.load_verify_locations(cadata=authority.decode("ascii"))
            if not token:
                with memory_file(certificate) as path:  # the ssl module reads only files
                    # An encrypted key is an error with an empty password. Without one, OpenSSL prompts on the terminal.
                    context.load_cert_chain(path, password=b"")
        except (OSError, ValueError) as error:
            raise HostError(f"cannot use the client certificate for {host}: {reason(error)}") from error
        self._connection = http.client.HTTPSConnection(host, port, timeout=limits.request, context=context)
        self.url = f"https://{f'[{host}]' if ':' in host else host}:{port}"

    def __enter__(self) -> HttpsClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()

    def get(self, path: str, accept: str) -> Response:
        """Send a GET request. Raises HostError without an answer, and LimitError if it is too large."""
        return self._exchange("GET", path, {"Accept": accept})

    def patch(self, path: str, body: bytes, content_type: str) -> Response:
        """Send a PATCH request. Raises HostError as `get` does."""
        return self._exchange("PATCH", path, {"Accept": "application/json", "Content-Type": content_type}, body)

    def post(self, path: str, body: bytes) -> Response:
        """Send a POST request with JSON. Raises HostError as `get` does."""
        return self._exchange("POST", path, {"Accept": "application/json", "Content-Type": "application/json"}, body)

    def delete(self, path: str) -> Response:
        """Send a DELETE request. Raises HostError as `get` does."""
        return self._exchange("DELETE", path, {"Accept": "application/json"})

    def _exchange(self, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> Response:
        deadline = min(self._end, time.monotonic() + self._limits.request)
        connection = self._connection
        try:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
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
        if time.monotonic() > deadline:
            raise TimeoutError("timed out")
    return bytes(found)


def answers_ok(address: tuple[str, int], path: str, timeout: float) -> bool:
    """Return whether the first line of an answer without TLS has the status 200.

    No more is read: without the usual server, anybody can listen there, and never end the answer.
    """
    with suppress(OSError), socket.create_connection(address, timeout) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        return connection.recv(_FIRST_LINE).startswith((b"HTTP/1.0 200 ", b"HTTP/1.1 200 "))
    return False


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
