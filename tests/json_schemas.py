"""The published JSON schemas in docs/reference, which refer to each other by the names of their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
from referencing import Registry, Resource

REFERENCE = Path(__file__).parents[1] / "docs/reference"


def schema(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((REFERENCE / f"{name}.schema.json").read_bytes())
    return content


def validator(name: str) -> jsonschema.Draft202012Validator:
    known = Registry().with_resource("repair.schema.json", Resource.from_contents(schema("repair")))
    return jsonschema.Draft202012Validator(schema(name), registry=known, format_checker=jsonschema.FormatChecker())
