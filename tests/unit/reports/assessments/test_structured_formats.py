"""All formats, judged by their schemas and by parsers that others wrote, for each kind of assessment."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given

from agent.assess.assessment import Assessment
from agent.k3s.cis.versions import Benchmark
from agent.reports.assessments import assessment_text
from agent.reports.formats import Format
from tests.unit.reports.assessments import (
    real_nodes,
    test_cklb,
    test_json_assessment,
    test_junit,
    test_kube_bench,
    test_openmetrics,
    test_openreports,
    test_oscal,
    test_sarif,
)
from tests.unit.reports.assessments.html_sample import of_catalogue
from tests.unit.reports.assessments.samples import CALM, COMPARED, FULL, NOTHING, hostile

JUDGES: dict[Format, Callable[[Assessment], None]] = {
    Format.JSON: test_json_assessment.validate,
    Format.KUBE_BENCH: test_kube_bench.validate,
    Format.JUNIT: test_junit.validate,
    Format.SARIF: test_sarif.validate,
    Format.OPENREPORTS: test_openreports.validate,
    Format.OPENMETRICS: test_openmetrics.validate,
    Format.CKLB: test_cklb.validate,
    Format.OSCAL: partial(test_oscal.validate, output_format=Format.OSCAL),
    Format.OSCAL_POAM: partial(test_oscal.validate, output_format=Format.OSCAL_POAM),
}
MARKS = {
    Format.SARIF: test_sarif.needs_the_schema,
    Format.OSCAL: test_oscal.needs_the_schemas,
    Format.OSCAL_POAM: test_oscal.needs_the_schemas,
}
EACH = pytest.mark.parametrize("output_format", [one for one in Format if one is not Format.AUTO])
STRUCTURED = pytest.mark.parametrize("output_format", [pytest.param(one, marks=MARKS.get(one, ())) for one in JUDGES])
FOR_PEOPLE = (Format.TABLE, Format.PLAIN)


def test_each_format_for_programs_has_a_judge() -> None:
    assert JUDGES.keys() == {*Format} - {Format.AUTO, Format.HTML, *FOR_PEOPLE}


@STRUCTURED
@pytest.mark.parametrize("assessment", [FULL, CALM, NOTHING, COMPARED, *map(of_catalogue, Benchmark)])
def test_a_report_is_valid(output_format: Format, assessment: Assessment) -> None:
    JUDGES[output_format](assessment)


@STRUCTURED
@pytest.mark.parametrize("name", real_nodes.NAMES)
def test_the_report_of_a_complete_node_is_valid(output_format: Format, name: str) -> None:
    JUDGES[output_format](real_nodes.assessed(name))


@STRUCTURED
@given(assessment=hostile())
def test_a_report_with_hostile_text_is_valid(output_format: Format, assessment: Assessment) -> None:
    JUDGES[output_format](assessment)


@EACH
@given(assessment=hostile())
def test_a_report_has_no_control_characters(output_format: Format, assessment: Assessment) -> None:
    """For programs it is ASCII, which is valid in every encoding of the stream."""
    text = assessment_text(assessment, output_format)
    assert [line for line in text.split("\n") if not line.isprintable()] == []
    assert output_format in FOR_PEOPLE or text.isascii()


@EACH
@pytest.mark.parametrize("assessment", [FULL, CALM, NOTHING, COMPARED])
def test_a_report_is_reproducible_and_ends_with_a_line_break(output_format: Format, assessment: Assessment) -> None:
    text = assessment_text(assessment, output_format)
    assert text.endswith("\n")
    assert text == assessment_text(assessment, output_format)
