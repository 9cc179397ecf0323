"""The command line: reads arguments, calls a verb, prints its report and exits. The only package that exits."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from agent.base.errors import AccessDeniedError, ExitCode, HardenError, InputError, RootRequiredError
from agent.base.repair import Instruction, Step
from agent.cli import interrupts
from agent.cli.commands import COMMANDS
from agent.cli.streams import discard, open_standard_streams, print_error


def main() -> None:
    """Run the command line and exit."""
    open_standard_streams()
    try:
        _run(sys.argv[1:])
    except HardenError as error:
        print_error(error.message, *_steps(error))
        sys.exit(int(error.exit_code))
    except OSError as error:
        _fail_to_write(error)
    except SystemExit as ended:
        if ended.code == interrupts.EXIT_CODE:
            interrupts.fail_interrupted()
        raise
    except BaseException as error:
        if interrupts.caused(error):
            interrupts.fail_interrupted()
        raise


def _run(words: list[str]) -> None:
    """Run a verb without options at once; every other command line is read by Typer."""
    command = COMMANDS.get(words[0]) if len(words) == 1 else None
    if command is not None and command.needs_no_words:
        interrupts.raise_interrupts()
        command.function()
        return
    from agent.cli import command_line

    interrupts.raise_interrupts()
    command_line.run(words)


def _fail_to_write(error: OSError) -> NoReturn:
    if error.filename is not None:
        raise error
    # Typer could not print its help: verbs report other errors of the operating system as HardenError.
    discard(sys.stdout)
    print_error(f"cannot print: {error.strerror}")
    sys.exit(int(ExitCode.ERROR))


def _steps(error: HardenError) -> tuple[Step, ...]:
    """Return what to do about an error; if it needs root, the same command line with sudo."""
    is_denied = isinstance(error, AccessDeniedError) and not error.repair.steps and os.geteuid() != 0
    if is_denied or isinstance(error, RootRequiredError):
        from agent.cli.caller import as_root

        return (as_root(),)
    if isinstance(error, InputError) and not error.repair.steps:
        return (Instruction("correct that", error.location._replace(line=0)),)
    return error.repair.steps
