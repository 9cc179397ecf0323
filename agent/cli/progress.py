"""Progress of a run that takes longer than a second: one line at the end of the terminal, which disappears."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

from agent.reports.formats import fitting
from agent.reports.text import printable

_DELAY = 1.0
"""Seconds without a line: most runs are shorter."""
_PERIOD = 0.2
_USUAL_WIDTH = 80


class Line:
    """The line, which a thread draws: a step can wait for a slow disk or program."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._text = ""
        self._drawn = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def show(self, text: str, done: int = 0, total: int = 0) -> None:
        """Set the step that the line shows."""
        number = f"{done} of {total}: " if total else ""
        self._text = printable(f"k3s-harden {self._verb}: {number}{text}")

    def end(self) -> None:
        """Remove the line."""
        self._ended.set()
        self._thread.join()
        self._draw("")

    def _run(self) -> None:
        delay = _DELAY
        while not self._ended.wait(delay):
            self._draw(self._text)
            delay = _PERIOD

    def _draw(self, text: str) -> None:
        """Replace the line. Blanks remove the earlier one, so that each terminal can do it."""
        with suppress(OSError):  # the terminal was closed
            width = (os.get_terminal_size(2).columns or _USUAL_WIDTH) - 1
            text = fitting(text[:width], sys.stderr)[:width]
            if text == self._drawn or os.tcgetpgrp(2) != os.getpgrp():  # a background job does not write
                return
            blanks = " " * (min(len(self._drawn), width) - len(text))
            line = f"\r{text}{blanks}" if text else f"\r{blanks}\r"
            # Not through sys.stderr, on which the other thread can write at the same time.
            os.write(2, line.encode(sys.stderr.encoding, "backslashreplace"))
            self._drawn = text
