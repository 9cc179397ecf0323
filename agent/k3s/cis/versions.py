"""Benchmark versions, and the one for a K3s version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.model import StrEnum
from agent.k3s.roles_and_versions import VersionRange

if TYPE_CHECKING:
    from agent.k3s.roles_and_versions import Version

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
