"""Next steps as texts for each format. `addressed_steps` has completed their commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.value import replace
from agent.cli.present import remediation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console

    from agent.base.report import NextStep
    from agent.cli.present.remediation import Caller

_INDENT = 5


def addressed_steps(steps: Iterable[NextStep], caller: Caller) -> tuple[NextStep, ...]:
    """Return the steps with complete commands for this caller."""
    return tuple(replace(next_step, step=remediation.completed(next_step.step, caller)) for next_step in steps)


def step_object(step: NextStep) -> dict[str, str]:
    """Return a step for JSON; the command is empty for an instruction."""
    text, command = _texts(step)
    return {"text": text, "command": command}


def step_lines(steps: Iterable[NextStep]) -> Iterator[str]:
    """Yield one plain line for each step, with the command at its end."""
    for number, step in enumerate(steps, 1):
        yield f"next {number}: {': '.join(filter(None, _texts(step)))}"


def print_next_steps(console: Console, steps: Iterable[NextStep]) -> None:
    """Print a numbered list; each command has its own line, so that it can be pasted."""
    from rich.text import Text

    from agent.cli.present.layout import joined, print_command, print_line, styled

    for number, step in enumerate(steps, 1):
        if number == 1:
            print_line(console, Text())
            print_line(console, Text("Next steps", "bold"))
        text, command = _texts(step)
        print_line(console, joined(Text(f"{number:3}. "), styled(f"{text}:" if command else text)), hanging=_INDENT)
        if command:
            print_command(console, command, _INDENT, "bold")


def _texts(step: NextStep) -> tuple[str, str]:
    text = remediation.described(step.step)
    return (step.purpose, text.text) if text.is_command else (text.text, "")
