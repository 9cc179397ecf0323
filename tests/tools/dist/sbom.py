"""The software bill of materials of a release in CycloneDX 1.6: the program and what its files contain of others."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable
from datetime import datetime, timezone
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zipfile import ZipFile

from packaging.requirements import Requirement

from agent import __version__
from tests.tools.dist.payload import CARRIED
from tests.tools.dist.tools import wheels

# Not a purl of PyPI, where the name may belong to another program.
_PROGRAM = f"pkg:generic/k3s-harden@{__version__}"


def sbom(epoch: int, packages: Iterable[tuple[str, str]]) -> bytes:
    """Return the document as JSON; the same commit gives the same bytes.

    `packages` are the names and versions of the Debian packages from which the bundles have Python and its libraries.
    """
    files = {wheel.name.partition("-")[0].lower().replace("_", "-"): wheel for wheel in wheels(CARRIED)}
    libraries = {name: _metadata(wheel) for name, wheel in files.items()}
    references = {name: f"pkg:pypi/{name}@{metadata['Version']}" for name, metadata in libraries.items()}
    components: list[dict[str, Any]] = [
        {
            **_component("library", references[name], name, metadata["Version"]),
            "licenses": [_licence(metadata)],
            "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(files[name].read_bytes()).hexdigest()}],
        }
        for name, metadata in libraries.items()
    ]
    for name, version in sorted(packages):
        components.append(_component("library", f"pkg:deb/debian/{quote(name)}@{quote(version)}", name, version))
    dependencies = [{"ref": _PROGRAM, "dependsOn": sorted(component["bom-ref"] for component in components)}]
    for name, metadata in libraries.items():
        needs = {Requirement(text).name for text in metadata.get_all("Requires-Dist", []) if "extra ==" not in text}
        known = [references[need] for need in sorted(needs & references.keys())]
        dependencies.append({"ref": references[name], "dependsOn": known})
    program = _component("application", _PROGRAM, "k3s-harden", __version__)
    program["licenses"] = [{"license": {"id": "Apache-2.0"}}]
    time = datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    document: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"timestamp": time, "component": program},
        "components": components,
        "dependencies": dependencies,
    }
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(document, sort_keys=True))}"
    return (json.dumps(document, indent=2) + "\n").encode()


def _component(kind: str, purl: str, name: str, version: str) -> dict[str, Any]:
    return {"type": kind, "bom-ref": purl, "purl": purl, "name": name, "version": version}


def package_urls(document: bytes) -> list[str]:
    described = json.loads(document)
    return [component["purl"] for component in (described["metadata"]["component"], *described["components"])]


def _licence(metadata: Message) -> dict[str, Any]:
    """Return the licence: an expression of SPDX, or the words of the library's author."""
    if metadata["License-Expression"]:
        return {"expression": metadata["License-Expression"]}
    classifier = next((text for text in metadata.get_all("Classifier", []) if text.startswith("License ::")), "")
    return {"license": {"name": metadata["License"] or classifier.rpartition(" :: ")[2]}}


def _metadata(wheel: Path) -> Message:
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return HeaderParser().parsestr(archive.read(name).decode())
