"""Elements of the HTML report: text, code blocks, tables and icons."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Union
from xml.etree.ElementTree import Element

from agent.assess.assessment import ControlStatus
from agent.base.repair import Repair
from agent.base.times import timestamp
from agent.reports import repair_texts
from agent.reports.repair_texts import Step
from agent.reports.text import printable

Content = Union[str, Element, None, Iterable["Content"]]

_QUOTED = re.compile(r"`([^`]+)`|(?<!\w)'(?=\S)([^']*[^\s'])'(?!\w)")
_WORDS = re.compile(r"\s+|\S+")
_HYPHENATED = re.compile(r"-\w")


def element(tag: str, *content: Content, **attributes: str) -> Element:
    """Return an element. In names of attributes `_` becomes `-`, and a final `_` is dropped.

    Text and attributes may come from the host: control characters become escapes, and the serializer escapes markup.
    """
    made = Element(tag)
    for name, value in attributes.items():
        made.set(name.rstrip("_").replace("_", "-"), printable(str(value)))
    _append(made, content)
    return made


def _append(parent: Element, content: Iterable[Content]) -> None:
    for piece in content:
        if isinstance(piece, str):
            if len(parent):
                parent[-1].tail = (parent[-1].tail or "") + printable(piece)
            else:
                parent.text = (parent.text or "") + printable(piece)
        elif isinstance(piece, Element):
            parent.append(piece)
        elif piece is not None:
            _append(parent, piece)


def raw(tag: str, text: str, **attributes: str) -> Element:
    """Return an element with text of our own, line breaks included."""
    made = element(tag, **attributes)
    made.text = text
    return made


def inline(text: str) -> Content:
    """Return the text with `this` and 'this' as code, and with `whole` words."""
    pieces: list[Content] = []
    end = 0
    for quoted in _QUOTED.finditer(text):
        pieces += (whole(text[end : quoted.start()]), element("code", quoted[1] or quoted[2]))
        end = quoted.end()
    return (*pieces, whole(text[end:]))


def whole(text: str) -> Content:
    """Return the text with an element for each word with a hyphen, so that no line ends inside an option or path."""
    return [
        element("span", word, class_="whole") if _HYPHENATED.search(word) else word for word in _WORDS.findall(text)
    ]


def paragraph(text: str) -> list[Element]:
    """Return a paragraph; none for an empty text."""
    return [element("p", inline(text))] if text else []


def step_elements(repair: Repair) -> list[Element]:
    """Return the steps of a remediation and of its alternative."""
    blocks = step_blocks(repair_texts.steps(repair))
    if repair.alternative:
        blocks += [element("p", "Or:"), *step_elements(repair.alternative)]
    return blocks


def step_blocks(listed: Iterable[Step]) -> list[Element]:
    """Return steps; commands become blocks that can be copied."""
    return [
        element("pre", whole(step.text), class_="copy", tabindex="0")
        if step.is_command
        else element("p", inline(step.text[:1].upper() + step.text[1:]))
        for step in listed
    ]


def location(where: object) -> Content:
    """Return a location to follow a text; empty for none."""
    return (" ", element("span", str(where), class_="location")) if where else ""


def part(name: str, heading: str, *body: Content) -> Element:
    """Return a part of the page with its heading."""
    made = element("section", element("h2", heading, id=name), body, class_=f"part part-{name}", aria_labelledby=name)
    made.tail = "\n"
    return made


def table(name: str, heads: Iterable[Content], *bodies: Content, **attributes: str) -> Element:
    """Return a table. Explicit roles survive the layout of narrow screens, which removes the implicit ones."""
    cells = (element("th", head, role="columnheader", scope="col") for head in heads)
    head = element("thead", table_row(*cells), role="rowgroup")
    return element("table", head, bodies, role="table", class_=name, **attributes)


def group(*rows: Content, tag: str = "tbody", **attributes: str) -> Element:
    """Return a group of table rows."""
    return element(tag, rows, role="rowgroup", **attributes)


def table_row(*cells: Content, **attributes: str) -> Element:
    """Return a table row."""
    made = element("tr", cells, role="row", **attributes)
    made.tail = "\n"
    return made


def head_cell(*content: Content, scope: str = "row", **attributes: str) -> Element:
    """Return a header cell of a row or of a group of rows."""
    return element("th", content, role="rowheader", scope=scope, **attributes)


def cell(*content: Content, **attributes: str) -> Element:
    """Return a data cell."""
    return element("td", content, role="cell", **attributes)


def definitions(pairs: Iterable[tuple[Content, Content]], **attributes: str) -> Element:
    """Return a definition list."""
    return element(
        "dl", (element("div", element("dt", name), element("dd", value)) for name, value in pairs), **attributes
    )


def icon(status: ControlStatus) -> Element:
    """Return a reference to the icon of a status, which assets/icons.xml defines."""
    return element("svg", element("use", href=f"#icon-{status}"), class_=f"icon {status}", aria_hidden="true")


def time_element(when: float) -> Element:
    """Return a time, readable by people and programs."""
    text = timestamp(when)
    return element("time", text.replace("T", " ").replace("Z", " UTC"), datetime=text)
