"""The catalogue of all rows: IDs, numbers, order, and the search by name."""

from __future__ import annotations

from collections import Counter

import pytest

from agent.benchmark.beyond import BEYOND
from agent.benchmark.catalogue import CATALOGUE, controls_named, controls_of
from agent.benchmark.node_access import NODE_ACCESS
from agent.benchmark.sections import SECTIONS
from agent.benchmark.versions import Benchmark
from agent.checks.beyond_benchmark import GuideDirectory, KernelParameter, SysctlPrecedence
from agent.checks.check import AllOf
from agent.guide.controls import CONTROLS
from agent.guide.files import DIRECTORIES
from agent.guide.sysctls import SYSCTLS
from agent.model import BOTH_ROLES, SERVERS, Instruction
from tests.unit.benchmark.texts import fix


def test_ids_are_unique() -> None:
    """Waivers, baselines and fingerprints name a control by its ID."""
    assert [identifier for identifier, count in Counter(row.id for row in CATALOGUE).items() if count > 1] == []


@pytest.mark.parametrize("benchmark", Benchmark)
def test_a_benchmark_has_each_number_once(benchmark: Benchmark) -> None:
    """Two rows with one number would be counted twice."""
    numbers = Counter(row.numbers[benchmark].text for row in CATALOGUE if benchmark in row.numbers)
    assert [number for number, count in numbers.items() if count > 1] == []


@pytest.mark.parametrize("benchmark", Benchmark)
def test_the_numbers_of_a_benchmark_have_no_gaps(benchmark: Benchmark) -> None:
    """Each section starts at 1, and no control of the sources is missing."""
    found: dict[str, set[int]] = {}
    for row in controls_of(benchmark):
        if benchmark in row.numbers:
            number = row.numbers[benchmark]
            found.setdefault(number.section, set()).add(int(number.text.rpartition(".")[2]))
    assert {section: parts for section, parts in found.items() if parts != set(range(1, len(parts) + 1))} == {}


@pytest.mark.parametrize("benchmark", Benchmark)
def test_a_benchmark_is_sorted_by_number_with_controls_of_the_guide_at_the_end(benchmark: Benchmark) -> None:
    """1.2.9 comes before 1.2.10. Controls without a number are those of the guide."""
    rows = controls_of(benchmark)
    inside, ours = rows[: -len(BEYOND)], rows[-len(BEYOND) :]
    numbers = [[int(part) for part in row.numbers[benchmark].text.split(".")] for row in inside]
    assert numbers == sorted(numbers)
    assert ours == BEYOND
    assert {row.id for row in rows} == {
        row.id for row in CATALOGUE if benchmark in row.numbers or row.id in {row.id for row in BEYOND}
    }


def test_the_catalogue_has_the_order_of_the_newest_benchmark() -> None:
    """A control that the newest benchmark does not have is at the position of its last number."""
    newest = [row for row in CATALOGUE if Benchmark.CIS_2_1 in row.numbers]
    assert newest == [row for row in controls_of(Benchmark.CIS_2_1) if Benchmark.CIS_2_1 in row.numbers]
    ids = [row.id for row in CATALOGUE]
    assert ids.index("kubelet-seccomp-default") + 1 == ids.index("kubelet-ip-address-deny")
    assert ids.index("pods-assigned-capabilities") + 1 == ids.index("pods-added-capabilities")
    assert CATALOGUE[-len(BEYOND) :] == BEYOND


def test_a_control_is_found_by_its_id() -> None:
    """An ID can be a path or a kernel parameter."""
    for identifier in ("kubelet-anonymous-auth", "vm.panic_on_oom", "server/manifests"):
        assert [row.id for row in controls_named(identifier)] == [identifier]


def test_a_number_names_the_controls_of_all_benchmarks() -> None:
    """The benchmark of a number can be unknown."""
    assert {row.id for row in controls_named("4.2.6")} == {"protect-kernel-defaults", "make-iptables-util-chains"}
    assert {row.id for row in controls_named("5.2.13")} == {"pods-host-ports", "pods-proc-mount"}


