"""An assessment as one HTML file that an auditor can read, filter, print and file; it fetches nothing from anywhere."""

from __future__ import annotations

import re
import textwrap
from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from agent import __version__, package_data
from agent.assessment import Actor, Status
from agent.benchmark.control import Assessed
from agent.benchmark.sections import SECTIONS
from agent.errors import ExitCode
from agent.present.assessments.words import UNNUMBERED, by_section, fact, is_new, timestamp
from agent.present.wording import printable
from agent.report import K3S_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agent.assessment import Assessment, Verdict

_WORDS = {
    Status.FAIL: "Fail",
    Status.UNKNOWN: "Unknown",
    Status.MANUAL: "Manual",
    Status.WAIVED: "Waived",
    Status.PASS: "Pass",
    Status.NOT_APPLICABLE: "Not applicable",
}
"""In the order of the report: what is left to do comes first, so that its bars share one base line."""

_MEANINGS = {
    Status.FAIL: "What was seen is not what the control wants.",
    Status.UNKNOWN: "It could not be told: what would show it is not there, or could not be read. It counts as open.",
    Status.MANUAL: "A person has to look, or the API server has to be asked: a look at the host cannot tell.",
    Status.WAIVED: "It fails, and the site has said why it puts up with that, and until when.",
    Status.PASS: "What was seen is what the control wants. The evidence says what was seen, and where.",
    Status.NOT_APPLICABLE: "This node has nothing that the control could be asked of; the reason stands with it.",
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
_QUOTED = re.compile(r"`([^`]+)`|(?<!\w)'(?=\S)([^']*[^\s'])'(?!\w)")
_COMMAND = re.compile(r"(?:`([^`]+)`|(sudo .+?))(?:,? (and .+))?")
"""A line that is a command, in backticks or from root on, and what is to be done after it."""
_REMEDY_HEADINGS = {Status.PASS: "Should it ever fail", Status.MANUAL: "What to look at"}
_VERDICTS = {ExitCode.AS_WANTED: "Nothing is open", ExitCode.NOT_AS_WANTED: "Not as wanted"}

# Each has an outline of its own, so that a print in black and white can be read.
_ICONS = {
    Status.FAIL: '<path class="solid" d="M5.3 1.5h5.4l3.8 3.8v5.4l-3.8 3.8H5.3l-3.8-3.8V5.3z"/>'
    '<path class="on" d="M5.6 5.6l4.8 4.8M10.4 5.6l-4.8 4.8"/>',
    Status.UNKNOWN: '<path d="M8 1.2L14.8 8 8 14.8 1.2 8z"/>'
    '<path d="M6.4 6.5a1.6 1.6 0 1 1 2.4 1.4c-.6.3-.8.7-.8 1.2M8 11v.1"/>',
    Status.MANUAL: '<path d="M1.2 8S3.6 3.6 8 3.6 14.8 8 14.8 8 12.4 12.4 8 12.4 1.2 8 1.2 8z"/>'
    '<circle cx="8" cy="8" r="1.9"/>',
    Status.WAIVED: '<path d="M3.5 14.5v-12h9.2L10.4 6l2.3 3.5H3.5"/>',
    Status.PASS: '<circle cx="8" cy="8" r="6.5"/><path d="M5 8.3l2.1 2.1L11.2 6"/>',
    Status.NOT_APPLICABLE: '<rect x="1.7" y="3.7" width="12.6" height="8.6" rx="4.3"/><path d="M5.5 8h5"/>',
}
_PATTERNS = {
    Status.FAIL: "",
    Status.UNKNOWN: '<path d="M-1 1l2-2M0 6l6-6M5 7l2-2"/>',
    Status.MANUAL: '<circle cx="1.5" cy="1.5" r="1"/><circle cx="4.5" cy="4.5" r="1"/>',
    Status.WAIVED: '<path d="M1.5 0v6M4.5 0v6"/>',
    Status.PASS: "",
    Status.NOT_APPLICABLE: '<path d="M0 3h6"/>',
}


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
            f"<title>{_text(title)}</title>",
            f"<style>{style}</style>",
            "</head>",
            "<body>",
            _symbols(),
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
    status = Status.FAIL if code else Status.PASS
    tiles = "".join(
        f'<li class="{status}"><b>{counts[status]}</b><span>{_icon(status)}{word}</span></li>'
        for status, word in _WORDS.items()
    )
    identity = {
        "Benchmark": f"CIS Kubernetes {assessment.benchmark.number}",
        "K3s": _text(fact(assessment, K3S_VERSION)),
        "Assessed": _time(assessment.when),
    }
    known = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in identity.items() if value)
    return (
        '<header class="top"><div class="name"><p class="kind">K3s node assessment</p>'
        f"<h1>{_text(assessment.node)}</h1>"
        f'<dl class="identity">{known}</dl></div>'
        f'<div class="verdict {status}">{_icon(status)}<div><p class="is">{_VERDICTS[code]}</p>'
        f"<p>{_verdict(assessment)}</p></div></div>"
        f'<ul class="tiles" aria-label="Totals">{tiles}</ul></header>'
    )


