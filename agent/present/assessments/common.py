"""What every presenter of an assessment says in the same words and in the same order, fit to be printed."""

from __future__ import annotations

import time
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.assess.assessment import TIME_FORMAT, ControlStatus, Evidence, Waiver
from agent.benchmark.sections import SECTIONS
from agent.model import FixOwner, Instruction, Location, OwnCommand, Remediation, ShellCommand
from agent.present import remediation as remediations
from agent.present.text import printable
from agent.report import K3S_VERSION, ROLE, Fact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.assess.assessment import Assessment, Note, Verdict

UNNUMBERED = "host"
"""Stands for the section of what no benchmark has, in formats that need a name for each section."""


_FEW = 5


def cleaned(assessment: Assessment) -> Assessment:
    """The same assessment without anything in it that a terminal, or a parser of any format, would stumble over.

    Paths and contents are other people's. What is left is valid in XML, and without lone surrogates. Line breaks stay
    in reasons and remedies alone, where text to be copied may have them.
    """
    return assessment._replace(
        node=printable(assessment.node),
        facts=tuple(Fact(*map(printable, fact)) for fact in assessment.facts),
        verdicts=tuple(map(_verdict, assessment.verdicts)),
        notes=tuple(map(_note, assessment.notes)),
    )


def _verdict(verdict: Verdict) -> Verdict:
    return verdict._replace(
        expected=printable(verdict.expected),
        found=printable(verdict.found),
        evidence=tuple(
            Evidence(printable(one.observation), _location(one.location), printable(one.source))
            for one in verdict.evidence
        ),
        reason=_printable_lines(verdict.reason),
        remediation=_remediation(verdict.remediation),
        waiver=verdict.waiver
        and Waiver(printable(verdict.waiver.reason), verdict.waiver.expires, _location(verdict.waiver.location)),
    )


def _evidence(evidence: Evidence) -> Evidence:
    return Evidence(printable(evidence.observation), _location(evidence.location), printable(evidence.source))


def _note(note: Note) -> Note:
    return note._replace(
        message=printable(note.message),
        location=_location(note.location),
        remediation=_remediation(note.remediation),
    )


def _location(location: Location | None) -> Location | None:
    return location and Location(PurePosixPath(printable(str(location.path))), location.line)


def _remediation(remediation: Remediation) -> Remediation:
    return Remediation(
        tuple(map(_step, remediation.steps)),
        remediation.owner,
        remediation.restart,
        remediation.alternative and _remediation(remediation.alternative),
    )


def _step(step: OwnCommand | ShellCommand | Instruction) -> OwnCommand | ShellCommand | Instruction:
    if isinstance(step, Instruction):
        return Instruction(_printable_lines(step.text), _location(step.location))
    return ShellCommand(_printable_lines(step.line)) if isinstance(step, ShellCommand) else step


def where(evidence: Evidence) -> str:
    """Return the location or the source of evidence."""
    return str(evidence.location) if evidence.location else evidence.source


def fix(verdict: Verdict) -> str:
    """Return a verdict's remediation as one line."""
    return remediations.text(verdict.remediation)


def _printable_lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def by_section(assessment: Assessment) -> Mapping[str, Sequence[Verdict]]:
    """The verdicts by the number of their section, in the order of their numbers; what has none is last, as it came."""
    sections: dict[str, list[Verdict]] = {}
    for verdict in sorted(assessment.verdicts, key=_order):
        sections.setdefault(verdict.section, []).append(verdict)
    return sections


def _order(verdict: Verdict) -> tuple[bool, list[int]]:
    parts = verdict.number.text.split(".") if verdict.number else []
    return verdict.number is None, [int(part) for part in parts if part.isdecimal()]


def section_title(number: str) -> str:
    """The number of a section and what it is about."""
    return f"{number} {SECTIONS.get(number, '')}".strip()


def title(assessment: Assessment) -> str:
    """The first line: the benchmark, and the host in a few facts."""
    about = (fact(assessment, name) for name in (ROLE, K3S_VERSION))
    shown = (str(assessment.benchmark), assessment.node, *about)
    return f"k3s-harden assess: {', '.join(filter(None, shown))}"


def conclusion(assessment: Assessment) -> str:
    """The last line: what is open, and how many controls have each status."""
    new = len(assessment.open)
    left = sum(verdict.is_open for verdict in assessment.verdicts)
    if assessment.known is None:
        words = f"{_controls(new)} open" if new else "nothing is open"
    else:
        words = f"{_controls(new)} newly open" if new else "nothing new is open"
        words += f", {left - new} known from the baseline" if left > new else ""
    counted = in_numbers(assessment.counts())
    return f"{words} ({counted})" if counted else words


def in_numbers(counts: Mapping[ControlStatus, int]) -> str:
    """How many controls have each status, but for those that none has."""
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count)


def for_a_person(assessment: Assessment) -> str:
    """How many controls only a person can tell, where they are not shown one by one; empty where there is none."""
    count = assessment.counts()[ControlStatus.MANUAL]
    return f"{_controls(count)} for a person to look at (MANUAL); -v shows them" if count else ""


def _controls(count: int) -> str:
    return f"{count} control is" if count == 1 else f"{count} controls are"


def open_by_owner(assessment: Assessment) -> Mapping[FixOwner, Sequence[Verdict]]:
    """Return the open controls by the owner of their fix; an owner without open controls is left out."""
    verdicts = [verdict for verdict in assessment.verdicts if verdict.is_open]
    by_owner = {owner: [verdict for verdict in verdicts if verdict.owner is owner] for owner in FixOwner}
    return {owner: left for owner, left in by_owner.items() if left}


def is_known(assessment: Assessment, verdict: Verdict) -> bool:
    """Whether it is open, and was so in the report that the assessment is compared with."""
    return verdict.is_open and verdict.control.id in (assessment.known or ())


def is_new(assessment: Assessment, verdict: Verdict) -> bool:
    """Whether it is one of those that make the exit code."""
    return verdict.is_open and not is_known(assessment, verdict)


def waived(waiver: Waiver) -> str:
    """A waiver in words."""
    words = f"{waiver.reason} ({f'until {waiver.expires}' if waiver.expires else 'for good'}"
    return f"{words}, {waiver.location})" if waiver.location else f"{words})"


def noted(note: Note) -> str:
    """Return a note in one line."""
    parts = (
        note.message,
        f"where {note.location}" if note.location else "",
        f"fix: {remediations.text(note.remediation)}" if note.remediation.steps else "",
    )
    return "; ".join(filter(None, parts))


def few(seen: Sequence[Evidence]) -> tuple[Sequence[Evidence], str]:
    """The first pieces of evidence, and in words how many are left out: a thousand files may all be wrong alike."""
    left = len(seen) - _FEW
    return seen[:_FEW], f"and {left} more" if left > 0 else ""


def fact(assessment: Assessment, name: str) -> str:
    """The value of a fact; empty where nobody found out."""
    return next((fact.value for fact in assessment.facts if fact.name == name), "")


def seconds(day: str) -> float:
    """The start of a day, YYYY-MM-DD, in UTC and in seconds since the epoch."""
    from datetime import datetime, timezone

    return datetime.fromisoformat(day).replace(tzinfo=timezone.utc).timestamp()


def timestamp(when: float) -> str:
    """A time as reports write it."""
    return time.strftime(TIME_FORMAT, time.gmtime(when))
