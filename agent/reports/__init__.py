"""Output formats: a table on a terminal, plain lines elsewhere, JSON and other formats for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from agent.base.value import replace
from agent.reports.formats import Format, fitting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.console import Console

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
    from agent.reports.json_report import report_json, report_lines

    def show(console: Console) -> None:
        from agent.reports.table_report import print_report

        print_report(console, report, verbosity)

    write(stream, output_format, lambda: report_json(report), lambda: report_lines(report, verbosity), show)


def write(
    stream: TextIO,
    output_format: Format,
    as_json: Callable[[], str],
    as_lines: Callable[[], Iterable[str]],
    show: Callable[[Console], None],
) -> None:
    """Write a result to `stream` as JSON, as printable lines, or as what `show` prints to a terminal."""
    output_format = output_format.on(stream)
    if output_format is Format.JSON:
        stream.write(as_json())
    elif output_format is Format.TABLE:
        from agent.reports.layout import write_captured

        write_captured(stream, show)
    else:
        stream.write(fitting("".join(f"{line}\n" for line in as_lines()), stream))
