"""K3s' deploy controller for policy.yaml: applies it when it changes, prunes, and records the Addon.

As K3s does (pkg/deploy/controller.go): a deleted file changes nothing. Not as K3s does: it looks twice a second.
"""

from __future__ import annotations

import hashlib
import subprocess
import threading
from typing import Any

import yaml

from tests.k8s.node import DATA_DIR, Node, NodeError

_FILE = f"{DATA_DIR}/server/manifests/policy.yaml"
_OWNER = "objectset.rio.cattle.io/owner-name"
_GROUP = "k3s.cattle.io"
_ADDON: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"addons.{_GROUP}"},
    "spec": {
        "group": _GROUP,
        "names": {"kind": "Addon", "plural": "addons"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


class DeployController:
    """A thread, as a context manager."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._seen = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> DeployController:
        self._node.apply(_ADDON)
        self._node.kubectl("wait", "--for=condition=Established", f"crd/addons.{_GROUP}", "--timeout=60s")
        self._thread.start()
        return self

    def __exit__(self, *words: object) -> None:
        self._ended.set()
        self._thread.join(60)

    def until_applied(self) -> None:
        path = self._node.path(_FILE)
        self._node.until(
            "policy.yaml is applied", lambda: not path.exists() or self._seen == _digest(path.read_bytes())
        )

    def _run(self) -> None:
        path = self._node.path(_FILE)
        while not self._ended.wait(0.5):
            content = path.read_bytes() if path.exists() else None
            if content is not None and _digest(content) != self._seen:
                try:
                    self._deploy(content)
                except (NodeError, subprocess.TimeoutExpired):
                    continue  # the API server restarts
                self._seen = _digest(content)

    def _deploy(self, content: bytes) -> None:
        wanted = [document for document in yaml.safe_load_all(content) if document]
        for document in wanted:
            document["metadata"].setdefault("annotations", {})[_OWNER] = "policy"
        if wanted:
            self._node.apply(*wanted)
        names = {(document["metadata"]["namespace"], document["metadata"]["name"]) for document in wanted}
        for item in self._node.get("networkpolicies", "--all-namespaces")["items"]:
            own = (item["metadata"]["namespace"], item["metadata"]["name"])
            if item["metadata"].get("annotations", {}).get(_OWNER) == "policy" and own not in names:
                self._node.kubectl("delete", "networkpolicy", own[1], f"--namespace={own[0]}")
        metadata = {"name": "policy", "namespace": "kube-system"}
        addon = {"apiVersion": f"{_GROUP}/v1", "kind": "Addon", "metadata": metadata}
        self._node.apply({**addon, "spec": {"checksum": _digest(content)}})


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
