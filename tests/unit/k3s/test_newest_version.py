"""Each place that has to know the newest minor version of Kubernetes knows it."""

from __future__ import annotations

from agent.base import package_data
from agent.k3s.cis.versions import Benchmark
from agent.k3s.components.tables import LAST_MINOR
from agent.k3s.roles_and_versions import NEWEST_KNOWN, OLDEST_COVERED
from tests.k8s import binaries


def test_the_tables_of_arguments_have_the_newest_minor() -> None:
    assert NEWEST_KNOWN.minor == LAST_MINOR


def test_the_newest_minor_is_tried_with_real_components() -> None:
    assert binaries.NEWEST.rpartition(".")[0] == NEWEST_KNOWN.family


def test_the_end_of_each_minor_is_known() -> None:
    known = {int(minor) for minor, _ in package_data.rows("k3s", "end_of_life.tsv")}
    assert known == set(range(OLDEST_COVERED.minor, NEWEST_KNOWN.minor + 1))


def test_a_benchmark_is_for_the_newest_minor() -> None:
    assert list(Benchmark)[-1].fits.includes(NEWEST_KNOWN)
    assert list(Benchmark)[-1].fits.last is None
