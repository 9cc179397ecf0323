"""The end of a verb's help: an example, and the exit codes."""

from __future__ import annotations

import textwrap
from functools import cache
from typing import TYPE_CHECKING

from agent.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable

CHANGES = tuple(ExitCode)
"""Exit codes of a verb that changes the host."""

READS = (ExitCode.COMPLIANT, ExitCode.ERROR, ExitCode.USAGE, ExitCode.NOT_COMPLIANT)
"""Exit codes of a verb that compares the host and makes no changes."""

RENDERS = (ExitCode.COMPLIANT, ExitCode.ERROR, ExitCode.USAGE)
"""Exit codes of a verb that does not read the host."""

_WIDTH = 76
_AS_IT_IS = "\b\n"
"""Keeps the line breaks of the paragraph that follows, in Click."""


def epilog(example: str, codes: Iterable[ExitCode], *, success: str = ExitCode.COMPLIANT.meaning) -> str:
    """Return the example and the exit codes; `success` is the meaning of 0 for this verb."""
    rows = "\n".join(_row(int(code), code.meaning if code else success) for code in codes)
    return f"{_AS_IT_IS}Example:\n  {example}\n\n{_AS_IT_IS}Exit codes:\n{rows}"


@cache
def _row(code: int, meaning: str) -> str:
    return textwrap.fill(meaning, _WIDTH, initial_indent=f"  {code}  ", subsequent_indent="     ")
