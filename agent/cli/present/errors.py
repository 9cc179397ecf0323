"""An error with its hint, for standard error."""

from __future__ import annotations

from agent.base.errors import CommandHint
from agent.cli.present.prose import wrapped
from agent.cli.present.remediation import labelled
from agent.cli.present.text import printable

_INDENT = "  "
_BELOW_LABEL = " " * len(f"{_INDENT}fix: ")


def error_lines(message: str, hint: str, width: int) -> list[str]:
    """Return lines that fit a terminal of this width. Width 0 is no terminal: message and hint have one line each.

    A long command is continued with backslashes, so that it can be pasted.
    """
    head, fix = printable(f"k3s-harden: {message}"), printable(hint)
    if not width:
        return [head, f"{_INDENT}{labelled(fix)}"] if fix else [head]
    shown = wrapped(head, width, hanging=_INDENT)
    if isinstance(hint, CommandHint):
        from agent.cli.present.layout import command_lines

        first, *others = command_lines(fix, width - len(_BELOW_LABEL))
        return [*shown, f"{_INDENT}{labelled(first)}", *(f"{_BELOW_LABEL}{line}" for line in others)]
    return [*shown, *wrapped(labelled(fix), width, _INDENT, _BELOW_LABEL)] if fix else shown
