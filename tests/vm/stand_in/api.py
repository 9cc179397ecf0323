"""A stand-in for the Kubernetes API that supports listing namespaces and patching ServiceAccounts with a real kubectl.

It listens on loopback without TLS. Its objects are in a file that a test may edit at any time: the default
ServiceAccount of each namespace by name, or null if it has none. Paths and answers follow Kubernetes' API reference:
https://kubernetes.io/docs/reference/kubernetes-api/.
"""

from __future__ import annotations

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ADDRESS = ("127.0.0.1", 6443)
# These namespaces exist from the first start on; their default ServiceAccounts do not set the field.
FIRST: dict[str, Any] = {"default": {}, "kube-node-lease": {}, "kube-public": {}, "kube-system": {}}
READ_ONLY = "read-only"
"""The namespace that rejects all patches."""

KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{{name: default, cluster: {{server: "http://{host}:{port}"}}}}]
contexts: [{{name: default, context: {{cluster: default, user: default}}}}]
current-context: default
users: [{{name: default, user: {{}}}}]
"""


def prepare(objects: Path, kubeconfig: Path) -> None:
    """Write what K3s writes before it reports that it is up: the first objects and root's kubeconfig."""
    if not objects.exists():
        objects.write_text(json.dumps(FIRST))
    if not kubeconfig.exists():
        kubeconfig.parent.mkdir(parents=True, exist_ok=True)
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(KUBECONFIG.format(host=ADDRESS[0], port=ADDRESS[1]))


def serve(objects: Path) -> None:
    class Handler(_Answers):
        """The API for this file of objects."""

        file = objects

    ThreadingHTTPServer(ADDRESS, Handler).serve_forever()


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    file: Path

    def do_GET(self) -> None:
        """Return discovery documents, lists or a ServiceAccount."""
        path, _, query = self.path.partition("?")
        namespaces = json.loads(self.file.read_text())
        accounts = {name: account for name, account in namespaces.items() if account is not None}
        if path in _DISCOVERY:
            self._answer(200, _DISCOVERY[path])
        elif path == "/api/v1/namespaces":
            self._answer(200, _listed("Namespace", [_namespace(name) for name in namespaces]))
        elif path == "/api/v1/serviceaccounts" and "metadata.name%3Ddefault" in query:
            self._answer(200, _listed("ServiceAccount", [_account(*account) for account in accounts.items()]))
        elif (name := _account_of(path)) in accounts:
            self._answer(200, _account(name, accounts[name]))
        else:
            self._answer(404, _status(404, "NotFound", f"{path} not found"))

    def do_PATCH(self) -> None:
        """Apply a merge patch to a default ServiceAccount."""
        patch = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        namespaces = json.loads(self.file.read_text())
        name = _account_of(self.path.partition("?")[0])
        if name == READ_ONLY:
            self._answer(403, _status(403, "Forbidden", f'serviceaccounts "default" in {name} cannot be patched'))
        elif namespaces.get(name) is None:
            self._answer(404, _status(404, "NotFound", "the ServiceAccount does not exist"))
        else:
            annotations = {
                **namespaces[name].get("annotations", {}),
                **patch.pop("metadata", {}).get("annotations", {}),
            }
            merged = {**namespaces[name], **patch, "annotations": annotations}
            # A null removes a field, as in a merge patch.
            merged["annotations"] = {key: value for key, value in annotations.items() if value is not None}
            namespaces[name] = {key: value for key, value in merged.items() if value not in (None, {})}
            self.file.write_text(json.dumps(namespaces))
            self._answer(200, _account(name, namespaces[name]))

    def _answer(self, code: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _account_of(path: str) -> str:
    """Return the namespace of the default ServiceAccount at a path, or an empty string."""
    found = re.fullmatch(r"/api/v1/namespaces/([^/]+)/serviceaccounts/default", path)
    return found[1] if found else ""


def _listed(kind: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"kind": f"{kind}List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}


def _namespace(name: str) -> dict[str, Any]:
    return {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}


def _account(namespace: str, content: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": "default", "namespace": namespace, "annotations": content.get("annotations", {})}
    fields = {key: value for key, value in content.items() if key != "annotations"}
    return {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": metadata, **fields}


def _status(code: int, reason: str, message: str) -> dict[str, Any]:
    outcome = {"status": "Failure", "reason": reason, "message": message, "code": code}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, **outcome}


def _resource(name: str, kind: str, *, namespaced: bool) -> dict[str, Any]:
    verbs = ["get", "list", "patch"]
    return {"name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": verbs}


_DISCOVERY: dict[str, dict[str, Any]] = {
    "/version": {"major": "1", "minor": "34", "gitVersion": "v1.34.1+k3s1"},
    "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            _resource("namespaces", "Namespace", namespaced=False),
            _resource("serviceaccounts", "ServiceAccount", namespaced=True),
        ],
    },
}
