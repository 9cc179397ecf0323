"""A report as JSON; docs/reference/report.schema.json describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.k3s.redaction import redacted_all
from agent.reports.repair_objects import location_object, next_step_object, repair_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.base.errors import ExitCode
    from agent.base.report import Finding, Item, Report

SCHEMA = 3


def report_json(report: Report) -> str:
    """Return a report as JSON. Every key is present; a text that does not apply is empty."""
    content = {
        "meaning": report.exit_code.meaning if report.exit_code else report.wording.success,
        "facts": list(map(vars, report.facts)),
        "items": list(map(item_object, report.items)),
        "findings": list(map(finding_object, report.findings)),
        "next_steps": list(map(next_step_object, report.next_steps)),
    }
    return json_text(SCHEMA, report.verb, report.exit_code, content)


def json_text(schema: int, verb: str, exit_code: ExitCode, content: Mapping[str, object]) -> str:
    """Return the result of a verb as one JSON object and a line break, without secrets."""
    import json

    from agent import __version__

    head = {"schema": schema, "version": __version__, "verb": verb, "exit_code": int(exit_code)}
    # ASCII, so that it is valid in every encoding of the stream, and no text in it controls a terminal.
    return json.dumps(redacted_all({**head, **content}), indent=2) + "\n"


def item_object(item: Item) -> dict[str, object]:
    """Return an item for JSON."""
    return {
        "id": item.id,
        "status": item.status,
        "detail": item.detail,
        "repair": repair_object(item.repair),
        "blocked_by_environment": item.blocked_by_environment,
        "diff": item.diff,
        "until": item.until,
    }


def finding_object(finding: Finding) -> dict[str, object]:
    """Return a finding for JSON."""
    return {
        **finding._asdict(),
        "location": location_object(finding.location),
        "repair": repair_object(finding.repair),
        "prediction": finding.prediction and finding.prediction._asdict(),
    }
