"""The report as JSON. docs/reference/report.schema.json describes it; a change of shape is a new schema number."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.report import Report

SCHEMA = 1


def as_json(report: Report) -> str:
    """One JSON object and a line break. Keys are always all there; what does not apply is an empty string."""
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
        "findings": [finding._asdict() for finding in report.findings],
    }
    # In ASCII, so that no stream's encoding can make it anything but JSON.
    return json.dumps(shape, indent=2) + "\n"