def _verdict(assessment: Assessment) -> str:
    """The verdict in numbers, and what a pipeline got."""
    counts = assessment.counts()
    total = _number_of(len(assessment.verdicts), "control")
    words = f"Of {total}, {counts[Status.FAIL]} failed and {counts[Status.UNKNOWN]} could not be told."
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
    by_hand = sum(row.verdict.status is Status.MANUAL for row in rows)
    if by_hand:
        line = (
            f'<a class="filter" href="#status={Status.MANUAL}">{_number_of(by_hand, "control")}</a>',
            "<p>What to look at stands with each. No look at the host can do it.</p>",
        )
        bodies.append(_of_actor("A person", "to look and to judge", [line]))
    nothing = "" if any(row.verdict.is_open for row in rows) else '<p class="calm">Nothing is left to repair.</p>'
    table = _table("to-do", ("Who", "Controls", "What to do"), bodies) if any(bodies) else ""
    return _part("next", "What to do next", nothing + table)


def _of_actor(name: str, does: str, lines: Sequence[tuple[str, str]]) -> str:
    if not lines:
        return ""
    who = f'<th role="rowheader" scope="rowgroup" rowspan="{len(lines)}">{_text(name)}<small>{does}</small></th>'
    first, *others = (f'<td role="cell">{controls}</td><td role="cell">{step}</td>' for controls, step in lines)
    trs = "".join(f'<tr role="row">{cells}</tr>' for cells in (who + first, *others))
    return f'<tbody role="rowgroup">{trs}</tbody>'


def _step(verdict: Verdict) -> str:
    parts = [_prose(verdict.reason)] if verdict.status is Status.UNKNOWN else []
    parts.append(_prose(verdict.remedy))
    return "".join(parts) or "<p>See what is wanted and what was found.</p>"


def _links(rows: Iterable[_Row]) -> str:
    """The controls of one step as a list of links."""
    items = (
        f'<li><a href="#{row.anchor}">{_icon(row.verdict.status)}{_name(row.verdict)}'
        f"{_text(row.verdict.control.recommendation)}</a>{row.since}</li>"
        for row in rows
    )
    return f'<ul class="links">{"".join(items)}</ul>'


def _waivers(rows: Sequence[_Row]) -> str:
    lines = [
        f'<tr role="row"><th role="rowheader" scope="row"><a href="#{row.anchor}">{_icon(row.verdict.status)}'
        f"{_name(row.verdict)}{_text(row.verdict.control.recommendation)}</a></th>"
        f'<td role="cell">{_text(waiver.reason)}</td><td role="cell">{_until(waiver.expires)}</td>'
        f'<td role="cell">{_place(waiver.where)}</td></tr>'
        for row in rows
        if (waiver := row.verdict.waiver)
    ]
    body = f'<tbody role="rowgroup">{"".join(lines)}</tbody>'
    return _part("waivers", "Waivers", _table("waivers", ("Control", "Reason", "Lasts", "Given in"), [body]), lines)


def _notices(assessment: Assessment) -> str:
    items = [
        f"<li><p>{_code(notice.message)}{_place(notice.where)}</p>{_prose(notice.remedy)}</li>"
        for notice in assessment.notices
    ]
    return _part("notices", "About this assessment", f'<ul class="notices">{"".join(items)}</ul>', items)


