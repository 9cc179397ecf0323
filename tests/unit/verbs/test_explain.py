"""Tests of explain: each ID is explained, and a misspelled ID gets a suggestion."""

from __future__ import annotations

import re

import pytest

from agent.benchmark.catalogue import CATALOGUE
from agent.errors import ExitCode, UsageError
from agent.findings import KINDS
from agent.findings.remediations import REMEDIATIONS
from agent.guide.controls import CONTROLS
from agent.verbs.explain import explained, listed

NAMES = dict.fromkeys((*(control.id for control in CONTROLS), *KINDS, *(row.id for row in CATALOGUE)))


@pytest.mark.parametrize("name", NAMES)
def test_each_listed_id_is_explained(name: str) -> None:
    """Each control and finding is in the list and has an explanation."""
    assert f"  {name} " in listed()
    assert explained(name).startswith(name)


def test_a_control_with_several_version_ranges_is_explained_for_each() -> None:
    """Each version range has its own explanation."""
    text = explained("terminated-pod-gc-threshold")
    assert text.index("v1.28 and older") < text.index("v1.29 and newer")


def test_manual_commands_are_not_wrapped() -> None:
    """A command on one line can be pasted."""
    (line,) = (line for line in explained("audit-policy").splitlines() if "render audit-policy" in line)
    assert line.strip() == next(control.by_hand for control in CONTROLS if control.id == "audit-policy")


def test_a_control_of_the_guide_has_its_cis_numbers() -> None:
    """The entry of the guide comes first, and nothing is repeated."""
    text = explained("audit-log-maxage")
    order = ("In the guide", "In the benchmarks", "1.2.17 (not scored) in cis-1.9")
    assert list(order) == sorted(order, key=text.index)
    assert text.count("\nRationale\n") == 1


def test_a_number_selects_the_controls_of_all_benchmarks_or_of_one() -> None:
    """Numbers change between benchmarks: without a benchmark all controls with the number are explained."""
    several, one = explained("1.2.16"), explained("cis-1.9/1.2.16")
    assert {"apiserver-profiling: ", "audit-log-path: ", "enable-admission-plugins: "} <= set(
        re.findall(r"^[a-z-]+: ", several, re.MULTILINE)
    )
    assert re.findall(r"^[a-z-]+: ", one, re.MULTILINE) == ["audit-log-path: "]


def test_a_different_expectation_of_an_older_benchmark_is_shown() -> None:
    """Both values are shown with their benchmarks."""
    text = " ".join(explained("pki-certificate-permissions").split())
    assert re.search(r" Expected `<data-dir>/server/tls/\*.crt`, [^:]*: mode 0644 or stricter ", text)
    assert re.search(r" Expected in cis-1.24 to cis-1.10 `<data-dir>[^:]*: mode 0600 or stricter ", text)


def test_the_details_of_a_finding_are_paragraphs() -> None:
    """Each paragraph of the docstring is wrapped and indented alike."""
    _, _, rest = explained("manifest-broken").partition("Details\n")
    details, _, _ = rest.partition("Blocks the gate\n")
    assert details.startswith("  If a manifest")
    assert all(re.match("  \\S", line) for line in details.splitlines())


def test_each_difference_to_kube_bench_is_a_paragraph() -> None:
    """Each reason names its benchmarks; without differences there is no such section."""
    heading = "Differences to kube-bench\n"
    _, _, reasons = explained("request-timeout").partition(heading)
    skipped = "  cis-1.23: It leaves this control to manual review, or skips it on K3s. k3s-harden checks the host.\n"
    assert skipped in reasons
    _, _, reasons = explained("kubelet-anonymous-auth").partition(heading)
    lines = reasons.splitlines()
    assert len(lines) == len(set(lines))
    assert heading not in explained("etcd-data-ownership")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("audit-log-maxaeg", "did you mean audit-log-maxage"),
        ("overcommit", "did you mean vm.overcommit_memory?"),
        ("maxsize", "did you mean audit-log-maxsize?"),
        ("qqqq", "run k3s-harden explain for a list"),
    ],
)
def test_a_misspelled_id_gets_a_suggestion(name: str, hint: str) -> None:
    """An unknown ID is a usage error that suggests similar IDs."""
    with pytest.raises(UsageError) as error:
        explained(name)
    assert error.value.exit_code is ExitCode.USAGE
    assert error.value.hint.startswith(hint)


def test_a_finding_has_its_remediation() -> None:
    """It is the last entry; a note that requires nothing has none."""
    assert explained("list-dropped").endswith("Remediation\n  append `+` to the key; then restart K3s\n")
    assert "Remediation" not in explained("k3s-released")
    assert REMEDIATIONS.keys() == KINDS.keys()
