"""Controls in the HTML report: their rows and texts, filters, tables of the sections, and the legend."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple
from xml.etree.ElementTree import Element

from agent.assess.assessment import Assessment, ControlStatus, Verdict
from agent.assess.benchmark.catalogue import SECTIONS
from agent.assess.benchmark.control import Severity
from agent.assess.frameworks import Framework
from agent.assess.frameworks.references import references_of
from agent.base.repair import FixOwner
from agent.k3s.cis.versions import Assessed
from agent.reports import repair_texts
from agent.reports.assessments.common import UNNUMBERED
from agent.reports.html.elements import (
    Content,
    cell,
    definitions,
    element,
    group,
    head_cell,
    icon,
    inline,
    location,
    paragraph,
    part,
    step_elements,
    table,
    table_row,
    whole,
)

_MEANINGS = {
    ControlStatus.FAIL: "The found value is not the expected one.",
    ControlStatus.UNKNOWN: "Could not be determined: the evidence is missing or not readable. Counts as open.",
    ControlStatus.MANUAL: "Requires manual review: files and processes of the host do not contain the answer.",
    ControlStatus.WAIVED: "The control fails; a waiver of the site accepts it, with reason and expiry.",
    ControlStatus.PASS: "The found value is the expected one; the evidence names its location.",
    ControlStatus.NOT_APPLICABLE: "The control does not apply to this node, for the reason given.",
}
STATUS_NAMES = {status: status.replace("_", " ").capitalize() for status in _MEANINGS}
"""In the order of the report: open statuses first, so that their bars share a baseline."""

OWNERS = {
    FixOwner.APPLY: ("k3s-harden apply", "fixed by this command"),
    FixOwner.OPERATOR: ("Operator", "manual change on this node"),
    FixOwner.K3S: ("K3s", "set by K3s itself"),
    FixOwner.NONE: ("None", "cannot be fixed on this node"),
}
"""Name and explanation of each owner of a fix."""

_ASSESSED = {
    Assessed.AUTOMATED: "automated, scored",
    Assessed.UNSCORED: "automated, not scored",
    Assessed.MANUAL: "manual",
    Assessed.SKIPPED: "not applicable to K3s",
}
_MOST_SHOWN = 5
_REPAIR_HEADINGS = {ControlStatus.PASS: "Remediation if it fails", ControlStatus.MANUAL: "Review"}


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
    for verdict in assessment.in_order:
        anchor = "control:" + re.sub(r"[^A-Za-z0-9._/-]", "-", verdict.control.id)
        taken[anchor] = taken.get(anchor, 0) + 1
        if taken[anchor] > 1:
            anchor += f":{taken[anchor]}"
        is_compared = assessment.known is not None and verdict.is_open
        rows.append(ControlRow(verdict, anchor, assessment.is_new(verdict) if is_compared else None))
    return tuple(rows)


def rows_by_section(rows: Iterable[ControlRow]) -> dict[str, list[ControlRow]]:
    """Return the rows by the number of their section."""
    return {number: list(inside) for number, inside in groupby(rows, key=lambda row: row.verdict.section)}


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
    return element("span", f"{verdict.shown_number or verdict.control.id} ", class_="no")


def section_anchor(number: str) -> str:
    """Return the id of a section's heading."""
    return "section:" + (re.sub(r"[^A-Za-z0-9._-]", "-", number) or UNNUMBERED)


def section_heading(number: str) -> Content:
    """Return number and title of a section."""
    heading = SECTIONS.get(number, "")
    return (element("span", number, class_="no"), f" {heading}") if number else heading


def score(counts: Mapping[ControlStatus, int]) -> str:
    """Return the percentage of PASS among the controls with a result; empty if no control has one.

    A control that is waived or UNKNOWN does not pass. Manual controls and those that do not apply are left out.
    """
    rated = sum(counts.values()) - counts[ControlStatus.MANUAL] - counts[ControlStatus.NOT_APPLICABLE]
    # Rounded down, so that 100 % means all of them.
    return f"{counts[ControlStatus.PASS] * 100 // rated} %" if rated else ""


def node_name(assessment: Assessment) -> str:
    """Return the name of the node, or else the directory of the host tree."""
    return assessment.node or (f"host tree {assessment.root}" if assessment.root else "unnamed host")


def controls(assessment: Assessment, sections: Mapping[str, Sequence[ControlRow]]) -> Element:
    """Return the filters and a table for each section."""
    return part(
        "controls",
        "Controls",
        _filters(assessment.counts(), sections),
        (_section(number, inside, assessment.counts(number)) for number, inside in sections.items()),
        element("p", "No controls match.", class_="none", hidden=""),
    )


def _section(number: str, rows: Sequence[ControlRow], counts: Mapping[ControlStatus, int]) -> Element:
    anchor = section_anchor(number)
    tally = ", ".join(f"{counts[status]} {text.lower()}" for status, text in STATUS_NAMES.items() if counts[status])
    heads = ("No.", "Control", "Status", "Expected", "Found", "Owner")
    reached = score(counts)
    tally += f"; score {reached}" if reached else ""
    return element(
        "section",
        element("div", element("h3", section_heading(number), id=anchor), element("small", tally), class_="head"),
        table("controls", heads, map(_control, rows), aria_labelledby=anchor),
        class_="section",
        data_section=number or UNNUMBERED,
    )


