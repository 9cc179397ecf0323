"""Texts that the table and the plain lines of a report share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import ExitCode
from agent.k3s.secrets import redacted
from agent.present import Verbosity
from agent.report import GATE_VERB, ItemStatus, Level

if TYPE_CHECKING:
    from agent.report import Finding, Item, Report

_DONE = {
    "apply": ("Host is compliant", "Host is compliant; nothing was changed"),
    "revert": ("Reverted", "Nothing to revert"),
    "install": ("Installed", "Already installed; nothing was changed"),
    "uninstall": ("Uninstalled", "Nothing to uninstall"),
}
"""By verb: the result of a run that changed something, and of one that did not."""
_PAST = {"revert": "reverted", "install": "installed", "uninstall": "uninstalled"}


def is_shown(item: Item, verbosity: Verbosity) -> bool:
    """Return whether an item gets a line: -v shows all, -q hides those that succeeded."""
    if verbosity is Verbosity.QUIET:
        return item.status not in (ItemStatus.COMPLIANT, ItemStatus.CHANGED)
    return verbosity is Verbosity.VERBOSE or item.status is not ItemStatus.COMPLIANT


def printable(text: str) -> str:
    """Return the text as one line, with control characters as escapes.

    File names and contents are untrusted: they must not forge lines or control the terminal. Secrets are replaced.
    """
    text = redacted(text)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def stripped(table: str) -> str:
    """Return a table without the blanks that Rich adds at the end of lines."""
    return "\n".join(line.rstrip(" ") for line in table.split("\n"))


def fields(finding: Finding) -> list[tuple[str, str]]:
    """Return the names and values of a finding's fields that are not empty."""
    values = (("expected", finding.expected), ("found", finding.found), ("location", str(finding.location or "")))
    return [(name, value) for name, value in values if value]


def title(report: Report) -> str:
    """Return the first line: the verb and the most important facts."""
    facts = ", ".join(fact.value for fact in report.facts[:3])
    return f"k3s-harden {report.verb}: {facts}" if facts else f"k3s-harden {report.verb}"


def result(report: Report) -> str:
    """Return the last line: the meaning of the exit code for this verb, with counts."""
    counts = _counts(report)
    return f"{_meaning(report)} ({counts})." if counts else f"{_meaning(report)}."


def _meaning(report: Report) -> str:
    code = report.exit_code
    if report.verb == GATE_VERB:
        return "K3s may start" if report.is_ready else "K3s is blocked"
    if not report.writes:
        return "Host is not compliant" if code else "Host is compliant, now and after the next boot"
    if code is ExitCode.COMPLIANT:
        has_changed = any(item.status is ItemStatus.CHANGED for item in report.items)
        changed, unchanged = _DONE.get(report.verb, ("Compliant", "Compliant; nothing was changed"))
        return changed if has_changed else unchanged
    past = _PAST.get(report.verb, "applied")
    return {
        ExitCode.ERROR: "Failed; nothing was changed",
        ExitCode.NOT_COMPLIANT: f"{past.capitalize()}, but the host is not compliant",
        ExitCode.PARTIAL: f"Partially {past}; see what is left",
        ExitCode.ENVIRONMENT: "Nothing can be changed from inside this environment",
    }[code]


def _counts(report: Report) -> str:
    statuses = [item.status for item in report.items]
    levels = [finding.level for finding in report.findings]
    parts = [f"{statuses.count(status)} {status}" for status in ItemStatus if status in statuses]
    parts += [
        f"{levels.count(level)} {level}{'s' if levels.count(level) > 1 else ''}"
        for level in (Level.ERROR, Level.WARNING)
        if level in levels
    ]
    return ", ".join(parts)