def _summary(assessment: Assessment, sections: Mapping[str, Sequence[_Row]]) -> str:
    """The bars, one for each section, with their numbers beside them."""
    most = max((len(inside) for inside in sections.values()), default=1)
    lines = []
    for number, inside in sections.items():
        counts = assessment.counts(number)
        cells = "".join(
            f'<td role="cell" class="n {status}{"" if counts[status] else " zero"}">'
            f'{_icon(status)}<span class="word">{word}</span> {counts[status] or "&ndash;"}</td>'
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
    heads = ("Section", "Controls", *(f"{_icon(status)}{word}" for status, word in _WORDS.items()), "All")
    body = f'<tbody role="rowgroup">{"".join(lines)}</tbody>'
    return _part("sections", "By section", _table("sections", heads, [body, foot]), lines)


def _bar(counts: dict[Status, int], most: int) -> str:
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
        f"<div><dt>{_text(known.name)}</dt><dd>{_text(known.value)}<small>{_code(known.evidence)}</small></dd></div>"
        for known in assessment.facts
    ]
    return _part("node", "The node, and how that is known", f'<dl class="facts">{"".join(items)}</dl>', items)


# --- the controls ---


def _controls(rows: Sequence[_Row], sections: Mapping[str, Sequence[_Row]]) -> str:
    parts = []
    for number, inside in sections.items():
        anchor = _section_anchor(number)
        heads = ("No.", "Control", "Status", "Wanted", "Found", "Who acts")
        table = _table("controls", heads, [_control(row) for row in inside], f' aria-labelledby="{anchor}"')
        tallies = ((_WORDS[status], sum(row.verdict.status is status for row in inside)) for status in _WORDS)
        tally = ", ".join(f"{count} {word.lower()}" for word, count in tallies if count)
        parts.append(
            f'<section class="section" data-section="{_text(number or UNNUMBERED)}">'
            f'<div class="head"><h3 id="{anchor}">{_section_title(number)}</h3><small>{tally}</small></div>'
            f"{table}</section>"
        )
    body = "\n".join((_filters(rows, sections), *parts, '<p class="none" hidden>No control is like this.</p>'))
    return _part("controls", "Controls", body)


def _filters(rows: Sequence[_Row], sections: Iterable[str]) -> str:
    """The filters. They need the script, which shows them."""
    statuses = "".join(
        f'<label class="{status}"><input type="checkbox" name="status" value="{status}">{_icon(status)}{word}'
        f"<b>{sum(row.verdict.status is status for row in rows)}</b></label>"
        for status, word in _WORDS.items()
    )
    choices = "".join(
        f'<option value="{_text(number or UNNUMBERED)}">{_section_title(number)}</option>' for number in sections
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
        f'<th role="rowheader" scope="row">{_text(verdict.control.recommendation)}{row.since}</th>'
        f'<td role="cell" class="status {verdict.status}"><span>{_icon(verdict.status)}{_WORDS[verdict.status]}</span>'
        f'{until}</td><td role="cell" class="wanted"><div>{_text(verdict.wanted)}</div></td>'
        f'<td role="cell" class="found"><div>{_text(verdict.found)}</div></td>'
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
    remedy = "" if verdict.status is Status.NOT_APPLICABLE else verdict.remedy
    evidence = "".join(f"<li>{_text(seen.what)}{_place(seen.where)}</li>" for seen in verdict.evidence)
    told = (
        _block(f"Why {_WORDS[verdict.status].lower()}", _prose(reason)),
        _block("Waived", f"<p>{_text(waiver.reason)}</p><p>{_until(waiver.expires)}{_place(waiver.where)}</p>")
        if waiver
        else "",
        _block("Evidence", f'<ul class="evidence">{evidence}</ul>' if evidence else ""),
        _block(heading, _prose(remedy), " remedy"),
        _block("Why it is asked", _prose(control.why)),
    )
    how = _ASSESSED[verdict.number.assessed] if verdict.number else "beyond the benchmark"
    origin = (
        ("Id", f"<code>{_text(control.id)}</code>"),
        ("Level", str(control.level)),
        ("Assessed", how),
        ("For", _text(str(control.applies))),
        ("Source", _text(control.source)),
    )
    about = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in origin)
    return f'<div class="told">{"".join(told)}</div><dl class="about">{about}</dl>'


# --- what stands below them ---


def _legend() -> str:
    items = "".join(
        f'<div><dt class="status {status}"><span>{_icon(status)}{word}</span></dt><dd>{_MEANINGS[status]}</dd></div>'
        for status, word in _WORDS.items()
    )
    return _part("legend", "How to read this", f'<dl class="legend">{items}</dl>')


