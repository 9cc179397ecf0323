"""Every control of the benchmarks' sources has a row with its numbers, modes and arguments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from agent.assess.benchmark.catalogue import CATALOGUE
from agent.assess.benchmark.versions import Benchmark
from agent.assess.checks.files import Permissions
from agent.base.model import PUBLIC_DIRECTORY, FileMode
from agent.harden.guide.criteria import ListExcludes, ListIncludes, ListIncludesOneOf
from tests.unit.assess.benchmark.rows import parts

if TYPE_CHECKING:
    from agent.harden.guide.criteria import Criterion

RECORDED = Path(__file__).parents[3] / "data" / "benchmark" / "controls.tsv"
"""A line for each control: its ID, the API server's arguments in its title, and a cell for each benchmark.

A cell has the number, the letter of `numbered` and, if K3s has the file whose mode is checked, "=" and the mode. A name
after an argument is a plugin or mode that its list must contain, or with "-" must not. Up to 1.9, the cells are those
of kube-bench's k3s-cis-*, from 1.10 on those of K3s' self-assessments. These omit section 3 up to 2.0 and 4.2.15, which
only 1.11 has; both are in kube-bench's profiles for other Kubernetes (cfg/cis-1.10 to cis-1.12).
"""

ROWS = {row.id: row for row in CATALOGUE if row.numbers}


class RecordedControl(NamedTuple):
    """A line of the file."""

    id: str
    arguments: tuple[str, ...]
    numbers: dict[Benchmark, tuple[str, str]]
    modes: dict[Benchmark, FileMode]


def recorded() -> list[RecordedControl]:
    header, *lines = (line.split("\t") for line in RECORDED.read_text(encoding="utf-8").splitlines())
    benchmarks = [Benchmark(name) for name in header[2:]]
    found = []
    for name, arguments, *words in lines:
        cells = {benchmark: word.partition("=") for benchmark, word in zip(benchmarks, words) if word != "-"}
        numbers = {benchmark: (number[:-1], number[-1]) for benchmark, (number, _, _) in cells.items()}
        modes = {benchmark: FileMode(int(mode, 8)) for benchmark, (_, _, mode) in cells.items() if mode}
        found.append(RecordedControl(name, tuple(arguments.strip("-").split()), numbers, modes))
    return found


each_control = pytest.mark.parametrize("control", recorded(), ids=lambda control: control.id)


def test_the_benchmarks_have_no_other_controls() -> None:
    assert set(ROWS) == {control.id for control in recorded()}


@each_control
def test_a_control_has_the_numbers_and_letters_of_the_sources(control: RecordedControl) -> None:
    numbers = ROWS[control.id].numbers
    assert {at: (number.text, number.assessed.value) for at, number in numbers.items()} == control.numbers


@each_control
def test_each_benchmark_requires_its_own_mode(control: RecordedControl) -> None:
    """A mode changes between benchmarks exactly as in the sources."""
    for benchmark in control.numbers:
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
