"""A report as JSON; docs/reference/report.schema.json describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.present import remediation

if TYPE_CHECKING:
    from agent.report import Finding, Report

SCHEMA = 1


def as_json(report: Report) -> str:
    """Return one JSON object and a line break. Every key is present; a text that does not apply is empty."""
    import json

    from agent import __version__

    shape = {
        "schema": SCHEMA,
        "version": __version__,
        "verb": report.verb,
        "exit_code": int(report.exit_code),
        "meaning": report.exit_code.meaning,
        "facts": [fact._asdict() for fact in report.facts],
        "items": [item._asdict() for item in report.items],
        "findings": [_finding(finding) for finding in report.findings],
    }
    # ASCII, so that it is valid JSON in every encoding of the stream.
    return json.dumps(shape, indent=2) + "\n"


def _finding(finding: Finding) -> dict[str, object]:
    location = finding.location
    return {
        **finding._asdict(),
        "location": location and {"path": str(location.path), "line": location.line or None},
        "remediation": remediation.text(finding.remediation),
    }
