"""An assessment as JSON, as docs/reference/assessment.schema.json has it; agent.baseline reads it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.assess.assessment import SCHEMA
from agent.present import remediation
from agent.present.assessments.common import by_section, is_known, open_by_owner, section_title, timestamp

if TYPE_CHECKING:
    from agent.assess.assessment import Assessment, Evidence, Note, Verdict, Waiver
    from agent.model import Location


def as_json(assessment: Assessment) -> str:
    """One JSON object and a line break. Keys are always all there; what does not apply is an empty string or null."""
    import json

    from agent import __version__

    sections = by_section(assessment)
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
        "facts": [fact._asdict() for fact in assessment.facts],
        "counts": assessment.counts(),
        "sections": [
            {"number": number, "title": section_title(number), "counts": assessment.counts(number)}
            for number in sections
        ],
        "open_by_owner": [
            {"owner": str(owner), "controls": [verdict.control.id for verdict in verdicts]}
            for owner, verdicts in open_by_owner(assessment).items()
        ],
        "verdicts": [_verdict(assessment, verdict) for verdicts in sections.values() for verdict in verdicts],
        "notes": [_note(note) for note in assessment.notes],
    }
    # In ASCII, so that no stream's encoding can make it anything but JSON.
    return json.dumps(shape, indent=2) + "\n"


def _verdict(assessment: Assessment, verdict: Verdict) -> dict[str, object]:
    control, number = verdict.control, verdict.number
    return {
        "id": control.id,
        "title": control.title,
        "number": number.text if number else "",
        "section": verdict.section,
        "assessed": number.assessed.name.lower() if number else "",
        "level": control.level,
        "status": str(verdict.status),
        "is_open": verdict.is_open,
        "in_baseline": is_known(assessment, verdict),
        "expected": verdict.expected,
        "found": verdict.found,
        "evidence": [_evidence(one) for one in verdict.evidence],
        "reason": verdict.reason,
        "owner": str(verdict.owner),
        "remediation": remediation.text(verdict.remediation),
        "waiver": verdict.waiver and _waiver(verdict.waiver),
        "rationale": control.why,
        "source": control.source,
    }


def _evidence(evidence: Evidence) -> dict[str, object]:
    return {
        "observation": evidence.observation,
        "location": _location(evidence.location),
        "source": evidence.source,
    }


def _waiver(waiver: Waiver) -> dict[str, object]:
    return {"reason": waiver.reason, "expires": waiver.expires, "location": _location(waiver.location)}


def _note(note: Note) -> dict[str, object]:
    return {
        "message": note.message,
        "location": _location(note.location),
        "remediation": remediation.text(note.remediation),
    }


def _location(location: Location | None) -> dict[str, object] | None:
    return location and {"path": str(location.path), "line": location.line or None}
