"""The Node object of this host, written with the kubelet's credential, which may write no other Node."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from agent.base.errors import HostError
from agent.base.host.https import Limits, answers_ok
from agent.cluster.connection import APPLY_PATCH, accepted, connect
from agent.cluster.node_status import FIELD_MANAGER
from agent.cluster.nodes import parse_node
from agent.k3s import pem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import PurePosixPath
    from typing import Any

    from agent.base.host import Host

_LIMITS = Limits(request=10.0, total=20.0, body=8 << 20)
_HEALTH_TIMEOUT = 2.0
_OK = 200

# DER: the attribute CN (2.5.4.3), a UTF8String or PrintableString, and its length in one byte, or in two from 128 on.
_COMMON_NAME = re.compile(rb"\x06\x03\x55\x04\x03[\x0c\x13](?:([\x00-\x7f])|\x81(.))(?=system:node:)", re.DOTALL)
_PREFIX = b"system:node:"
_NODE_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


def is_kubelet_healthy(port: int) -> bool:
    """Return whether the kubelet of this host reports itself as healthy."""
    addresses = ("127.0.0.1", "::1")  # the latter on a node with only IPv6
    return any(answers_ok((address, port), "/healthz", _HEALTH_TIMEOUT) for address in addresses)


def node_name(certificate: bytes) -> str:
    """Return the name of the Node in the common name of a kubelet's certificate. Raises HostError without one."""
    first = next((block.content for block in pem.blocks(certificate) if block.kind == pem.CERTIFICATE), b"")
    found = _COMMON_NAME.search(first)
    content = first[found.end() :][: (found[1] or found[2])[0]] if found else b""
    name = content.removeprefix(_PREFIX).decode("ascii", "replace")
    if not _NODE_NAME.fullmatch(name):
        raise HostError("cannot read the name of the Node: the kubelet's certificate is not one of system:node:NAME")
    return name


def has_node_status(
    host: Host,
    kubeconfig: PurePosixPath,
    annotations: Mapping[str, str],
    condition: Mapping[str, str],
    limits: Limits | None,
) -> bool:
    """Return whether the Node has these annotations, and the status and message of the condition.

    It has not if it was deleted and registered again, or if another client changed it. Raises HardenError.
    """
    client, certificate = connect(host, [kubeconfig], limits or _LIMITS)
    path = f"/api/v1/nodes/{node_name(certificate)}"
    with client:
        body = accepted(client.get(path, "application/json"), f"read {path}", _OK)
    try:
        node = parse_node(json.loads(body))
    except (ValueError, RecursionError):
        raise HostError(f"cannot read {path}: the API server answered with invalid JSON") from None
    has_condition = all(node.condition[key] == condition[key] for key in ("status", "message"))
    return has_condition and annotations.items() <= node.annotations.items()


def apply_node_status(host: Host, kubeconfig: PurePosixPath, fields: Mapping[str, Any], limits: Limits | None) -> str:
    """Make these fields of the Node those of k3s-harden, by one server-side apply, and return the name of the Node.

    Fields of an earlier apply that are not among them are removed. Raises HardenError if that fails.
    """
    client, certificate = connect(host, [kubeconfig], limits or _LIMITS)
    name = node_name(certificate)
    metadata = {**fields.get("metadata", {}), "name": name}
    body = {**fields, "apiVersion": "v1", "kind": "Node", "metadata": metadata}
    path, data = f"/api/v1/nodes/{name}/status", json.dumps(body).encode()
    with client:
        answer = client.patch(f"{path}?fieldManager={FIELD_MANAGER}&force=true", data, APPLY_PATCH)
        accepted(answer, f"write {path}", _OK)
    return name
