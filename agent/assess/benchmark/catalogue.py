"""All controls, those of one benchmark, and those with a name or number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.assess.benchmark.api_server import API_SERVER
from agent.assess.benchmark.beyond import BEYOND
from agent.assess.benchmark.cluster_policies import MANUAL
from agent.assess.benchmark.control_plane_files import CONTROL_PLANE_FILES
from agent.assess.benchmark.controller_manager_and_scheduler import CONTROLLER_MANAGER_AND_SCHEDULER
from agent.assess.benchmark.etcd import ETCD
from agent.assess.benchmark.kubelet import KUBELET
from agent.assess.benchmark.node_files import NODE_FILES
from agent.assess.benchmark.versions import Benchmark

if TYPE_CHECKING:
    from agent.assess.benchmark.control import BenchmarkControl, Number


_AGE = {benchmark: age for age, benchmark in enumerate(Benchmark)}
"""Newer benchmarks have higher numbers."""


def _as_integers(number: Number) -> tuple[int, ...]:
    # As text, 1.2.10 sorts before 1.2.9.
    return tuple(map(int, number.text.split(".")))


def _newest_first(control: BenchmarkControl) -> tuple[tuple[int, ...], int]:
    # Benchmarks reuse numbers: a control that the newest dropped follows the one that has its number now.
    *_, newest = control.numbers
    return _as_integers(control.numbers[newest]), -_AGE[newest]


_NUMBERED = (
    *CONTROL_PLANE_FILES,
    *API_SERVER,
    *CONTROLLER_MANAGER_AND_SCHEDULER,
    *ETCD,
    *NODE_FILES,
    *KUBELET,
    *MANUAL,
)

CATALOGUE: tuple[BenchmarkControl, ...] = (*sorted(_NUMBERED, key=_newest_first), *BEYOND)
"""In the order of each control's number in the newest benchmark that has it; then those without a number."""


def controls_of(benchmark: Benchmark) -> tuple[BenchmarkControl, ...]:
    """Return the controls of a benchmark in the order of its numbers, and then those that no benchmark has."""
    inside = (control for control in CATALOGUE if benchmark in control.numbers)
    return (*sorted(inside, key=lambda control: _as_integers(control.numbers[benchmark])), *BEYOND)


def controls_named(text: str) -> tuple[BenchmarkControl, ...]:
    """Return the controls with this id or CIS number: "1.2.16" in any benchmark, "cis-1.9/1.2.16" in that one.

    A number can have several controls, because numbers change; an unknown name has none.
    """
    benchmark, _, number = text.rpartition("/")
    return tuple(
        control
        for control in CATALOGUE
        if control.id == text
        or any(known.text == number and benchmark in ("", at) for at, known in control.numbers.items())
    )
