"""A report as a Rich table for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from agent.errors import ExitCode
from agent.present import Verbosity, fitting, remediation
from agent.present.text import fields, is_shown, printable, result, stripped, title
from agent.report import Fact, ItemStatus, Level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import RenderableType

    from agent.report import Finding, Item, Report

_STATUS_STYLE = {
    ItemStatus.COMPLIANT: "green",
    ItemStatus.CHANGED: "bold green",
    ItemStatus.KEPT: "yellow",
    ItemStatus.DIFFERS: "yellow",
    ItemStatus.REFUSED: "bold red",
    ItemStatus.EDITED: "bold yellow",
    ItemStatus.FAILED: "bold red",
}
_STATUS_COLUMN = len("compliant") + 2
_DETAIL_COLUMN = 40
"""Longer details are folded, not moved below the id."""
_LEVEL_STYLE = {Level.ERROR: "bold red", Level.WARNING: "yellow", Level.NOTE: "cyan"}
_DIFF_STYLE = {"+": "green", "-": "red", "@": "cyan"}
"""By the first character of a line of a diff."""


def as_table(report: Report, verbosity: Verbosity, stream: TextIO) -> None:
    """Write the report to a terminal; characters that its encoding lacks are replaced (Rich would raise an error)."""
    write_captured(stream, lambda console: print_to(console, report, verbosity))


def write_captured(stream: TextIO, show: Callable[[Console], None]) -> None:
    """Write what `show` prints to a Rich console of the width of the stream's terminal."""
    console = Console(file=stream, highlight=False)
    with console.capture() as captured:
        show(console)
    stream.write(fitting(stripped(captured.get()), stream))


def print_to(console: Console, report: Report, verbosity: Verbosity) -> None:
    """Write the report to a Rich console; the picture in the README comes from a recording one."""
    if verbosity > Verbosity.QUIET:
        console.print(styled(title(report), "bold"))
    if verbosity is Verbosity.VERBOSE:
        console.print(facts_table(report.facts))
    items = [i for i in report.items if verbosity > Verbosity.QUIET or is_shown(i, verbosity)]
    if items:
        console.print(items_table(items, console.width))
    for item in items:
        if item.diff:
            for line in item.diff.removesuffix("\n").split("\n"):
                console.print(styled(line, _DIFF_STYLE.get(line[:1], "")), overflow="fold")
    for finding in report.findings:
        if verbosity > Verbosity.QUIET or finding.level is not Level.NOTE:
            console.print(finding_block(finding))
    if verbosity > Verbosity.QUIET or report.exit_code:
        good = report.exit_code is ExitCode.COMPLIANT
        mark = "✔" if good else "✘"
        console.print(styled(f"{mark} {result(report)}", "bold green" if good else "bold red"))


def styled(text: str, style: str = "") -> Text:
    """Return one printable line."""
    return Text(printable(text), style)


def items_table(items: Sequence[Item], width: int) -> Table:
    """Return one row for each item, with the details in a column if the terminal is wide enough."""
    left = width - _STATUS_COLUMN
    longest = max(len(item.id) for item in items)
    is_wide = longest + 2 + min(_DETAIL_COLUMN, max(len(item.detail) for item in items)) <= left
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    if is_wide:
        table.add_column(overflow="fold")
    for item in items:
        status, id_ = styled(item.status, _STATUS_STYLE[item.status]), styled(item.id)
        texts = ((item.detail, ""), (remediation.labelled(item.hint), "italic"))
        lines = [styled(text, style) for text, style in texts if text]
        if is_wide:
            table.add_row(status, id_, Group(*lines))
        elif len(lines) == 1 and len(id_) + 2 + len(lines[0]) <= left:
            table.add_row(status, Text("  ").join((id_, *lines)))
        else:
            table.add_row(status, Group(id_, *(Padding(line, (0, 0, 0, 2)) for line in lines)))
    return table


def facts_table(facts: Iterable[Fact]) -> Table:
    """Return one row for each fact, with its source."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for _ in Fact._fields:
        table.add_column(overflow="fold")
    for fact in facts:
        table.add_row(styled(fact.name, "bold"), styled(fact.value), styled(fact.source, "dim"))
    return table


def finding_block(finding: Finding) -> RenderableType:
    """Return a finding: its message, and its fields and fix below it."""
    head = Text()
    head.append(f"{finding.level} ", style=_LEVEL_STYLE[finding.level])
    head.append(finding.id, style="bold")
    head.append(f"  {printable(finding.message)}")
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for name, value in fields(finding):
        table.add_row(styled(name, "dim"), styled(value))
    lines = remediation.lines(finding.remediation)
    if lines:
        table.add_row(styled("fix", "dim"), Group(*map(styled, lines)))
    return Group(head, Padding(table, (0, 0, 0, 2)))
