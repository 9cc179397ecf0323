"""The JSON assessment, validated against docs/reference/assessment.schema.json."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from agent.assess.assessment import SCHEMA as NUMBER
from agent.assess.assessment import Assessment, ControlStatus, Evidence, Note, Waiver
from agent.assess.benchmark.control import Severity
from agent.base.repair import FixOwner
from agent.base.report import Fact
from agent.k3s.cis.versions import Assessed, Benchmark
from agent.reports.assessments import assessment_text
from agent.reports.formats import Format
from agent.reports.repair_texts import location_object, repair_object
from tests.json_schemas import schema, validator
from tests.unit.reports.assessments.samples import CALM, COMPARED, FULL, NOTHING, WHEN_IN_WORDS

SCHEMA = schema("assessment")
VALIDATOR = validator("assessment")


def read(assessment: Assessment) -> Any:
    return json.loads(assessment_text(assessment, Format.JSON))


@pytest.mark.parametrize("assessment", [FULL, CALM, NOTHING, COMPARED])
def test_a_report_is_valid_and_complete(assessment: Assessment) -> None:
    parsed = read(assessment)
    VALIDATOR.validate(parsed)
    assert parsed["schema"] == NUMBER == SCHEMA["properties"]["schema"]["const"]
    assert (parsed["exit_code"], parsed["meaning"]) == (assessment.exit_code, assessment.exit_code.meaning)
    assert (parsed["benchmark"], parsed["node"], parsed["time"]) == ("cis-1.9", assessment.node, WHEN_IN_WORDS)
    assert tuple(Fact(**fact) for fact in parsed["facts"]) == assessment.facts
    assert [note["message"] for note in parsed["notes"]] == [note.message for note in assessment.notes]
    assert parsed["counts"] == {str(status): count for status, count in assessment.counts().items()}
    assert len(parsed["verdicts"]) == len(assessment.verdicts)
    by_id = {found["id"]: found for found in parsed["verdicts"]}
    for verdict in assessment.verdicts:
        there = by_id[verdict.control.id]
        for name in ("status", "expected", "found", "reason", "owner", "section", "is_open"):
            assert there[name] == getattr(verdict, name), name
        for name in ("title", "level", "source"):
            assert there[name] == getattr(verdict.control, name), name
        assert there["rationale"] == verdict.control.why
        assert there["repair"] == repair_object(verdict.repair)
        assert there["number"] == (verdict.number.text if verdict.number else "")
        assert there["evidence"] == [
            {**shown._asdict(), "location": location_object(shown.location), "repeat_with": shown.repeated_by}
            for shown in verdict.evidence
        ]
        waiver = verdict.waiver and {**verdict.waiver._asdict(), "location": location_object(verdict.waiver.location)}
        assert there["waiver"] == waiver


def validate(assessment: Assessment) -> None:
    """Assert that the schema is met, and that no decoded text has control characters: `jq -r` prints it."""
    parsed = read(assessment)
    VALIDATOR.validate(parsed)
    assert [text for text in texts_in(parsed) if not text.isprintable()] == []


def texts_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts_in(inner)


def test_controls_in_the_baseline_are_marked() -> None:
    parsed = read(COMPARED)
    assert parsed["has_baseline"] is True
    known = [verdict["id"] for verdict in parsed["verdicts"] if verdict["in_baseline"]]
    assert known == ["pki-certificate-mode", "kubelet-tls"]
    assert read(FULL)["has_baseline"] is False
    assert not any(verdict["in_baseline"] for verdict in read(FULL)["verdicts"])


def test_each_control_is_in_one_section() -> None:
    parsed = read(FULL)
    assert sum(sum(section["counts"].values()) for section in parsed["sections"]) == len(FULL.verdicts)
    assert {group["owner"]: len(group["controls"]) for group in parsed["open_by_owner"]} == {
        "apply": 2,
        "operator": 2,
        "none": 1,
    }


def test_the_schema_has_exactly_the_fields_and_values_of_an_assessment() -> None:
    """A new status, owner, benchmark or field needs a description."""
    definitions = SCHEMA["$defs"]
    assert definitions["verdict"]["properties"]["status"]["enum"] == [str(status) for status in ControlStatus]
    assert definitions["counts"]["required"] == [str(status) for status in ControlStatus]
    assert definitions["owner"]["enum"] == [str(owner) for owner in FixOwner]
    assert SCHEMA["properties"]["benchmark"]["enum"] == [str(benchmark) for benchmark in Benchmark]
    assert definitions["verdict"]["properties"]["assessed"]["enum"] == [*(step.name.lower() for step in Assessed), ""]
    for name, kind in (("fact", Fact), ("evidence", Evidence), ("waiver", Waiver), ("note", Note)):
        assert list(definitions[name]["properties"]) == list(kind._fields)
    assert list(SCHEMA["properties"]) == list(read(CALM))
    assert list(definitions["verdict"]["properties"]) == list(read(FULL)["verdicts"][0])
    assert definitions["verdict"]["properties"]["severity"]["enum"] == [str(severity) for severity in Severity]
