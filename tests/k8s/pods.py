"""The image and the manifests of the test pods."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.k8s.containers import IMAGE

_TOOLS = "/tools"


def image(tools: Path) -> bytes:
    """Return an archive in the format of `docker save` of an image with one program."""
    layer = _archive({_TOOLS[1:]: (tools.read_bytes(), 0o755)})
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": [_TOOLS]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    return _archive(
        {
            "layer.tar": (layer, 0o644),
            "config.json": (json.dumps(config).encode(), 0o644),
            "manifest.json": (json.dumps(manifest).encode(), 0o644),
        }
    )


def pod(
    name: str,
    namespace: str,
    *serve: str,
    labels: Mapping[str, str] | None = None,
    probe: int | None = None,
    as_root: bool = False,
) -> dict[str, Any]:
    """Return a pod that answers at these ports and complies with the Pod Security level restricted.

    It is ready when the kubelet gets an answer at the port `probe`. With `as_root` it does not comply, and can use
    ports below 1024.
    """
    restricted = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container: dict[str, Any] = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "args": ["serve", *serve],
        "securityContext": {} if as_root else restricted,
    }
    if probe:
        container["readinessProbe"] = {"httpGet": {"port": probe}, "periodSeconds": 1}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name, **(labels or {})}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }


def connect(*addresses: str) -> tuple[str, ...]:
    """Return the command that tries these addresses from a pod."""
    return (_TOOLS, "connect", *addresses)


def _archive(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name, (content, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return output.getvalue()
