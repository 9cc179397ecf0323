"""The pieces that the HTML report is made of: text, commands to copy, tables, and icons that are drawn once."""

from __future__ import annotations

import re
import textwrap
from html import escape
from typing import TYPE_CHECKING

from agent.assess.assessment import ControlStatus
from agent.present.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_QUOTED = re.compile(r"`([^`]+)`|(?<!\w)'(?=\S)([^']*[^\s'])'(?!\w)")
_COMMAND = re.compile(r"(?:`([^`]+)`|(sudo .+?))(?:,? (and .+))?")
"""A line that is a command, in backticks or from root on, and what is to be done after it."""

# Each has an outline of its own, so that a print in black and white can be read.
_ICONS = {
    ControlStatus.FAIL: '<path class="solid" d="M5.3 1.5h5.4l3.8 3.8v5.4l-3.8 3.8H5.3l-3.8-3.8V5.3z"/>'
    '<path class="on" d="M5.6 5.6l4.8 4.8M10.4 5.6l-4.8 4.8"/>',
    ControlStatus.UNKNOWN: '<path d="M8 1.2L14.8 8 8 14.8 1.2 8z"/>'
    '<path d="M6.4 6.5a1.6 1.6 0 1 1 2.4 1.4c-.6.3-.8.7-.8 1.2M8 11v.1"/>',
    ControlStatus.MANUAL: '<path d="M1.2 8S3.6 3.6 8 3.6 14.8 8 14.8 8 12.4 12.4 8 12.4 1.2 8 1.2 8z"/>'
    '<circle cx="8" cy="8" r="1.9"/>',
    ControlStatus.WAIVED: '<path d="M3.5 14.5v-12h9.2L10.4 6l2.3 3.5H3.5"/>',
    ControlStatus.PASS: '<circle cx="8" cy="8" r="6.5"/><path d="M5 8.3l2.1 2.1L11.2 6"/>',
    ControlStatus.NOT_APPLICABLE: '<rect x="1.7" y="3.7" width="12.6" height="8.6" rx="4.3"/><path d="M5.5 8h5"/>',
}
_FILLINGS = {
    ControlStatus.FAIL: "",
    ControlStatus.UNKNOWN: '<path d="M-1 1l2-2M0 6l6-6M5 7l2-2"/>',
    ControlStatus.MANUAL: '<circle cx="1.5" cy="1.5" r="1"/><circle cx="4.5" cy="4.5" r="1"/>',
    ControlStatus.WAIVED: '<path d="M1.5 0v6M4.5 0v6"/>',
    ControlStatus.PASS: "",
    ControlStatus.NOT_APPLICABLE: '<path d="M0 3h6"/>',
}


def escaped(text: str) -> str:
    """Text of anybody as HTML: it is shown sign by sign, and what cannot be seen is spelt out."""
    return escape(printable(text))


def inline(text: str) -> str:
    """A sentence of our own, in which `this` and 'this' are code."""
    return _QUOTED.sub(lambda found: f"<code>{found[1] or found[2]}</code>", escape(printable(text), quote=False))


def paragraphs(text: str) -> str:
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
            blocks.append(f"<p>{inline(sentence)}</p>")
    return "".join(blocks)


def _to_copy(text: str) -> str:
    return f'<pre class="copy" tabindex="0">{escape(text)}</pre>'


def place(where: str) -> str:
    """Where something stands, to follow what it is about; nothing for an empty place."""
    return f' <span class="where">{escaped(where)}</span>' if where else ""


def part(name: str, heading: str, body: str, needed: Sequence[object] | None = None) -> str:
    """A part of the page with its heading; empty where `needed` is."""
    if needed is not None and not needed:
        return ""
    title = f'<h2 id="{name}">{heading}</h2>'
    return f'<section class="part part-{name}" aria-labelledby="{name}">{title}\n{body}</section>'


def data_table(name: str, heads: Iterable[str], bodies: Iterable[str], attributes: str = "") -> str:
    """A table. The roles stay when a narrow screen lays it out as something else, which takes the implied ones away."""
    cells = "".join(f'<th role="columnheader" scope="col">{head}</th>' for head in heads)
    rows = "\n".join(filter(None, bodies))
    return (
        f'<table role="table" class="{name}"{attributes}><thead role="rowgroup"><tr role="row">{cells}</tr></thead>\n'
        f"{rows}</table>"
    )


def block(heading: str, body: str, more: str = "") -> str:
    """A heading with its text, nothing without any; `more` has further classes, a blank before each."""
    return f'<div class="block{more}"><div class="label">{heading}</div>{body}</div>' if body else ""


def icon(status: ControlStatus) -> str:
    """The drawing of a status, which symbols() has once for the whole page."""
    return f'<svg class="icon {status}" aria-hidden="true"><use href="#icon-{status}"/></svg>'


def symbols() -> str:
    """The icons and the fillings of the bars, each drawn once."""
    icons = "".join(
        f'<symbol id="icon-{status}" viewBox="0 0 16 16">{drawing}</symbol>' for status, drawing in _ICONS.items()
    )
    fills = "".join(
        f'<pattern id="fill-{status}" class="{status}" width="6" height="6" patternUnits="userSpaceOnUse">'
        f'<rect width="6" height="6"/>{drawing}</pattern>'
        for status, drawing in _FILLINGS.items()
    )
    return f'<svg class="symbols" aria-hidden="true" width="0" height="0">{icons}<defs>{fills}</defs></svg>'
