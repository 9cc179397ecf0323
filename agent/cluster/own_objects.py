"""Objects that this program writes to the API server, or waits for: its Node, its report, and an Addon of K3s."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any

from agent.base.errors import HardenError, HostError
from agent.base.host import Host
from agent.base.host.https import HttpsClient, Limits, anonymous_answer
from agent.base.repair import Instruction
from agent.cluster.connection import (
    APPLY_PATCH,
    CREATED,
    NOT_FOUND,
    OK,
    StatusError,
    accepted,
    connect,
    connect_as_admin,
    read_json,
)
from agent.cluster.kubernetes.objects import at
from agent.cluster.node_status import FIELD_MANAGER, parse_node
from agent.k3s import pem

_ADDONS = "/apis/k3s.cattle.io/v1/namespaces/kube-system/addons/"
_PAUSE = 3.0
_LONGEST = 60.0
"""Seconds. The controller reads the manifests every 15 seconds."""


def wait_until_applied(host: Host, data_dir: PurePosixPath, name: str, content: bytes) -> bool:
    """Return whether K3s has applied this content of the manifest `name` within a minute.

    False at once if the API server does not answer.
    """
    wanted = sha256(content).hexdigest()
    end = host.now() + _LONGEST
    try:
        with connect_as_admin(host, data_dir, Limits(request=5.0, total=_LONGEST, body=1 << 20)) as client:
            while True:
                if at(read_json(client, f"{_ADDONS}{name}"), "spec").get("checksum") == wanted:
                    return True
                if host.now() + _PAUSE > end:
                    return False
                host.sleep(_PAUSE)
    except HardenError:
        return False


_NODE_LIMITS = Limits(request=10.0, total=20.0, body=8 << 20)
_HEALTH_TIMEOUT = 2.0

# DER: the attribute CN (2.5.4.3), a UTF8String or PrintableString, and its length in one byte, or in two from 128 on.
_COMMON_NAME = re.compile(rb"\x06\x03\x55\x04\x03[\x0c\x13](?:([\x00-\x7f])|\x81(.))(?=system:node:)", re.DOTALL)
_PREFIX = b"system:node:"
_NODE_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


def is_kubelet_healthy(port: int) -> bool:
    """Return whether the kubelet of this host reports itself as healthy."""
    for address in ("127.0.0.1", "::1"):  # the latter on a node with only IPv6
        with suppress(HostError):
            if anonymous_answer((address, port), "/healthz", _HEALTH_TIMEOUT, is_tls=False)[0] == OK:
                return True
    return False


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
    client, certificate = connect(host, [kubeconfig], limits or _NODE_LIMITS)
    path = f"/api/v1/nodes/{node_name(certificate)}"
    with client:
        node = parse_node(read_json(client, path))
    has_condition = all(node.condition[key] == condition[key] for key in ("status", "message"))
    return has_condition and annotations.items() <= node.annotations.items()


def apply_node_status(host: Host, kubeconfig: PurePosixPath, fields: Mapping[str, Any], limits: Limits | None) -> str:
    """Make these fields of the Node those of k3s-harden, by one server-side apply, and return the name of the Node.

    Fields of an earlier apply that are not among them are removed. Raises HardenError if that fails.
    """
    client, certificate = connect(host, [kubeconfig], limits or _NODE_LIMITS)
    name = node_name(certificate)
    metadata = {**fields.get("metadata", {}), "name": name}
    body = {**fields, "apiVersion": "v1", "kind": "Node", "metadata": metadata}
    path, data = f"/api/v1/nodes/{name}/status", json.dumps(body).encode()
    with client:
        answer = client.patch(f"{path}?fieldManager={FIELD_MANAGER}&force=true", data, APPLY_PATCH)
        accepted(answer, f"write {path}", OK)
    return name


_ACCOUNT = PurePosixPath("/var/run/secrets/kubernetes.io/serviceaccount")
_SERVICE, _PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"
_REPORT_LIMITS = Limits(request=10.0, total=30.0, body=8 << 20)
_IN_POD = "render the pod with --report-to-api"
_NO_KIND = "install the CustomResourceDefinitions of OpenReports, or omit --report-to-api"


def write_report(pod: Host, report: dict[str, Any], environment: Mapping[str, str]) -> None:
    """Create or replace a cluster-wide object, which the namespace of this pod owns. Raises HostError if that fails."""
    server, port = environment.get(_SERVICE), environment.get(_PORT, "443")
    authority, token, namespace = (pod.tree.read_text(_ACCOUNT / name) for name in ("ca.crt", "token", "namespace"))
    if not (server and token and token.isascii() and token.isprintable() and port.isdecimal()):
        raise HostError(
            "cannot write the report to the API server: this is not a pod with a token", Instruction(_IN_POD)
        )
    path = f"/apis/{report['apiVersion']}/clusterreports/{report['metadata']['name']}"
    owner = f"/api/v1/namespaces/{namespace}"
    with HttpsClient(server, int(port), authority.encode(), b"", _REPORT_LIMITS, token=token) as client:
        uid = at(read_json(client, owner), "metadata").get("uid")
        if not isinstance(uid, str):
            raise HostError(f"cannot read {owner}: the answer is no Namespace")
        references = [{"apiVersion": "v1", "kind": "Namespace", "name": namespace, "uid": uid}]
        owned = {**report, "metadata": {**report["metadata"], "ownerReferences": references}}
        data = json.dumps(owned).encode()
        written = client.patch(f"{path}?fieldManager={FIELD_MANAGER}&force=true", data, APPLY_PATCH)
    if written.status == NOT_FOUND:
        raise StatusError(f"write {path}", written.status, Instruction(_NO_KIND))
    accepted(written, f"write {path}", OK, CREATED)
