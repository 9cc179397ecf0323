"""One assessment, several presenters: for people, for a journal, and in the formats that other programs take."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, TextIO

from agent.present import Verbosity, fitting

if TYPE_CHECKING:
    from agent.assess.assessment import Assessment


class AssessmentFormat(str, Enum):
    """How an assessment is shown; auto is a table on a terminal and plain lines elsewhere."""

    AUTO = "auto"
    TABLE = "table"
    PLAIN = "plain"
    JSON = "json"
    KUBE_BENCH = "kube-bench"
    JUNIT = "junit"
    SARIF = "sarif"
    OPENMETRICS = "openmetrics"
    HTML = "html"

    def __str__(self) -> str:
        return self.value


def present(assessment: Assessment, wanted: AssessmentFormat, verbosity: Verbosity, stream: TextIO) -> None:
    """Write the assessment to `stream`. Characters that its encoding lacks are replaced, never an error."""
    if wanted is AssessmentFormat.AUTO:
        wanted = AssessmentFormat.TABLE if stream.isatty() else AssessmentFormat.PLAIN
    if wanted is AssessmentFormat.TABLE:
        from agent.present.assessments.table import as_table
        from agent.present.assessments.words import cleaned

        as_table(cleaned(assessment), verbosity, stream)
    else:
        stream.write(fitting(as_text(assessment, wanted, verbosity), stream))


def as_text(  # noqa: PLR0911 - one for each format
    assessment: Assessment, wanted: AssessmentFormat, verbosity: Verbosity = Verbosity.NORMAL
) -> str:
    """The assessment as the text of a file in UTF-8, which ends with a line break; auto is plain lines.

    `verbosity` is for the formats that people read, but for HTML: the others always have all of it.
    """
    from agent.present.assessments.words import cleaned

    assessment = cleaned(assessment)
    match wanted:
        case AssessmentFormat.AUTO | AssessmentFormat.PLAIN:
            from agent.present.assessments.plain import as_lines

            return as_lines(assessment, verbosity)
        case AssessmentFormat.TABLE:
            from agent.present.assessments.table import as_wide_table

            return as_wide_table(assessment, verbosity)
        case AssessmentFormat.JSON:
            from agent.present.assessments.machine import as_json

            return as_json(assessment)
        case AssessmentFormat.KUBE_BENCH:
            from agent.present.assessments.kube_bench import as_kube_bench

            return as_kube_bench(assessment)
        case AssessmentFormat.JUNIT:
            from agent.present.assessments.junit import as_junit

            return as_junit(assessment)
        case AssessmentFormat.SARIF:
            from agent.present.assessments.sarif import as_sarif

            return as_sarif(assessment)
        case AssessmentFormat.OPENMETRICS:
            from agent.present.assessments.openmetrics import as_openmetrics

            return as_openmetrics(assessment)
        case AssessmentFormat.HTML:
            from agent.present.assessments.html import as_html

            return as_html(assessment)
