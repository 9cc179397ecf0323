"""One line a fact, each complete in itself, for a journal, a pipe or grep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.present import Verbosity
from agent.present.wording import printable, title, verdict, worth_showing
from agent.report import Level

if TYPE_CHECKING:
    from agent.report import Finding, Item, Report


def as_lines(report: Report, verbosity: Verbosity) -> str:
    """The report as text. A unified diff, where an item carries one, follows its item's line."""
    lines = []
    if verbosity > Verbosity.QUIET:
        lines.append(title(report))
    if verbosity is Verbosity.VERBOSE:
        lines += [f"fact {fact.name}: {fact.value} ({fact.evidence})" for fact in report.facts]
    for item in report.items:
        if worth_showing(item, verbosity):
            lines.append(_item(item))
            lines += item.diff.removesuffix("\n").split("\n") if item.diff else ()
    lines += [_finding(f) for f in report.findings if verbosity > Verbosity.QUIET or f.level is not Level.NOTE]
    if verbosity > Verbosity.QUIET or report.exit_code:
        lines.append(f"result {int(report.exit_code)}: {verdict(report)}")
    return "".join(f"{printable(line)}\n" for line in lines)


def _item(item: Item) -> str:
    line = f"{item.status} {item.id}"
    if item.detail:
        line += f": {item.detail}"
    return f"{line}; to do: {item.hint}" if item.hint else line


def _finding(finding: Finding) -> str:
    parts = [f"{finding.level} {finding.id}: {finding.message}"]
    for name in ("wanted", "found", "where"):
        value = getattr(finding, name)
        if value:
            parts.append(f"{name} {value}")
    if finding.remedy:
        parts.append(f"to do: {finding.remedy}")
    return "; ".join(parts)
