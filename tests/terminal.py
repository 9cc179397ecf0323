"""A program on a pseudo-terminal: its output, keys, signals and the size of the terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

CHECKOUT = Path(__file__).parents[1]
_PATIENCE = 60.0
"""Seconds; on an idle machine everything takes less than five."""
_WITH_TERMINAL = """\
import fcntl, os, sys, termios
fcntl.ioctl(int(sys.argv[1]), termios.TIOCSCTTY, 0)
os.execvp(sys.argv[2], sys.argv[2:])
"""


class Terminal:
    """The program in a new session with its terminal, as a context manager."""

    def __init__(
        self,
        *words: str | Path,
        columns: int = 80,
        lines: int = 24,
        environment: Mapping[str, str] | None = None,
        program: Iterable[str | Path] = (sys.executable, "-m", "agent"),
        stdout: int | None = None,
    ) -> None:
        self._ours, theirs = pty.openpty()
        self.resize(columns, lines)
        keep = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **(environment or {})}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WITH_TERMINAL, str(theirs), *map(str, program), *map(str, words)],
            cwd=CHECKOUT,
            env=keep,
            stdin=theirs,
            stdout=theirs if stdout is None else stdout,
            stderr=theirs,
            start_new_session=True,
            pass_fds=(theirs,),
        )
        os.close(theirs)
        self.shown = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self.close()

    def close(self) -> None:
        """Close the terminal: the program gets SIGHUP."""
        if self._ours >= 0:
            os.close(self._ours)
        self._ours = -1

    def read_until(self, text: str) -> str:
        until = time.monotonic() + _PATIENCE
        while text not in self.shown:
            assert time.monotonic() < until, f"expected {text!r}, found {self.shown!r}"
            assert self._read(0.2) or self._process.poll() is None, f"ended without {text!r}: {self.shown!r}"
        found, _, self.shown = self.shown.partition(text)
        return found + text

    def rest(self) -> str:
        """Return the output until the end of the program."""
        until = time.monotonic() + _PATIENCE
        while self._read(0.2) or self._process.poll() is None:
            assert time.monotonic() < until, f"does not end: {self.shown!r}"
        found, self.shown = self.shown, ""
        return found

    def end(self) -> int:
        return self._process.wait(_PATIENCE)

    def press(self, keys: str) -> None:
        """Send keys; the character with number 3 is Ctrl-C."""
        os.write(self._ours, keys.encode())

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def resize(self, columns: int, lines: int) -> None:
        """Change the size of the terminal; the kernel sends SIGWINCH to the program."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    @property
    def state(self) -> str:
        return Path(f"/proc/{self._process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]

    def _read(self, seconds: float) -> bool:
        if not select.select([self._ours], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # the last process of the terminal ended
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)


def screen(text: str, columns: int) -> list[str]:
    """Return the lines of a terminal after this output. Supports the control characters that the program uses."""
    rows: list[list[str]] = [[]]
    row = column = 0
    for char in text:
        if char == "\n":
            row += 1
        elif char == "\r":
            column = 0
        else:
            if column == columns:
                row, column = row + 1, 0
            while len(rows) <= row:
                rows.append([])
            rows[row] += [" "] * (column + 1 - len(rows[row]))
            rows[row][column] = char
            column += 1
    return ["".join(cells).rstrip() for cells in rows]
