"""A report as plain lines for a journal, a pipe or grep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.present import Verbosity, remediation
from agent.present.text import fields, is_shown, printable, result, title
from agent.report import Level

if TYPE_CHECKING:
    from agent.report import Finding, Item, Report


def as_lines(report: Report, verbosity: Verbosity) -> str:
    """Return one line for each item and finding; an item's unified diff follows its line."""
    lines = []
    if verbosity > Verbosity.QUIET:
        lines.append(title(report))
    if verbosity is Verbosity.VERBOSE:
        lines += [f"fact {fact.name}: {fact.value} ({fact.source})" for fact in report.facts]
    for item in report.items:
        if is_shown(item, verbosity):
            lines.append(item_line(item))
            lines += item.diff.removesuffix("\n").split("\n") if item.diff else ()
    lines += [finding_line(f) for f in report.findings if verbosity > Verbosity.QUIET or f.level is not Level.NOTE]
    if verbosity > Verbosity.QUIET or report.exit_code:
        lines.append(f"result {int(report.exit_code)}: {result(report)}")
    return "".join(f"{printable(line)}\n" for line in lines)


def item_line(item: Item) -> str:
    """Return an item as one line."""
    head = ": ".join(filter(None, (f"{item.status} {item.id}", item.detail)))
    return "; ".join(filter(None, (head, remediation.labelled(item.hint))))


def finding_line(finding: Finding) -> str:
    """Return a finding as one line."""
    parts = [f"{finding.level} {finding.id}: {finding.message}"]
    parts += [f"{name} {value}" for name, value in fields(finding)]
    parts.append(remediation.labelled(remediation.text(finding.remediation)))
    return "; ".join(filter(None, parts))
