"""The help of commands: its width, its examples and its exit codes."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping
from itertools import groupby
from typing import Any

import typer
from typer.core import TyperGroup

from agent.base.errors import ExitCode
from agent.cli.streams import columns

PROGRAM = "k3s-harden"

_COLUMNS = os.environ.get("COLUMNS", "")
_WIDTH = min(76, max(36, ((int(_COLUMNS) if _COLUMNS.isdecimal() else 0) or columns() or 80) - 4))
"""Columns of help: those of the terminal, or as in other programs those of the variable COLUMNS."""
_NARROW = 60
_KEEPS_LINES = "\b\n"
"""Keeps the line breaks of the paragraph that follows, in Click."""

_context: Any = typer.Context.__mro__[1]  # of Click, or of its copy in Typer


class _HelpFormatter(_context.formatter_class):  # type: ignore[misc]
    """On a narrow terminal, the texts of options and commands begin below their names."""

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__(width=_WIDTH + 2)

    def write_dl(self, rows: Any, *_: int) -> None:  # noqa: ANN401 - as in Click
        super().write_dl(rows, col_max=30 if _WIDTH > _NARROW else 6)


_context.formatter_class = _HelpFormatter


def epilog(example: str, codes: Mapping[ExitCode, str], success: str) -> str:
    """Return the end of a command's help: an example, and the exit codes; `success` is the meaning of 0."""
    listed = [f"  {int(code)}  {meaning}" for code, meaning in {**codes, ExitCode.COMPLIANT: success}.items()]
    # Most lines fit, and wrapping all of them takes 1 ms at each start.
    fitting = (
        line if len(line) <= _WIDTH else textwrap.fill(line, _WIDTH, subsequent_indent="     ") for line in listed
    )
    rows = "\n".join(fitting)
    lines = textwrap.wrap(example, _WIDTH - 4, break_long_words=False, break_on_hyphens=False)
    shown = example if len(example) + 2 <= _WIDTH else " \\\n    ".join(lines)
    return f"{_KEEPS_LINES}Example:\n  {shown}\n\n{_KEEPS_LINES}Exit codes:\n{rows}"


class Grouped(TyperGroup):
    """A group of commands, whose help lists them by topic."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401, ARG002 - as in Click
        """Write each group with its commands, whose texts are in one column."""
        longest = max(map(len, self.commands)) * (_WIDTH > _NARROW)
        commands: list[Any] = [command for command in self.commands.values() if not command.hidden]
        for topic, inside in groupby(commands, key=lambda command: command.rich_help_panel):
            with formatter.section(topic or "Commands"):
                formatter.write_dl([(one.name.ljust(longest), one.get_short_help_str(80)) for one in inside])
