"""Results of kube-bench and of this program for the same nodes: equal, or different for a documented reason.

kube-bench's side is a model of its documented semantics (tests/kube_bench.py), on nodes in many states (nodes.py).
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import pytest

from agent.assess.assessment import ControlStatus
from agent.benchmark import catalogue
from agent.benchmark.control import Assessed
from agent.benchmark.kube_bench_differences import DIFFERENCES, PROFILED, Reason, runs
from agent.benchmark.versions import Benchmark
from agent.checks.arguments import ArgumentCheck
from agent.guide.criteria import ListSubsetOf
from tests import kube_bench
from tests.fake import in_memory
from tests.unit.benchmark import nodes
from tests.unit.benchmark.nodes import BothResults, Setup

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any

VERSIONS = {
    Benchmark.CIS_1_23: ("v1.23.17+k3s1",),
    Benchmark.CIS_1_24: ("v1.24.17+k3s1",),
    Benchmark.CIS_1_7: ("v1.25.16+k3s1",),
    Benchmark.CIS_1_8: ("v1.26.15+k3s1",),
    # kube-bench uses its newest profile for newer K3s versions. In v1.32.2 the kubelet lost an argument.
    Benchmark.CIS_1_9: ("v1.29.15+k3s1", "v1.32.2+k3s1", "v1.34.1+k3s1"),
}
_BY_NUMBER = {
    (benchmark, number.text): control
    for control in catalogue.CATALOGUE
    for benchmark, number in control.numbers.items()
}


class Observed(NamedTuple):
    """For one profile: the nodes on which a control differs, by reason, and the disguises that misled this program."""

    benchmark: Benchmark
    seen: Mapping[tuple[str, Reason], list[str]]
    fooled: list[str]


class Comparison:
    """The results of both programs, computed once for each node; all nodes are below one directory."""

    def __init__(self, benchmark: Benchmark, directory: Path) -> None:
        self._benchmark = benchmark
        self._directory = directory
        self._known: dict[str, dict[str, BothResults]] = {}

    def of(self, setup: Setup) -> dict[str, BothResults]:
        """Return the results by number."""
        key = repr(setup)
        if key not in self._known:
            root = self._directory / "node"
            self._known[key] = nodes.results_of_both(setup, self._benchmark, root)
            shutil.rmtree(root)
        return self._known[key]


_TOGETHER = [
    pytest.param(entry, marks=pytest.mark.xdist_group(f"kube-bench {entry}"), id=str(entry)) for entry in PROFILED
]
"""One worker runs all tests of a profile, so that its nodes are created once."""


@pytest.fixture(scope="module", params=_TOGETHER)
def observed(request: pytest.FixtureRequest) -> Observed:
    """Return the results of one profile on all nodes."""
    benchmark: Benchmark = request.param
    seen: dict[tuple[str, Reason], list[str]] = defaultdict(list)
    fooled = []
    with in_memory() as directory:
        comparison = Comparison(benchmark, directory)
        for version in VERSIONS[benchmark]:
            is_first = version == VERSIONS[benchmark][0]
            setups = nodes.plain(benchmark, version) if is_first else nodes.usual(version)
            for setup in (*setups, *nodes.with_arguments(benchmark, version)):
                for number, reason in _apart(benchmark, comparison.of(setup)):
                    seen[_BY_NUMBER[benchmark, number].id, reason].append(str(setup))
            for reason, disguised, like in nodes.disguises(benchmark, version):
                before = comparison.of(like)
                for number, after in comparison.of(disguised).items():
                    name = _BY_NUMBER[benchmark, number].id
                    fooled += [f"{name}: {disguised}"] if after.status is not before[number].status else []
                    if after.theirs != before[number].theirs:
                        seen[name, reason].append(str(disguised))
            before_start = Setup("before its first start", version, started=False)
            for number, reason in _apart(benchmark, comparison.of(before_start)):
                if reason is Reason.NO_EVIDENCE:
                    seen[_BY_NUMBER[benchmark, number].id, reason].append(str(before_start))
    return Observed(benchmark, seen, fooled)


def test_every_difference_has_a_documented_reason(observed: Observed) -> None:
    """A failure shows the state of the node."""
    documented = _documented(observed.benchmark)
    assert {item: where[:3] for item, where in observed.seen.items() if item not in documented} == {}


def test_every_documented_reason_has_a_node_that_shows_it(observed: Observed) -> None:
    """On that node the results differ. For a disguise, the result of kube-bench changes."""
    assert _documented(observed.benchmark) - observed.seen.keys() == set()


def test_disguises_do_not_change_the_verdict(observed: Observed) -> None:
    """A node without its journal, or with other spellings, gets the same verdict."""
    assert observed.fooled == []


@pytest.mark.parametrize("benchmark", PROFILED, ids=str)
def test_a_profile_has_the_controls_of_the_catalogue(benchmark: Benchmark) -> None:
    """Numbers and kinds of assessment are the same."""
    assert {number: _assessed(check) for number, check in _profile(benchmark).items()} == {
        control.numbers[benchmark].text: control.numbers[benchmark].assessed
        for control in catalogue.CATALOGUE
        if benchmark in control.numbers
    }


@pytest.mark.parametrize("benchmark", PROFILED, ids=str)
def test_the_same_cipher_suites_are_accepted(benchmark: Benchmark) -> None:
    """The exceptions are the second names that Go has for some suites; kube-bench accepts one for the kubelet."""
    compared = 0
    for number, check in _profile(benchmark).items():
        ours = _BY_NUMBER[benchmark, number].check_of(benchmark)
        for item in check.get("items", ()):
            if item.get("flag") == "--tls-cipher-suites":
                assert isinstance(ours, ArgumentCheck)
                assert isinstance(ours.criterion, ListSubsetOf)
                theirs = set(item["value"].split(","))
                assert {_short(name) for name in theirs} == {_short(name) for name in ours.criterion.names}
                assert theirs <= set(ours.criterion.names)
                compared += 1
    assert compared == (1 if benchmark is Benchmark.CIS_1_23 else 2)


def test_reasons_are_only_for_controls_that_kube_bench_has() -> None:
    """Only special cases have a note, and a check that is not run has one of three reasons."""
    for name, found in DIFFERENCES.items():
        (control,) = (entry for entry in catalogue.CATALOGUE if entry.id == name)
        for item in found:
            assert bool(item.note) is (item.reason in (Reason.STRICTER, Reason.LAXER))
            for benchmark in item.benchmarks:
                assert benchmark in control.numbers
                assert runs(control, benchmark) or item.reason in (Reason.NOT_ASKED, Reason.NOT_HERE)


@pytest.mark.parametrize(
    ("operator", "found", "expected", "passes"),
    [
        ("eq", "False", "false", True),
        ("eq", "0", "false", False),
        ("noteq", "false", "false", False),
        ("gte", "30", "30", True),
        ("gte", "many", "30", False),
        ("gt", "0", "0", False),
        ("has", "Node,RBAC", "RBAC", True),
        ("nothave", "AlwaysAllow", "AlwaysAllow", False),
        ("valid_elements", "a, b,", "b,a,c", True),
        ("valid_elements", "a,d", "b,a,c", False),
        ("bitmask", "400", "600", True),
        ("bitmask", "500", "600", False),
        ("noteqx", "5m", "0", False),
    ],
)
def test_the_model_compares_values_as_kube_bench_does(
    operator: str, found: str, expected: str, *, passes: bool
) -> None:
    """Booleans in any case are equal, modes are compared by bits, and an unknown operator has no result."""
    assert kube_bench.compared(operator, found, expected) is passes


def _apart(benchmark: Benchmark, results: Mapping[str, BothResults]) -> Iterator[tuple[str, Reason]]:
    for number, result in results.items():
        if result.theirs != result.ours:
            yield number, _why(_profile(benchmark)[number], result)


def _why(check: Mapping[str, Any], results: BothResults) -> Reason:
    """Return why the results differ on a node on which kube-bench finds all evidence."""
    if results.status is ControlStatus.NOT_APPLICABLE:
        return Reason.NOT_HERE
    if "type" in check:
        return Reason.NOT_ASKED
    if "kubectl" in check.get("audit", ()):
        return Reason.CLUSTER
    if results.status is ControlStatus.UNKNOWN:
        return Reason.NO_EVIDENCE
    return Reason.LAXER if results.theirs == "PASS" else Reason.STRICTER


def _documented(benchmark: Benchmark) -> set[tuple[str, Reason]]:
    return {
        (name, item.reason) for name, found in DIFFERENCES.items() for item in found if benchmark in item.benchmarks
    }


def _profile(benchmark: Benchmark) -> Mapping[str, Mapping[str, Any]]:
    assert benchmark.kube_bench_profile
    return kube_bench.PROFILES[benchmark.kube_bench_profile]


def _assessed(check: Mapping[str, Any]) -> Assessed:
    if check.get("type") == "manual":
        return Assessed.MANUAL
    if check.get("type") == "skip":
        return Assessed.SKIPPED
    return Assessed.AUTOMATED if check["scored"] else Assessed.UNSCORED


def _short(suite: str) -> str:
    return suite.replace("_POLY1305_SHA256", "_POLY1305") if "_WITH_" in suite else suite
