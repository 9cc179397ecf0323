"""What a command is: its function, its topic and the end of its help."""

from __future__ import annotations

import os
import sys
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from agent.base.errors import ExitCode
from agent.base.value import Value
from agent.cli.host_options import HostOptions, absolute
from agent.cli.report_options import ReportOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

CHANGES = {code: code.meaning for code in ExitCode}
"""The exit codes of a verb that changes the host, with their meanings."""
RENDERS = {
    ExitCode.COMPLIANT: ExitCode.COMPLIANT.meaning,
    ExitCode.ERROR: "error; nothing was changed",
    ExitCode.USAGE: ExitCode.USAGE.meaning,
}
"""Those of a verb that does not read the host."""
READS = {**RENDERS, ExitCode.NOT_COMPLIANT: ExitCode.NOT_COMPLIANT.meaning}
"""Those of a verb that compares the host and makes no changes."""
STORES = {**RENDERS, ExitCode.LOCKED: ExitCode.LOCKED.meaning}
"""Those of a verb that only stores what it found."""

THIS_HOST = HostOptions()
REPORT = ReportOptions()
"""The options of a command line that has none."""


class Command(Value):
    """A command: its function, whose docstring is the help, and the end of its help."""

    function: Callable[..., None]
    topic: str
    """The heading above it in the list of commands; empty for a command that only other programs run."""
    example: str
    codes: Mapping[ExitCode, str]
    success: str = ExitCode.COMPLIANT.meaning
    """The meaning of exit code 0."""
    without: Sequence[str] = ()
    """The options of the function that this command does not have."""
    help: str | None = None
    context: Mapping[str, Any] = {}

    @property
    def needs_no_words(self) -> bool:
        """Whether it runs without arguments and options."""
        return len(self.function.__defaults__ or ()) == self.function.__code__.co_argcount


COMMANDS: dict[str, Command] = {}


def command(*words: Any, **fields: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:  # noqa: ANN401 - fields of Command
    """Return a decorator that adds a command, with the fields of its Command after the function."""

    def added(function: Callable[..., None]) -> Callable[..., None]:
        COMMANDS[function.__name__.replace("_", "-")] = Command(function, *words, **fields)
        return function

    return added


def program_path() -> PurePosixPath:
    """Return the path of this program, without symlinks."""
    return PurePosixPath(os.path.realpath(absolute(Path(sys.argv[0]))))
