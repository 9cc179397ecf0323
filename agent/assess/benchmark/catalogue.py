"""All controls, those of one benchmark and those with a name or number, and their sections and owners."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

from agent.assess.benchmark.cluster_policies import MANUAL
from agent.assess.benchmark.component_files import COMPONENT_FILES
from agent.assess.benchmark.component_settings import API_SERVER, CONTROLLER_MANAGER_AND_SCHEDULER, ETCD, KUBELET
from agent.assess.benchmark.control import BenchmarkControl
from agent.assess.benchmark.outside_benchmarks import BEYOND, ONLY_IN_FRAMEWORKS
from agent.assess.checks.check import Manual
from agent.k3s.cis.versions import Assessed, Benchmark, beyond_benchmarks, numbers_of, only_in_frameworks

SECTIONS = {
    "1.1": "Control plane node configuration files",
    "1.2": "API server",
    "1.3": "Controller manager",
    "1.4": "Scheduler",
    "2": "etcd node configuration",
    "3.1": "Authentication and authorization",
    "3.2": "Logging",
    "4.1": "Worker node configuration files",
    "4.2": "kubelet",
    "4.3": "kube-proxy",
    "5.1": "RBAC and service accounts",
    "5.2": "Pod security standards",
    "5.3": "Network policies and CNI",
    "5.4": "Secrets management",
    "5.5": "Extensible admission control",
    "5.6": "General policies",
    "5.7": "General policies",
    "": "The host, beyond the benchmark",
}
"""By number; "" contains the controls that no benchmark has. Only the general policies have two numbers."""

_ASSESSED = {
    Assessed.AUTOMATED: "",
    Assessed.UNSCORED: " (not scored)",
    Assessed.MANUAL: " (manual)",
    Assessed.SKIPPED: " (not applicable to K3s)",
}


def earlier_requirements(control: BenchmarkControl) -> Iterator[tuple[str, str]]:
    """Yield what some benchmarks require instead, each with the names of these benchmarks as a range."""
    found: dict[str, list[Benchmark]] = {}
    for benchmark in control.numbers:
        if benchmark in control.earlier:
            found.setdefault(control.earlier[benchmark].description, []).append(benchmark)
    for text, benchmarks in found.items():
        yield text, benchmark_range(benchmarks)


def numbers_by_benchmark(control: BenchmarkControl) -> list[tuple[str, str]]:
    """Return the benchmarks that have the control, as ranges with the same number, and the number in each."""
    found: dict[str, list[Benchmark]] = {}
    for benchmark, number in control.numbers.items():
        found.setdefault(f"{number.text}{_ASSESSED[number.assessed]}", []).append(benchmark)
    return [(benchmark_range(benchmarks), number) for number, benchmarks in found.items()]


def benchmark_range(benchmarks: Iterable[Benchmark]) -> str:
    """Return benchmarks by name, consecutive ones as a range."""
    order = list(Benchmark)
    runs: list[list[Benchmark]] = []
    for benchmark in sorted(benchmarks, key=order.index):
        if runs and order.index(benchmark) == order.index(runs[-1][-1]) + 1:
            runs[-1].append(benchmark)
        else:
            runs.append([benchmark])
    return ", ".join(f"{run[0]} to {run[-1]}" if run[2:] else ", ".join(map(str, run)) for run in runs)


def provider(control: BenchmarkControl) -> str:
    """Return who meets the control on a host with k3s-harden and K3s in their default configurations."""
    if isinstance(control.check, Manual) and control.guide is not None:
        return f"{control.check.provider}, in addition to the guide's `{control.guide.id}`"
    if control.setting:
        return f"`k3s-harden apply`, if `{control.setting}` is set"
    return "`k3s-harden apply`" if control.guide is not None else control.check.provider


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
