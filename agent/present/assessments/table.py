"""An assessment as a Rich table for a terminal."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, TextIO

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from agent.assess.assessment import ControlStatus
from agent.present import Verbosity, remediation
from agent.present.assessments import common
from agent.present.table import facts_table, styled, write_captured
from agent.present.text import stripped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import RenderableType

    from agent.assess.assessment import Assessment, Note, Verdict
    from agent.model import Remediation

_STYLE = {
    ControlStatus.PASS: "green",
    ControlStatus.FAIL: "bold red",
    ControlStatus.WAIVED: "yellow",
    ControlStatus.NOT_APPLICABLE: "dim",
    ControlStatus.MANUAL: "cyan",
    ControlStatus.UNKNOWN: "bold magenta",
}
_WIDTH = 120
"""Columns of a table in a file, which has no terminal width."""


def as_table(assessment: Assessment, verbosity: Verbosity, stream: TextIO) -> None:
    """Write the assessment to a terminal; characters that its encoding lacks are replaced (Rich would raise)."""
    write_captured(stream, lambda console: print_to(console, assessment, verbosity))


def as_wide_table(assessment: Assessment, verbosity: Verbosity) -> str:
    """Return the table for a file: 120 columns, no color."""
    file = StringIO()
    print_to(
        Console(file=file, width=_WIDTH, highlight=False, force_terminal=False, color_system=None),
        assessment,
        verbosity,
    )
    return stripped(file.getvalue())


def print_to(console: Console, assessment: Assessment, verbosity: Verbosity) -> None:
    """Write the assessment to a Rich console.

    -q shows only controls that decide the exit code; -v adds all others, host facts and all evidence.
    """
    is_quiet = verbosity is Verbosity.QUIET
    if not is_quiet:
        console.print(styled(common.title(assessment), "bold"))
    if verbosity is Verbosity.VERBOSE:
        console.print(facts_table(assessment.facts))
    waiting, sum_up = common.awaiting(assessment, verbosity)
    sections = {
        number: [
            verdict
            for verdict in verdicts
            if verdict.control.id not in waiting and _is_shown(assessment, verdict, verbosity)
        ]
        for number, verdicts in common.by_section(assessment).items()
    }
    # The same width in each section, so that columns are aligned.
    width = max((len(verdict.status) for shown in sections.values() for verdict in shown), default=0)
    for number, shown in sections.items():
        if shown:
            _heading(console, common.section_title(number))
            console.print(_section(assessment, shown, verbosity, width))
    if sum_up:
        console.print()
        console.print(styled(sum_up, _STYLE[ControlStatus.UNKNOWN]))
    if not is_quiet:
        _totals(console, assessment, verbosity)
    if not is_quiet or assessment.open:
        console.print()
        mark, style = ("✘", "bold red") if assessment.open else ("✔", "bold green")
        console.print(styled(f"{mark} {common.result(assessment)}", style))


def _is_shown(assessment: Assessment, verdict: Verdict, verbosity: Verbosity) -> bool:
    if verbosity is Verbosity.QUIET:
        return common.is_new(assessment, verdict)
    return verbosity is Verbosity.VERBOSE or verdict.is_open or verdict.status is ControlStatus.WAIVED


def _totals(console: Console, assessment: Assessment, verbosity: Verbosity) -> None:
    if assessment.notes:
        _heading(console, "Notes")
    for note in assessment.notes:
        console.print(_note(note))
    if assessment.verdicts:
        _heading(console, "Summary")
        console.print(_summary(assessment))
    if common.open_by_owner(assessment):
        _heading(console, "Open controls by owner of the fix")
        console.print(_owners(assessment))
    if verbosity is Verbosity.NORMAL and common.manual_reviews(assessment):
        console.print()
        console.print(styled(common.manual_reviews(assessment), _STYLE[ControlStatus.MANUAL]))


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(styled(text, "bold underline"))


def _grid(columns: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for _ in range(columns):
        table.add_column(overflow="fold")
    return table


def _section(assessment: Assessment, verdicts: Sequence[Verdict], verbosity: Verbosity, width: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True, min_width=width)
    table.add_column(no_wrap=True, min_width=len("1.1.10"))
    table.add_column(overflow="fold")
    for verdict in verdicts:
        table.add_row(
            styled(verdict.status, _STYLE[verdict.status]),
            styled(verdict.number.text if verdict.number else ""),
            Group(
                _head(assessment, verdict),
                _details(_fields(verdict, verbosity), verdict.remediation if verdict.is_open else None),
            ),
        )
    return table


def _head(assessment: Assessment, verdict: Verdict) -> Text:
    head = styled(verdict.control.recommendation, "bold" if verdict.is_open else "")
    head.append(f"  {verdict.control.id}", style="dim")
    if common.in_baseline(assessment, verdict):
        head.append("  in the baseline", style="italic")
    if common.is_added(assessment, verdict):
        head.append("  new control, not in the baseline", style="italic")
    return head


def _fields(verdict: Verdict, verbosity: Verbosity) -> Iterable[tuple[str, str]]:
    """Return the details of a control but its fix: all for -v or if it is open, else why it is not open."""
    if verdict.is_open or verbosity is Verbosity.VERBOSE:
        yield "expected", verdict.expected
        yield "found", verdict.found
        some, others = (verdict.evidence, "") if verbosity is Verbosity.VERBOSE else common.few(verdict.evidence)
        # The found value is often the only observation; then its location is enough.
        texts = (common.origin(one) if one.observation == verdict.found else common.described(one) for one in some)
        yield from (("evidence", text) for text in (*texts, others))
    yield "reason", verdict.reason
    if verdict.waiver:
        yield "waiver", common.waived(verdict.waiver)
    if verdict.is_open:
        yield "owner", common.owner_name(verdict.owner)


def _details(fields: Iterable[tuple[str, str]], fix: Remediation | None = None) -> Table:
    table = _grid(0)
    table.add_column(no_wrap=True, min_width=len("expected"))
    table.add_column(overflow="fold")
    for name, text in fields:
        if text:
            table.add_row(styled(name, "dim"), styled(text))
    lines = remediation.lines(fix) if fix else []
    if lines:
        table.add_row(styled("fix", "dim"), Group(*map(styled, lines)))
    return table


def _note(note: Note) -> RenderableType:
    fields = (("location", str(note.location or "")),)
    return Group(styled(note.message, "yellow"), Padding(_details(fields, note.remediation), (0, 0, 0, 2)))


def _summary(assessment: Assessment) -> Table:
    table = _grid(2)
    for number in common.by_section(assessment):
        table.add_row(styled(common.section_title(number)), _counts(assessment.counts(number)))
    return table


def _counts(counts: Mapping[ControlStatus, int]) -> Text:
    return Text("  ").join(styled(f"{count} {status}", _STYLE[status]) for status, count in counts.items() if count)


def _owners(assessment: Assessment) -> Table:
    table = _grid(3)
    for owner, verdicts in common.open_by_owner(assessment).items():
        ids = ", ".join(verdict.control.id for verdict in verdicts)
        table.add_row(styled(common.owner_name(owner), "bold"), styled(str(len(verdicts))), styled(ids))
    return table
