"""Text as Markdown: pages, tables, and words that Markdown would take for markup."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def page(parts: Iterable[str]) -> str:
    """A page of these parts, without the empty ones."""
    return "\n\n".join(part for part in parts if part) + "\n"


def generated(source: str) -> str:
    """The line that keeps a person from editing a page; `source` is what it is made from."""
    return f"<!-- Generated from {source} by `make docs`; a test compares them. -->"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, one line a row."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def prose(text: str) -> str:
    """The text in one line, with what Markdown would take for markup written so that it shows."""
    return escaped(" ".join(text.split()))


def escaped(text: str) -> str:
    """Outside of code, `<` would begin a tag and `*` emphasis; bold labels and links are ours and stay."""
    pieces = re.split(r"(`[^`]*`|\*\*[^*]+\*\*|<!--.*?-->)", text)
    return "".join(
        piece if index % 2 else piece.replace("<", "&lt;").replace("*", r"\*") for index, piece in enumerate(pieces)
    )


def anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading: small letters, no punctuation, hyphens for blanks."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _cell(text: str) -> str:
    return prose(text).replace("|", r"\|")
