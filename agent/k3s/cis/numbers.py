"""Numbers of controls, from a file for each benchmark, and the controls without a number. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from agent.base import package_data
from agent.base.model import StrEnum
from agent.base.value import Value
from agent.k3s.cis.versions import Benchmark


class Assessed(StrEnum):
    """How a benchmark assesses a control."""

    AUTOMATED = "automated"
    """By a program; the result counts."""
    UNSCORED = "unscored"
    """By a program; a failure is a warning (kube-bench: `scored: false`)."""
    MANUAL = "manual"
    """By a person (kube-bench: `type: manual`; in the self-assessments: "(Manual)")."""
    SKIPPED = "skipped"
    """Not on K3s (kube-bench: `type: skip`; in the self-assessments: "Not Applicable")."""


class Number(Value):
    """The number that one benchmark gives a control, such as 1.2.16, and how it assesses the control."""

    text: str
    assessed: Assessed

    @property
    def section(self) -> str:
        """The number of its section: all but the last part."""
        return self.text.rpartition(".")[0]


class Numbers(Mapping[Benchmark, Number]):
    """The numbers of one control. A benchmark's file is read when its number is asked for."""

    def __init__(self, control: str) -> None:
        self._control = control

    def __getitem__(self, benchmark: Benchmark) -> Number:
        return numbers_of(benchmark)[self._control]

    def __iter__(self) -> Iterator[Benchmark]:
        return (benchmark for benchmark in Benchmark if self._control in numbers_of(benchmark))

    def __len__(self) -> int:
        return sum(1 for _ in self)


@cache
def numbers_of(benchmark: Benchmark) -> Mapping[str, Number]:
    """Return the numbers of a benchmark by the ID of the control, in its order."""
    assessed = {str(way): way for way in Assessed}
    table = package_data.rows("k3s", "cis", f"{benchmark}.tsv")
    return {control: Number(number, assessed[way]) for number, way, control in table}


@cache
def beyond_benchmarks() -> tuple[str, ...]:
    """Return the IDs of the controls that no benchmark has, in the order of reports."""
    return tuple(control for (control,) in package_data.rows("k3s", "cis", "outside_benchmarks.tsv"))


@cache
def only_in_frameworks() -> tuple[str, ...]:
    """Return the IDs of the controls that no benchmark has, and that are assessed only for another framework."""
    return tuple(control for (control,) in package_data.rows("k3s", "cis", "frameworks.tsv"))
