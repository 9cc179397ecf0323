"""The software bill of materials of a release in CycloneDX 1.6: the program and the libraries that its files bundle."""

from __future__ import annotations

import hashlib
import json
import uuid
from datetime import datetime, timezone
from email.parser import HeaderParser
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

from packaging.requirements import Requirement

from agent import __version__
from tests.dist.payload import CARRIED
from tests.dist.tools import wheels

if TYPE_CHECKING:
    from email.message import Message
    from pathlib import Path

# Not a purl of PyPI, where the name may belong to another program.
_PROGRAM = f"pkg:generic/k3s-harden@{__version__}"


def sbom(epoch: int) -> bytes:
    """Return the document as JSON; the same commit gives the same bytes."""
    libraries = {_name(wheel): (wheel, _metadata(wheel)) for wheel in wheels(CARRIED)}
    components = [_component(*library) for library in libraries.values()]
    references = {name: _purl(name, metadata) for name, (_, metadata) in libraries.items()}
    dependencies = [{"ref": _PROGRAM, "dependsOn": sorted(references.values())}]
    for name, (_, metadata) in libraries.items():
        needs = map(Requirement, metadata.get_all("Requires-Dist", []))
        found = {references[need.name] for need in needs if need.name in references and "extra" not in str(need.marker)}
        dependencies.append({"ref": references[name], "dependsOn": sorted(found)})
    document: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "application",
                "bom-ref": _PROGRAM,
                "name": "k3s-harden",
                "version": __version__,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
                "purl": _PROGRAM,
            },
        },
        "components": components,
        "dependencies": dependencies,
    }
    identity = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(document, sort_keys=True))
    return (json.dumps({"serialNumber": f"urn:uuid:{identity}"} | document, indent=2) + "\n").encode()


def _component(wheel: Path, metadata: Message) -> dict[str, Any]:
    name = _name(wheel)
    return {
        "type": "library",
        "bom-ref": _purl(name, metadata),
        "name": name,
        "version": metadata["Version"],
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(wheel.read_bytes()).hexdigest()}],
        "licenses": [_licence(metadata)],
        "purl": _purl(name, metadata),
    }


def _licence(metadata: Message) -> dict[str, Any]:
    """Return the licence: an expression of SPDX, or the words of the library's author."""
    if metadata["License-Expression"]:
        return {"expression": metadata["License-Expression"]}
    classifier = next((text for text in metadata.get_all("Classifier", []) if text.startswith("License ::")), "")
    return {"license": {"name": metadata["License"] or classifier.rpartition(" :: ")[2]}}


def _name(wheel: Path) -> str:
    return wheel.name.partition("-")[0].lower().replace("_", "-")


def _purl(name: str, metadata: Message) -> str:
    return f"pkg:pypi/{name}@{metadata['Version']}"


def _metadata(wheel: Path) -> Message:
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return HeaderParser().parsestr(archive.read(name).decode())
