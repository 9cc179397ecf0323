"""JSON for machines: as docs/reference/assessment.schema.json describes it, and all of the assessment in it."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from hypothesis import given

from agent.assess.assessment import SCHEMA as NUMBER
from agent.assess.assessment import Assessment, ControlStatus, Evidence, Note, Waiver
from agent.benchmark.control import Assessed
from agent.benchmark.versions import Benchmark
from agent.model import FixOwner, Location
from agent.present import remediation
from agent.present.assessments import AssessmentFormat, as_text
from agent.report import Fact
from tests.unit.present.assessments.samples import (
    CALM,
    COMPARED,
    FULL,
    NOTHING,
    WHEN_IN_WORDS,
    hostile,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = json.loads((Path(__file__).parents[4] / "docs/reference/assessment.schema.json").read_bytes())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())


def read(assessment: Assessment) -> Any:  # noqa: ANN401 - JSON
    """The report, as its reader gets it."""
    return json.loads(as_text(assessment, AssessmentFormat.JSON))


def objects(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The descriptions of all objects, the report itself first."""
    yield "assessment", schema
    yield from ((name, found) for name, found in schema["$defs"].items() if found.get("type") == "object")


def test_the_schema_is_one() -> None:
    """Of the draft that it names; every key of it has a description, and no other key is allowed."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == VALIDATOR.META_SCHEMA["$id"]
    for name, described in objects(SCHEMA):
        assert described["additionalProperties"] is False, name
        assert described["required"] == list(described["properties"]), name
        assert all(found["description"] for found in described["properties"].values()), name


@pytest.mark.parametrize("assessment", [FULL, CALM, NOTHING, COMPARED])
def test_a_report_is_valid_and_all_there(assessment: Assessment) -> None:
    """Each verdict with each of its fields, by which a later run can be compared with it."""
    seen = read(assessment)
    VALIDATOR.validate(seen)
    assert seen["schema"] == NUMBER == SCHEMA["properties"]["schema"]["const"]
    assert (seen["exit_code"], seen["meaning"]) == (assessment.exit_code, assessment.exit_code.meaning)
    assert (seen["benchmark"], seen["node"], seen["time"]) == ("cis-1.9", assessment.node, WHEN_IN_WORDS)
    assert tuple(Fact(**fact) for fact in seen["facts"]) == assessment.facts
    assert [note["message"] for note in seen["notes"]] == [note.message for note in assessment.notes]
    assert seen["counts"] == {str(status): count for status, count in assessment.counts().items()}
    assert len(seen["verdicts"]) == len(assessment.verdicts)
    by_id = {one["id"]: one for one in seen["verdicts"]}
    for one in assessment.verdicts:
        there = by_id[one.control.id]
        for name in ("status", "expected", "found", "reason", "owner", "section", "is_open"):
            assert there[name] == getattr(one, name), name
        for name in ("title", "level", "source"):
            assert there[name] == getattr(one.control, name), name
        assert there["rationale"] == one.control.why
        assert there["remediation"] == remediation.text(one.remediation)
        assert there["number"] == (one.number.text if one.number else "")
        assert [shown["observation"] for shown in there["evidence"]] == [shown.observation for shown in one.evidence]
        assert [_location(shown["location"]) for shown in there["evidence"]] == [
            shown.location for shown in one.evidence
        ]
        assert (there["waiver"] or {}).get("reason") == (one.waiver and one.waiver.reason)


def _location(shown: dict[str, Any] | None) -> Location | None:
    return Location(PurePosixPath(shown["path"]), shown["line"] or 0) if shown else None


def test_the_baseline_is_in_it() -> None:
    """What was known, and whether there was one at all: without one nothing is known."""
    seen = read(COMPARED)
    assert seen["has_baseline"] is True
    assert [one["id"] for one in seen["verdicts"] if one["in_baseline"]] == ["pki-certificate-mode", "kubelet-tls"]
    assert read(FULL)["has_baseline"] is False
    assert not any(one["in_baseline"] for one in read(FULL)["verdicts"])


def test_sections_and_actors_sum_up() -> None:
    """Each control is in one section, each that is open with one actor."""
    seen = read(FULL)
    assert sum(sum(section["counts"].values()) for section in seen["sections"]) == len(FULL.verdicts)
    assert {one["owner"]: len(one["controls"]) for one in seen["open_by_owner"]} == {"apply": 2, "operator": 3}


def test_the_schema_knows_exactly_the_words_of_an_assessment() -> None:
    """A new status, actor, benchmark or field comes with its description, or this fails."""
    definitions = SCHEMA["$defs"]
    assert definitions["verdict"]["properties"]["status"]["enum"] == [str(status) for status in ControlStatus]
    assert definitions["counts"]["required"] == [str(status) for status in ControlStatus]
    assert definitions["owner"]["enum"] == [str(owner) for owner in FixOwner]
    assert SCHEMA["properties"]["benchmark"]["enum"] == [str(benchmark) for benchmark in Benchmark]
    assert definitions["verdict"]["properties"]["assessed"]["enum"] == [*(one.name.lower() for one in Assessed), ""]
    for name, kind in (("fact", Fact), ("evidence", Evidence), ("waiver", Waiver), ("note", Note)):
        assert definitions[name]["required"] == list(kind._fields)
    assert SCHEMA["required"] == list(read(CALM))
    assert definitions["verdict"]["required"] == list(read(FULL)["verdicts"][0])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda report: report.pop("node"),
        lambda report: report.update(extra=1),
        lambda report: report.update(schema=1),
        lambda report: report.update(exit_code=4),
        lambda report: report.update(time="2025-11-25"),
        lambda report: report.update(benchmark="cis-3"),
        lambda report: report["counts"].pop("PASS"),
        lambda report: report["counts"].update(SKIP=1),
        lambda report: report["verdicts"][0].update(status="pass"),
        lambda report: report["verdicts"][0].update(id="With Spaces"),
        lambda report: report["verdicts"][0].update(waiver=""),
        lambda report: report["verdicts"][0].pop("evidence"),
        lambda report: report["verdicts"][0].update(number="one"),
        lambda report: report["sections"][0].update(number=1),
        lambda report: report["open_by_owner"][0].update(owner="somebody"),
    ],
)
def test_what_is_no_report_is_not_valid(spoil: Any) -> None:  # noqa: ANN401 - it spoils any JSON
    """The schema lets nothing through that a program could trip over."""
    report = read(FULL)
    spoil(report)
    assert not VALIDATOR.is_valid(report)


@given(assessment=hostile())
def test_any_text_leaves_it_valid(assessment: Assessment) -> None:
    """And printable, but for the line breaks of reasons and remedies."""
    seen = read(assessment)
    VALIDATOR.validate(seen)
    for one in seen["verdicts"]:
        assert all(one[name].isprintable() for name in ("expected", "found"))
        assert one["remediation"].replace("\n", "").isprintable()
