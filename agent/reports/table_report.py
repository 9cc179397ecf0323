"""A report for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.text import Text

from agent.base.errors import ExitCode
from agent.base.repair import Repair
from agent.base.report import Entry, Fact, Finding, Item, ItemStatus, Level, Report
from agent.reports import repair_texts
from agent.reports.formats import Verbosity
from agent.reports.layout import NARROW, indent_of, joined, padded, print_command, print_line, styled
from agent.reports.repair_texts import print_next_steps
from agent.reports.text import count_of, fields, fix, item_fixes, predictions, result, title

# A terminal has a dark or a light background: yellow and bright colors are not readable on white, blue not on black.
# The words are clear without color.
_STATUS_STYLE = {
    ItemStatus.COMPLIANT: "green",
    ItemStatus.CHANGED: "green",
    ItemStatus.REFUSED: "red",
    ItemStatus.FAILED: "red",
}
"""The others are magenta."""
_COLUMN = len("compliant") + 2
_DETAIL_COLUMN = 40
"""Column from which details are on the next line."""
_LEVEL_STYLE = {Level.ERROR: "red", Level.WARNING: "magenta", Level.NOTE: "cyan"}
_DIFF_STYLE = {"+": "green", "-": "red", "@": "cyan"}
"""By the first character of a line of a diff."""


def print_report(console: Console, report: Report, verbosity: Verbosity) -> None:
    """Write the report to a Rich console; the picture in the README comes from a recording one.

    -q prints only the result; -v adds the compliant items, the fix of each problem, and the facts with their sources.
    """
    is_verbose = verbosity is Verbosity.VERBOSE
    if verbosity > Verbosity.QUIET:
        print_line(console, styled(title(report), "bold"))
        if is_verbose:
            print_facts(console, report.facts)
        entries = report.entries
        shown = [
            entry
            for entry in entries
            if is_verbose or entry.findings or any(item.status is not ItemStatus.COMPLIANT for item in entry.items)
        ]
        print_entries(console, shown, with_fix=is_verbose or not report.next_steps)
        for line in predictions(report) if is_verbose else ():
            print_line(console, styled(line, "dim"), hanging=2)
        hidden = len(entries) - len(shown)
        if hidden:
            items = count_of(hidden, "compliant item")
            print_line(console, Text(f"{'and ' if shown else ''}{items}; -v lists {'it' if hidden == 1 else 'them'}"))
    print_result(console, result(report), report.exit_code)
    if verbosity > Verbosity.QUIET:
        print_next_steps(console, report.next_steps)


def print_result(console: Console, text: str, exit_code: ExitCode) -> None:
    """Print the last line about the host, with a mark that does not depend on color."""
    good = exit_code is ExitCode.COMPLIANT
    mark = Text("✔ " if good else "✘ ", "green" if good else "red")
    print_line(console, joined(mark, styled(text, "bold")), hanging=2)


def print_facts(console: Console, facts: Iterable[Fact]) -> None:
    """Print each fact, with its source."""
    listed = list(facts)
    column = max((len(fact.name) for fact in listed), default=0) + 2
    for fact in listed:
        text = joined(styled(fact.value), Text("  "), styled(fact.source, "dim"))
        print_line(console, joined(padded(styled(fact.name, "bold"), column), text), hanging=indent_of(console, column))


def print_entries(console: Console, entries: Sequence[Entry], *, with_fix: bool) -> None:
    """Print each entry: its items, then the findings about them, and the fix."""
    items = [item for entry in entries for item in entry.items]
    column = _id_column(items, console.width)
    for entry in entries:
        for item in entry.items:
            _print_item(console, item, column)
        for finding in entry.findings:
            _print_finding(console, finding, next(iter(entry.items), None))
        if with_fix:
            indent = indent_of(console, _COLUMN)
            if fix(entry).steps or not entry.items:
                print_fix(console, fix(entry), indent)
            for repair in item_fixes(entry):
                print_fix(console, repair, indent)
        for item in entry.items:
            for line in item.diff.removesuffix("\n").split("\n") if item.diff else ():
                console.print(styled(line, _DIFF_STYLE.get(line[:1], "")), soft_wrap=True)


def print_fix(console: Console, fix_: Repair, indent: int, label: Text | None = None) -> None:
    """Print the steps of a fix after a label, each from a line of its own on; a command can be pasted."""
    label = label or Text("fix: ")
    for number, step in repair_texts.numbered_steps(fix_):
        head = joined(label, Text(number))
        if step.is_command:
            print_command(console, step.text, indent, head=head)
        else:
            print_line(console, joined(head, styled(step.text)), indent, head.cell_len)
        label = Text(" " * label.cell_len)


def print_note(console: Console, id_: str, text: str, source: str) -> None:
    """Print a note that is not about this host, with its source."""
    indent = indent_of(console, _COLUMN)
    _print_head(console, styled(Level.NOTE, _LEVEL_STYLE[Level.NOTE]), styled(id_, "bold"))
    print_line(console, styled(text), indent, 2)
    print_line(console, styled(source, "dim"), indent, 2)


def _print_item(console: Console, item: Item, column: int) -> None:
    status = styled(item.status, _STATUS_STYLE.get(item.status, "magenta"))
    id_, detail = styled(item.id), styled(item.detail)
    left = max(column, id_.cell_len + 2)
    if item.detail and (column or _COLUMN + left + detail.cell_len <= console.width):
        start = padded(status, _status_column(console, status))
        print_line(console, joined(start, padded(id_, left), detail), hanging=_COLUMN + column)
        return
    _print_head(console, status, id_)
    if item.detail:
        print_line(console, detail, indent_of(console, _COLUMN), 2)


def _print_head(console: Console, status: Text, object_: Text) -> None:
    """Print the status and the object; the object is below if it is too long for a narrow terminal."""
    if console.width < NARROW and _COLUMN + object_.cell_len > console.width:
        print_line(console, status)
        print_line(console, object_, indent_of(console, _COLUMN), 2)
    else:
        print_line(console, joined(padded(status, _status_column(console, status)), object_), hanging=_COLUMN)


def _status_column(console: Console, status: Text) -> int:
    return _COLUMN if console.width >= NARROW else status.cell_len + 2


def _print_finding(console: Console, finding: Finding, item: Item | None) -> None:
    """Print a finding: with its own head, or below the item that it is about."""
    indent = indent_of(console, _COLUMN)
    level, id_ = styled(finding.level, _LEVEL_STYLE[finding.level]), styled(finding.id, "bold")
    message = styled(finding.message)
    if item is not None:
        print_line(console, joined(level, Text(" "), id_, Text(": "), message), indent, 2)
    else:
        location = styled(str(finding.location or ""))
        is_beside = _COLUMN + id_.cell_len + 2 + location.cell_len <= console.width
        _print_head(console, level, joined(id_, Text("  "), location) if location and is_beside else id_)
        if location and not is_beside:
            print_line(console, location, indent, 2)
        print_line(console, message, indent, 2)
    values = [field for field in fields(finding, item.id if item else "") if item is not None or field[0] != "location"]
    if item is not None and item.detail.endswith(f"{finding.found} → {finding.expected}"):
        values = [field for field in values if field[0] == "location"]
    if values:
        print_line(console, styled("; ".join(f"{name} {value}" for name, value in values)), indent, 2)


def _id_column(items: Sequence[Item], width: int) -> int:
    """Return the width of the column of ids; 0 if the details do not fit beside it."""
    longest = max((len(item.id) for item in items), default=0) + 2
    details = max((len(item.detail) for item in items), default=0)
    return longest if _COLUMN + longest + min(_DETAIL_COLUMN, details) <= width else 0
