"""A preflight as a table, as plain lines, and as JSON; docs/reference/preflight.schema.json describes the JSON."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TextIO

from agent.base.report import Entry, ItemStatus
from agent.reports import repair_texts, write
from agent.reports.formats import Verbosity
from agent.reports.text import count_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from agent.harden.plan.preflight_result import Preflight
    from agent.reports.formats import Format

SCHEMA = 2


def present_preflight(result: Preflight, output_format: Format, verbosity: Verbosity, stream: TextIO) -> None:
    """Write the result to `stream`."""
    show = partial(print_preflight, result=result, verbosity=verbosity)
    write(stream, output_format, partial(_as_json, result), partial(_as_lines, result, verbosity), show)


def _as_lines(result: Preflight, verbosity: Verbosity) -> Iterator[str]:
    from agent.reports.json_report import entry_line, framed_lines

    body = [f"{start}{entry_line(entry)}" for start, _, entries in _parts(result) for entry in entries]
    body += [f"note {note.id}: {note.text} ({note.source})" for note in result.notes]
    last = f"result {int(result.exit_code)}: {_summary(result)}"
    return framed_lines(_title(result), result.facts, body, last, result.next_steps, verbosity)


def print_preflight(console: Console, result: Preflight, verbosity: Verbosity) -> None:
    """Write the result to a Rich console. -q prints only the last line."""
    from rich.text import Text

    from agent.reports.layout import print_line, styled
    from agent.reports.table_report import print_entries, print_facts, print_note, print_result

    if verbosity is not Verbosity.QUIET:
        print_line(console, styled(_title(result), "bold"))
        if verbosity is Verbosity.VERBOSE:
            print_facts(console, result.facts)
        with_fix = verbosity is Verbosity.VERBOSE or not result.next_steps
        for _, heading, entries in _parts(result):
            if entries and heading:
                print_line(console, Text())
                print_line(console, Text(heading, "bold"))
            print_entries(console, entries, with_fix=with_fix)
        if result.notes:
            print_line(console, Text())
        for note in result.notes:
            print_note(console, note.id, note.text, note.source)
        print_line(console, Text())
    print_result(console, _summary(result), result.exit_code)
    if verbosity is not Verbosity.QUIET:
        repair_texts.print_next_steps(console, result.next_steps)


def _as_json(result: Preflight) -> str:
    from agent.harden.plan.preflight_result import MEANINGS
    from agent.reports.json_report import finding_object, item_object, json_text
    from agent.reports.repair_texts import next_step_object

    content = {
        "meaning": MEANINGS[result.exit_code],
        "current_k3s_version": result.current,
        "target_k3s_version": result.target,
        "would_start": result.would_start,
        "stays_hardened": result.stays_hardened,
        "facts": list(map(vars, result.facts)),
        "findings": [
            {**finding_object(problem.finding), "fixed_by_apply": problem.fixed_by_apply, "is_new": problem.is_new}
            for problem in result.problems
        ],
        "changes": list(map(item_object, result.changes)),
        "left_after_apply": list(map(item_object, result.left)),
        "notes": [{"id": note.id, "message": note.text, "source": note.source} for note in result.notes],
        "next_steps": list(map(next_step_object, result.next_steps)),
    }
    return json_text(SCHEMA, "preflight", result.exit_code, content)


def _title(result: Preflight) -> str:
    role = result.facts[0].value
    return f"k3s-harden preflight: {role}, K3s {result.current or 'of unknown version'} → {result.target}"


def _parts(result: Preflight) -> Iterator[tuple[str, str, list[Entry]]]:
    """Yield the problems and changes, each part with the start of its plain lines and its heading in a table."""
    problems = [(problem.fixed_by_apply, Entry((), (problem.finding,))) for problem in result.problems]
    yield "", "", [entry for is_fixed, entry in problems if not is_fixed]
    yield "apply fixes ", "apply fixes", [entry for is_fixed, entry in problems if is_fixed]
    yield "", "apply changes, for that version", [Entry((item,)) for item in result.changes]
    # Without what the changes show already.
    shown = {(item.id, item.status) for item in result.changes if item.status is not ItemStatus.DIFFERS}
    left = [Entry((item,)) for item in result.left if (item.id, item.status) not in shown]
    yield "left after apply: ", "left after apply", left


def _summary(result: Preflight) -> str:
    if not result.would_start:
        text = f"K3s {result.target} would not start with this configuration"
    elif not result.stays_hardened:
        text = f"K3s {result.target} would start, but apply cannot make the host compliant"
    else:
        text = f"K3s {result.target} would start, and the host is compliant{' after apply' if result.changes else ''}"
    if not result.current:
        text += "; steps between versions could not be checked, because the current version is unknown"
    if result.would_start and not result.is_complete:
        text = text.replace("would start", "would start as far as it could be checked", 1)
    left = sum(problem.is_decisive for problem in result.problems)
    differing = sum(item.status is ItemStatus.DIFFERS for item in result.changes)
    notes = len(result.notes)
    counts = (
        f"{left} to fix first" if left else "",
        f"{count_of(differing, 'change')} by apply" if differing else "",
        count_of(notes, "note") if notes else "",
    )
    listed = ", ".join(filter(None, counts))
    return f"{text} ({listed})." if listed else f"{text}."
