"""The report of a node as an object of the API server, which a pod writes with its ServiceAccount."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from agent.base.errors import HostError
from agent.base.host.https import HttpsClient, Limits
from agent.cluster.connection import APPLY_PATCH, StatusError, accepted
from agent.cluster.node_status import FIELD_MANAGER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.base.host import Host

_ACCOUNT = PurePosixPath("/var/run/secrets/kubernetes.io/serviceaccount")
_SERVICE, _PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"
_LIMITS = Limits(request=10.0, total=30.0, body=8 << 20)
_OK, _CREATED, _NOT_FOUND = 200, 201, 404
_IN_POD = "render the pod with --report-to-api"
_NO_KIND = "install the CustomResourceDefinitions of OpenReports, or omit --report-to-api"


def write_report(pod: Host, report: dict[str, Any], environment: Mapping[str, str]) -> None:
    """Create or replace a cluster-wide object, which the namespace of this pod owns. Raises HostError if that fails."""
    server, port = environment.get(_SERVICE), environment.get(_PORT, "443")
    authority, token, namespace = (pod.tree.read_text(_ACCOUNT / name) for name in ("ca.crt", "token", "namespace"))
    if not (server and token and token.isascii() and token.isprintable() and port.isdecimal()):
        raise HostError("cannot write the report to the API server: this is not a pod with a token", _IN_POD)
    path = f"/apis/{report['apiVersion']}/clusterreports/{report['metadata']['name']}"
    owner = f"/api/v1/namespaces/{namespace}"
    with HttpsClient(server, int(port), authority.encode(), b"", _LIMITS, token=token) as client:
        found = accepted(client.get(owner, "application/json"), f"read {owner}", _OK)
        try:
            uid = json.loads(found)["metadata"]["uid"]
        except (ValueError, KeyError, TypeError) as error:
            raise HostError(f"cannot read {owner}: the answer is no Namespace") from error
        references = [{"apiVersion": "v1", "kind": "Namespace", "name": namespace, "uid": uid}]
        owned = {**report, "metadata": {**report["metadata"], "ownerReferences": references}}
        data = json.dumps(owned).encode()
        written = client.patch(f"{path}?fieldManager={FIELD_MANAGER}&force=true", data, APPLY_PATCH)
    if written.status == _NOT_FOUND:
        raise StatusError(f"write {path}", written.status, _NO_KIND)
    accepted(written, f"write {path}", _OK, _CREATED)
