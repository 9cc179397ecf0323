"""Output formats: a table on a terminal, plain lines elsewhere, JSON and other formats for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from agent.base.value import replace
from agent.reports.formats import Format, fitting

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.base.report import Report
    from agent.reports.formats import Verbosity
    from agent.reports.repair_texts import Caller


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
    if report.findings or report.next_steps or any(item.repair.steps for item in report.items):
        from agent.reports.repair_texts import Caller, addressed, addressed_items, addressed_steps

        called = (caller or Caller)()
        findings = (finding._replace(repair=addressed(finding.repair, called)) for finding in report.findings)
        items = addressed_items(report.items, called)
        steps = addressed_steps(report.next_steps, called)
        report = replace(report, items=items, findings=tuple(findings), next_steps=steps)
    output_format = output_format.on(stream)
    if output_format is Format.JSON:
        from agent.reports.json_report import report_json

        stream.write(report_json(report))
        return
    if output_format is Format.TABLE:
        from agent.reports.table_report import report_table

        report_table(report, verbosity, stream)
    else:
        from agent.reports.json_report import report_lines

        stream.write(fitting(report_lines(report, verbosity), stream))
