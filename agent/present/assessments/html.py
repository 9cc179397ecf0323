"""An assessment as one HTML file that an auditor can read, filter, print and file; it fetches nothing from anywhere."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from agent import __version__, package_data
from agent.assess.assessment import Actor, ControlStatus
from agent.benchmark.control import Assessed
from agent.benchmark.sections import SECTIONS
from agent.errors import ExitCode
from agent.present.assessments.common import UNNUMBERED, by_section, fact, is_new, timestamp
from agent.present.assessments.markup import block, data_table, escaped, icon, inline, paragraphs, part, place, symbols
from agent.report import K3S_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agent.assess.assessment import Assessment, Verdict

_WORDS = {
    ControlStatus.FAIL: "Fail",
    ControlStatus.UNKNOWN: "Unknown",
    ControlStatus.MANUAL: "Manual",
    ControlStatus.WAIVED: "Waived",
    ControlStatus.PASS: "Pass",
    ControlStatus.NOT_APPLICABLE: "Not applicable",
}
"""In the order of the report: what is left to do comes first, so that its bars share one base line."""

_MEANINGS = {
    ControlStatus.FAIL: "What was seen is not what the control wants.",
    ControlStatus.UNKNOWN: "Could not be determined: the evidence is missing or not readable. Counts as open.",
    ControlStatus.MANUAL: "A person has to look, or the API server has to be asked: a look at the host cannot tell.",
    ControlStatus.WAIVED: "It fails, and the site has said why it puts up with that, and until when.",
    ControlStatus.PASS: "What was seen is what the control wants. The evidence says what was seen, and where.",
    ControlStatus.NOT_APPLICABLE: "The control does not apply to this node; see its reason.",
}
_ACTORS = {
    Actor.APPLY: ("k3s-harden apply", "this command brings it about"),
    Actor.OPERATOR: ("Operator", "by hand, on this node"),
    Actor.K3S: ("K3s", "it does so by itself"),
    Actor.NOBODY: ("Nobody", "nothing can be done from here"),
}
"""Who acts, and how."""

_ASSESSED = {
    Assessed.AUTOMATED: "automated, scored",
    Assessed.UNSCORED: "automated, not scored",
    Assessed.MANUAL: "by hand",
    Assessed.SKIPPED: "not applicable to K3s",
}
_REMEDY_HEADINGS = {ControlStatus.PASS: "Should it ever fail", ControlStatus.MANUAL: "What to look at"}
_VERDICTS = {ExitCode.COMPLIANT: "Nothing is open", ExitCode.NOT_COMPLIANT: "Not compliant"}


class _Row(NamedTuple):
    """A verdict with its place in the page: the anchor that links lead to, and what the baseline says of it."""

    verdict: Verdict
    anchor: str
    since: str


def as_html(assessment: Assessment) -> str:
    """The whole page. It depends on the assessment alone; what comes from the host is shown, and never obeyed."""
    style, script = _asset("report.css"), _asset("report.js")
    rows = _rows(assessment)
    sections = _by_section(rows)
    title = f"{assessment.node}: CIS Kubernetes Benchmark {assessment.benchmark.number}"
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none';"
        " form-action 'none'"
    )
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            '<meta name="referrer" content="no-referrer">',
            f'<meta name="generator" content="k3s-harden {__version__}">',
            f"<title>{escaped(title)}</title>",
            f"<style>{style}</style>",
            "</head>",
            "<body>",
            symbols(),
            '<a class="skip" href="#controls">To the controls</a>',
            _header(assessment),
            "<main>",
            _to_do(rows),
            _waivers(rows),
            _notices(assessment),
            _summary(assessment, sections),
            _facts(assessment),
            _controls(rows, sections),
            _legend(),
            "</main>",
            _footer(assessment),
            f"<script>{script}</script>",
            "</body>",
            "</html>",
            "",
        )
    )


# --- what stands above the controls ---


def _header(assessment: Assessment) -> str:
    code = assessment.exit_code
    counts = assessment.counts()
    status = ControlStatus.FAIL if code else ControlStatus.PASS
    tiles = "".join(
        f'<li class="{status}"><b>{counts[status]}</b><span>{icon(status)}{word}</span></li>'
        for status, word in _WORDS.items()
    )
    identity = {
        "Benchmark": f"CIS Kubernetes {assessment.benchmark.number}",
        "K3s": escaped(fact(assessment, K3S_VERSION)),
        "Assessed": _time(assessment.when),
    }
    known = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in identity.items() if value)
    return (
        '<header class="top"><div class="name"><p class="kind">K3s node assessment</p>'
        f"<h1>{escaped(assessment.node)}</h1>"
        f'<dl class="identity">{known}</dl></div>'
        f'<div class="verdict {status}">{icon(status)}<div><p class="is">{_VERDICTS[code]}</p>'
        f"<p>{_verdict(assessment)}</p></div></div>"
        f'<ul class="tiles" aria-label="Totals">{tiles}</ul></header>'
    )


def _verdict(assessment: Assessment) -> str:
    """The verdict in numbers, and what a pipeline got."""
    counts = assessment.counts()
    total = _number_of(len(assessment.verdicts), "control")
    words = f"Of {total}, {counts[ControlStatus.FAIL]} failed and {counts[ControlStatus.UNKNOWN]} could not be told."
    if assessment.known is not None:
        words += f" Against the earlier report {len(assessment.open)} of these are new."
    return f"{words} Exit code {int(assessment.exit_code)}."


def _to_do(rows: Sequence[_Row]) -> str:
    """What is left, by who has to act; controls that the same step repairs share one line."""
    bodies = []
    for actor in Actor:
        steps: dict[str, list[_Row]] = {}
        for row in rows:
            if row.verdict.is_open and row.verdict.actor is actor:
                steps.setdefault(_step(row.verdict), []).append(row)
        lines = [(_links(sharing), step) for step, sharing in steps.items()]
        bodies.append(_of_actor(*_ACTORS[actor], lines))
    by_hand = sum(row.verdict.status is ControlStatus.MANUAL for row in rows)
    if by_hand:
        line = (
            f'<a class="filter" href="#status={ControlStatus.MANUAL}">{_number_of(by_hand, "control")}</a>',
            "<p>What to look at stands with each. No look at the host can do it.</p>",
        )
        bodies.append(_of_actor("A person", "to look and to judge", [line]))
    nothing = "" if any(row.verdict.is_open for row in rows) else '<p class="calm">Nothing is left to repair.</p>'
    table = data_table("to-do", ("Who", "Controls", "What to do"), bodies) if any(bodies) else ""
    return part("next", "What to do next", nothing + table)


def _of_actor(name: str, does: str, lines: Sequence[tuple[str, str]]) -> str:
    if not lines:
        return ""
    who = f'<th role="rowheader" scope="rowgroup" rowspan="{len(lines)}">{escaped(name)}<small>{does}</small></th>'
    first, *others = (f'<td role="cell">{controls}</td><td role="cell">{step}</td>' for controls, step in lines)
    trs = "".join(f'<tr role="row">{cells}</tr>' for cells in (who + first, *others))
    return f'<tbody role="rowgroup">{trs}</tbody>'


def _step(verdict: Verdict) -> str:
    parts = [paragraphs(verdict.reason)] if verdict.status is ControlStatus.UNKNOWN else []
    parts.append(paragraphs(verdict.remedy))
    return "".join(parts) or "<p>See what is wanted and what was found.</p>"


def _links(rows: Iterable[_Row]) -> str:
    """The controls of one step as a list of links."""
    items = (
        f'<li><a href="#{row.anchor}">{icon(row.verdict.status)}{_name(row.verdict)}'
        f"{escaped(row.verdict.control.recommendation)}</a>{row.since}</li>"
        for row in rows
    )
    return f'<ul class="links">{"".join(items)}</ul>'


def _waivers(rows: Sequence[_Row]) -> str:
    lines = [
        f'<tr role="row"><th role="rowheader" scope="row"><a href="#{row.anchor}">{icon(row.verdict.status)}'
        f"{_name(row.verdict)}{escaped(row.verdict.control.recommendation)}</a></th>"
        f'<td role="cell">{escaped(waiver.reason)}</td><td role="cell">{_until(waiver.expires)}</td>'
        f'<td role="cell">{place(waiver.where)}</td></tr>'
        for row in rows
        if (waiver := row.verdict.waiver)
    ]
    body = f'<tbody role="rowgroup">{"".join(lines)}</tbody>'
    return part("waivers", "Waivers", data_table("waivers", ("Control", "Reason", "Lasts", "Given in"), [body]), lines)


def _notices(assessment: Assessment) -> str:
    items = [
        f"<li><p>{inline(notice.message)}{place(notice.where)}</p>{paragraphs(notice.remedy)}</li>"
        for notice in assessment.notices
    ]
    return part("notices", "About this assessment", f'<ul class="notices">{"".join(items)}</ul>', items)


def _summary(assessment: Assessment, sections: Mapping[str, Sequence[_Row]]) -> str:
    """The bars, one for each section, with their numbers beside them."""
    most = max((len(inside) for inside in sections.values()), default=1)
    lines = []
    for number, inside in sections.items():
        counts = assessment.counts(number)
        cells = "".join(
            f'<td role="cell" class="n {status}{"" if counts[status] else " zero"}">'
            f'{icon(status)}<span class="word">{word}</span> {counts[status] or "&ndash;"}</td>'
            for status, word in _WORDS.items()
        )
        lines.append(
            f'<tr role="row"><th role="rowheader" scope="row"><a href="#{_section_anchor(number)}">'
            f'{_section_title(number)}</a></th><td role="cell" class="chart">{_bar(counts, most)}</td>{cells}'
            f'<td role="cell" class="n all"><span class="word">of</span> {len(inside)}</td></tr>'
        )
    counts = assessment.counts()
    totals = "".join(f'<td role="cell" class="n">{counts[status]}</td>' for status in _WORDS)
    foot = (
        '<tfoot role="rowgroup"><tr role="row"><th role="rowheader" scope="row">All sections</th>'
        f'<td role="cell" class="chart"></td>{totals}<td role="cell" class="n all">{len(assessment.verdicts)}</td>'
        "</tr></tfoot>"
    )
    heads = ("Section", "Controls", *(f"{icon(status)}{word}" for status, word in _WORDS.items()), "All")
    body = f'<tbody role="rowgroup">{"".join(lines)}</tbody>'
    return part("sections", "By section", data_table("sections", heads, [body, foot]), lines)


def _bar(counts: dict[ControlStatus, int], most: int) -> str:
    """A stacked bar; `most` controls fill the width."""
    parts, words, left = [], [], 0
    for status, word in _WORDS.items():
        count = counts[status]
        if count:
            parts.append(
                f'<rect class="{status}" x="{left / most:.2%}" width="{count / most:.2%}" height="100%"'
                f' fill="url(#fill-{status})"/>'
            )
            words.append(f"{count} {word.lower()}")
            left += count
    return f'<svg class="bar" role="img" aria-label="{", ".join(words)}">{"".join(parts)}</svg>'


def _facts(assessment: Assessment) -> str:
    items = [
        f"<div><dt>{escaped(known.name)}</dt><dd>{escaped(known.value)}<small>{inline(known.evidence)}</small></dd></div>"
        for known in assessment.facts
    ]
    return part("node", "The node, and how that is known", f'<dl class="facts">{"".join(items)}</dl>', items)


# --- the controls ---


def _controls(rows: Sequence[_Row], sections: Mapping[str, Sequence[_Row]]) -> str:
    parts = []
    for number, inside in sections.items():
        anchor = _section_anchor(number)
        heads = ("No.", "Control", "Status", "Wanted", "Found", "Who acts")
        table = data_table("controls", heads, [_control(row) for row in inside], f' aria-labelledby="{anchor}"')
        tallies = ((_WORDS[status], sum(row.verdict.status is status for row in inside)) for status in _WORDS)
        tally = ", ".join(f"{count} {word.lower()}" for word, count in tallies if count)
        parts.append(
            f'<section class="section" data-section="{escaped(number or UNNUMBERED)}">'
            f'<div class="head"><h3 id="{anchor}">{_section_title(number)}</h3><small>{tally}</small></div>'
            f"{table}</section>"
        )
    body = "\n".join((_filters(rows, sections), *parts, '<p class="none" hidden>No control is like this.</p>'))
    return part("controls", "Controls", body)


def _filters(rows: Sequence[_Row], sections: Iterable[str]) -> str:
    """The filters. They need the script, which shows them."""
    statuses = "".join(
        f'<label class="{status}"><input type="checkbox" name="status" value="{status}">{icon(status)}{word}'
        f"<b>{sum(row.verdict.status is status for row in rows)}</b></label>"
        for status, word in _WORDS.items()
    )
    choices = "".join(
        f'<option value="{escaped(number or UNNUMBERED)}">{_section_title(number)}</option>' for number in sections
    )
    actors = "".join(f'<option value="{actor.name.lower()}">{name}</option>' for actor, (name, _) in _ACTORS.items())
    return (
        '<div class="filters" role="search" aria-label="Filter the controls" hidden>'
        f'<fieldset><legend>Status</legend>{statuses}</fieldset><div class="rest">'
        f'<label>Section<select name="section"><option value="">all</option>{choices}</select></label>'
        f'<label>Who acts<select name="actor"><option value="">all</option>{actors}</select></label>'
        '<label class="search">Text<input type="search" name="text" autocomplete="off" spellcheck="false"></label>'
        '<button type="button" name="clear">Clear</button><button type="button" name="unfold">Unfold all</button>'
        '<output aria-live="polite"></output></div></div>'
    )


def _control(row: _Row) -> str:
    """A control's line, and below it all that is known of it."""
    verdict, anchor = row.verdict, row.anchor
    until = f"<small>{_until(verdict.waiver.expires)}</small>" if verdict.waiver else ""
    number = _name(verdict) if verdict.number else "&ndash;"
    return (
        f'<tbody role="rowgroup" id="{anchor}" data-status="{verdict.status}"'
        f' data-actor="{verdict.actor.name.lower()}"><tr role="row" class="line">'
        f'<td role="cell" class="no"><a href="#{anchor}">{number}</a></td>'
        f'<th role="rowheader" scope="row">{escaped(verdict.control.recommendation)}{row.since}</th>'
        f'<td role="cell" class="status {verdict.status}"><span>{icon(verdict.status)}{_WORDS[verdict.status]}</span>'
        f'{until}</td><td role="cell" class="wanted"><div>{escaped(verdict.wanted)}</div></td>'
        f'<td role="cell" class="found"><div>{escaped(verdict.found)}</div></td>'
        f'<td role="cell" class="who">{_ACTORS[verdict.actor][0]}</td></tr>\n'
        f'<tr role="row" class="more"><td role="cell" colspan="6"><div id="{anchor}:more">{_details(verdict)}</div>'
        "</td></tr></tbody>"
    )


