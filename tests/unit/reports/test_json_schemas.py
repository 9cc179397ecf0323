"""The published schemas of the JSON formats."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

REFERENCE = Path(__file__).parents[3] / "docs/reference"
OPTIONAL = {"next_steps", "resource", "severity", "severity_reason", "cluster_object", "approved_by"}
OPTIONAL |= {"prediction", "provenance", "sha256", "repeat_with", "references", "in_force"}


@pytest.mark.parametrize("path", sorted(REFERENCE.glob("*.schema.json")), ids=lambda path: path.name)
def test_a_schema_is_valid_and_strict(path: Path) -> None:
    """Every key has a description, and all others than OPTIONAL are required; no other key is allowed."""
    schema = json.loads(path.read_bytes())
    jsonschema.Draft202012Validator.check_schema(schema)
    objects = [schema, *(found for found in schema.get("$defs", {}).values() if found.get("type") == "object")]
    for described in objects:
        assert described["additionalProperties"] is False
        assert described["required"] == [key for key in described["properties"] if key not in OPTIONAL]
        assert all(found["description"] for found in described["properties"].values())
