"""The catalogue of all rows: IDs, numbers, order, the search by name, severities, and derived texts."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from agent.assess.benchmark.catalogue import SECTIONS, all_controls, controls_named, controls_of
from agent.assess.benchmark.cluster_policies import MANUAL
from agent.assess.benchmark.component_files import COMPONENT_FILES
from agent.assess.benchmark.component_settings import API_SERVER, CONTROLLER_MANAGER_AND_SCHEDULER, ETCD, KUBELET
from agent.assess.benchmark.control import BenchmarkControl, Rating, Severity, ratings
from agent.assess.benchmark.outside_benchmarks import BEYOND, NODE_ACCESS, ONLY_IN_FRAMEWORKS
from agent.assess.checks.check import Manual
from agent.base import package_data
from agent.harden.guide.controls import CONTROLS
from agent.harden.guide.sysctls import SYSCTLS
from agent.k3s.cis.versions import Benchmark, beyond_benchmarks, numbers_of, only_in_frameworks

TABLES = {
    "cluster_policies": MANUAL,
    "component_files": COMPONENT_FILES,
    "component_settings": (*API_SERVER, *CONTROLLER_MANAGER_AND_SCHEDULER, *ETCD, *KUBELET),
    "outside_benchmarks": (
        *(row for row in BEYOND[len(SYSCTLS) :] if row not in NODE_ACCESS),
        *NODE_ACCESS,
        *ONLY_IN_FRAMEWORKS,
    ),
}
"""The controls of each module, by the name of the table beside it."""


def test_ids_are_unique() -> None:
    """Waivers, baselines and fingerprints name a control by its ID."""
    ids = Counter(row.id for rows in TABLES.values() for row in rows)
    assert [identifier for identifier, count in ids.items() if count > 1] == []


@pytest.mark.parametrize("benchmark", Benchmark)
def test_the_numbers_of_a_benchmark_are_unique_and_have_no_gaps(benchmark: Benchmark) -> None:
    """Each section starts at 1, and no control of the sources is missing."""
    found: dict[str, list[int]] = {}
    for row in controls_of(benchmark):
        if benchmark in row.numbers:
            number = row.numbers[benchmark]
            found.setdefault(number.section, []).append(int(number.text.rpartition(".")[2]))
    assert {section: parts for section, parts in found.items() if sorted(parts) != list(range(1, len(parts) + 1))} == {}


@pytest.mark.parametrize("benchmark", Benchmark)
def test_a_benchmark_is_sorted_by_number_with_controls_of_the_guide_at_the_end(benchmark: Benchmark) -> None:
    """1.2.9 comes before 1.2.10. Controls without a number are those of the guide."""
    rows, beyond = controls_of(benchmark), list(beyond_benchmarks())
    inside, ours = rows[: -len(beyond)], rows[-len(beyond) :]
    numbers = [[int(part) for part in row.numbers[benchmark].text.split(".")] for row in inside]
    assert numbers == sorted(numbers)
    assert [row.id for row in ours] == beyond
    assert {row.id for row in rows} == {
        row.id for row in all_controls() if benchmark in row.numbers or row.id in beyond
    }


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("kubelet-anonymous-auth", {"kubelet-anonymous-auth"}),
        ("vm.panic_on_oom", {"vm.panic_on_oom"}),
        ("server/manifests", {"server/manifests"}),
        ("4.2.6", {"protect-kernel-defaults", "make-iptables-util-chains"}),
        ("cis-1.24/4.2.6", {"protect-kernel-defaults"}),
        ("cis-2.1/4.2.6", {"make-iptables-util-chains"}),
        *((text, set()) for text in ("", "/", "4.2", "4.2.99", "cis-1.9/4.2.99", "cis-9.9/4.2.6", "cis-1.9/", "A")),
    ],
)
def test_an_id_or_a_number_names_the_controls_of_all_benchmarks_or_of_one(text: str, names: set[str]) -> None:
    """A section, a part of a name, and an unknown benchmark name no control."""
    assert {row.id for row in controls_named(text)} == names


def test_an_id_means_the_same_in_the_guide_and_in_the_catalogue() -> None:
    """explain and waivers accept both kinds of IDs."""
    of_guide = {control.id for control in CONTROLS}
    for row in all_controls():
        if row.id in of_guide and row.guide is not None:
            assert row.guide.id == row.id


def test_every_number_is_in_a_section_with_a_title() -> None:
    """Reports have totals by section, and no section is empty."""
    found = {number.section for row in all_controls() for number in row.numbers.values()}
    assert found | {""} == set(SECTIONS)


@pytest.mark.parametrize("row", all_controls(), ids=lambda row: row.id)
def test_the_texts_of_a_row_are_complete(row: BenchmarkControl) -> None:
    """The rationale is shown without context. The source is a repository and a file that shows the behaviour."""
    repository, _, path = row.source.partition(" ")
    assert (repository.count("/"), "." in path) == (1, True)
    assert row.why.endswith((".", ".)"))
    assert not any(mark in row.why for mark in ("  ", "{", "}", "<", ".."))
    # An exception without an effect would hide a mistake.
    assert row.earlier.keys() <= row.numbers.keys()
    assert row.check not in row.earlier.values()


def test_no_caution_ends_with_a_period() -> None:
    """Another step can follow in the same sentence."""
    assert not [control.id for control in all_controls() if control.caution.endswith(".")]


def test_each_severity_is_that_of_a_control() -> None:
    """A reason that no control has is an error, and the most serious severities come first."""
    known = ratings()
    assert {control.rating for control in all_controls()} == set(known.values())
    assert all(rating.reason.endswith(".") for rating in known.values())
    steps = [list(Severity).index(rating.severity) for rating in known.values()]
    assert steps == sorted(steps)


@pytest.mark.parametrize("title", ["The API server asks RBAC", "A pod has a limit", "Pods have a profile"])
@pytest.mark.parametrize(
    "name", ["", "DenyServiceExternalIPs", "RBAC", "K3s", "NetworkPolicies", "Windows", "etcd", "kube-proxy"]
)
def test_a_recommendation_is_the_title_as_an_instruction(name: str, title: str) -> None:
    """The first word becomes lower case unless it is a name."""
    expected = f"{name} {title}" if name else title[0].lower() + title[1:]
    row = BenchmarkControl(
        id="x",
        title=f"{name} {title}".strip(),
        check=Manual("Look."),
        why="It.",
        source="x.go",
        rating=Rating(Severity.LOW, "It."),
    )
    assert row.recommendation == f"Ensure that {expected}"


@pytest.mark.parametrize(
    ("name", "recommendation"),
    [
        ("apiserver-anonymous-auth", "Ensure that the API server rejects anonymous requests (--anonymous-auth)"),
        (
            "apiserver-serving-certificate",
            "Ensure that the API server has a serving certificate and key (--tls-cert-file, --tls-private-key-file)",
        ),
        ("kernel.panic_on_oops", "Ensure that a kernel oops causes a panic (kernel.panic_on_oops)"),
        ("admin-kubeconfig-permissions", "Ensure that the administrator's kubeconfig has restrictive permissions"),
    ],
)
def test_the_object_of_a_check_follows_the_recommendation(name: str, recommendation: str) -> None:
    """The titles of CIS also contain the object, such as an argument."""
    (row,) = (row for row in all_controls() if row.id == name)
    assert row.recommendation == recommendation


@pytest.mark.parametrize("name", TABLES)
def test_the_rows_of_a_table_are_the_controls_of_the_module_beside_it(name: str) -> None:
    """They have one order, and so have the names of the columns."""
    rows = list(package_data.records("assess", "benchmark", f"{name}.txt"))
    assert [row["control"] for row in rows] == [control.id for control in TABLES[name]]
    reviews = ("review", "right", "forbidden", "forbidden since 1.25")
    columns = ("control", "title", "rationale", "level", "severity", "source", *reviews)
    assert [list(row) for row in rows] == [[column for column in columns if column in row] for row in rows]


def test_each_number_is_that_of_a_control() -> None:
    """A name that is left over would make a waiver for it valid."""
    names = [name for benchmark in Benchmark for name in numbers_of(benchmark)]
    assert {*names, *beyond_benchmarks(), *only_in_frameworks()} == {control.id for control in all_controls()}


def test_no_title_is_an_instruction() -> None:
    """The recommendation adds "Ensure that" to the title."""
    assert [row.id for row in all_controls() if row.title.lower().startswith(("ensure", "make sure", "verify"))] == []
    assert [row.id for row in all_controls() if row.title.endswith(".") or " " not in row.title] == []


each_row = pytest.mark.parametrize("row", MANUAL, ids=lambda row: row.id)


@each_row
def test_each_row_has_one_sentence_about_the_review(row: BenchmarkControl) -> None:
    assert isinstance(row.check, Manual)
    assert not row.earlier
    look = row.check.review
    assert 40 <= len(look) <= 400
    assert re.match(r"(Compare|Find|Read|Run) ", look)
    for text in (look, row.why):
        assert text.endswith(".")
        assert not any(mark in text for mark in ("  ", "\n", "{", "}", "<"))
    assert row.caution == ""
    assert not row.title.endswith(".")