def _details(verdict: Verdict) -> str:
    control = verdict.control
    waiver = verdict.waiver
    heading = _REMEDY_HEADINGS.get(verdict.status, "What to do")
    # What a person has to look at is both why a look at the host cannot tell, and what to do about it.
    reason = "" if verdict.reason == verdict.remedy else verdict.reason
    remedy = "" if verdict.status is ControlStatus.NOT_APPLICABLE else verdict.remedy
    evidence = "".join(f"<li>{escaped(seen.what)}{place(seen.where)}</li>" for seen in verdict.evidence)
    told = (
        block(f"Why {_WORDS[verdict.status].lower()}", paragraphs(reason)),
        block("Waived", f"<p>{escaped(waiver.reason)}</p><p>{_until(waiver.expires)}{place(waiver.where)}</p>")
        if waiver
        else "",
        block("Evidence", f'<ul class="evidence">{evidence}</ul>' if evidence else ""),
        block(heading, paragraphs(remedy), " remedy"),
        block("Why it is asked", paragraphs(control.why)),
    )
    how = _ASSESSED[verdict.number.assessed] if verdict.number else "beyond the benchmark"
    origin = (
        ("Id", f"<code>{escaped(control.id)}</code>"),
        ("Level", str(control.level)),
        ("Assessed", how),
        ("For", escaped(str(control.applies))),
        ("Source", escaped(control.source)),
    )
    about = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in origin)
    return f'<div class="told">{"".join(told)}</div><dl class="about">{about}</dl>'