def test_a_number_with_its_benchmark_names_one_control() -> None:
    """The prefix makes the number exact."""
    assert [row.id for row in controls_named("cis-1.24/4.2.6")] == ["protect-kernel-defaults"]
    assert [row.id for row in controls_named("cis-2.1/4.2.6")] == ["make-iptables-util-chains"]
    assert [row.id for row in controls_named("cis-2.1/5.2.13")] == ["pods-proc-mount"]


@pytest.mark.parametrize(
    "text", ["", "/", "4.2", "4.2.99", "cis-1.9/4.2.99", "cis-9.9/4.2.6", "cis-1.9/", "kubelet", "A"]
)
def test_an_unknown_name_names_no_control(text: str) -> None:
    """Unknown names are a section, a part of a name, and an unknown benchmark."""
    assert controls_named(text) == ()


def test_controls_without_a_number_are_parameters_and_directories_of_the_guide() -> None:
    """Their texts are those of the guide's rows."""
    assert all(not row.numbers for row in BEYOND)
    parameters = [row for row in BEYOND if isinstance(row.check, KernelParameter)]
    directories = [row for row in BEYOND if isinstance(row.check, GuideDirectory)]
    (precedence,) = [row for row in BEYOND if isinstance(row.check, SysctlPrecedence)]
    assert tuple(row.check.row for row in parameters if isinstance(row.check, KernelParameter)) == SYSCTLS
    assert tuple(row.check.row for row in directories if isinstance(row.check, GuideDirectory)) == DIRECTORIES
    (kubeconfig,) = [row for row in BEYOND if isinstance(row.check, AllOf) and row not in NODE_ACCESS]
    assert BEYOND[11:] == NODE_ACCESS
    for ours, theirs in zip((*parameters, *directories), (*SYSCTLS, *DIRECTORIES)):
        assert (ours.id, ours.title, ours.why, ours.applies) == (theirs.id, theirs.title, theirs.why, theirs.applies)
    assert {row.applies.roles for row in (*parameters, precedence)} == {BOTH_ROLES}
    assert {row.applies.roles for row in (*directories, kubeconfig)} == {SERVERS}


def test_apply_fixes_the_controls_without_a_number_that_it_writes() -> None:
    """Others, such as the kernel's two limits on keys, have a fix for the operator."""
    assert {row.id for row in BEYOND if row.guide is None and row not in NODE_ACCESS} == {
        "kernel.keys.root_maxkeys",
        "kernel.keys.root_maxbytes",
        "sysctl-precedence",
        "k3s-kubeconfig",
    }
    for row in BEYOND:
        # The files that are open decide the command.
        assert (fix(row) == "") is (row.guide is not None or row in NODE_ACCESS)
        assert row.guide is None or row.guide in CONTROLS


def test_an_id_means_the_same_in_the_guide_and_in_the_catalogue() -> None:
    """explain and waivers accept both kinds of IDs."""
    of_guide = {control.id for control in CONTROLS}
    for row in CATALOGUE:
        if row.id in of_guide and row.guide is not None:
            assert row.guide.id == row.id


def test_every_number_is_in_a_section_with_a_title() -> None:
    """Reports have totals by section, and no section is empty."""
    found = {number.section for row in CATALOGUE for number in row.numbers.values()}
    assert found | {""} == set(SECTIONS)


def test_each_row_has_a_source() -> None:
    """The source is a repository and a file that shows the behaviour."""
    for row in CATALOGUE:
        repository, _, path = row.source.partition(" ")
        assert repository.count("/") == 1, row.id
        assert "." in path, row.id


def test_no_step_of_a_fix_ends_with_a_period() -> None:
    """Another step can follow in the same sentence."""
    steps = [step for control in CATALOGUE if control.repair for step in control.repair.steps]
    assert not [step.text for step in steps if isinstance(step, Instruction) and step.text.endswith(".")]


def test_earlier_has_only_benchmarks_with_another_check() -> None:
    """An exception without an effect would hide a mistake."""
    for row in CATALOGUE:
        assert row.earlier.keys() <= row.numbers.keys(), row.id
        assert row.check not in row.earlier.values(), row.id


def test_a_rationale_is_in_whole_sentences() -> None:
    """It is shown without context, with no empty fields."""
    for row in CATALOGUE:
        assert row.why.endswith((".", ".)")), row.id
        assert not any(mark in row.why for mark in ("  ", "{", "}", "<", "..")), row.id