def _footer(assessment: Assessment) -> str:
    return (
        '<footer><p class="sign"><span>Reviewed by</span><span>Date</span><span>Signature</span></p>'
        f"<p>Made by k3s-harden {__version__} on {_text(assessment.node)}, {_time(assessment.when)}, against CIS"
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
    title = _text(SECTIONS.get(number, ""))
    return f'<span class="no">{_text(number)}</span> {title}' if number else title


# --- pieces of HTML ---


def _text(text: str) -> str:
    """Text of anybody as HTML: it is shown sign by sign, and what cannot be seen is spelt out."""
    return escape(printable(text))


def _code(text: str) -> str:
    """A sentence of our own, in which `this` and 'this' are code."""
    return _QUOTED.sub(lambda found: f"<code>{found[1] or found[2]}</code>", escape(printable(text), quote=False))


def _prose(text: str) -> str:
    """Paragraphs, one a line, in which commands and indented lines are blocks to be copied as they are."""
    blocks: list[str] = []
    copied: list[str] = []
    for line in [*text.split("\n"), ""]:
        if line.strip() and line[0] in " \t":
            copied.append(printable(line.replace("\t", "    ")))
            continue
        if copied:
            blocks.append(_to_copy(textwrap.dedent("\n".join(copied))))
            copied = []
        sentence = line.strip()
        if command := _COMMAND.fullmatch(sentence):
            blocks.append(_to_copy(printable(command[1] or command[2])))
            sentence = command[3]
        if sentence:
            blocks.append(f"<p>{_code(sentence)}</p>")
    return "".join(blocks)


def _to_copy(text: str) -> str:
    return f'<pre class="copy" tabindex="0">{escape(text)}</pre>'


def _place(where: str) -> str:
    return f' <span class="where">{_text(where)}</span>' if where else ""


def _until(expires: str) -> str:
    return f"until {_text(expires)}" if expires else "for good"


def _name(verdict: Verdict) -> str:
    """By what a waiver or a person calls the control: its number, or its id where no benchmark has it."""
    name = verdict.number.text if verdict.number else verdict.control.id
    return f'<span class="no">{_text(name)} </span>'


def _number_of(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _time(when: float) -> str:
    machine = timestamp(when)
    return f'<time datetime="{machine}">{machine.replace("T", " ").replace("Z", " UTC")}</time>'


def _part(name: str, heading: str, body: str, needed: Sequence[object] | None = None) -> str:
    """A part of the page with its heading; empty where `needed` is."""
    if needed is not None and not needed:
        return ""
    title = f'<h2 id="{name}">{heading}</h2>'
    return f'<section class="part part-{name}" aria-labelledby="{name}">{title}\n{body}</section>'


def _table(name: str, heads: Iterable[str], bodies: Iterable[str], attributes: str = "") -> str:
    """A table. The roles stay when a narrow screen lays it out as something else, which takes the implied ones away."""
    cells = "".join(f'<th role="columnheader" scope="col">{head}</th>' for head in heads)
    rows = "\n".join(filter(None, bodies))
    return (
        f'<table role="table" class="{name}"{attributes}><thead role="rowgroup"><tr role="row">{cells}</tr></thead>\n'
        f"{rows}</table>"
    )


def _block(heading: str, body: str, more: str = "") -> str:
    return f'<div class="block{more}"><div class="label">{heading}</div>{body}</div>' if body else ""


def _icon(status: Status) -> str:
    return f'<svg class="icon {status}" aria-hidden="true"><use href="#icon-{status}"/></svg>'


def _symbols() -> str:
    """The icons and the fillings of the bars, each drawn once."""
    icons = "".join(
        f'<symbol id="icon-{status}" viewBox="0 0 16 16">{drawing}</symbol>' for status, drawing in _ICONS.items()
    )
    fills = "".join(
        f'<pattern id="fill-{status}" class="{status}" width="6" height="6" patternUnits="userSpaceOnUse">'
        f'<rect width="6" height="6"/>{drawing}</pattern>'
        for status, drawing in _PATTERNS.items()
    )
    return f'<svg class="symbols" aria-hidden="true" width="0" height="0">{icons}<defs>{fills}</defs></svg>'


def _asset(name: str) -> str:
    return package_data.read("present", "assessments", "assets", name).decode()


def _hash(text: str) -> str:
    """The hash by which a Content-Security-Policy lets this text in, and no other."""
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()
