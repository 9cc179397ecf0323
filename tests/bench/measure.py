"""Runs commands in turn and says what each cost, as medians: it is made for machines that do other things meanwhile."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

HOME = Path(__file__).parents[2] / ".cache/bench"
"""Everything that the bench makes lies here; `make clean` removes it."""


class BenchError(Exception):
    """Something that is to be measured does not do its work."""


class Command(NamedTuple):
    """What is run: `argv` with the program's path first. It ends with one of `codes`; `stale` is removed before."""

    argv: tuple[str, ...]
    codes: tuple[int, ...] = (0,)
    stale: Path | None = None


class Run(NamedTuple):
    """What one run cost, in seconds and bytes, its children included; `memory` is the most that one process had.

    Linux counts a child as at least as large as its parent was, so this program has to stay small itself.
    """

    seconds: float
    processor: float
    memory: int


class Cost(NamedTuple):
    """What the runs of one command cost, round by round."""

    runs: tuple[Run, ...]

    @property
    def seconds(self) -> float:
        """The median of the time that passed."""
        return median(run.seconds for run in self.runs)

    @property
    def processor(self) -> float:
        """The median of the processor time."""
        return median(run.processor for run in self.runs)

    @property
    def memory(self) -> int:
        """The most that any run had."""
        return max(run.memory for run in self.runs)

    def ratio(self, other: Cost) -> float:
        """How many times as long as the other this takes: the median over the rounds, so that slow ones cancel out."""
        return median(mine.seconds / theirs.seconds for mine, theirs in zip(self.runs, other.runs))

    def processor_ratio(self, other: Cost) -> float:
        """As `ratio`, in processor time, which other load disturbs less."""
        return median(mine.processor / theirs.processor for mine, theirs in zip(self.runs, other.runs))


def in_turn(commands: Mapping[str, Command], rounds: int) -> dict[str, Cost]:
    """Run each command once a round, in an order that changes; a first round does not count.

    Raises BenchError for a command that fails.
    """
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        # A large program leaves the caches full of itself, and must not always come before the same one.
        for name in Random(number).sample(list(commands), len(commands)):  # noqa: S311 - nothing here is secret
            runs[name].append(once(commands[name]))
    return {name: Cost(tuple(counted)) for name, (_, *counted) in runs.items()}


def once(command: Command) -> Run:
    """Run a command to its end. Raises BenchError if it fails."""
    if command.stale is not None:
        command.stale.unlink(missing_ok=True)
    output = HOME / "output"
    streams = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(output), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    # Without PYTHONDONTWRITEBYTECODE and its like, which developers have and users have not.
    environment = {"PATH": os.environ["PATH"], "HOME": str(HOME), "LC_ALL": "C.UTF-8"}
    started = perf_counter()
    process = os.posix_spawn(command.argv[0], command.argv, environment, file_actions=streams)
    _, status, usage = os.wait4(process, 0)
    seconds = perf_counter() - started
    code = os.waitstatus_to_exitcode(status)
    if code not in command.codes:
        words = output.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        raise BenchError("\n  ".join([f"{' '.join(command.argv)} ended with {code}:", *words]))
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
