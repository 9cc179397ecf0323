"""Every control checks the modes and arguments of the benchmarks' sources."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from agent.assess.benchmark.catalogue import all_controls
from agent.assess.checks.file_modes import Permissions
from agent.base.model import PUBLIC_DIRECTORY, FileMode
from agent.harden.guide.criteria import Criterion, ListExcludes, ListIncludes, ListIncludesOneOf
from agent.k3s.cis.versions import Benchmark, up_to
from tests.tools.docs_kube_bench import RANCHER, numbered, reasons
from tests.unit.assess.benchmark.rows import parts

RECORDED = Path(__file__).parents[3] / "data" / "benchmark" / "controls.tsv"
"""A line for each control with arguments of the API server in its title, or of a file's mode that K3s has.

A name after an argument is a plugin or mode that its list must contain, or with "-" must not. A mode applies from the
benchmark before "=" on. Up to 1.9, they are those of kube-bench's k3s-cis-*, from 1.10 on those of K3s'
self-assessments.
"""


class RecordedControl(NamedTuple):
    """A line of the file."""

    id: str
    arguments: tuple[str, ...]
    modes: dict[Benchmark, FileMode]


def recorded() -> list[RecordedControl]:
    _, *lines = (line.split("\t") for line in RECORDED.read_text(encoding="utf-8").splitlines())
    found = []
    for name, arguments, words in lines:
        modes = {}
        for word in words.strip("-").split():
            first, _, mode = word.partition("=")
            modes.update(dict.fromkeys(up_to(list(Benchmark)[-1], Benchmark(first)), FileMode(int(mode, 8))))
        found.append(RecordedControl(name, tuple(arguments.strip("-").split()), modes))
    return found


ROWS = {row.id: row for row in all_controls() if row.numbers}

each_control = pytest.mark.parametrize("control", recorded(), ids=lambda control: control.id)


@each_control
def test_each_benchmark_requires_its_own_mode(control: RecordedControl) -> None:
    """A mode changes between benchmarks exactly as in the sources."""
    for benchmark in ROWS[control.id].numbers:
        check = ROWS[control.id].check_of(benchmark)
        modes = {part.at_most for part in parts(check) if isinstance(part, Permissions)}
        if control.id == "kubelet-config-permissions":
            modes -= {PUBLIC_DIRECTORY}  # the benchmarks require only the mode of the file
        if benchmark in control.modes or isinstance(check, Permissions):
            assert modes == {control.modes[benchmark]}, benchmark


@each_control
def test_a_control_of_the_api_server_checks_the_arguments_of_its_title(control: RecordedControl) -> None:
    required = [argument for argument in ROWS[control.id].check.arguments if control.arguments]
    names = [name for argument in required for name in listed_names(argument.criterion)]
    if names:
        argument, *others = control.arguments
        assert {item.name for item in required} == {argument}
        assert set(others) <= set(names)
    elif required:
        assert [item.name for item in required] == list(control.arguments)


def listed_names(criterion: Criterion) -> list[str]:
    """Return the names that a list must contain, and with "-" those that it must not."""
    if isinstance(criterion, ListExcludes):
        return [f"-{name}" for name in criterion.names]
    return list(criterion.names) if isinstance(criterion, (ListIncludes, ListIncludesOneOf)) else []


@pytest.mark.parametrize("benchmark", RANCHER, ids=str)
def test_ranchers_profiles_have_the_same_controls(benchmark: Benchmark) -> None:
    theirs = {number.rstrip("*") for number in RANCHER[benchmark]}
    assert numbered(benchmark).keys() ^ theirs == ({"4.2.15"} if benchmark is Benchmark.CIS_1_11 else set())


@pytest.mark.parametrize(("heading", "controls"), [(heading, controls) for heading, _, controls in reasons()])
def test_each_reason_for_another_result_of_kube_bench_names_controls_of_the_benchmark(
    heading: str, controls: str
) -> None:
    newest = [*RANCHER][-1] if "Rancher" in heading else Benchmark.CIS_1_9
    for part in controls.split("; "):
        numbers, _, version = part.partition(" in ")
        known = numbered(Benchmark(f"cis-{version.split(',')[0]}") if version else newest)
        for number in re.findall(r"\d[\d.]*\.\d+|\b\d\b", numbers):
            assert number in known or any(name.startswith(f"{number}.") for name in known), (number, part)
