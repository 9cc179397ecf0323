"""The egress selectors of the API server. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import InputError
from agent.k3s.components.files import decoding, schema
from agent.k3s.components.files.decoding import HEAD
from agent.k3s.components.files.schema import Problem
from agent.yaml_reader import Mapping, shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath


_EGRESS: schema.Schema = {
    **HEAD,
    "egressSelections": [
        {
            "name": "string",
            "connection": {
                "proxyProtocol": "string",
                "transport": {
                    "tcp": {
                        "url": "string",
                        "tlsConfig": dict.fromkeys(("caBundle", "clientCert", "clientKey", "tlsServerName"), "string"),
                    },
                    "uds": {"udsName": "string"},
                },
            },
        }
    ],
}


def problems(data: bytes, path: PurePosixPath) -> Iterator[InputError]:
    """Yield what the API server rejects in its egress selectors (apiserver, pkg/server/egressselector/config.go)."""
    versions = ("apiserver.k8s.io/v1beta1", "apiserver.k8s.io/v1alpha1")
    root = decoding.read(data, path, "EgressSelectorConfiguration", versions)
    if isinstance(root, InputError):
        yield root
        return
    yield from decoding.located(schema.problems(root, _EGRESS), path)
    seen: set[str] = set()
    for one in decoding.mappings(root.get("egressSelections")):
        name = (one.text("name") or "").lower().replace("master", "controlplane")  # the name before v1beta1
        if name in seen:
            yield decoding.error(path, Problem(one.line, f"`name` is '{shown(name)}' twice"))
        elif name not in ("controlplane", "cluster", "etcd"):
            yield decoding.error(path, Problem(one.line, "`name` must be controlplane, cluster or etcd"))
        seen.add(name)
        yield from decoding.located(_connection(one), path)


def _connection(selection: Mapping) -> Iterator[Problem]:
    connection = decoding.part(selection, "connection")
    protocol, transport, line = connection.text("proxyProtocol"), connection.get("transport"), connection.line
    if protocol not in ("Direct", "HTTPConnect", "GRPC"):
        yield Problem(line, "`proxyProtocol` must be Direct, HTTPConnect or GRPC")
        return
    if (protocol == "Direct") is decoding.is_set(transport):
        yield Problem(line, "`transport` must be set for HTTPConnect and GRPC, and only for them")
        return
    if not isinstance(transport, Mapping):
        return
    tcp, uds = transport.get("tcp"), transport.get("uds")
    if protocol == "GRPC" and not decoding.is_set(uds):
        yield Problem(line, "`transport.uds` must be set for GRPC")
    elif protocol == "HTTPConnect" and decoding.is_set(tcp) is decoding.is_set(uds):
        yield Problem(line, "either `transport.tcp` or `transport.uds` must be set for HTTPConnect")
    elif isinstance(uds, Mapping) and not uds.text("udsName"):
        yield Problem(uds.line, "`udsName` must be set")
    elif isinstance(tcp, Mapping) and protocol == "HTTPConnect":
        yield from _tcp(tcp)


def _tcp(tcp: Mapping) -> Iterator[Problem]:
    url, config = tcp.text("url") or "", tcp.get("tlsConfig")
    if not url.startswith(("http://", "https://")):
        yield Problem(tcp.line, "`url` must begin with http:// or https://")
    elif url.startswith("http://") is decoding.is_set(config):
        yield Problem(tcp.line, "`tlsConfig` must be set for https, and only for it")
    elif isinstance(config, Mapping):
        for name in ("clientCert", "clientKey"):
            if not config.text(name):
                yield Problem(config.line, f"`{name}` must be set")
