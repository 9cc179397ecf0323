"""One line a fact of an assessment, each complete in itself, for a journal, a pipe or grep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.assess.assessment import ControlStatus
from agent.present import Verbosity
from agent.present.assessments.common import (
    by_section,
    conclusion,
    few,
    fix,
    for_a_person,
    in_numbers,
    is_known,
    is_new,
    noted,
    open_by_owner,
    section_title,
    title,
    waived,
    where,
)
from agent.present.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.assess.assessment import Assessment, Verdict

_LEFT_TO_VERBOSE = (ControlStatus.PASS, ControlStatus.NOT_APPLICABLE, ControlStatus.MANUAL)


def as_lines(assessment: Assessment, verbosity: Verbosity) -> str:
    """The assessment as text: -q leaves what makes the exit code, -v adds what is not open, and all evidence."""
    return "".join(f"{printable(line)}\n" for line in _lines(assessment, verbosity))


def _lines(assessment: Assessment, verbosity: Verbosity) -> Iterator[str]:
    if verbosity is Verbosity.QUIET:
        yield from (
            _verdict(assessment, verdict, verbosity)
            for verdicts in by_section(assessment).values()
            for verdict in verdicts
            if is_new(assessment, verdict)
        )
        if assessment.open:
            yield f"result {int(assessment.exit_code)}: {conclusion(assessment)}"
        return
    yield title(assessment)
    if verbosity is Verbosity.VERBOSE:
        yield from (f"fact {fact.name}: {fact.value} ({fact.source})" for fact in assessment.facts)
    for verdicts in by_section(assessment).values():
        for verdict in verdicts:
            if verbosity is Verbosity.VERBOSE or verdict.status not in _LEFT_TO_VERBOSE:
                yield _verdict(assessment, verdict, verbosity)
    yield from (f"note {noted(note)}" for note in assessment.notes)
    for number in by_section(assessment):
        yield f"section {section_title(number)}: {in_numbers(assessment.counts(number))}"
    for owner, verdicts in open_by_owner(assessment).items():
        yield f"open, owner {owner}: {', '.join(verdict.control.id for verdict in verdicts)}"
    if verbosity is Verbosity.NORMAL and for_a_person(assessment):
        yield for_a_person(assessment)
    yield f"result {int(assessment.exit_code)}: {conclusion(assessment)}"


def _verdict(assessment: Assessment, verdict: Verdict, verbosity: Verbosity) -> str:
    """Status, number ("-" for none) and id come first, so that each is a word of its own for awk and cut."""
    number = verdict.number.text if verdict.number else "-"
    parts = [f"{verdict.status} {number} {verdict.control.id}: {verdict.control.recommendation}"]
    parts += [f"{name} {text}" for name, text in (("expected", verdict.expected), ("found", verdict.found)) if text]
    if verbosity is Verbosity.VERBOSE:
        parts += [f"evidence {seen.observation} ({where(seen)})" for seen in verdict.evidence]
    elif verdict.evidence:
        some, others = few(verdict.evidence)
        places = [*dict.fromkeys(where(seen) for seen in some), *([others] if others else [])]
        parts.append(f"where {', '.join(places)}")
    if verdict.reason:
        parts.append(f"reason {verdict.reason}")
    if verdict.waiver:
        parts.append(f"waiver {waived(verdict.waiver)}")
    if is_known(assessment, verdict):
        parts.append("known from the baseline")
    if verdict.is_open:
        parts.append(f"owner {verdict.owner}")
        parts += [f"fix: {fix(verdict)}"] if verdict.remediation.steps else []
    return "; ".join(parts)
