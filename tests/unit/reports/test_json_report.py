"""The JSON report, validated against its schema, and the published schemas of all JSON formats."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from agent.base.repair import Instruction, RunVerb
from agent.base.report import Fact, Finding, Item, ItemStatus, Level, NextStep, Report, Wording
from agent.base.value import replace
from agent.reports.formats import Format
from agent.reports.json_report import SCHEMA as NUMBER
from agent.reports.json_report import report_json
from agent.reports.repair_texts import repair_object
from tests.json_schemas import schema, validator
from tests.unit.reports.reports import CALM, FULL, shown

SCHEMA = schema("report")
OPTIONAL = {"next_steps", "prediction", "resource"}
"""Keys that came after the first release of the schema version."""
VALIDATOR = validator("report")


ADVISED = replace(
    CALM, next_steps=(NextStep(Instruction("look at /a")), NextStep(RunVerb("apply"), "apply the hardening"))
)


@pytest.mark.parametrize(
    "report", [FULL, CALM, ADVISED, Report(verb="revert", writes=True, facts=(), items=(), findings=())]
)
def test_a_report_is_valid_and_complete(report: Report) -> None:
    printed = report_json(report)
    assert printed.endswith("}\n")
    parsed = json.loads(printed)
    VALIDATOR.validate(parsed)
    assert tuple(Fact(**fact) for fact in parsed["facts"]) == report.facts
    for found, item in zip(parsed["items"], report.items):
        assert found.pop("repair") == repair_object(item.repair)
        assert found.items() <= vars(item).items()
    assert len(parsed["findings"]) == len(report.findings)
    for number, finding in enumerate(report.findings):
        found, location = parsed["findings"][number], finding.location
        assert found.pop("location") == (location and {"path": str(location.path), "line": location.line or None})
        assert found.pop("repair") == repair_object(finding.repair)
        assert found.items() <= finding._asdict().items()
    shown = [(step["kind"], step["text"], step["command"]) for step in parsed["next_steps"]]
    steps = [("instruction", "look at /a", ""), ("run-verb", "apply the hardening", "sudo k3s-harden apply")]
    assert shown == steps[: len(report.next_steps)]
    assert (parsed["verb"], parsed["exit_code"]) == (report.verb, report.exit_code)
    assert not report.exit_code or parsed["meaning"] == report.exit_code.meaning
    assert parsed["schema"] == NUMBER == SCHEMA["properties"]["schema"]["const"]


def test_the_schema_has_exactly_the_fields_and_values_of_a_report() -> None:
    """A new status, level or field needs a description."""
    definitions = SCHEMA["$defs"]
    for name, kind in (("fact", Fact), ("item", Item), ("finding", Finding)):
        fields = [field for field in kind._fields if field not in {"content_differs", "cause", "traits", *OPTIONAL}]
        assert definitions[name]["required"] == fields
    assert definitions["item"]["properties"]["status"]["enum"] == [str(status) for status in ItemStatus]
    assert definitions["finding"]["properties"]["level"]["enum"] == [str(level) for level in Level]
    assert list(SCHEMA["properties"]) == list(json.loads(report_json(CALM)))


@pytest.mark.parametrize("text", ['\n\x1b[2J"\\', "→ é 日本", "\udc80", "\0", "</script>"])
def test_any_text_is_preserved(text: str) -> None:
    report = replace(CALM, items=(Item(f"/etc/{text}", ItemStatus.DIFFERS, text),))
    assert report_json(report).isascii()
    for parsed in (json.loads(report_json(report)), json.loads(shown(report, Format.JSON))):
        assert parsed["items"][0]["id"] == f"/etc/{text}"
        assert parsed["items"][0]["detail"] == text


def test_the_meaning_of_success_is_that_of_the_verb() -> None:
    """A host whose hardening was undone is not compliant."""
    revert = replace(CALM, verb="revert", wording=Wording("every change was undone"))
    assert json.loads(report_json(CALM))["meaning"] == "host is compliant"
    assert json.loads(report_json(revert))["meaning"] == "every change was undone"


REFERENCE = Path(__file__).parents[3] / "docs/reference"
NOT_REQUIRED = {"next_steps", "resource", "severity", "severity_reason", "cluster_object", "approved_by"}
NOT_REQUIRED |= {"prediction", "provenance", "sha256", "repeat_with", "references", "configured_status", "in_force"}


@pytest.mark.parametrize("path", sorted(REFERENCE.glob("*.schema.json")), ids=lambda path: path.name)
def test_a_schema_is_valid_and_strict(path: Path) -> None:
    """Every key has a description, and all others than NOT_REQUIRED are required; no other key is allowed."""
    schema = json.loads(path.read_bytes())
    jsonschema.Draft202012Validator.check_schema(schema)
    objects = [schema, *(found for found in schema.get("$defs", {}).values() if found.get("type") == "object")]
    for described in objects:
        assert described["additionalProperties"] is False
        assert described["required"] == [key for key in described["properties"] if key not in NOT_REQUIRED]
        assert all(found["description"] for found in described["properties"].values())
