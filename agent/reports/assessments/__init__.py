"""Output formats of an assessment."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from agent.reports.formats import Format, Verbosity, fitting

if TYPE_CHECKING:
    from agent.assess.assessment import Assessment


def present_assessment(assessment: Assessment, output_format: Format, verbosity: Verbosity, stream: TextIO) -> None:
    """Write the assessment to `stream`; characters that its encoding lacks are replaced."""
    output_format = output_format.on(stream)
    if output_format is Format.TABLE:
        from agent.reports.assessments.common import cleaned
        from agent.reports.assessments.table_assessment import assessment_table

        assessment_table(cleaned(assessment), verbosity, stream)
    else:
        stream.write(fitting(assessment_text(assessment, output_format, verbosity), stream))


def assessment_text(  # noqa: C901, PLR0911 - one branch for each format
    assessment: Assessment, output_format: Format, verbosity: Verbosity = Verbosity.NORMAL
) -> str:
    """Return the assessment in a format, ended by a line break; auto is plain lines.

    `verbosity` changes only the formats for people, HTML excepted; the others are always complete.
    """
    if output_format in (Format.PLAIN, Format.AUTO):
        from agent.reports.assessments.plain_assessment import assessment_lines

        # It escapes only the lines that it prints, which is faster than cleaning all texts.
        return assessment_lines(assessment, verbosity)
    from agent.reports.assessments.common import cleaned

    assessment = cleaned(assessment)
    if output_format is Format.TABLE:
        from agent.reports.assessments.table_assessment import as_wide_table

        return as_wide_table(assessment, verbosity)
    if output_format is Format.JSON:
        from agent.reports.assessments.json_assessment import assessment_json

        return assessment_json(assessment)
    if output_format is Format.KUBE_BENCH:
        from agent.reports.assessments.kube_bench import as_kube_bench

        return as_kube_bench(assessment)
    if output_format is Format.JUNIT:
        from agent.reports.assessments.junit import as_junit

        return as_junit(assessment)
    if output_format is Format.SARIF:
        from agent.reports.assessments.sarif import as_sarif

        return as_sarif(assessment)
    if output_format is Format.OPENREPORTS:
        from agent.reports.assessments.openreports import as_openreports

        return as_openreports(assessment)
    if output_format is Format.OPENMETRICS:
        from agent.reports.assessments.openmetrics import as_openmetrics

        return as_openmetrics(assessment)
    if output_format is Format.HTML:
        from agent.reports.html.assessment_overview import as_html

        return as_html(assessment)
    if output_format is Format.CKLB:
        from agent.reports.assessments.cklb import as_cklb

        return as_cklb(assessment)
    if output_format in (Format.OSCAL, Format.OSCAL_POAM):
        from agent.reports.assessments import oscal

        return oscal.as_results(assessment) if output_format is Format.OSCAL else oscal.as_plan(assessment)
    raise AssertionError(output_format)
