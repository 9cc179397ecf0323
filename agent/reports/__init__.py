"""Output formats: a table on a terminal, plain lines elsewhere, JSON and other formats for programs."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, TextIO

from agent.base.model import StrEnum
from agent.base.value import replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.base.report import Report
    from agent.reports.remediation import Caller


class Format(StrEnum):
    """Output format; auto selects a table on a terminal and plain lines elsewhere."""

    AUTO = "auto"
    TABLE = "table"
    PLAIN = "plain"
    JSON = "json"
    KUBE_BENCH = "kube-bench"
    JUNIT = "junit"
    SARIF = "sarif"
    ASFF = "asff"
    OPENREPORTS = "openreports"
    OPENMETRICS = "openmetrics"
    HTML = "html"
    CKLB = "cklb"
    OSCAL = "oscal"
    OSCAL_POAM = "oscal-poam"

    def on(self, stream: TextIO) -> Format:
        """Return the format, which auto selects by the stream."""
        return self if self is not Format.AUTO else Format.TABLE if stream.isatty() else Format.PLAIN


REPORT_FORMATS = (Format.AUTO, Format.TABLE, Format.PLAIN, Format.JSON)
"""The formats of a report; an assessment has all."""
OF_AUDITORS = (Format.CKLB, Format.OSCAL, Format.OSCAL_POAM)
"""The formats of other frameworks than CIS."""
FLEET_FORMATS = (*REPORT_FORMATS, Format.OPENREPORTS, Format.HTML)

_IN_ASCII = {"→": "->", "“": '"', "”": '"', "’": "'", "—": "-", "…": "...", "✔": "+", "✘": "x"}


class Verbosity(int, Enum):
    """Amount of detail in formats for people."""

    QUIET = -1
    NORMAL = 0
    VERBOSE = 1


def present(
    report: Report,
    output_format: Format,
    verbosity: Verbosity,
    stream: TextIO,
    caller: Callable[[], Caller] | None = None,
) -> None:
    """Write the report to `stream`; characters that its encoding lacks are replaced.

    Commands in it call the program as `caller` did, with the host options of the run.
    """
    if report.findings or report.next_steps:
        from agent.reports.remediation import Caller, addressed, addressed_steps

        called = (caller or Caller)()
        findings = (finding._replace(remediation=addressed(finding.remediation, called)) for finding in report.findings)
        steps = addressed_steps(report.next_steps, called)
        report = replace(report, findings=tuple(findings), next_steps=steps)
    output_format = output_format.on(stream)
    if output_format is Format.JSON:
        from agent.reports.json_report import report_json

        stream.write(report_json(report))
        return
    if output_format is Format.TABLE:
        from agent.reports.table_report import report_table

        report_table(report, verbosity, stream)
    else:
        from agent.reports.plain_report import report_lines

        stream.write(fitting(report_lines(report, verbosity), stream))


def fitting(text: str, stream: TextIO) -> str:
    """Return the text with every character that the stream's encoding lacks replaced by ASCII."""
    encoding = stream.encoding or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        for sign, substitute in _IN_ASCII.items():
            if not sign.encode(encoding, "ignore"):
                text = text.replace(sign, substitute)
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text
