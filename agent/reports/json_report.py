"""A report as JSON (docs/reference/report.schema.json), and as plain lines for a journal, a pipe or grep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from agent.base.errors import ExitCode
from agent.base.report import Entry, Fact, Finding, Item, NextStep, Report
from agent.k3s.redaction import redacted_all
from agent.reports import repair_texts
from agent.reports.formats import Verbosity
from agent.reports.repair_texts import location_object, next_step_object, repair_object
from agent.reports.text import fields, fix, item_fixes, predictions, printable, result, title


def report_lines(report: Report, verbosity: Verbosity) -> Iterator[str]:
    """Yield one line for each entry; an item's unified diff follows its line."""
    last = f"result {int(report.exit_code)}: {result(report)}"
    return framed_lines(title(report), report.facts, _body(report, verbosity), last, report.next_steps, verbosity)


def _body(report: Report, verbosity: Verbosity) -> Iterator[str]:
    for entry in report.entries:
        yield entry_line(entry)
        for item in entry.items:
            yield from item.diff.removesuffix("\n").split("\n") if item.diff else ()
    if verbosity is Verbosity.VERBOSE:
        yield from predictions(report)


def framed_lines(  # noqa: PLR0913, PLR0917 - the parts of a report
    head: str, facts: Iterable[Fact], body: Iterable[str], last: str, steps: Sequence[NextStep], verbosity: Verbosity
) -> Iterator[str]:
    """Yield the printable lines of a result between its title and its next steps; -q is only the last line."""
    lines = [last]
    if verbosity is not Verbosity.QUIET:
        shown = facts if verbosity is Verbosity.VERBOSE else ()
        sources = (f"fact {fact.name}: {fact.value} ({fact.source})" for fact in shown)
        lines = [head, *sources, *body, last, *(repair_texts.step_lines(steps) if steps else ())]
    return map(printable, lines)


def entry_line(entry: Entry) -> str:
    """Return an entry as one line: the item, the findings, the fix."""
    about = entry.items[0].id if entry.items else ""
    parts = [*map(_item, entry.items), *(_finding(finding, about) for finding in entry.findings)]
    fixes = dict.fromkeys(map(repair_texts.text, (*item_fixes(entry), fix(entry))))
    return "; ".join((*parts, *map(repair_texts.labelled, filter(None, fixes))))


def _item(item: Item) -> str:
    return ": ".join(filter(None, (f"{item.status} {item.id}", item.detail)))


def _finding(finding: Finding, about: str = "") -> str:
    values = (f"{name} {value}" for name, value in fields(finding, about))
    return "; ".join((f"{finding.level} {finding.id}: {finding.message}", *values))


SCHEMA = 3


def report_json(report: Report) -> str:
    """Return a report as JSON. Every key is present; a text that does not apply is empty."""
    content = {
        "meaning": report.exit_code.meaning if report.exit_code else report.wording.success,
        "facts": list(map(vars, report.facts)),
        "items": list(map(item_object, report.items)),
        "findings": list(map(finding_object, report.findings)),
        "next_steps": list(map(next_step_object, report.next_steps)),
    }
    return json_text(SCHEMA, report.verb, report.exit_code, content)


def json_text(schema: int, verb: str, exit_code: ExitCode, content: Mapping[str, object]) -> str:
    """Return the result of a verb as one JSON object and a line break, without secrets."""
    import json

    from agent import __version__

    head = {"schema": schema, "version": __version__, "verb": verb, "exit_code": int(exit_code)}
    # ASCII, so that it is valid in every encoding of the stream, and no text in it controls a terminal.
    return json.dumps(redacted_all({**head, **content}), indent=2) + "\n"


def item_object(item: Item) -> dict[str, object]:
    """Return an item for JSON."""
    shown = {name: getattr(item, name) for name in item._fields if name not in ("content_differs", "cause")}
    return {**shown, "repair": repair_object(item.repair)}


def finding_object(finding: Finding) -> dict[str, object]:
    """Return a finding for JSON."""
    return {
        **{name: value for name, value in finding._asdict().items() if name != "traits"},
        "location": location_object(finding.location),
        "repair": repair_object(finding.repair),
        "prediction": finding.prediction and finding.prediction._asdict(),
    }
