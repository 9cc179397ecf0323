"""An assessment as a Rich table for a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from io import StringIO
from itertools import groupby
from typing import TextIO

from rich.console import Console
from rich.text import Text

from agent.assess.assessment import Assessment, ControlStatus, Verdict
from agent.base.repair import FixOwner, Repair
from agent.reports import repair_texts
from agent.reports.assessments import common
from agent.reports.assessments.common import Awaiting
from agent.reports.formats import Verbosity
from agent.reports.layout import NARROW, indent_of, joined, padded, print_line, styled, write_captured
from agent.reports.repair_texts import print_next_steps
from agent.reports.table_report import print_facts, print_fix, print_result
from agent.reports.text import stripped

_STYLE = {
    ControlStatus.PASS: "green",
    ControlStatus.FAIL: "bold red",
    ControlStatus.WAIVED: "cyan",
    ControlStatus.NOT_APPLICABLE: "dim",
    ControlStatus.MANUAL: "cyan",
    ControlStatus.UNKNOWN: "bold magenta",
}
"""Neither yellow nor blue, as in agent.reports.table_report."""
_NUMBER_COLUMN = len("1.1.10") + 2
_FIELD_COLUMN = len("expected") + 2
_STATUS_COLUMN = len("UNKNOWN") + 2
_WIDTH = 120
"""Columns of a table in a file, which has no terminal width."""


def assessment_table(assessment: Assessment, verbosity: Verbosity, stream: TextIO) -> None:
    """Write the assessment to a terminal; characters that its encoding lacks are replaced (Rich would raise)."""
    write_captured(stream, lambda console: print_assessment(console, assessment, verbosity))


def as_wide_table(assessment: Assessment, verbosity: Verbosity) -> str:
    """Return the table for a file: 120 columns, no color."""
    file = StringIO()
    console = Console(file=file, width=_WIDTH, highlight=False, force_terminal=False, color_system=None)
    print_assessment(console, assessment, verbosity)
    return stripped(file.getvalue())


def print_assessment(console: Console, assessment: Assessment, verbosity: Verbosity) -> None:
    """Write the assessment to a Rich console.

    It shows what is open by the owner of the fix, and counts the rest. -q shows only controls that decide the exit
    code; -v shows all controls by section, host facts and all evidence.
    """
    is_quiet = verbosity is Verbosity.QUIET
    if not is_quiet:
        print_line(console, styled(common.assessment_title(assessment), "bold"))
    if verbosity is Verbosity.VERBOSE:
        print_facts(console, assessment.all_facts)
    groups = common.awaiting(assessment, verbosity)
    shown = common.shown_verdicts(assessment, verbosity, groups)
    # The same width in each section, so that columns are aligned.
    width = max((len(verdict.status) for verdict in shown), default=0)
    is_by_owner = verbosity is Verbosity.NORMAL
    heading = _owner if is_by_owner else _section
    for title, verdicts in groupby(sorted(shown, key=_by_owner) if is_by_owner else shown, key=heading):
        _heading(console, title)
        for verdict in verdicts:
            _print_verdict(console, assessment, verdict, verbosity, width + 2)
    for group in groups:
        _print_awaiting(console, group, verbosity)
    if not is_quiet:
        _totals(console, assessment, verbosity)
    if not is_quiet or assessment.open:
        console.print()
        # Above, the table has a line for the controls beyond the benchmark; quiet reports have none.
        result = common.assessment_result if is_quiet else common.short_result
        print_result(console, result(assessment), assessment.exit_code)
    if not is_quiet:
        print_next_steps(console, assessment.next_steps)


def _totals(console: Console, assessment: Assessment, verbosity: Verbosity) -> None:
    if assessment.effects:
        _heading(console, "In force")
    for effect in assessment.effects:
        status = padded(styled(effect.status, _STYLE[effect.status]), _STATUS_COLUMN)
        print_line(console, joined(status, styled(f"{effect.subject}: {effect.observed}")), hanging=_STATUS_COLUMN)
    if assessment.notes:
        _heading(console, "Notes")
    for note in assessment.notes:
        print_line(console, styled(note.message, "bold"), hanging=2)
        _print_details(console, (("location", str(note.location or "")),), note.repair, 2)
    if assessment.verdicts and verbosity is Verbosity.VERBOSE:
        _heading(console, "Summary")
        _print_summary(console, assessment)
    by_owner = assessment.open_by_owner if verbosity is Verbosity.VERBOSE else {}
    if by_owner:
        _heading(console, "Open controls by owner of the fix")
    for owner, verdicts in by_owner.items():
        start = joined(padded(styled(common.owner_name(owner), "bold"), 10), Text(f"{len(verdicts):<4}"))
        ids = styled(", ".join(verdict.control.id for verdict in verdicts))
        print_line(console, joined(start, ids), hanging=indent_of(console, 14))
    reviews = common.manual_reviews(assessment)
    if verbosity is Verbosity.NORMAL and reviews:
        console.print()
        print_line(console, styled(reviews, _STYLE[ControlStatus.MANUAL]))


def _section(verdict: Verdict) -> str:
    return common.section_title(verdict.section)


def _owner(verdict: Verdict) -> str:
    return f"Open, owner of the fix: {common.owner_name(verdict.owner)}" if verdict.is_open else str(verdict.status)


def _by_owner(verdict: Verdict) -> tuple[bool, int]:
    return not verdict.is_open, [*FixOwner].index(verdict.owner)


def _heading(console: Console, text: str) -> None:
    console.print()
    print_line(console, styled(text, "bold underline"))


def _print_verdict(
    console: Console, assessment: Assessment, verdict: Verdict, verbosity: Verbosity, status_column: int
) -> None:
    status = styled(verdict.status, _STYLE[verdict.status])
    number = styled(verdict.shown_number)
    column = status_column + _NUMBER_COLUMN
    if console.width < NARROW:
        print_line(console, joined(status, Text(" "), number))
        print_line(console, _head(assessment, verdict), indent_of(console, column), 2)
    else:
        start = joined(padded(status, status_column), padded(number, _NUMBER_COLUMN))
        print_line(console, joined(start, _head(assessment, verdict)), hanging=column)
    # The next steps have the only fix of apply.
    is_listed = verdict.is_open and (verbosity is not Verbosity.NORMAL or verdict.owner is not FixOwner.APPLY)
    fix = verdict.repair if is_listed else None
    _print_details(console, _fields(verdict, verbosity), fix, indent_of(console, column))


def _head(assessment: Assessment, verdict: Verdict) -> Text:
    title = styled(verdict.control.recommendation, "bold" if verdict.is_open else "")
    head = joined(title, Text("  "), styled(verdict.control.id, "dim"))
    if mark := common.baseline_mark(assessment, verdict):
        head.append(f"  {mark}", style="italic")
    return head


def _fields(verdict: Verdict, verbosity: Verbosity) -> Iterable[tuple[str, str]]:
    """Return the details of a control but its fix: all for -v or if it is open, else why it is not open."""
    if verdict.is_open or verbosity is Verbosity.VERBOSE:
        yield "expected", verdict.expected
        yield "found", verdict.found
        some, others = (verdict.evidence, "") if verbosity is Verbosity.VERBOSE else common.few(verdict.evidence)
        # The found value is often the only observation; then its location is enough.
        texts = (shown.origin if shown.observation == verdict.found else shown.line for shown in some)
        yield from (("evidence", text) for text in (*texts, others))
    if verdict.is_open or verbosity is Verbosity.VERBOSE:
        yield "mark", verdict.mark
    yield "reason", verdict.reason
    if verdict.waiver:
        yield "waiver", verdict.accepted
    if verdict.is_open and verbosity is not Verbosity.NORMAL:
        yield "owner", common.owner_name(verdict.owner)


def _print_awaiting(console: Console, group: Awaiting, verbosity: Verbosity) -> None:
    """Print controls that wait for the same event; the start of K3s needs no other words."""
    console.print()
    status = styled(ControlStatus.UNKNOWN, _STYLE[ControlStatus.UNKNOWN])
    print_line(console, joined(status, Text("  "), styled(group.sentence, "bold")), hanging=2)
    fields = [("controls", ", ".join(group.ids))] if verbosity is Verbosity.QUIET else []
    if group.fix != repair_texts.START:
        fields.append(("fix", group.fix))
    for name, text in fields:
        print_line(console, joined(_label(name), styled(text)), 2, _FIELD_COLUMN)


def _print_details(console: Console, fields: Iterable[tuple[str, str]], fix: Repair | None, indent: int) -> None:
    for name, text in fields:
        if text:
            print_line(console, joined(_label(name), styled(text)), indent, _FIELD_COLUMN)
    if fix:
        print_fix(console, fix, indent, _label("fix"))


def _label(name: str) -> Text:
    return padded(styled(name, "dim"), _FIELD_COLUMN)


def _print_summary(console: Console, assessment: Assessment) -> None:
    titles = {number: styled(common.section_title(number)) for number in assessment.sections}
    column = max(title.cell_len for title in titles.values()) + 2
    for number, title in titles.items():
        numbers = assessment.counts(number).items()
        counts = Text("  ").join(styled(f"{count} {status}", _STYLE[status]) for status, count in numbers if count)
        if console.width < NARROW:
            print_line(console, title, hanging=2)
            print_line(console, counts, 2)
        else:
            print_line(console, joined(padded(title, column), counts), hanging=column)
