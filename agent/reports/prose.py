"""Wrapping of prose. Commands, paths and ids stay whole, so that they can be pasted."""

from __future__ import annotations

import re
import textwrap

WIDEST = 100
"""Columns of prose on a wider terminal, and without a terminal."""

_NARROWEST = 20
_QUOTED = re.compile(r"`[^`]*`|(?<![^\s(])'[^'\n]+'(?![\w])")
_BLANK = "\0"
"""A blank of a quoted text while a paragraph is wrapped."""


def wrapped(text: str, width: int, indent: str = "", hanging: str | None = None) -> list[str]:
    """Return a paragraph as lines of at most `width` columns. A longer word or quoted text is not broken.

    `indent` is before the first line, `hanging` before the others.
    """
    whole = _QUOTED.sub(lambda quoted: quoted[0].replace(" ", _BLANK), text)
    lines = textwrap.wrap(
        " ".join(whole.split()),
        max(width, _NARROWEST),
        initial_indent=indent,
        subsequent_indent=indent if hanging is None else hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_BLANK, " ") for line in lines]


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
