"""Parts of the HTML report with one row for each control: filters, tables of the sections, and the legend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.assess.assessment import ControlStatus
from agent.assess.frameworks import Framework
from agent.assess.frameworks.references import references_of
from agent.cli.present import remediation
from agent.cli.present.assessments.common import UNNUMBERED, expiry, origin
from agent.cli.present.assessments.html.elements import (
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
from agent.cli.present.assessments.html.rows import (
    OWNERS,
    STATUS_NAMES,
    baseline_badge,
    name,
    score,
    section_anchor,
    section_heading,
)
from agent.k3s.cis.numbers import Assessed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from xml.etree.ElementTree import Element

    from agent.assess.assessment import Verdict
    from agent.cli.present.assessments.html.elements import Content
    from agent.cli.present.assessments.html.rows import ControlRow

_MEANINGS = {
    ControlStatus.FAIL: "The found value is not the expected one.",
    ControlStatus.UNKNOWN: "Could not be determined: the evidence is missing or not readable. Counts as open.",
    ControlStatus.MANUAL: "Requires manual review: files and processes of the host do not contain the answer.",
    ControlStatus.WAIVED: "The control fails; a waiver of the site accepts it, with reason and expiry.",
    ControlStatus.PASS: "The found value is the expected one; the evidence names its location.",
    ControlStatus.NOT_APPLICABLE: "The control does not apply to this node, for the reason given.",
}
_ASSESSED = {
    Assessed.AUTOMATED: "automated, scored",
    Assessed.UNSCORED: "automated, not scored",
    Assessed.MANUAL: "manual",
    Assessed.SKIPPED: "not applicable to K3s",
}
_REMEDIATION_HEADINGS = {ControlStatus.PASS: "Remediation if it fails", ControlStatus.MANUAL: "Review"}


def controls(rows: Sequence[ControlRow], sections: Mapping[str, Sequence[ControlRow]]) -> Element:
    """Return the filters and a table for each section."""
    return part(
        "controls",
        "Controls",
        _filters(rows, sections),
        (_section(number, inside) for number, inside in sections.items()),
        element("p", "No controls match.", class_="none", hidden=""),
    )


def _section(number: str, rows: Sequence[ControlRow]) -> Element:
    anchor = section_anchor(number)
    tallies = ((text, sum(shown.verdict.status is status for shown in rows)) for status, text in STATUS_NAMES.items())
    tally = ", ".join(f"{count} {text.lower()}" for text, count in tallies if count)
    heads = ("No.", "Control", "Status", "Expected", "Found", "Owner")
    reached = score(shown.verdict for shown in rows)
    tally += f"; score {reached}" if reached else ""
    return element(
        "section",
        element("div", element("h3", section_heading(number), id=anchor), element("small", tally), class_="head"),
        table("controls", heads, map(_control, rows), aria_labelledby=anchor),
        class_="section",
        data_section=number or UNNUMBERED,
    )


def _filters(rows: Sequence[ControlRow], sections: Iterable[str]) -> Element:
    """Return the filters, hidden until the script runs."""
    statuses = (
        element(
            "label",
            element("input", type="checkbox", name="status", value=status),
            icon(status),
            text,
            element("b", str(sum(shown.verdict.status is status for shown in rows))),
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
    return group(
        table_row(
            cell(element("a", name(verdict) if verdict.number else "–", href=f"#{shown.anchor}"), class_="no"),
            head_cell(whole(verdict.control.recommendation), baseline_badge(shown)),
            cell(
                element("span", icon(verdict.status), STATUS_NAMES[verdict.status]),
                element("small", f"severity {rated.severity}") if verdict.is_open else None,
                element("small", f"Level {verdict.control.level}", class_="level") if verdict.number else None,
                element("small", expiry(waiver)) if waiver else None,
                class_=f"status {verdict.status}",
            ),
            _values(verdict),
            cell(OWNERS[verdict.owner][0], class_="owner"),
            class_="line",
        ),
        table_row(cell(element("div", _details(verdict), id=f"{shown.anchor}:more"), colspan="6"), class_="more"),
        id=shown.anchor,
        data_status=verdict.status,
        data_owner=verdict.owner.name.lower(),
    )


def _values(verdict: Verdict) -> Content:
    """Return the cells of expected and found value, or one cell with the reason why there are none."""
    if verdict.reason and not verdict.expected and not verdict.found:
        return cell(element("div", inline(verdict.reason)), class_="because", colspan="2")
    return (
        cell(element("div", verdict.expected), class_="expected"),
        cell(element("div", verdict.found), class_="found"),
    )


def _details(verdict: Verdict) -> Content:
    control, waiver = verdict.control, verdict.waiver
    # The reason of a manual control is also its remediation.
    is_review = verdict.reason == remediation.text(verdict.remediation)
    reason = "" if is_review else verdict.reason
    evidence = [
        element(
            "li",
            evidence_item.observation,
            location(origin(evidence_item)),
            element("pre", element("code", evidence_item.repeated_by)) if evidence_item.repeated_by else None,
        )
        for evidence_item in verdict.evidence
    ]
    accepted = (waiver.reason, (expiry(waiver), location(waiver.location))) if waiver else ()
    blocks = (
        _block("Reason", paragraph(reason), " reason"),
        _block("Waiver", [element("p", text) for text in accepted], " waiver"),
        _block("Evidence", [element("ul", evidence, class_="evidence")] if evidence else [], " seen"),
        _block(
            _REMEDIATION_HEADINGS.get(verdict.status, "Remediation"),
            step_elements(verdict.remediation),
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


def _block(heading: str, body: Sequence[Element], more: str = "") -> Element | None:
    return element("div", element("div", heading, class_="label"), body, class_=f"block{more}") if body else None


def legend() -> Element:
    """Return the meaning of each status."""
    entries = (
        element(
            "div",
            element("dt", element("span", icon(status), text), class_=f"status {status}"),
            element("dd", _MEANINGS[status]),
        )
        for status, text in STATUS_NAMES.items()
    )
    return part("legend", "Status values", element("dl", entries, class_="legend"))
