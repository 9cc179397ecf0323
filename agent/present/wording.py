"""What every presenter for people says in the same words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import ExitCode
from agent.present import Verbosity
from agent.report import GATE_VERB, ItemStatus, Level

if TYPE_CHECKING:
    from agent.report import Item, Report

_READ_VERDICTS = {
    ExitCode.COMPLIANT: "as wanted, now and at the next boot",
    ExitCode.NOT_COMPLIANT: "not as wanted",
}
_WRITE_VERDICTS = {
    ExitCode.ERROR: "an error; nothing was changed",
    ExitCode.NOT_COMPLIANT: "applied, but not as wanted: see the errors",
    ExitCode.PARTIAL: "partly applied: see what is left",
    ExitCode.ENVIRONMENT: "cannot be changed from inside this environment",
}
_DONE = {"revert": ("undone", "nothing to undo"), "uninstall": ("taken away", "nothing to take away")}


def worth_showing(item: Item, verbosity: Verbosity) -> bool:
    """Whether an item has a line: -v shows all, -q only what is wrong or left, and neither what is as wanted."""
    if verbosity is Verbosity.QUIET:
        return item.status not in (ItemStatus.COMPLIANT, ItemStatus.CHANGED)
    return verbosity is Verbosity.VERBOSE or item.status is not ItemStatus.COMPLIANT


def printable(text: str) -> str:
    """The text on one line and without what a terminal would obey: what was found in files is other people's."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def title(report: Report) -> str:
    """The first line: the verb, and the host in a few facts."""
    shown = ", ".join(fact.value for fact in report.facts[:3])
    return f"k3s-harden {report.verb}: {shown}" if shown else f"k3s-harden {report.verb}"


def verdict(report: Report) -> str:
    """The last line: how it ended and with which numbers."""
    code = report.exit_code
    counts = {status: sum(item.status is status for item in report.items) for status in ItemStatus}
    parts = [f"{count} {status}" for status, count in counts.items() if count]
    errors = sum(finding.level is Level.ERROR for finding in report.findings)
    warnings = sum(finding.level is Level.WARNING for finding in report.findings)
    parts += [f"{n} {word}{'s' if n > 1 else ''}" for n, word in ((errors, "error"), (warnings, "warning")) if n]
    if report.verb == GATE_VERB and report.is_ready:
        words = "K3s may start"
    elif not report.writes:
        words = _READ_VERDICTS[code]
    elif code is ExitCode.COMPLIANT:
        done, nothing_done = _DONE.get(report.verb, ("as wanted", "as wanted; nothing was changed"))
        words = done if counts[ItemStatus.CHANGED] else nothing_done
    else:
        words = _WRITE_VERDICTS[code]
    return f"{words} ({', '.join(parts)})" if parts else words
