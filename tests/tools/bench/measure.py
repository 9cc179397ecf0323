"""Measurement of commands that run in turn; medians reduce the influence of other load."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter
from typing import NamedTuple

HOME = Path(__file__).parents[3] / ".cache/bench"
"""The directory of all files of the benchmark; `make clean` removes it."""


class BenchError(Exception):
    """A measured command failed."""


class Command(NamedTuple):
    """A command: `argv` starts with a path, `codes` are accepted exit codes."""

    argv: tuple[str, ...]
    codes: tuple[int, ...] = (0,)


class Run(NamedTuple):
    """The cost of one run with its children, in seconds and bytes; `memory` is the maximum of one process.

    Linux reports at least the size of the parent for a child, so this process must stay small.
    """

    seconds: float
    processor: float
    memory: int


class Cost(NamedTuple):
    """The cost of all runs of one command, by round."""

    runs: tuple[Run, ...]

    @property
    def seconds(self) -> float:
        """The median of the elapsed time."""
        return median(run.seconds for run in self.runs)

    @property
    def processor(self) -> float:
        return median(run.processor for run in self.runs)

    @property
    def memory(self) -> int:
        """The maximum of all runs."""
        return max(run.memory for run in self.runs)

    def ratio(self, other: Cost) -> float:
        """Return the ratio of elapsed times: the median of all rounds, so that slow rounds cancel out."""
        return median(mine.seconds / theirs.seconds for mine, theirs in zip(self.runs, other.runs))

    def processor_ratio(self, other: Cost) -> float:
        return median(mine.processor / theirs.processor for mine, theirs in zip(self.runs, other.runs))


def in_turn(commands: Mapping[str, Command], rounds: int) -> dict[str, Cost]:
    """Run each command once per round, in a different order each time; the first round is not counted.

    Raises BenchError if a command fails.
    """
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        # A large program evicts the caches and must not always precede the same command.
        for name in Random(number).sample(list(commands), len(commands)):  # noqa: S311 - not a secret
            runs[name].append(once(commands[name]))
    return {name: Cost(tuple(counted)) for name, (_, *counted) in runs.items()}


def once(command: Command) -> Run:
    """Run a command and return its cost. Raises BenchError if it fails."""
    output = HOME / "output"
    streams = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(output), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    # Without variables that developers set, such as PYTHONDONTWRITEBYTECODE.
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
