"""A registry for images that serves one image, for pods whose image must be pulled.

    python -m tests.k8s.registry ARCHIVE PORT    serves the image in an archive of `docker save` as localhost:PORT/tools

Only what containerd needs to pull: manifests and blobs (OCI distribution specification, section "Pull"). It prints a
line for each request.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tarfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

PORT = 5000
IMAGE = f"localhost:{PORT}/tools:test"
"""containerd uses plain HTTP for a registry on localhost."""

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


class _Content(NamedTuple):
    """The content that the registry serves at a path."""

    kind: str
    data: bytes

    @property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.data).hexdigest()}"


def _contents(archive: str) -> dict[str, _Content]:
    """Return the manifest and the blobs of an image, by path."""
    with tarfile.open(archive) as opened:
        (described,) = json.loads(_member(opened, "manifest.json"))
        config = _Content(_CONFIG, _member(opened, described["Config"]))
        layers = [_Content(_LAYER, _member(opened, name)) for name in described["Layers"]]
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _descriptor(config),
        "layers": [_descriptor(layer) for layer in layers],
    }
    top = _Content(_MANIFEST, json.dumps(manifest).encode())
    found = {f"/v2/tools/blobs/{blob.digest}": blob for blob in (config, *layers)}
    return found | {f"/v2/tools/manifests/{name}": top for name in ("test", top.digest)}


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()


def _descriptor(content: _Content) -> dict[str, object]:
    return {"mediaType": content.kind, "digest": content.digest, "size": len(content.data)}


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    contents: dict[str, _Content]

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        content = self.contents.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", content.kind)
        self.send_header("Content-Length", str(len(content.data)))
        self.send_header("Docker-Content-Digest", content.digest)
        self.end_headers()
        if with_body:
            self.wfile.write(content.data)


def main() -> None:
    archive, port = sys.argv[1:]
    _Handler.contents = _contents(archive)
    ThreadingHTTPServer(("127.0.0.1", int(port)), _Handler).serve_forever()


if __name__ == "__main__":
    main()
