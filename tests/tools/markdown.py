"""Markdown pages and tables, with escaping."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def page(parts: Iterable[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def generated(source: str) -> str:
    """Return the comment of a page that is generated from `source`."""
    return f"<!-- Generated from {source} by `make docs`; a test compares them. -->"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def prose(text: str) -> str:
    return escaped(" ".join(text.split()))


def escaped(text: str) -> str:
    """Escape `<` and `*` outside code, bold text and comments."""
    pieces = re.split(r"(`[^`]*`|\*\*[^*]+\*\*|<!--.*?-->)", text)
    return "".join(
        piece if index % 2 else piece.replace("<", "&lt;").replace("*", r"\*") for index, piece in enumerate(pieces)
    )


def anchor(heading: str) -> str:
    """Return the anchor of a heading on GitHub: lower case, no punctuation, hyphens for spaces."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _cell(text: str) -> str:
    return prose(text).replace("|", r"\|")
