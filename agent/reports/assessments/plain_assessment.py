"""An assessment as plain lines for a journal, a pipe or grep."""

from __future__ import annotations

from collections.abc import Iterator

from agent.assess.assessment import Assessment, Verdict
from agent.reports.assessments import common
from agent.reports.formats import Verbosity
from agent.reports.repair_texts import labelled, step_lines
from agent.reports.text import printable


def assessment_lines(assessment: Assessment, verbosity: Verbosity) -> str:
    """Return one line for each control.

    -q shows only controls that decide the exit code; -v adds all others, host facts and all evidence.
    """
    return "".join(f"{printable(line)}\n" for line in _lines(assessment, verbosity))


def _lines(assessment: Assessment, verbosity: Verbosity) -> Iterator[str]:
    last = f"result {int(assessment.exit_code)}: {common.assessment_result(assessment)}"
    groups = common.awaiting(assessment, verbosity)
    is_quiet = verbosity is Verbosity.QUIET
    if not is_quiet:
        yield common.assessment_title(assessment)
    if verbosity is Verbosity.VERBOSE:
        yield from (f"fact {fact.name}: {fact.value} ({fact.source})" for fact in assessment.all_facts)
    for verdict in common.shown_verdicts(assessment, verbosity, groups):
        yield _verdict(assessment, verdict, verbosity)
    yield from (group.line for group in groups)
    if is_quiet:
        if assessment.open:
            yield last
        return
    yield from (f"in force {effect.status}: {effect.subject}: {effect.observed}" for effect in assessment.effects)
    yield from (f"note {common.noted(note)}" for note in assessment.notes)
    for number in assessment.sections:
        yield f"section {common.section_title(number)}: {common.in_numbers(assessment.counts(number))}"
    for owner, left in assessment.open_by_owner.items():
        yield f"owner {common.owner_name(owner)}: {', '.join(verdict.control.id for verdict in left)}"
    if verbosity is Verbosity.NORMAL and common.manual_reviews(assessment):
        yield common.manual_reviews(assessment)
    yield last
    yield from step_lines(assessment.next_steps)


def _verdict(assessment: Assessment, verdict: Verdict, verbosity: Verbosity) -> str:
    """Return one line; status, number (or "-") and id are its first words, for awk and cut."""
    number = verdict.shown_number or "-"
    parts = [f"{verdict.status} {number} {verdict.control.id}: {verdict.control.recommendation}"]
    parts += [f"{name} {text}" for name, text in (("expected", verdict.expected), ("found", verdict.found)) if text]
    if verbosity is Verbosity.VERBOSE:
        parts += [f"evidence {evidence_item.line}" for evidence_item in verdict.evidence]
    elif verdict.evidence:
        some, others = common.few(verdict.evidence)
        parts.append(f"location {', '.join(filter(None, (*dict.fromkeys(shown.origin for shown in some), others)))}")
    parts.append(verdict.mark)
    parts += [f"{name} {text}" for name, text in (("reason", verdict.reason), ("waiver", verdict.accepted)) if text]
    parts.append(common.baseline_mark(assessment, verdict))
    if verdict.is_open:
        parts += (f"owner {common.owner_name(verdict.owner)}", labelled(common.verdict_fix(verdict)))
    return "; ".join(filter(None, parts))