# --- what stands below them ---


def _legend() -> str:
    items = "".join(
        f'<div><dt class="status {status}"><span>{icon(status)}{word}</span></dt><dd>{_MEANINGS[status]}</dd></div>'
        for status, word in _WORDS.items()
    )
    return part("legend", "How to read this", f'<dl class="legend">{items}</dl>')


def _footer(assessment: Assessment) -> str:
    return (
        '<footer><p class="sign"><span>Reviewed by</span><span>Date</span><span>Signature</span></p>'
        f"<p>Made by k3s-harden {__version__} on {escaped(assessment.node)}, {_time(assessment.when)}, against CIS"
        f" Kubernetes Benchmark {assessment.benchmark.number}. Nothing on the node was changed.</p></footer>"
    )


# --- in what order, and where ---


def _rows(assessment: Assessment) -> tuple[_Row, ...]:
    """The verdicts in the order of their numbers, each with an anchor that no other has."""
    taken: dict[str, int] = {}
    rows = []
    for verdict in (verdict for verdicts in by_section(assessment).values() for verdict in verdicts):
        anchor = "control:" + re.sub(r"[^A-Za-z0-9._/-]", "-", verdict.control.id)
        taken[anchor] = taken.get(anchor, 0) + 1
        if taken[anchor] > 1:
            anchor += f":{taken[anchor]}"
        since = ""
        if assessment.known is not None and verdict.is_open:
            new = is_new(assessment, verdict)
            since = f' <span class="since{" new" if new else ""}">{"new" if new else "known"}</span>'
        rows.append(_Row(verdict, anchor, since))
    return tuple(rows)


