"""Controls of sections 1.3, 1.4, 3.1, 4.2, 4.3 and 5, and of 3.2.2, recorded from the benchmarks' sources."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agent.benchmark.versions import Benchmark

if TYPE_CHECKING:
    from agent.benchmark.control import BenchmarkControl

_FILE = Path(__file__).parents[2] / "data" / "benchmark" / "sections-1.3-1.4-3.1-4.2-4.3-5.tsv"

Numbers = dict[Benchmark, tuple[str, str]]
"""A number and its letter of `numbered`, by benchmark."""


def recorded() -> dict[str, Numbers]:
    """Read the recorded lines: ID of the control, its title in the sources, and its numbers.

    From kube-bench's k3s-cis-*, and from 1.10 on K3s' self-assessments. These omit section 3 up to 2.0 and 4.2.15,
    which only 1.11 has; both are in kube-bench's profiles for other Kubernetes (cfg/cis-1.10 to cis-1.12).
    """
    header, *lines = (line.split("\t") for line in _FILE.read_text(encoding="utf-8").splitlines())
    benchmarks = [Benchmark(name) for name in header[1:]]
    return {
        line[0]: {benchmark: (word[:-1], word[-1]) for benchmark, word in zip(benchmarks, line[1:]) if word != "-"}
        for line in lines
    }


def numbers(control: BenchmarkControl) -> Numbers:
    """Return the numbers of a row in the same form."""
    return {benchmark: (number.text, number.assessed.value) for benchmark, number in control.numbers.items()}
