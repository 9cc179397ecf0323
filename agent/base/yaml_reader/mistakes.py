"""Usual mistakes in YAML files: their messages and fixes. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from agent.base import package_data
from agent.base.errors import InputError
from agent.base.model import Location

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from yaml import YAMLError


class _Mistake(NamedTuple):
    """A row of mistakes.tsv."""

    words: str
    problem: str
    fix: str
    begin: str = ""

    def is_in(self, message: str) -> bool:
        """Return whether a message of PyYAML is about this mistake."""
        return any(words in message for words in self.words.split(" | "))


def syntax_error(error: YAMLError, text: str, path: PurePosixPath) -> InputError:
    """Return the error for a file that PyYAML rejects, with the line and the fix of a usual mistake."""
    # PyYAML's own message quotes the line, which can contain a secret. This one has only the kind of the problem. Names
    # in <> are tokens of YAML.
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "context", None) or "it cannot be parsed"
    hint = ""
    mistakes = [_Mistake(*cells) for cells in package_data.rows("base", "yaml_reader", "mistakes.tsv")]
    found = next((mistake for mistake in mistakes if mistake.is_in(problem)), None)
    if found is not None:
        # Of the mark, only the index does not depend on what ends a line: YAML counts U+2028, too.
        character = text[mark.index : mark.index + 1] if mark and "{}" in found.problem else ""
        found = mistakes[0] if character == "\t" else found
        problem, hint = found.problem.format(character), found.fix
        mark = (getattr(error, "context_mark", None) if found.begin else None) or mark
    else:
        problem = re.sub(r"(['\"])(?!<)..+\1", "a text", problem)
    return InputError(Location(path, mark.line + 1 if mark else 0), f"the file is not YAML: {problem}", hint)
