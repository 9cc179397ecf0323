"""A notification as JSON for the site's command (docs/reference/notification.schema.json)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.assess.assessment import Assessment, ControlStatus, Verdict
from agent.assess.likely_cause import Notification, gate_gaps, is_compliant
from agent.base.repair import NO_REPAIR
from agent.base.times import timestamp
from agent.reports.assessments.common import cleaned
from agent.reports.repair_texts import location_object, repair_object
from agent.reports.text import count_of, printable

SCHEMA = 2
"""The version of a notification's JSON; it changes with the shape."""

_MOST_LINES = 20
"""Maximum number of changes in `text`; `changes` has all of them."""


def notification_json(
    notification: Notification, assessment: Assessment, number: int, causes: Mapping[str, str]
) -> bytes:
    """Return the notification in ASCII. `causes` are the likely causes by the id of the control."""
    import json

    from agent import __version__

    rows = _rows(notification, cleaned(assessment), causes)
    before = notification.before
    shape = {
        "schema": SCHEMA,
        "version": __version__,
        "number": number,
        "event": notification.event,
        "host": printable(assessment.node),
        "time": timestamp(assessment.when),
        "previous_time": timestamp(before.when) if before else None,
        "benchmark": str(assessment.benchmark),
        "status": _status(compliant=is_compliant(assessment)),
        "previous_status": _status(compliant=before.is_compliant) if before else None,
        "text": _text(notification, assessment, rows),
        "counts": assessment.counts(),
        "changes": rows,
        "gate": list(map(printable, gate_gaps(assessment))),
    }
    return json.dumps(shape, indent=2).encode() + b"\n"


def _rows(notification: Notification, assessment: Assessment, causes: Mapping[str, str]) -> list[dict[str, object]]:
    """Return the changed controls, worse ones first; in the first notification, all open controls."""
    if notification.before is None:
        return [_row(verdict, None, "worse", causes) for verdict in assessment.all_open]
    verdicts = {verdict.control.id: verdict for verdict in assessment.verdicts}
    order = {"worse": 0, "other": 1, "better": 2}
    changes = sorted(notification.changes, key=lambda change: order[change.direction])
    return [_row(verdicts[change.verdict.control.id], change.before, change.direction, causes) for change in changes]


def _row(
    verdict: Verdict, before: ControlStatus | None, direction: str, causes: Mapping[str, str]
) -> dict[str, object]:
    control, evidence = verdict.control, verdict.evidence
    return {
        "id": control.id,
        "number": verdict.shown_number,
        "title": control.title,
        "status": str(verdict.status),
        "previous_status": before and str(before),
        "change": direction,
        "expected": verdict.expected,
        "found": verdict.found or verdict.reason,
        "location": location_object(evidence[0].location) if evidence else None,
        "likely_cause": printable(causes.get(control.id, "")),
        "owner": str(verdict.owner),
        "repair": repair_object(verdict.repair if verdict.is_open else NO_REPAIR),
    }


def _status(*, compliant: bool) -> str:
    return "compliant" if compliant else "not_compliant"


def _text(notification: Notification, assessment: Assessment, rows: Sequence[Mapping[str, object]]) -> str:
    """Return the text of the notification: the result, then a line for each change."""
    host, state = printable(assessment.node), "compliant" if is_compliant(assessment) else "not compliant"
    if notification.event == "test":
        return f"{host}: this is a test; the host is {state}"
    before = notification.before
    has_changed = before is not None and before.is_compliant != is_compliant(assessment)
    lines = [f"{host} is {'now ' if has_changed else ''}{state}{_counted(rows, is_first=before is None)}"]
    lines += map(printable, gate_gaps(assessment))
    lines += map(_line, rows[:_MOST_LINES])
    left = len(rows) - _MOST_LINES
    return "\n".join((*lines, f"and {left} more") if left > 0 else lines)


def _counted(rows: Sequence[Mapping[str, object]], *, is_first: bool) -> str:
    if is_first:
        return f" ({count_of(len(rows), 'open control')})"
    directions = [row["change"] for row in rows]
    counts = (("newly open", "worse"), ("no longer open", "better"), ("otherwise changed", "other"))
    parts = [f"{directions.count(key)} {name}" for name, key in counts if key in directions]
    return f" ({', '.join(parts)})" if parts else ""


def _line(row: Mapping[str, object]) -> str:
    before = f"{row['previous_status']} → " if row["previous_status"] else ""
    number = f" ({row['number']})" if row["number"] else ""
    found = f": found {row['found']}" if row["found"] else ""
    cause = f"; likely cause: {row['likely_cause']}" if row["likely_cause"] else ""
    return f"{before}{row['status']} {row['id']}{number}{found}{cause}"
