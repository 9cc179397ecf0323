"""HTTP requests from this process into the network of a node."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import ssl
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from tests.k8s.namespaces import Namespaces

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET of sched.h; os.setns came with Python 3.12
DATA_DIR = Path("/var/lib/rancher/k3s")
ADMIN = DATA_DIR / "server/tls/client-admin"
"""The certificate of the cluster's administrator, without suffix."""


class Response(NamedTuple):
    """The answer to a request; status 0 if the connection failed or the certificate did not exist yet."""

    status: int
    text: str
    warnings: str = ""

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.text)


class Client:
    """Requests from a thread whose network namespace is that of the node."""

    def __init__(self, node: Namespaces) -> None:
        self._node = node
        self._thread = ThreadPoolExecutor(1, initializer=_enter, initargs=(f"/proc/{node.number}/ns/net",))

    def get(
        self,
        port: int,
        path: str,
        *,
        certificate: Path | None = ADMIN,
        headers: Mapping[str, str] | None = None,
        tls: bool = True,
    ) -> Response:
        """Send a GET request to the node's loopback address; `certificate` is the client's, without suffix."""
        return self.request("GET", port, path, certificate=certificate, headers=headers, tls=tls)

    def request(  # noqa: PLR0913 - the parts of a request, passed by name
        self,
        method: str,
        port: int,
        path: str,
        *,
        certificate: Path | None = ADMIN,
        headers: Mapping[str, str] | None = None,
        body: object = None,
        tls: bool = True,
    ) -> Response:
        try:
            context = self._context(certificate) if tls else None
        except FileNotFoundError as error:
            return Response(0, str(error))
        sent = {"Content-Type": "application/json", **(headers or {})}
        text = None if body is None else json.dumps(body)
        return self._thread.submit(_send, context, method, port, path, sent, text).result(timeout=120)

    def post_all(self, port: int, path: str, bodies: Iterable[object]) -> None:
        for answer in self.answers(port, path, bodies):
            assert answer.status == http.client.CREATED, answer.text

    def answers(self, port: int, path: str, bodies: Iterable[object]) -> list[Response]:
        """Send a POST request for each body through one connection."""
        texts = list(map(json.dumps, bodies))
        return self._thread.submit(_post_each, self._context(ADMIN), port, path, texts).result(timeout=600)

    def close(self) -> None:
        self._thread.shutdown()

    def _context(self, certificate: Path | None) -> ssl.SSLContext:
        context = ssl.create_default_context()
        # The host names in the certificates of the kubelet and the supervisor are not under test.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if certificate is not None:
            path = self._node.path(certificate)
            context.load_cert_chain(f"{path}.crt", f"{path}.key")
        return context


def _enter(namespace: str) -> None:
    descriptor = os.open(namespace, os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    failed = libc.setns(descriptor, _NEW_NETWORK)
    os.close(descriptor)
    if failed:
        raise OSError(ctypes.get_errno(), "cannot enter the network namespace of the node")


def _send(  # noqa: PLR0913, PLR0917 - as Client.request
    context: ssl.SSLContext | None, method: str, port: int, path: str, headers: Mapping[str, str], body: str | None
) -> Response:
    connection = (
        http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        if context is None
        else http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=context)
    )
    try:
        connection.request(method, path, body, dict(headers))
        answer = connection.getresponse()
        return Response(answer.status, answer.read().decode(), answer.getheader("Warning", ""))
    except OSError as error:
        return Response(0, str(error))
    finally:
        connection.close()


def _post_each(context: ssl.SSLContext, port: int, path: str, texts: Iterable[str]) -> list[Response]:
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=context)
    found = []
    for text in texts:
        connection.request("POST", path, text, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        found.append(Response(answer.status, answer.read().decode()))
    connection.close()
    return found
