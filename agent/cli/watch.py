"""`check --watch`: the report of a host on a terminal, again whenever it changes."""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
import time
from contextlib import contextmanager, suppress
from io import StringIO
from typing import TYPE_CHECKING, NoReturn, TextIO

from agent.cli.streams import terminal_size
from agent.errors import HardenError, HostError, UsageError
from agent.present import Format, fitting
from agent.present.remediation import labelled
from agent.present.text import printable
from agent.report import Report
from agent.value import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from agent.host import Host

PERIOD = 2.0
"""Seconds between two checks. One takes about 10 ms of a processor."""

_RENEWED = 30
"""Checks after which programs are asked again and memory is freed."""

_SIGNALS = frozenset({signal.SIGWINCH, signal.SIGTSTP, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})
"""Received between two checks, so that the terminal is left as it was. SIGINT interrupts also a check."""

_ENTER, _LEAVE = "\x1b[?1049h", "\x1b[H\x1b[J\x1b[?1049l"
_HOME, _TO_END_OF_LINE, _TO_END = "\x1b[H", "\x1b[K", "\x1b[J"
_STYLES = re.compile(r"\x1b\[[0-9;]*m")


def refuse_without_terminal(output_format: Format) -> None:
    """Raise UsageError if the report is for a program."""
    if output_format is Format.JSON:
        raise UsageError(
            "cannot use --watch with --format json: it redraws a screen for a person", "omit one of the two options"
        )
    if not sys.stdout.isatty():
        raise UsageError(
            "cannot use --watch: standard output is not a terminal, and it redraws a screen",
            "omit --watch; the exit code of check says whether the host is compliant",
        )


def watch(host: Host, check: Callable[[Host], Report], present: Callable[[Report, TextIO], None]) -> Report:
    """Check the host and show the report whenever it changes, until Ctrl-C; return the last report.

    Raises the error of the last check, if it had no report.
    """
    screen = _Screen(present)
    last: Report | HardenError | None = None
    number = 0
    with _blocked_signals(), screen.shown():
        try:
            while True:
                outcome = _outcome(host, check)
                if not _is_same(outcome, last):
                    last = outcome
                    screen.draw(last)
                _wait(screen)
                number += 1
                if number % _RENEWED:
                    host = host.again()
                else:
                    host = host.renewed()
                    gc.collect()  # the collector is off
        except KeyboardInterrupt:
            if last is None:
                raise
    if isinstance(last, HardenError):
        raise last
    return last


def _outcome(host: Host, check: Callable[[Host], Report]) -> Report | HardenError:
    try:
        return check(host)
    except HardenError as error:  # such as settings that are being edited
        return error
    except OSError as error:  # such as a file that vanished during the check
        return HostError(f"cannot observe the host: {error}")


def _is_same(one: Report | HardenError, other: Report | HardenError | None) -> bool:
    if isinstance(one, HardenError) and isinstance(other, HardenError):
        return (one.message, one.hint) == (other.message, other.hint)
    return one == other


def _wait(screen: _Screen) -> None:
    """Wait until the next check, and act on signals."""
    until = time.monotonic() + PERIOD
    while True:
        received = signal.sigtimedwait(_SIGNALS, max(0, until - time.monotonic()))
        if received is None:
            return
        if received.si_signo == signal.SIGWINCH:
            screen.redraw()
        elif received.si_signo == signal.SIGTSTP:
            screen.leave()
            os.kill(os.getpid(), signal.SIGSTOP)
            screen.enter()
            screen.redraw()
        else:
            _end(received.si_signo)


def _end(number: int) -> NoReturn:
    raise SystemExit(128 + number)


@contextmanager
def _blocked_signals() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Screen:
    """The terminal: its second screen, or new lines if it is a dumb one."""

    def __init__(self, present: Callable[[Report, TextIO], None]) -> None:
        self._present = present
        self._outcome: Report | HardenError | None = None
        self._changed = ""
        self._has_screen = os.environ.get("TERM", "dumb") not in ("", "dumb")

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Use the second screen, and leave it at the end, however that comes."""
        self.enter()
        try:
            yield
        finally:
            with suppress(OSError):  # the terminal was closed
                self.leave()

    def enter(self) -> None:
        """Show the second screen."""
        self._write(_ENTER if self._has_screen else "")

    def leave(self) -> None:
        """Show the first screen, as it was."""
        self._write(_LEAVE if self._has_screen else "")

    def draw(self, outcome: Report | HardenError) -> None:
        """Show another report."""
        self._outcome = outcome
        self._changed = time.strftime("%H:%M:%S")
        self._show()

    def redraw(self) -> None:
        """Show the same report for the current size of the terminal."""
        if self._has_screen and self._outcome is not None:
            self._show()

    def _show(self) -> None:
        head = (f"Last change: {self._changed}. Checked every {PERIOD:g} s; Ctrl-C ends.", "")
        lines = [*head, *self._lines(self._outcome)]
        if not self._has_screen:
            self._write("".join(f"{line}\n" for line in (*lines, "")))
            return
        size = terminal_size()
        if isinstance(self._outcome, Report) and sum(_heights(lines, size.columns)) > size.lines:
            # The result is then the last line.
            lines = [*head, *self._lines(replace(self._outcome, next_steps=()))]
        lines = _cut(lines, size.columns, size.lines)
        shown = f"{_TO_END_OF_LINE}\n".join(fitting(line, sys.stdout) for line in lines)
        self._write(f"{_HOME}{shown}{_TO_END_OF_LINE}{_TO_END}")

    def _lines(self, outcome: Report | HardenError | None) -> list[str]:
        if isinstance(outcome, HardenError):
            texts = (f"k3s-harden: {outcome.message}", labelled(outcome.hint))
            return [printable(text) for text in texts if text]
        captured = _Captured()
        if outcome is not None:
            self._present(outcome, captured)
        return captured.getvalue().rstrip("\n").split("\n")

    @staticmethod
    def _write(text: str) -> None:
        if text:
            sys.stdout.write(text)
            sys.stdout.flush()


class _Captured(StringIO):
    """Keeps what would be printed on the terminal."""

    @property
    def encoding(self) -> str:  # type: ignore[override] # a read-only attribute, as here
        """The encoding of the terminal."""
        return sys.stdout.encoding

    def isatty(self) -> bool:
        """Return true, so that the report is a table with styles."""
        return True


def _heights(lines: Iterable[str], columns: int) -> list[int]:
    """Return how many rows of the terminal each line takes."""
    return [max(1, -(-len(_STYLES.sub("", line)) // columns)) for line in lines]


def _cut(lines: list[str], columns: int, rows: int) -> list[str]:
    """Return the lines that fit the terminal, without some in the middle: the result is at the end."""
    heights = _heights(lines, columns)
    if sum(heights) <= rows:
        return lines
    room = rows - 1
    last = _fitting_number(reversed(heights), max(room // 2, 1))
    first = _fitting_number(heights, room - sum(heights[len(lines) - last :]))
    note = f"({len(lines) - first - last} more lines do not fit this terminal)"
    return [*lines[:first], note[:columns], *lines[len(lines) - last :]]


def _fitting_number(heights: Iterable[int], room: int) -> int:
    """Return how many of these lines fit."""
    number = 0
    for height in heights:
        room -= height
        if room < 0:
            break
        number += 1
    return number
