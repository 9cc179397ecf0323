"""A command line that Typer reads, and the errors of one that it rejects."""

from __future__ import annotations

import os
import re
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from typer.main import get_command

from agent.base.errors import ExitCode, UsageError
from agent.cli.commands import app
from agent.cli.help_text import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMPLETION = "_K3S_HARDEN_COMPLETE"
"""Environment variable of Typer's protocol for the completion of shells."""


def run(words: list[str]) -> NoReturn:
    """Run a command line and exit. Raises UsageError if it is invalid."""
    try:
        if words or _COMPLETION in os.environ:
            sys.exit(app(words, prog_name=PROGRAM, standalone_mode=False) or 0)
        with redirect_stdout(sys.stderr):
            app(["--help"], prog_name=PROGRAM, standalone_mode=False)
        sys.exit(int(ExitCode.USAGE))
    # Click's UsageError: its module is `click.exceptions` or a copy in Typer, by the release of Typer.
    except typer.BadParameter.__mro__[1] as error:  # type: ignore[misc]
        raise _usage_error(error, words) from error


def _usage_error(error: Any, words: Sequence[str]) -> UsageError:  # noqa: ANN401 - as above
    """Return the error of a command line that Typer rejects, with a similar command or option."""
    import difflib

    command: Any = get_command(app)
    called = PROGRAM
    for word in words:
        if word not in getattr(command, "commands", {}):
            break
        command, called = command.commands[word], f"{called} {word}"
    verb = called.removeprefix(PROGRAM).strip()
    commands = getattr(command, "commands", {})
    hint = f"run {called} --help for {'all commands' if commands else 'its options'}"
    unknown = re.match(r"No such (command|option):? '?(.*?)'?(\.|$)", error.message)
    if not unknown:
        problem = error.format_message().rstrip(".")
        return UsageError(f"cannot run {verb or PROGRAM}: {problem[0].lower()}{problem[1:]}", hint)
    kind, name = unknown[1], unknown[2]
    if kind == "command":
        message = f"cannot run {name}: {called} has no such command"
        known = [other for other, command in commands.items() if not command.hidden]
    else:
        message = f"cannot use {name}: {verb or PROGRAM} has no such option"
        known = [other for option in command.params for other in option.opts if other.startswith("--")]
        if commands:
            hint = f"options follow the command: {called} COMMAND {name}"
    similar = difflib.get_close_matches(name, known, n=1)
    return UsageError(message, f"did you mean {similar[0]}?" if similar else hint)