def _filters(counts: Mapping[ControlStatus, int], sections: Iterable[str]) -> Element:
    """Return the filters, hidden until the script runs."""
    statuses = (
        element(
            "label",
            element("input", type="checkbox", name="status", value=status),
            icon(status),
            text,
            element("b", str(counts[status])),
            class_=status,
        )
        for status, text in STATUS_NAMES.items()
    )
    section_options = (element("option", section_heading(number), value=number or UNNUMBERED) for number in sections)
    owner_options = (element("option", text, value=owner.name.lower()) for owner, (text, _) in OWNERS.items())
    return element(
        "div",
        element("fieldset", element("legend", "Status"), statuses),
        element(
            "div",
            element("label", "Section", _select("section", section_options)),
            element("label", "Owner", _select("owner", owner_options)),
            element("label", "Severity", _select("severity", (element("option", each) for each in Severity))),
            element(
                "label",
                "Text",
                element("input", type="search", name="text", autocomplete="off", spellcheck="false"),
                class_="search",
            ),
            element("button", "Clear", type="button", name="clear"),
            element("button", "Expand all", type="button", name="expand"),
            element("output", aria_live="polite"),
            class_="rest",
        ),
        class_="filters",
        role="search",
        aria_label="Filter the controls",
        hidden="",
    )


def _select(name_: str, options: Content) -> Element:
    return element("select", element("option", "all", value=""), options, name=name_)


def _control(shown: ControlRow) -> Element:
    """Return the row of a control and, below it, the row with its details."""
    verdict, rated = shown.verdict, shown.verdict.control.rating
    waiver = verdict.waiver
    if verdict.reason and not verdict.expected and not verdict.found:
        values: Content = cell(element("div", inline(verdict.reason)), class_="because", colspan="2")
    else:
        texts = (("expected", verdict.expected), ("found", verdict.found))
        values = (cell(element("div", text), class_=name_) for name_, text in texts)
    return group(
        table_row(
            cell(element("a", name(verdict) if verdict.number else "–", href=f"#{shown.anchor}"), class_="no"),
            head_cell(whole(verdict.control.recommendation), baseline_badge(shown)),
            cell(
                element("span", icon(verdict.status), STATUS_NAMES[verdict.status]),
                element("small", f"severity {rated.severity}") if verdict.is_open else None,
                element("small", f"Level {verdict.control.level}", class_="level") if verdict.number else None,
                element("small", waiver.expiry) if waiver else None,
                element("small", verdict.mark) if verdict.mark else None,
                class_=f"status {verdict.status}",
            ),
            values,
            cell(OWNERS[verdict.owner][0], class_="owner"),
            class_="line",
        ),
        table_row(cell(element("div", _details(verdict), id=f"{shown.anchor}:more"), colspan="6"), class_="more"),
        id=shown.anchor,
        data_status=verdict.status,
        data_owner=verdict.owner.name.lower(),
        data_severity=rated.severity,
    )


def _details(verdict: Verdict) -> Content:
    control, waiver = verdict.control, verdict.waiver
    # The reason of a manual control is also its remediation.
    is_review = verdict.reason == repair_texts.text(verdict.repair)
    reason = "" if is_review else verdict.reason
    evidence = []
    for shown in verdict.evidence:
        command = element("pre", element("code", shown.repeated_by)) if shown.repeated_by else None
        evidence.append(element("li", shown.observation, location(shown.origin), command))
    accepted = (waiver.reason, (waiver.expiry, location(waiver.location))) if waiver else ()
    blocks = (
        _block("Reason", paragraph(reason), " reason"),
        _block("Waiver", [element("p", text) for text in accepted], " waiver"),
        _block("Evidence", list(_evidence(evidence)), " seen"),
        _block(
            _REPAIR_HEADINGS.get(verdict.status, "Remediation"),
            step_elements(verdict.repair),
            " remediation same" if is_review else " remediation",
        ),
        _block("Rationale", paragraph(control.why), " why"),
    )
    names = map(", ".join, references_of(control.id))
    references = [(framework.full_name, text) for framework, text in zip(Framework, names) if text]
    about = (
        ("Id", element("code", control.id)),
        ("Severity", f"{control.rating.severity}: {control.rating.reason}"),
        ("Level", str(control.level)),
        ("Assessed", _ASSESSED[verdict.number.assessed] if verdict.number else "beyond the benchmark"),
        ("Applies to", str(control.applies)),
        ("Source", control.source),
    )
    return element("div", blocks, class_="text"), definitions((*about, *references), class_="about")


def _evidence(items: Sequence[Element]) -> Iterator[Element]:
    """Yield the evidence, of which all but the first items are shown on request, such as of fifty files."""
    first, rest = items[:_MOST_SHOWN], items[_MOST_SHOWN:]
    if first:
        yield element("ul", first, class_="evidence")
    if rest:
        yield element("details", element("summary", f"{len(rest)} more"), element("ul", rest, class_="evidence"))


def _block(heading: str, body: Sequence[Element], more: str = "") -> Element | None:
    return element("div", element("div", heading, class_="label"), body, class_=f"block{more}") if body else None


def legend() -> Element:
    """Return the meaning of each status."""
    entries = (
        (
            element("dt", element("span", icon(status), text), class_=f"status {status}"),
            element("dd", _MEANINGS[status]),
        )
        for status, text in STATUS_NAMES.items()
    )
    parts = (element("div", entry) for entry in entries)
    return part("legend", "Status values", element("dl", parts, class_="legend"))
