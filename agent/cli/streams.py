"""Standard output and standard error of the program."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import TextIO

from agent.base.errors import ExitCode
from agent.base.repair import Instruction, Repair, Step
from agent.base.report import Progress, no_progress

_USUAL_WIDTH = 80
"""Columns of a terminal that does not report its size, such as a serial console."""

_CHANGED = Instruction("changes were made; run k3s-harden check to see the state")
_UNCHANGED = Instruction("nothing was changed; print to a terminal or to another file, and run it again")


def repeat(hours: float) -> None:
    """Return in a new process now, and again this time after its end, until this process is stopped."""
    import time

    while os.fork():
        os.wait()
        time.sleep(hours * 3600)


def open_standard_streams() -> None:
    """Open /dev/null for each standard stream that is closed."""
    # Otherwise the next opened file would get the number of the closed stream, and the report would be written to it.
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w")


def print_text(text: str) -> None:
    """Print text to standard output, in the characters that its encoding has."""
    from agent.reports.formats import fitting

    with printing():
        sys.stdout.write(fitting(text, sys.stdout))


@contextmanager
def printing(
    exit_code: ExitCode = ExitCode.COMPLIANT, *, changed: bool = False, decides: bool = True
) -> Iterator[None]:
    """Flush standard output at the end, and report an error if it cannot be written.

    A reader that closes the pipe early (`| head`) is no error. For any other error the program exits with `exit_code`,
    or with 1 if that is 0 and nothing was `changed`, as 1 says. Unless `decides`, it does not exit: a full log does not
    block K3s.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        discard(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            print_error(f"cannot print the report: {error.strerror}", _CHANGED if changed else _UNCHANGED)
            if decides:
                raise SystemExit(int(exit_code if changed else exit_code or ExitCode.ERROR)) from error


class _Screen(StringIO):
    """What is printed to a terminal, before it is shown."""

    encoding = property(lambda _: sys.stdout.encoding)

    def isatty(self) -> bool:
        """Return true, as for the terminal."""
        return True


@contextmanager
def paged() -> Iterator[TextIO]:
    """Yield the stream of a report, which a pager shows if it is longer than the terminal."""
    try:
        height = os.get_terminal_size(sys.stdout.fileno()).lines if sys.stdin.isatty() and sys.stdout.isatty() else 0
    except (OSError, ValueError):  # closed
        height = 0
    if not height:
        yield sys.stdout
        return
    screen = _Screen()
    yield screen
    text = screen.getvalue()
    if text.count("\n") >= height:
        from agent.base.host.process import run_pager

        if run_pager(text.encode(sys.stdout.encoding), os.environ):
            return
    sys.stdout.write(text)


def discard(stream: TextIO) -> None:
    """Discard what is printed to the stream from now on.

    Python flushes its streams once more when it exits. If that fails, the exit code is 120 instead of the program's.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def print_error(message: str, *steps: Step) -> None:
    """Print an error, and its remediation on a line of its own, to standard error."""
    from agent.reports.formats import fitting

    try:
        lines = error_lines(message, Repair(steps), _width(sys.stderr))
        sys.stderr.write(fitting("".join(f"{line}\n" for line in lines), sys.stderr))
        sys.stderr.flush()
    except OSError:
        discard(sys.stderr)


def error_lines(message: str, repair: Repair, width: int) -> list[str]:
    """Return lines that fit a terminal of this width. Width 0 is no terminal: message and remediation have a line each.

    A long command is continued with backslashes, so that it can be pasted.
    """
    from agent.reports import repair_texts
    from agent.reports.text import printable, wrapped

    indent, below = "  ", " " * len("  fix: ")
    head, fix = printable(f"k3s-harden: {message}"), printable(repair_texts.text(repair))
    if not width:
        return [head, f"{indent}fix: {fix}"] if fix else [head]
    shown = wrapped(head, width, hanging=indent)
    if repair.steps and all(step.is_command for step in repair_texts.steps(repair)):
        from agent.reports.layout import command_lines

        first, *others = command_lines(fix, width - len(below))
        return [*shown, f"{indent}fix: {first}", *(f"{below}{line}" for line in others)]
    return [*shown, *wrapped(f"fix: {fix}", width, indent, below)] if fix else shown


@contextmanager
def progress(verb: str, *, quiet: bool) -> Iterator[Progress]:
    """Show the current step on standard error if a person waits at a terminal; at the end nothing is left of it."""
    if quiet or not _is_watched():
        yield no_progress
        return
    from agent.cli.progress import Line

    line = Line(verb)
    try:
        yield line.show
    finally:
        line.end()


def _is_watched() -> bool:
    """Return whether standard error is a terminal, and standard output is not a pipe to a program that uses it too."""
    import stat

    try:
        return os.isatty(2) and not stat.S_ISFIFO(os.fstat(1).st_mode)
    except OSError:
        return False


def columns() -> int:
    """Return the width of the terminal that standard output is; 0 if it is none."""
    return _width(sys.stdout)


def _width(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_WIDTH
    except (OSError, ValueError):  # not a terminal, or closed
        return 0
