"""Benchmark versions, and the one for a K3s version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.model import StrEnum, VersionRange

if TYPE_CHECKING:
    from agent.base.model import Version


class Benchmark(StrEnum):
    """A version of the CIS Kubernetes Benchmark, oldest first."""

    CIS_1_23 = "cis-1.23"
    CIS_1_24 = "cis-1.24"
    CIS_1_7 = "cis-1.7"
    CIS_1_8 = "cis-1.8"
    CIS_1_9 = "cis-1.9"
    CIS_1_10 = "cis-1.10"
    CIS_1_11 = "cis-1.11"
    CIS_1_12 = "cis-1.12"
    CIS_2_0 = "cis-2.0"
    CIS_2_1 = "cis-2.1"

    @property
    def number(self) -> str:
        """The version in the notation of CIS, such as 1.10."""
        return self.value.removeprefix("cis-")


FITS = {
    Benchmark.CIS_1_23: VersionRange(last=23),
    Benchmark.CIS_1_24: VersionRange(24, 24),
    Benchmark.CIS_1_7: VersionRange(25, 25),
    Benchmark.CIS_1_8: VersionRange(26, 29),
    Benchmark.CIS_1_9: VersionRange(27, 29),
    Benchmark.CIS_1_10: VersionRange(28, 31),
    Benchmark.CIS_1_11: VersionRange(29, 34),
    Benchmark.CIS_1_12: VersionRange(32, 36),
    Benchmark.CIS_2_0: VersionRange(34, 37),
    Benchmark.CIS_2_1: VersionRange(first=36),
}
"""The K3s minors of each benchmark, from the self-assessments (k3s-io/docs, docs/security/self-assessment-*.md)."""


def up_to(last: Benchmark, first: Benchmark = Benchmark.CIS_1_23) -> tuple[Benchmark, ...]:
    """Return the benchmarks from `first` to `last`, both included."""
    order = tuple(Benchmark)
    return order[order.index(first) : order.index(last) + 1]


def fitting_benchmark(version: Version) -> Benchmark:
    """Return the newest benchmark for this K3s version."""
    return next(benchmark for benchmark, versions in reversed(FITS.items()) if versions.includes(version))
