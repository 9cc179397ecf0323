"""The command line: reads arguments, calls a verb, prints its report and exits. The only package that exits."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType, TracebackType
from typing import NoReturn

from agent.base.errors import AccessDeniedError, ExitCode, HardenError, InputError, RootRequiredError
from agent.base.repair import Instruction, Step
from agent.cli.commands import COMMANDS
from agent.cli.streams import discard, open_standard_streams, print_error

_INTERRUPTED = 130
"""The exit code after Ctrl-C, as in shells and of Typer: 128 and the number of SIGINT."""

_PAUSE = 0.001
"""Seconds until an interrupt is repeated that Python has discarded."""

_arrived: list[int] = []
"""The signals that were raised as KeyboardInterrupt."""


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
        if ended.code == _INTERRUPTED:
            _fail_interrupted()
        raise
    except BaseException as error:
        if _by_interrupt(error):
            _fail_interrupted()
        raise


def _run(words: list[str]) -> None:
    """Run a verb without options at once; every other command line is read by Typer."""
    command = COMMANDS.get(words[0]) if len(words) == 1 else None
    if command is not None and command.needs_no_words:
        _raise_interrupts()
        command.function()
        return
    from agent.cli import command_line

    _raise_interrupts()
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


def _raise_interrupts() -> None:
    """Make Ctrl-C raise KeyboardInterrupt, unless it is ignored, as in a background job of a shell."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
        sys.unraisablehook, sys.excepthook = _repeat, _hide
        for number in (signal.SIGINT, signal.SIGALRM):
            signal.signal(number, _interrupt)


def _by_interrupt(error: BaseException) -> bool:
    """Return whether Ctrl-C caused an error. While a class is created, Python makes a RuntimeError of it."""
    return isinstance(error, KeyboardInterrupt) or bool(_arrived)


def _fail_interrupted() -> NoReturn:
    """Say what to do next, and exit."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # for the second Ctrl-C of somebody who does not wait
    print_error("interrupted", Instruction("run k3s-harden check; the next run completes what this run started"))
    sys.exit(_INTERRUPTED)


def _interrupt(number: int, _: FrameType | None) -> NoReturn:
    _arrived.append(number)
    raise KeyboardInterrupt


def _repeat(discarded: sys.UnraisableHookArgs) -> None:
    """Repeat an interrupt that arrived in a destructor, whose errors Python otherwise prints and ignores."""
    if issubclass(discarded.exc_type, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, _PAUSE)
    else:
        sys.__unraisablehook__(discarded)


def _hide(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    """Print no traceback of an interrupt that arrives while `agent.cli.main` returns."""
    if not _by_interrupt(error):
        sys.__excepthook__(kind, error, where)
