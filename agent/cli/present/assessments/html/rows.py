"""Rows of the HTML report: verdicts with their anchors, and the texts that several parts share."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from agent.assess.assessment import ControlStatus
from agent.assess.benchmark.sections import SECTIONS
from agent.base.model import FixOwner
from agent.base.times import timestamp
from agent.cli.present.assessments.common import UNNUMBERED, by_section, is_new
from agent.cli.present.assessments.html.elements import element, icon, whole

if TYPE_CHECKING:
    from collections.abc import Iterable
    from xml.etree.ElementTree import Element

    from agent.assess.assessment import Assessment, Verdict
    from agent.cli.present.assessments.html.elements import Content

STATUS_NAMES = {
    ControlStatus.FAIL: "Fail",
    ControlStatus.UNKNOWN: "Unknown",
    ControlStatus.MANUAL: "Manual",
    ControlStatus.WAIVED: "Waived",
    ControlStatus.PASS: "Pass",
    ControlStatus.NOT_APPLICABLE: "Not applicable",
}
"""In the order of the report: open statuses first, so that their bars share a baseline."""

OWNERS = {
    FixOwner.APPLY: ("k3s-harden apply", "fixed by this command"),
    FixOwner.OPERATOR: ("Operator", "manual change on this node"),
    FixOwner.K3S: ("K3s", "set by K3s itself"),
    FixOwner.NONE: ("None", "cannot be fixed on this node"),
}
"""Name and explanation of each owner of a fix."""


class ControlRow(NamedTuple):
    """A verdict on the page."""

    verdict: Verdict
    anchor: str
    """The id that links refer to."""
    is_new: bool | None
    """Whether it is open now and not in the baseline; None if it is not open or there is no baseline."""


def rows_of(assessment: Assessment) -> tuple[ControlRow, ...]:
    """Return the verdicts in the order of their numbers, each with a unique anchor."""
    taken: dict[str, int] = {}
    rows = []
    for verdict in (verdict for verdicts in by_section(assessment).values() for verdict in verdicts):
        anchor = "control:" + re.sub(r"[^A-Za-z0-9._/-]", "-", verdict.control.id)
        taken[anchor] = taken.get(anchor, 0) + 1
        if taken[anchor] > 1:
            anchor += f":{taken[anchor]}"
        is_compared = assessment.known is not None and verdict.is_open
        rows.append(ControlRow(verdict, anchor, is_new(assessment, verdict) if is_compared else None))
    return tuple(rows)


def rows_by_section(rows: Iterable[ControlRow]) -> dict[str, list[ControlRow]]:
    """Return the rows by the number of their section."""
    sections: dict[str, list[ControlRow]] = {}
    for row in rows:
        sections.setdefault(row.verdict.section, []).append(row)
    return sections


def baseline_badge(row: ControlRow) -> Content:
    """Return the badge of an open control in a comparison."""
    if row.is_new is None:
        return None
    text, more = ("new", " new") if row.is_new else ("in baseline", "")
    return (" ", element("span", text, class_=f"since{more}"))


def link(row: ControlRow) -> Element:
    """Return a link to a control."""
    title = row.verdict.control.recommendation
    content = (icon(row.verdict.status), name(row.verdict), element("span", whole(title), class_="title"))
    return element("a", content, href=f"#{row.anchor}")


def name(verdict: Verdict) -> Element:
    """Return the number of a control, or its id if the benchmark does not contain it."""
    return element("span", f"{verdict.number.text if verdict.number else verdict.control.id} ", class_="no")


def section_anchor(number: str) -> str:
    """Return the id of a section's heading."""
    return "section:" + (re.sub(r"[^A-Za-z0-9._-]", "-", number) or UNNUMBERED)


def section_heading(number: str) -> Content:
    """Return number and title of a section."""
    heading = SECTIONS.get(number, "")
    return (element("span", number, class_="no"), f" {heading}") if number else heading


def score(verdicts: Iterable[Verdict]) -> str:
    """Return how many of the controls with a result pass, in percent; empty if there are none.

    A control that is waived or UNKNOWN does not pass. Manual controls and those that do not apply are left out.
    """
    left_out = (ControlStatus.MANUAL, ControlStatus.NOT_APPLICABLE)
    statuses = [verdict.status for verdict in verdicts if verdict.status not in left_out]
    if not statuses:
        return ""
    # Rounded down, so that 100 % means all of them.
    return f"{statuses.count(ControlStatus.PASS) * 100 // len(statuses)} %"


def count_of(count: int, noun: str) -> str:
    """Return a count with its noun."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def node_name(assessment: Assessment) -> str:
    """Return the name of the node, or else the directory of the host tree."""
    return assessment.node or (f"host tree {assessment.root}" if assessment.root else "unnamed host")


def time_element(when: float) -> Element:
    """Return a time, readable by people and programs."""
    text = timestamp(when)
    return element("time", text.replace("T", " ").replace("Z", " UTC"), datetime=text)
