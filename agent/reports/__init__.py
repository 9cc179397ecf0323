"""Output formats: a table on a terminal, plain lines elsewhere, JSON and other formats for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from agent.reports.formats import Format, fitting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.console import Console

    from agent.base.report import Report
    from agent.reports.formats import Verbosity


def present(
    report: Report,
    output_format: Format,
    verbosity: Verbosity,
    stream: TextIO,
) -> None:
    """Write the report to `stream`; characters that its encoding lacks are replaced."""
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
