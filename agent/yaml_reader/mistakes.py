"""Usual mistakes in YAML files: their messages and fixes. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from agent.errors import InputError
from agent.model import Location

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from yaml import YAMLError


class _Mistake(NamedTuple):
    """A usual mistake in a YAML file."""

    words: tuple[str, ...]
    """Parts of the messages of PyYAML's two parsers."""
    problem: str
    fix: str
    is_of_begin: bool = False
    """Whether the mistake is on the line where the unfinished value or key begins."""


_TAB = _Mistake(("tab character",), "found a tab, expected blanks", "replace the tab with blanks")
_UNQUOTED = _Mistake(
    ("cannot start any token",), "found `{}` at the beginning of a value without quotes", "put the value in quotes"
)
_MISTAKES = (
    _TAB,
    _Mistake(
        ("mapping values are not allowed",),
        "found a `:` that no key can have here: the indentation differs from the line above, or quotes are missing",
        "correct the indentation, or put a value that contains `: ` in quotes",
    ),
    _Mistake(("unexpected end of stream",), "a quote is not closed", "close the quote", is_of_begin=True),
    _Mistake(
        ("expected ',' or ']'", "expected ',' or '}'"),
        "a bracket or brace is not closed",
        "close the bracket or brace",
        is_of_begin=True,
    ),
    _Mistake(
        ("expected node content", "expected the node content"),
        "a value is missing, or a bracket or brace is not closed",
        "add the value, or close the bracket or brace",
    ),
    _Mistake(("maximum nesting depth",), "it nests too deep", "reduce the nesting"),
    _Mistake(
        (
            "expected key",
            "expected <block end>",
            "expected '-' indicator",
            "entries are not allowed",
            "expected <document start>",
            "expected '<document start>'",
        ),
        "the text or its indentation does not fit the lines above",
        "correct the text or its indentation",
    ),
    _Mistake(("expected ':'",), "a key has no `:`", "add `:` after the key", is_of_begin=True),
)


def syntax_error(error: YAMLError, text: str, path: PurePosixPath) -> InputError:
    """Return the error for a file that PyYAML rejects, with the line and the fix of a usual mistake."""
    # PyYAML's own message quotes the line, which can contain a secret. This one has only the kind of the problem. Names
    # in <> are tokens of YAML.
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "context", None) or "it cannot be parsed"
    hint = detail = ""
    found = next((mistake for mistake in _MISTAKES if any(words in problem for words in mistake.words)), None)
    if mark and any(words in problem for words in _UNQUOTED.words):
        # Of the mark, only the index does not depend on what ends a line: YAML counts U+2028, too.
        detail = text[mark.index : mark.index + 1]
        found = _TAB if detail == "\t" else _UNQUOTED
    if found is not None:
        problem, hint = found.problem.format(detail), found.fix
        mark = (getattr(error, "context_mark", None) if found.is_of_begin else None) or mark
    else:
        problem = re.sub(r"(['\"])(?!<)..+\1", "a text", problem)
    return InputError(Location(path, mark.line + 1 if mark else 0), f"the file is not YAML: {problem}", hint)
