"""An assessment as one HTML file without external resources, and its parts above the controls."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import permutations, takewhile
from xml.etree.ElementTree import Element, fromstring, tostring

from agent import __version__
from agent.assess.assessment import Assessment, ControlStatus, Note
from agent.assess.benchmark.control import Severity
from agent.base import package_data
from agent.base.repair import FixOwner, Repair
from agent.base.report import K3S_VERSION, KERNEL, OPERATING_SYSTEM, ROLE
from agent.reports import repair_texts
from agent.reports.html.assessed_controls import (
    OWNERS,
    STATUS_NAMES,
    ControlRow,
    baseline_badge,
    controls,
    legend,
    link,
    node_name,
    rows_by_section,
    rows_of,
    score,
    section_anchor,
    section_heading,
)
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
    raw,
    step_blocks,
    step_elements,
    table,
    table_row,
    time_element,
)
from agent.reports.repair_texts import Step
from agent.reports.text import count_of


def as_html(assessment: Assessment) -> str:
    """Return the page, in ASCII; it depends only on the assessment."""
    rows, benchmark = rows_of(assessment), f"CIS Kubernetes Benchmark {assessment.benchmark.number}"
    sections = rows_by_section(rows)
    blockers = (note for note in assessment.notes if note.prevents_start)
    main = element(
        "main",
        _notes("blockers", "What prevents K3s from starting", blockers),
        _remediation(assessment, rows),
        _effects(assessment),
        _waivers(rows),
        _notes("notes", "Notes", (note for note in assessment.notes if not note.prevents_start)),
        _summary(assessment, sections),
        controls(assessment, sections),
        _facts(assessment),
        legend(),
    )
    created = f"Created by k3s-harden {__version__} on {node_name(assessment)}, "
    footer = element(
        "footer",
        element("p", (element("span", field) for field in ("Reviewed by", "Date", "Signature")), class_="sign"),
        element("p", created, time_element(assessment.when), f", for {benchmark}. Nothing was changed."),
    )
    skip = element("a", "Skip to the controls", class_="skip", href="#controls")
    content = (skip, _header(assessment), main, footer)
    return page(f"{node_name(assessment)}: {benchmark}", asset("report.css"), asset("report.js"), content)


def page(title: str, style: str, script: str, content: Iterable[Element]) -> str:
    """Return a page, in ASCII, that loads nothing."""
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none';"
        " form-action 'none'"
    )
    # The policy applies only to what follows it.
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("meta", name="generator", content=f"k3s-harden {__version__}"),
        element("title", title),
        raw("style", style),
    )
    icons = fromstring(asset("icons.xml"))  # noqa: S314 - our own file
    body = element("body", icons, content, raw("script", script))
    html = tostring(element("html", head, body, lang="en"), method="html")
    return f"<!DOCTYPE html>\n{html.decode('ascii')}\n"


def asset(name: str) -> str:
    """Return a file of the page."""
    return package_data.read("reports", "html", "assets", name).decode()


def _hash(text: str) -> str:
    """Return the hash by which a Content-Security-Policy allows exactly this text."""
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()


def _header(assessment: Assessment) -> Element:
    """Return the top of the page: node, benchmark, result and totals."""
    counts = assessment.counts()
    status, result = _outcome(assessment)
    identity = (
        ("Benchmark", f"CIS Kubernetes {assessment.benchmark.number}"),
        ("K3s", assessment.fact(K3S_VERSION)),
        ("Role", assessment.fact(ROLE)),
        ("OS", assessment.fact(OPERATING_SYSTEM)),
        ("Kernel", assessment.fact(KERNEL)),
        ("Assessed", time_element(assessment.when)),
    )
    tiles = (
        element("li", element("b", str(counts[status])), element("span", icon(status), text), class_=status)
        for status, text in STATUS_NAMES.items()
    )
    return element(
        "header",
        element(
            "div",
            element("p", "K3s node assessment", class_="kind"),
            element("h1", node_name(assessment)),
            definitions(((name, value) for name, value in identity if value != ""), class_="identity"),
            class_="name",
        ),
        element(
            "div",
            icon(status),
            element("div", element("p", result, class_="is"), element("p", _result(assessment))),
            class_=f"verdict {status}",
        ),
        element("ul", tiles, class_="tiles", aria_label="Totals"),
        class_="top",
    )


def _outcome(assessment: Assessment) -> tuple[ControlStatus, str]:
    """Return the status whose icon and color the result gets, and its text; PASS only if nothing is open."""
    if any(note.prevents_start for note in assessment.notes):
        return ControlStatus.FAIL, "K3s would not start"
    if assessment.exit_code:
        return ControlStatus.FAIL, "Not compliant"
    if assessment.all_open:
        return ControlStatus.WAIVED, "No new open controls"
    return ControlStatus.PASS, "No open controls"


def _result(assessment: Assessment) -> str:
    counts, beyond = assessment.benchmark_counts, assessment.counts("")
    blockers = sum(note.prevents_start for note in assessment.notes)
    text = f"{count_of(blockers, 'problem')} to fix first. " if blockers else ""
    text += f"{count_of(sum(counts.values()), 'control')} of the benchmark: {_open_numbers(counts)}."
    if number := sum(beyond.values()):
        text += f" {number} more beyond the benchmark: {_open_numbers(beyond)}."
    if assessment.known is not None:
        text += f" New since the baseline: {len(assessment.open)}."
    return f"{text} Exit code {int(assessment.exit_code)}."


def _open_numbers(counts: Mapping[ControlStatus, int]) -> str:
    failed, unknown = counts[ControlStatus.FAIL], counts[ControlStatus.UNKNOWN]
    text = f"{failed or 'none'} failed"
    return f"{text} and {unknown} could not be determined" if unknown else text


def _remediation(assessment: Assessment, rows: Sequence[ControlRow]) -> Element:
    """Return the open controls by owner and severity. Those with one fix share a row, and fixes their last steps."""
    bodies = [_owner(*OWNERS[owner], list(_fixes(rows, owner))) for owner in FixOwner]
    manual = assessment.counts()[ControlStatus.MANUAL]
    if manual:
        filter_link = element("a", count_of(manual, "control"), class_="filter", href=f"#status={ControlStatus.MANUAL}")
        text = element("p", "Manual review required; see each control.")
        bodies.append(_owner("Reviewer", "manual review", [(filter_link, text)]))
    return part(
        "remediation",
        "Remediation",
        None if assessment.all_open else element("p", "No open controls.", class_="calm"),
        table("fixes", ("Owner", "Controls", "Remediation"), bodies) if assessment.all_open or manual else None,
    )


def _fixes(rows: Sequence[ControlRow], owner: FixOwner) -> Iterator[tuple[Content, Content]]:
    fixes: dict[tuple[str, Repair], list[ControlRow]] = {}
    for shown in sorted(rows, key=lambda row: [*Severity].index(row.verdict.control.rating.severity)):
        if shown.verdict.is_open and shown.verdict.owner is owner:
            reason = shown.verdict.reason if shown.verdict.status is ControlStatus.UNKNOWN else ""
            fixes.setdefault((reason, shown.verdict.repair), []).append(shown)
    # The longest end that two fixes share, such as the restart after a change of the configuration.
    pairs = permutations((repair_texts.steps(shared) for _, shared in fixes if not shared.alternative), 2)
    ends = (first[len(first) - _in_common(first, other[1:]) :] for first, other in pairs)
    last = max(ends, key=len, default=())
    for (reason, shared), sharing in fixes.items():
        links = element("ul", (element("li", link(shown), baseline_badge(shown)) for shown in sharing), class_="links")
        listed = repair_texts.steps(shared)
        own = (
            step_elements(shared)
            if shared.alternative
            else step_blocks(listed[: len(listed) - _in_common(listed, last)])
        )
        yield links, [*paragraph(reason), *own] or element("p", "Compare expected and found.")
    if last:
        yield element("p", "After the changes above"), step_blocks(last)


def _in_common(fix: tuple[Step, ...], last: tuple[Step, ...]) -> int:
    """Return how many steps at the end of a fix are among the last ones, without its first step."""
    return sum(1 for _ in takewhile(last.__contains__, reversed(fix[1:])))


def _owner(name: str, explanation: str, lines: Sequence[tuple[Content, Content]]) -> Element | None:
    if not lines:
        return None
    head = head_cell(name, element("small", explanation), scope="rowgroup", rowspan=str(len(lines)))
    return group(
        table_row(head if index == 0 else None, cell(controls), cell(fix))
        for index, (controls, fix) in enumerate(lines)
    )


def _effects(assessment: Assessment) -> Element | None:
    """Return what the running node shows beside its configuration."""
    lines = [
        table_row(
            head_cell(effect.subject),
            cell(effect.configured),
            cell(icon(effect.status), f" {effect.status}"),
            cell(effect.observed, element("code", effect.command) if effect.command else None),
        )
        for effect in assessment.effects
    ]
    heads = ("Requirement", "Configured", "In force", "Observed")
    return part("in-force", "In force", table("waivers", heads, group(lines))) if lines else None


def _waivers(rows: Sequence[ControlRow]) -> Element | None:
    """Return the waived controls."""
    lines = [
        table_row(
            head_cell(link(shown)),
            cell(waiver.reason),
            cell(waiver.approved_by or "–"),
            cell(waiver.expiry),
            cell(location(waiver.location)),
        )
        for shown in rows
        if (waiver := shown.verdict.waiver)
    ]
    heads = ("Control", "Reason", "Approved by", "Expiry", "Location")
    return part("waivers", "Waivers", table("waivers", heads, group(lines))) if lines else None


def _notes(name: str, heading: str, notes: Iterable[Note]) -> Element | None:
    """Return notes on the assessment."""
    items = [
        element("li", element("p", inline(note.message), location(note.location)), step_elements(note.repair))
        for note in notes
    ]
    return part(name, heading, element("ul", items, class_="notes")) if items else None


def _summary(assessment: Assessment, sections: Mapping[str, Sequence[ControlRow]]) -> Element | None:
    """Return a bar with its numbers and score for each section, and the totals, also by level of CIS."""
    if not sections:
        return None
    largest = max(len(inside) for inside in sections.values())
    lines = [
        table_row(
            head_cell(element("a", section_heading(number), href=f"#{section_anchor(number)}")),
            cell(bar(assessment.counts(number), largest), class_="chart"),
            _numbers(assessment.counts(number)),
        )
        for number in sections
    ]
    levels: dict[str, Counter[ControlStatus]] = {}
    for verdict in sorted(assessment.verdicts, key=lambda verdict: verdict.control.level):
        if verdict.number:
            levels.setdefault(f"Level {verdict.control.level}", Counter())[verdict.status] += 1
    totals = {**levels, "All sections": assessment.counts()}
    foot = (table_row(head_cell(name), cell(class_="chart"), _numbers(inside)) for name, inside in totals.items())
    heads = ("Section", "Controls", *((icon(status), text) for status, text in STATUS_NAMES.items()), "All", "Score")
    explained = (
        "Score: passed controls in percent of those that are neither manual nor not applicable. Waived and unknown ones"
        " do not pass."
    )
    return part(
        "sections",
        "Sections",
        table("sections", heads, group(lines), group(*foot, tag="tfoot")),
        element("p", element("small", explained), class_="score-note"),
    )


def _numbers(counts: Mapping[ControlStatus, int]) -> Content:
    """Return the cells with the number of each status, the number of controls, and the score."""
    cells = []
    for status, name in STATUS_NAMES.items():
        label, count = element("span", name, class_="word"), counts[status]
        cells.append(cell(icon(status), label, f" {count or '–'}", class_=f"n {status}{'' if count else ' zero'}"))
    reached = score(counts)
    return (
        *cells,
        cell(element("span", "of", class_="word"), f" {sum(counts.values())}", class_="n all"),
        cell(element("span", "score", class_="word") if reached else None, f" {reached or '–'}", class_="n score"),
    )


def bar(counts: Mapping[ControlStatus, int], largest: int) -> Element:
    """Return a stacked bar; `largest` controls fill the width."""
    rects, texts, left = [], [], 0
    for status, text in STATUS_NAMES.items():
        if count := counts.get(status, 0):
            x, width, fill = f"{left / largest:.2%}", f"{count / largest:.2%}", f"url(#fill-{status})"
            rects.append(element("rect", class_=status, x=x, width=width, height="100%", fill=fill))
            texts.append(f"{count} {text.lower()}")
            left += count
    return element("svg", rects, class_="bar", role="img", aria_label=", ".join(texts))


def _facts(assessment: Assessment) -> Element | None:
    """Return the facts about the node and the assessment, each with its source."""
    if not assessment.facts:
        return None
    pairs = ((fact.name, (fact.value, element("small", inline(fact.source)))) for fact in assessment.all_facts)
    return part("node", "Facts and their sources", definitions(pairs, class_="facts"))
