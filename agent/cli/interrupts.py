"""Ctrl-C: a KeyboardInterrupt, and no traceback wherever in Python it arrives."""

from __future__ import annotations

import signal
import sys
from types import FrameType, TracebackType
from typing import NoReturn

from agent.base.repair import Instruction
from agent.cli.streams import print_error

EXIT_CODE = 130
"""The exit code after Ctrl-C, as in shells and of Typer: 128 and the number of SIGINT."""

_PAUSE = 0.001
"""Seconds until an interrupt is repeated that Python has discarded."""

_arrived: list[int] = []
"""The signals that were raised as KeyboardInterrupt."""


def raise_interrupts() -> None:
    """Make Ctrl-C raise KeyboardInterrupt, unless it is ignored, as in a background job of a shell."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
        sys.unraisablehook, sys.excepthook = _repeat, _hide
        for number in (signal.SIGINT, signal.SIGALRM):
            signal.signal(number, _interrupt)


def caused(error: BaseException) -> bool:
    """Return whether Ctrl-C caused an error. While a class is created, Python makes a RuntimeError of it."""
    return isinstance(error, KeyboardInterrupt) or bool(_arrived)


def fail_interrupted() -> NoReturn:
    """Say what to do next, and exit."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # for the second Ctrl-C of somebody who does not wait
    print_error("interrupted", Instruction("run k3s-harden check; the next run completes what this run started"))
    sys.exit(EXIT_CODE)


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
    if not caused(error):
        sys.__excepthook__(kind, error, where)
