"""Output formats of an assessment."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from agent.reports.formats import Format, Verbosity, fitting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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


def assessment_text(assessment: Assessment, output_format: Format, verbosity: Verbosity = Verbosity.NORMAL) -> str:
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
    from agent.reports.assessments import cklb, junit, kube_bench, openmetrics, openreports, oscal, sarif
    from agent.reports.html.assessment_overview import as_html

    formats: Mapping[Format, Callable[[Assessment], str]] = {
        Format.KUBE_BENCH: kube_bench.as_kube_bench,
        Format.JUNIT: junit.as_junit,
        Format.SARIF: sarif.as_sarif,
        Format.OPENREPORTS: openreports.as_openreports,
        Format.OPENMETRICS: openmetrics.as_openmetrics,
        Format.HTML: as_html,
        Format.CKLB: cklb.as_cklb,
        Format.OSCAL: oscal.as_results,
        Format.OSCAL_POAM: oscal.as_plan,
    }
    return formats[output_format](assessment)
