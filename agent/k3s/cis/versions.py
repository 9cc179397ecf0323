"""The CIS benchmarks for K3s: their versions, and the numbers of their controls. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from agent.base import package_data
from agent.base.model import StrEnum
from agent.base.value import Value
from agent.k3s.roles_and_versions import Version, VersionRange

_EVERY = VersionRange()


class Benchmark(StrEnum):
    """A version of the CIS Kubernetes Benchmark, oldest first: its name, and the K3s minors that it is for.

    The minors are those of the self-assessments (k3s-io/docs, docs/security/self-assessment-*.md).
    """

    fits: VersionRange

    def __new__(cls, name: str, fits: VersionRange = _EVERY) -> Benchmark:
        """Return the member with this name."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.fits = fits
        return member

    CIS_1_23 = "cis-1.23", VersionRange(last=23)
    CIS_1_24 = "cis-1.24", VersionRange(24, 24)
    CIS_1_7 = "cis-1.7", VersionRange(25, 25)
    CIS_1_8 = "cis-1.8", VersionRange(26, 29)
    CIS_1_9 = "cis-1.9", VersionRange(27, 29)
    CIS_1_10 = "cis-1.10", VersionRange(28, 31)
    CIS_1_11 = "cis-1.11", VersionRange(29, 34)
    CIS_1_12 = "cis-1.12", VersionRange(32, 36)
    CIS_2_0 = "cis-2.0", VersionRange(34, 37)
    CIS_2_1 = "cis-2.1", VersionRange(first=36)

    @property
    def number(self) -> str:
        """The version in the notation of CIS, such as 1.10."""
        return str(self).removeprefix("cis-")


def up_to(last: Benchmark, first: Benchmark = Benchmark.CIS_1_23) -> tuple[Benchmark, ...]:
    """Return the benchmarks from `first` to `last`, both included."""
    order = tuple(Benchmark)
    return order[order.index(first) : order.index(last) + 1]


def fitting_benchmark(version: Version) -> Benchmark:
    """Return the newest benchmark for this K3s version."""
    return next(benchmark for benchmark in reversed(Benchmark) if benchmark.fits.includes(version))


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
    """The numbers of one control. The table is read when a number is asked for."""

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
    column = [*Benchmark].index(benchmark)
    assessed = {way[0]: way for way in Assessed}
    cells = [(row[column], control) for control, *row in _rows() if row[column] != "-"]
    cells.sort(key=lambda cell: [int(part) for part in cell[0][:-1].split(".")])
    return {control: Number(cell[:-1], assessed[cell[-1]]) for cell, control in cells}


@cache
def _rows() -> list[list[str]]:
    return [*package_data.rows("k3s", "cis", "benchmarks.tsv")]


@cache
def beyond_benchmarks() -> tuple[str, ...]:
    """Return the IDs of the controls that no benchmark has, in the order of reports."""
    parameters = (row["control"] for row in package_data.records("k3s", "cis", "kernel_parameters.txt"))
    return (*parameters, *(control for (control,) in package_data.rows("k3s", "cis", "outside_benchmarks.tsv")))


@cache
def only_in_frameworks() -> tuple[str, ...]:
    """Return the IDs of the controls that no benchmark has, and that are assessed only for another framework."""
    return tuple(control for (control,) in package_data.rows("k3s", "cis", "frameworks.tsv"))


@cache
def pod_security_standards() -> Mapping[str, str]:
    """Return by control about pods the weakest Pod Security standard that meets it, `baseline` or `restricted`."""
    return dict(package_data.rows("k3s", "cis", "pod_security.tsv"))
