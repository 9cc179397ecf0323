"""What every presenter of an assessment says in the same words and in the same order, fit to be printed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from agent.assess.assessment import TIME_FORMAT, Actor, ControlStatus, Evidence, Waiver
from agent.benchmark.sections import SECTIONS
from agent.present.text import printable
from agent.report import K3S_VERSION, ROLE, Fact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.assess.assessment import Assessment, Notice, Verdict

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
        notices=tuple(map(_notice, assessment.notices)),
    )


def _verdict(verdict: Verdict) -> Verdict:
    return verdict._replace(
        wanted=printable(verdict.wanted),
        found=printable(verdict.found),
        evidence=tuple(Evidence(*map(printable, seen)) for seen in verdict.evidence),
        reason=_printable_lines(verdict.reason),
        remedy=_printable_lines(verdict.remedy),
        waiver=verdict.waiver and Waiver(*map(printable, verdict.waiver)),
    )


def _notice(notice: Notice) -> Notice:
    return notice._replace(
        message=printable(notice.message), where=printable(notice.where), remedy=_printable_lines(notice.remedy)
    )


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


def to_do(assessment: Assessment) -> Mapping[Actor, Sequence[Verdict]]:
    """What is open, by who must act; an actor with nothing to do is not there."""
    verdicts = [verdict for verdict in assessment.verdicts if verdict.is_open]
    by_actor = {actor: [verdict for verdict in verdicts if verdict.actor is actor] for actor in Actor}
    return {actor: left for actor, left in by_actor.items() if left}


def is_known(assessment: Assessment, verdict: Verdict) -> bool:
    """Whether it is open, and was so in the report that the assessment is compared with."""
    return verdict.is_open and verdict.control.id in (assessment.known or ())


def is_new(assessment: Assessment, verdict: Verdict) -> bool:
    """Whether it is one of those that make the exit code."""
    return verdict.is_open and not is_known(assessment, verdict)


def waived(waiver: Waiver) -> str:
    """A waiver in words."""
    words = f"{waiver.reason} ({f'until {waiver.expires}' if waiver.expires else 'for good'}"
    return f"{words}, {waiver.where})" if waiver.where else f"{words})"


def noticed(notice: Notice) -> str:
    """A notice in one line."""
    parts = (
        notice.message,
        f"where {notice.where}" if notice.where else "",
        notice.remedy and f"to do: {notice.remedy}",
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
