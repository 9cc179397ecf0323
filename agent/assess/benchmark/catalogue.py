"""All controls, those of one benchmark, and those with a name or number."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from agent.assess.benchmark.api_server import API_SERVER
from agent.assess.benchmark.cluster_policies import MANUAL
from agent.assess.benchmark.component_files import COMPONENT_FILES
from agent.assess.benchmark.controller_manager_and_scheduler import CONTROLLER_MANAGER_AND_SCHEDULER
from agent.assess.benchmark.etcd import ETCD
from agent.assess.benchmark.frameworks import ONLY_IN_FRAMEWORKS
from agent.assess.benchmark.kubelet import KUBELET
from agent.assess.benchmark.outside_benchmarks import BEYOND
from agent.k3s.cis.versions import Benchmark, beyond_benchmarks, numbers_of, only_in_frameworks

if TYPE_CHECKING:
    from agent.assess.benchmark.control import BenchmarkControl


_CONTROLS = {
    control.id: control
    for control in (
        *COMPONENT_FILES,
        *API_SERVER,
        *CONTROLLER_MANAGER_AND_SCHEDULER,
        *ETCD,
        *KUBELET,
        *MANUAL,
        *BEYOND,
        *ONLY_IN_FRAMEWORKS,
    )
}


@cache
def all_controls() -> tuple[BenchmarkControl, ...]:
    """Return all controls by their number in the newest benchmark that has them; then those without a number."""
    age = {benchmark: age for age, benchmark in enumerate(Benchmark)}

    def newest_first(control: BenchmarkControl) -> tuple[list[int], int]:
        # Benchmarks reuse numbers: a control that the newest dropped follows the one that has its number now.
        *_, newest = control.numbers
        # As text, 1.2.10 sorts before 1.2.9.
        return list(map(int, control.numbers[newest].text.split("."))), -age[newest]

    unnumbered = (*_beyond(), *(_CONTROLS[name] for name in only_in_frameworks()))
    numbered = (control for control in _CONTROLS.values() if control not in unnumbered)
    return (*sorted(numbered, key=newest_first), *unnumbered)


def controls_of(benchmark: Benchmark) -> tuple[BenchmarkControl, ...]:
    """Return the controls of a benchmark in the order of its numbers, and then those that no benchmark has."""
    return (*(_CONTROLS[name] for name in numbers_of(benchmark)), *_beyond())


def _beyond() -> tuple[BenchmarkControl, ...]:
    return tuple(_CONTROLS[name] for name in beyond_benchmarks())


def controls_named(text: str) -> tuple[BenchmarkControl, ...]:
    """Return the controls with this id or CIS number: "1.2.16" in any benchmark, "cis-1.9/1.2.16" in that one.

    A number can have several controls, because numbers change; an unknown name has none.
    """
    benchmark, _, number = text.rpartition("/")
    return tuple(
        control
        for control in all_controls()
        if control.id == text
        or any(known.text == number and benchmark in ("", at) for at, known in control.numbers.items())
    )
