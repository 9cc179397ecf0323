"""An HTTPS server on 127.0.0.1 that simulates an API server, or answers with any bytes."""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from agent.cluster.kubernetes.queries import REQUESTS, Query

Answer = Callable[["Handler"], None]

TLS = Path(__file__).parents[2] / "data/tls"
FLAGS = "/flagz"


@dataclass
class ApiServer:
    """The served objects by query, and other answers by path, which replace them."""

    objects: Mapping[Query, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    answers: Mapping[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path with parameters, and Accept header of each request; of PATCH, the Content-Type."""
    patches: list[dict[str, Any]] = field(default_factory=list)
    """The bodies of PATCH requests."""
    posts: list[dict[str, Any]] = field(default_factory=list)
    """The bodies of POST requests."""
    connections: set[tuple[str, int]] = field(default_factory=set)
    """The addresses of the clients."""
    port: int = 0
    address: str = "127.0.0.1"
    certificate: str = "server"
    """The name of the certificate and key of the server."""

    @contextmanager
    def running(self) -> Iterator[ApiServer]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(TLS / f"{self.certificate}.crt", TLS / f"{self.certificate}.key")
        for authority in ("ca.crt", "node.crt"):
            context.load_verify_locations(TLS / authority)
        context.verify_mode = ssl.CERT_REQUIRED
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        with type("_Server", (_Server,), {"address_family": family})(
            (self.address, 0), type("_Handler", (Handler,), {"api": self})
        ) as server:
            server.socket = context.wrap_socket(server.socket, server_side=True)
            self.port = server.server_address[1]
            thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()

    def kubeconfig(self, *, embedded: bool = False, **changes: str) -> str:
        """Return a kubeconfig as K3s writes it; `changes` replaces the address or a file."""
        from base64 import b64encode

        host = f"[{self.address}]" if ":" in self.address else self.address
        usual = {"authority": "ca.crt", "certificate": "client.crt", "key": "client.key"}
        values = {"server": f"https://{host}:{self.port}", **usual, **changes}
        files = {
            "certificate-authority": TLS / values["authority"],
            "client-certificate": TLS / values["certificate"],
            "client-key": TLS / values["key"],
        }
        lines = {
            name: f"{name}-data: {b64encode(path.read_bytes()).decode()}" if embedded else f"{name}: {path}"
            for name, path in files.items()
        }
        return (
            "apiVersion: v1\nkind: Config\ncurrent-context: default\n"
            "clusters:\n- name: default\n  cluster:\n"
            f"    server: {values['server']}\n    {lines['certificate-authority']}\n"
            "contexts:\n- name: default\n  context:\n    cluster: default\n    user: default\n"
            f"users:\n- name: default\n  user:\n    {lines['client-certificate']}\n    {lines['client-key']}\n"
        )


def answering(body: object, status: int = 200) -> Answer:
    """Return an answer with these bytes, or with anything else as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda handler: handler.send(status, data)


def drop_connection(handler: Handler) -> None:
    """End the connection without an answer, as an API server that dies."""
    handler.close_connection = True
    handler.connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Print an error, except that a client closed its connection before the end of the answer."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class Handler(BaseHTTPRequestHandler):
    """Answers of an ApiServer."""

    api: ApiServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answer with the objects of the list, page by page, or with the answer for the path."""
        path = urlsplit(self.path).path
        self.api.asked.append((self.command, self.path, self.headers["Accept"]))
        self.api.connections.add(self.client_address)
        if path in self.api.answers:
            self.api.answers[path](self)
            return
        query = next((query for query, request in REQUESTS.items() if request.path == path), None)
        if query is None:
            self.send(404, b"{}")
            return
        self.send(200, json.dumps(self._page(query)).encode())

    def do_PATCH(self) -> None:
        """Record the body, and answer with it or with the answer for the path."""
        path = urlsplit(self.path).path
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.api.asked.append((self.command, self.path, self.headers["Content-Type"]))
        self.api.patches.append(json.loads(body))
        answer = self.api.answers.get(path)
        if answer is not None:
            answer(self)
        else:
            self.send(200, body)

    def do_POST(self) -> None:
        """Record the body, and answer that access is not allowed, or with the answer for the path."""
        path = urlsplit(self.path).path
        self.api.asked.append((self.command, self.path, self.headers["Accept"]))
        self.api.posts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        answer = self.api.answers.get(path)
        if answer is not None:
            answer(self)
        else:
            self.send(201, b'{"status": {"allowed": false}}')

    def send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""

    def _page(self, query: Query) -> dict[str, Any]:
        parameters = parse_qs(urlsplit(self.path).query)
        start = int(parameters.get("continue", ["0"])[0])
        end = start + int(parameters["limit"][0])
        objects = self.api.objects.get(query, ())
        page = list(objects[start:end])
        metadata = {"continue": str(end)} if end < len(objects) else {}
        if "as=Table" in self.headers["Accept"]:
            columns = [{"name": "Name"}, {"name": "Type"}, {"name": "Data"}, {"name": "Age"}]
            rows = [{"cells": [item["metadata"]["name"], item.get("type", "Opaque"), 1, "1d"]} for item in page]
            return {"kind": "Table", "metadata": metadata, "columnDefinitions": columns, "rows": rows}
        if "as=PartialObjectMetadataList" in self.headers["Accept"]:
            page = [{"metadata": item["metadata"]} for item in page]
        # As in Kubernetes, an empty list of metadata is null.
        return {"kind": "List", "metadata": metadata, "items": page or None}
