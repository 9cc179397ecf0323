"""Texts that the formats of a report share, and the wrapping of prose: commands, paths and IDs stay whole."""

from __future__ import annotations

from collections.abc import Iterator

from agent.base.errors import ExitCode
from agent.base.repair import NO_REPAIR, Repair
from agent.base.report import GATE_VERB, Entry, Finding, ItemStatus, Report, Urgency, urgency_of
from agent.k3s.redaction import redacted

WIDEST = 100
"""Columns of prose on a wider terminal, and without a terminal."""

_NARROWEST = 20
_QUOTED = r"`[^`]*`|(?<![^\s(])'[^'\n]+'(?![\w])"
_BLANK = "\0"
"""A blank of a quoted text while a paragraph is wrapped."""


def wrapped(text: str, width: int, indent: str = "", hanging: str | None = None) -> list[str]:
    """Return a paragraph as lines of at most `width` columns. A longer word or quoted text is not broken.

    `indent` is before the first line, `hanging` before the others.
    """
    import re
    import textwrap

    whole = re.sub(_QUOTED, lambda quoted: quoted[0].replace(" ", _BLANK), text)
    lines = textwrap.wrap(
        " ".join(whole.split()),
        max(width, _NARROWEST),
        initial_indent=indent,
        subsequent_indent=indent if hanging is None else hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_BLANK, " ") for line in lines]


def two_columns(pairs: list[tuple[str, str]], width: int) -> list[str]:
    """Return names with their texts in a second column, or below the names if the second column would be narrow."""
    indent, widest = "  ", max((len(name) for name, _ in pairs), default=0)
    column = len(indent) + widest + 2
    enough = min(2 * _NARROWEST, max((len(text) for _, text in pairs), default=0))
    lines: list[str] = []
    for name, text in pairs:
        if width - column >= enough:
            lines += wrapped(text, width, f"{indent}{name:{widest}}  ", " " * column)
        else:
            lines += [*wrapped(name, width, indent), *wrapped(text, width, f"{indent}  ")]
    return lines


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


def fields(finding: Finding, about: str = "") -> list[tuple[str, str]]:
    """Return the names and values of a finding's fields that are not empty, without a location that is `about`."""
    location = str(finding.location or "")
    values = (
        ("expected", finding.expected),
        ("found", finding.found),
        ("location", "" if location == about else location),
    )
    return [(name, value) for name, value in values if value]


def predictions(report: Report) -> list[str]:
    """Return why each problem is predicted, as a line."""
    return [
        f"prediction {finding.id}{f' at {finding.location}' if finding.location else ''}: {finding.prediction}"
        for finding in report.findings
        if finding.prediction
    ]


def fix(entry: Entry) -> Repair:
    """Return the remediation of an entry: that of its most urgent finding which has one, or none."""
    ordered = sorted(entry.findings, key=urgency_of)
    return next((finding.repair for finding in ordered if finding.repair != NO_REPAIR), NO_REPAIR)


def title(report: Report) -> str:
    """Return the first line: the verb and the most important facts."""
    facts = ", ".join(fact.value for fact in report.facts[:3])
    return f"k3s-harden {report.verb}: {facts}" if facts else f"k3s-harden {report.verb}"


def result(report: Report) -> str:
    """Return the last line: the meaning of the exit code for this verb, with counts."""
    counts = _counts(report)
    return f"{_meaning(report)} ({counts})." if counts else f"{_meaning(report)}."


def item_fixes(entry: Entry) -> list[Repair]:
    """Return what to do about the items of an entry; what is edited has the fix of its finding, if there is one."""
    has_fix = fix(entry) != NO_REPAIR
    found = (item.repair for item in entry.items if not (has_fix and item.status is ItemStatus.EDITED))
    return list(dict.fromkeys(repair for repair in found if repair.steps))


def _meaning(report: Report) -> str:
    code = report.exit_code
    kernel = "; its kernel was not checked" if any(found.id == "no-kernel-here" for found in report.findings) else ""
    if report.verb == GATE_VERB:
        fails = any(finding.prevents_start for finding in report.findings)
        released = "The gate does not block K3s, but K3s will not start" if fails else "K3s may start"
        return released if report.is_ready else "K3s is blocked"
    accepted = _accepted(report)
    if not report.writes:
        end = f"{accepted}{kernel or ', now and after the next boot'}"
        return "Host is not compliant" if code else f"Host is compliant with the guide{end}"
    if code is ExitCode.COMPLIANT:
        return (report.wording.changed if report.has_changed else report.wording.unchanged) + accepted + kernel
    past = report.wording.past
    return {
        ExitCode.ERROR: "Failed; nothing was changed",
        ExitCode.NOT_COMPLIANT: f"{past.capitalize()}, but the host is not compliant"
        if report.has_changed
        else "Host is not compliant; nothing was changed",
        ExitCode.PARTIAL: f"Partially {past}; see what is left",
        ExitCode.ENVIRONMENT: "Nothing was changed; this environment does not allow it",
    }[code]


def _accepted(report: Report) -> str:
    """Return how many controls are waived, and how many parts of the hardening are postponed until when."""
    waived = sum(item.status is ItemStatus.WAIVED for item in report.items)
    days = [item.until for item in report.items if item.status is ItemStatus.POSTPONED]
    return "".join(f", {text}" for text in accepted_by_site(waived, len(days), min(days, default="")))


def accepted_by_site(waived: int, postponed: int, until: str, left_open: int = 0, profile: str = "") -> Iterator[str]:
    """Yield how many controls are waived, how many parts are postponed until when, and what a profile leaves open."""
    if waived:
        yield f"{waived} waived"
    if postponed:
        yield f"{postponed} postponed until {until}"
    if left_open:
        yield f"{left_open} left open by profile {profile}"


def _counts(report: Report) -> str:
    urgencies = [entry.urgency for entry in report.entries]
    problems = sum(urgency.is_problem for urgency in urgencies)
    warnings = urgencies.count(Urgency.WARNING)
    parts = []
    if problems:
        parts.append(count_of(problems, "problem") + _decisive(urgencies.count(Urgency.PREVENTS_START), problems))
    if warnings:
        parts.append(count_of(warnings, "warning"))
    statuses = [item.status for item in report.items]
    calm = (ItemStatus.CHANGED, ItemStatus.KEPT, ItemStatus.COMPLIANT)
    parts += [f"{statuses.count(status)} {status}" for status in calm if status in statuses]
    return ", ".join(parts)


def count_of(count: int, noun: str, none: str = "0") -> str:
    """Return a count with its noun."""
    return f"{count or none} {noun}{'' if count == 1 else 's'}"


def _decisive(count: int, of: int) -> str:
    """Return how many of the problems prevent K3s from starting."""
    if not count:
        return ""
    verb = "prevents" if count == 1 else "prevent"
    return f" that {verb} K3s from starting" if count == of else f", {count} of them {verb} K3s from starting"