def _by_section(rows: Iterable[_Row]) -> dict[str, list[_Row]]:
    sections: dict[str, list[_Row]] = {}
    for row in rows:
        sections.setdefault(row.verdict.section, []).append(row)
    return sections


def _section_anchor(number: str) -> str:
    return "section:" + (re.sub(r"[^A-Za-z0-9._-]", "-", number) or UNNUMBERED)


def _section_title(number: str) -> str:
    title = escaped(SECTIONS.get(number, ""))
    return f'<span class="no">{escaped(number)}</span> {title}' if number else title


# --- words ---


def _until(expires: str) -> str:
    return f"until {escaped(expires)}" if expires else "for good"


def _name(verdict: Verdict) -> str:
    """By what a waiver or a person calls the control: its number, or its id where no benchmark has it."""
    name = verdict.number.text if verdict.number else verdict.control.id
    return f'<span class="no">{escaped(name)} </span>'


def _number_of(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _time(when: float) -> str:
    machine = timestamp(when)
    return f'<time datetime="{machine}">{machine.replace("T", " ").replace("Z", " UTC")}</time>'


def _asset(name: str) -> str:
    return package_data.read("present", "assessments", "assets", name).decode()


def _hash(text: str) -> str:
    """The hash by which a Content-Security-Policy lets this text in, and no other."""
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()
