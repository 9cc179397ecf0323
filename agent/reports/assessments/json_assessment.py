"""An assessment as JSON; docs/reference/assessment.schema.json describes it, agent.assess.baseline reads it."""

from __future__ import annotations

from agent.assess.assessment import SCHEMA, Assessment, Evidence, Note, Verdict, Waiver
from agent.assess.frameworks.references import references_of
from agent.assess.provenance import sha256_of_report
from agent.base.times import timestamp
from agent.reports.assessments.common import section_title
from agent.reports.repair_texts import location_object, next_step_object, repair_object


def assessment_json(assessment: Assessment) -> str:
    """Return one JSON object and a line break. Every key is present; a value that does not apply is empty or null."""
    import json

    from agent import __version__

    sections = assessment.sections
    shape = {
        "schema": SCHEMA,
        "version": __version__,
        "verb": "assess",
        "exit_code": int(assessment.exit_code),
        "meaning": assessment.exit_code.meaning,
        "benchmark": str(assessment.benchmark),
        "node": assessment.node,
        "time": timestamp(assessment.when),
        "has_baseline": assessment.known is not None,
        "facts": list(map(vars, assessment.facts)),
        "counts": assessment.counts(),
        "benchmark_counts": assessment.benchmark_counts,
        "beyond_benchmark_counts": assessment.counts(""),
        "sections": [
            {"number": number, "title": section_title(number), "counts": assessment.counts(number)}
            for number in sections
        ],
        "open_by_owner": [
            {"owner": str(owner), "controls": [verdict.control.id for verdict in verdicts]}
            for owner, verdicts in assessment.open_by_owner.items()
        ],
        "verdicts": [_verdict(assessment, verdict) for verdicts in sections.values() for verdict in verdicts],
        "in_force": [
            {name: value for name, value in vars(effect).items() if name != "steps"} for effect in assessment.effects
        ],
        "notes": [{**_located(note), "repair": repair_object(note.repair)} for note in assessment.notes],
        "provenance": list(map(vars, assessment.provenance.facts())) if assessment.provenance else [],
        "next_steps": list(map(next_step_object, assessment.next_steps)),
    }
    shape["sha256"] = sha256_of_report(shape)
    # ASCII, so that it is valid JSON in every encoding of the stream.
    return json.dumps(shape, indent=2) + "\n"


def _verdict(assessment: Assessment, verdict: Verdict) -> dict[str, object]:
    control, number, rated = verdict.control, verdict.number, verdict.control.rating
    return {
        "id": control.id,
        "title": control.title,
        "number": verdict.shown_number,
        "section": verdict.section,
        "assessed": str(number.assessed) if number else "",
        "level": control.level,
        "severity": str(rated.severity),
        "severity_reason": rated.reason,
        "status": str(verdict.status),
        "is_open": verdict.is_open,
        "configured_status": str(verdict.configured or ""),
        "in_force": str(verdict.in_force or ""),
        "in_baseline": assessment.is_in_baseline(verdict),
        "is_new_control": verdict.control.id in assessment.not_in_baseline,
        "expected": verdict.expected,
        "found": verdict.found,
        "evidence": [{**_located(shown), "repeat_with": shown.repeated_by} for shown in verdict.evidence],
        "reason": verdict.reason,
        "owner": str(verdict.owner),
        "repair": repair_object(verdict.repair),
        "waiver": verdict.waiver and _located(verdict.waiver),
        "rationale": control.why,
        "source": control.source,
        "references": {name: list(found) for name, found in references_of(control.id)._asdict().items()},
    }


def _located(value: Evidence | Note | Waiver) -> dict[str, object]:
    return {**value._asdict(), "location": location_object(value.location)}
