"""Wrapping of prose. Commands, paths and ids stay whole, so that they can be pasted."""

from __future__ import annotations

import re

WIDEST = 100
"""Columns of prose on a wider terminal, and without a terminal."""

_NARROWEST = 20
_WORD = re.compile(r"(?:`[^`]*`|(?<![^\s(])'[^'\n]+'(?![\w])|\S)+")
"""A word, or quoted text with its punctuation."""


def wrapped(text: str, width: int, indent: str = "", hanging: str | None = None) -> list[str]:
    """Return a paragraph as lines of at most `width` columns. A longer word or quoted text is not broken.

    `indent` is before the first line, `hanging` before the others.
    """
    room = max(width, _NARROWEST)
    lines: list[str] = []
    line, is_empty = indent, True
    for word in _WORD.findall(text):
        if not is_empty and len(line) + 1 + len(word) > room:
            lines.append(line)
            line, is_empty = indent if hanging is None else hanging, True
        line += word if is_empty else f" {word}"
        is_empty = False
    return lines if is_empty else [*lines, line]


def two_columns(pairs: list[tuple[str, str]], width: int, indent: str = "  ") -> list[str]:
    """Return names with their texts in a second column, or below the names if the second column would be narrow."""
    widest = max((len(name) for name, _ in pairs), default=0)
    column = len(indent) + widest + 2
    enough = min(2 * _NARROWEST, max((len(text) for _, text in pairs), default=0))
    lines: list[str] = []
    for name, text in pairs:
        if width - column >= enough:
            lines += wrapped(text, width, f"{indent}{name:{widest}}  ", " " * column)
        else:
            lines += [*wrapped(name, width, indent), *wrapped(text, width, f"{indent}  ")]
    return lines
