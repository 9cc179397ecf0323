"""An assessment as JSON, as docs/reference/assessment.schema.json has it; agent.baseline reads it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.assess.assessment import SCHEMA
from agent.present.assessments.common import by_section, is_known, section_title, timestamp, to_do

if TYPE_CHECKING:
    from agent.assess.assessment import Assessment, Verdict


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
        "to_do": [
            {"actor": str(actor), "controls": [verdict.control.id for verdict in verdicts]}
            for actor, verdicts in to_do(assessment).items()
        ],
        "verdicts": [_verdict(assessment, verdict) for verdicts in sections.values() for verdict in verdicts],
        "notices": [notice._asdict() for notice in assessment.notices],
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
        "is_known": is_known(assessment, verdict),
        "wanted": verdict.wanted,
        "found": verdict.found,
        "evidence": [seen._asdict() for seen in verdict.evidence],
        "reason": verdict.reason,
        "actor": str(verdict.actor),
        "remedy": verdict.remedy,
        "waiver": verdict.waiver and verdict.waiver._asdict(),
        "why": control.why,
        "source": control.source,
    }
