"""An assessment on a terminal, by Rich."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, TextIO

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from agent.assess.assessment import ControlStatus
from agent.present import Verbosity, fitting, remediation
from agent.present.assessments.common import (
    by_section,
    conclusion,
    few,
    fix,
    for_a_person,
    is_known,
    is_new,
    open_by_owner,
    section_title,
    title,
    waived,
    where,
)
from agent.present.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import RenderableType

    from agent.assess.assessment import Assessment, Note, Verdict
    from agent.report import Fact

_STYLE = {
    ControlStatus.PASS: "green",
    ControlStatus.FAIL: "bold red",
    ControlStatus.WAIVED: "yellow",
    ControlStatus.NOT_APPLICABLE: "dim",
    ControlStatus.MANUAL: "cyan",
    ControlStatus.UNKNOWN: "bold magenta",
}
_WIDE = 120
"""Columns of a table that goes into a file, where no terminal says how wide it may be."""


def as_table(assessment: Assessment, verbosity: Verbosity, stream: TextIO) -> None:
    """Write the assessment to a terminal; what its encoding lacks is replaced, which Rich alone does not do."""
    console = Console(file=stream, highlight=False)
    with console.capture() as captured:
        print_to(console, assessment, verbosity)
    stream.write(fitting(captured.get(), stream))


def as_wide_table(assessment: Assessment, verbosity: Verbosity) -> str:
    """The table as text for a file: 120 columns and no colour."""
    file = StringIO()
    print_to(
        Console(file=file, width=_WIDE, highlight=False, force_terminal=False, color_system=None),
        assessment,
        verbosity,
    )
    return file.getvalue()


def print_to(console: Console, assessment: Assessment, verbosity: Verbosity) -> None:
    """Write the assessment to a Rich console.

    -q leaves what makes the exit code, -v adds facts, what is not open, and all evidence.
    """
    quiet = verbosity is Verbosity.QUIET
    if not quiet:
        console.print(_text(title(assessment), "bold"))
    if verbosity is Verbosity.VERBOSE:
        console.print(_facts(assessment.facts))
    for number, verdicts in by_section(assessment).items():
        shown = [verdict for verdict in verdicts if _is_shown(assessment, verdict, verbosity)]
        if shown:
            _head(console, section_title(number))
            console.print(_section(assessment, shown, verbosity))
    if not quiet:
        _sum_up(console, assessment, verbosity)
    if not quiet or assessment.open:
        console.print()
        mark, style = ("✘", "bold red") if assessment.open else ("✔", "bold green")
        console.print(_text(f"{mark} {conclusion(assessment)}", style))


def _is_shown(assessment: Assessment, verdict: Verdict, verbosity: Verbosity) -> bool:
    if verbosity is Verbosity.QUIET:
        return is_new(assessment, verdict)
    return verbosity is Verbosity.VERBOSE or verdict.is_open or verdict.status is ControlStatus.WAIVED


def _sum_up(console: Console, assessment: Assessment, verbosity: Verbosity) -> None:
    if assessment.notes:
        _head(console, "To know of this assessment")
    for note in assessment.notes:
        console.print(_note(note))
    if assessment.verdicts:
        _head(console, "Summary")
        console.print(_summary(assessment))
    if open_by_owner(assessment):
        _head(console, "Who must act")
        console.print(_actors(assessment))
    if verbosity is Verbosity.NORMAL and for_a_person(assessment):
        console.print()
        console.print(_text(for_a_person(assessment), _STYLE[ControlStatus.MANUAL]))


def _head(console: Console, text: str) -> None:
    console.print()
    console.print(_text(text, "bold underline"))


def _text(text: str, style: str = "") -> Text:
    return Text(printable(text), style)


def _grid(columns: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for _ in range(columns):
        table.add_column(overflow="fold")
    return table


def _facts(facts: Iterable[Fact]) -> Table:
    table = _grid(3)
    for fact in facts:
        table.add_row(_text(fact.name, "bold"), _text(fact.value), _text(fact.source, "dim"))
    return table


def _section(assessment: Assessment, verdicts: Sequence[Verdict], verbosity: Verbosity) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    # As wide in each section, so that the columns stand below each other.
    table.add_column(no_wrap=True, min_width=max(len(verdict.status) for verdict in assessment.verdicts))
    table.add_column(no_wrap=True, min_width=len("1.1.10"))
    table.add_column(overflow="fold")
    for verdict in verdicts:
        table.add_row(
            _text(verdict.status, _STYLE[verdict.status]),
            _text(verdict.number.text if verdict.number else ""),
            Group(*_control(assessment, verdict, verbosity)),
        )
    return table


def _control(assessment: Assessment, verdict: Verdict, verbosity: Verbosity) -> Iterable[RenderableType]:
    """What it is, and as much of why it stands so as a person has to know."""
    head = _text(verdict.control.recommendation, "bold" if verdict.is_open else "")
    head.append(f"  {verdict.control.id}", style="dim")
    if is_known(assessment, verdict):
        head.append("  known from the baseline", style="italic")
    yield head
    if verdict.is_open or verbosity is Verbosity.VERBOSE:
        yield from _named("expected", verdict.expected)
        yield from _named("found", verdict.found)
        some, others = (verdict.evidence, "") if verbosity is Verbosity.VERBOSE else few(verdict.evidence)
        for seen in some:
            yield from _named("seen", f"{seen.observation}  {where(seen)}".strip())
        yield from _named("seen", others)
    yield from _named("reason", verdict.reason)
    if verdict.waiver:
        yield from _named("waiver", waived(verdict.waiver))
    if verdict.is_open:
        yield from _named("owner", str(verdict.owner))
        yield from _named("fix", fix(verdict))


def _named(name: str, text: str) -> Iterable[RenderableType]:
    """A line with its name, or the lines below their name: their indentation belongs to what is to be copied."""
    first, *others = text.split("\n")
    if others:
        yield _text(name, "dim")
        yield from (Padding(_text(line), (0, 0, 0, 2)) for line in (first, *others))
    elif text:
        line = Text()
        line.append(f"{name:<8} ", style="dim")
        line.append(printable(text))
        yield line


def _note(note: Note) -> RenderableType:
    head = Text()
    head.append("note ", style="yellow")
    head.append(printable(note.message))
    return Group(head, *(Padding(part, (0, 0, 0, 2)) for part in _where_and_what(note)))


def _where_and_what(note: Note) -> Iterable[RenderableType]:
    yield from _named("where", str(note.location or ""))
    yield from _named("fix", remediation.text(note.remediation))


def _summary(assessment: Assessment) -> Table:
    table = _grid(2)
    for number in by_section(assessment):
        table.add_row(_text(section_title(number)), _counts(assessment.counts(number)))
    return table


def _counts(counts: Mapping[ControlStatus, int]) -> Text:
    return Text("  ").join(_text(f"{count} {status}", _STYLE[status]) for status, count in counts.items() if count)


def _actors(assessment: Assessment) -> Table:
    table = _grid(3)
    for owner, verdicts in open_by_owner(assessment).items():
        ids = ", ".join(verdict.control.id for verdict in verdicts)
        table.add_row(_text(str(owner), "bold"), _text(f"{len(verdicts)} to do"), _text(ids))
    return table
