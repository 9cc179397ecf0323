"""Rows about component arguments: numbers in the benchmarks, and values that pass or fail."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from agent.assess.benchmark.component_settings import API_SERVER, CONTROLLER_MANAGER_AND_SCHEDULER, KUBELET
from agent.assess.benchmark.control import BenchmarkControl
from agent.assess.benchmark.outside_benchmarks import ONLY_IN_FRAMEWORKS
from agent.harden.guide.k3s_options import PROTECT_KERNEL_DEFAULTS_REQUIRED
from agent.k3s.cis.versions import Benchmark, fitting_benchmark, up_to
from agent.k3s.roles_and_versions import NEWEST_KNOWN, OLDEST_COVERED, Component, Version
from tests.unit.assess.benchmark.rows import OF_K3S, flags
from tests.unit.assess.judge import Case, cases

ROWS = {row.id: row for row in API_SERVER + CONTROLLER_MANAGER_AND_SCHEDULER + KUBELET + ONLY_IN_FRAMEWORKS}
OLDEST, NEWEST = Benchmark.CIS_1_23, Benchmark.CIS_2_1
UNSET = "(unset)"


def met(row: BenchmarkControl, changed: Mapping[str, str], benchmark: Benchmark = NEWEST) -> bool:
    """Return whether K3s' own arguments with these changes meet all tests of a row, by value or by default."""
    for flag in flags(row.check_of(benchmark)):
        value = {**OF_K3S[flag.component], **changed}.get(flag.name, UNSET)
        if not (flag.unset_passes if value == UNSET else flag.criterion.accepts(value)):
            return False
    return True


LEFT_TO_OPERATORS = {
    "apiserver-always-pull-images",
    "apiserver-event-rate-limit",
    "apiserver-external-ips-denied",
    "apiserver-security-context-deny",
    "audit-log-maxage",
    "audit-log-maxbackup",
    "audit-log-maxsize",
    "audit-log-path",
    "audit-policy-file",
    "secrets-encryption",
    "service-account-extend-token-expiration",
    "kubelet-pod-max-pids",
    "kubelet-seccomp-default",
    "protect-kernel-defaults",
    "terminated-pod-gc-threshold",
    "tls-cipher-suites",
}


@pytest.mark.parametrize("benchmark", Benchmark)
def test_only_choices_of_the_operator_fail_on_an_unconfigured_k3s(benchmark: Benchmark) -> None:
    """K3s' own arguments meet all other rows, with the cipher suites, plugins and event rates of each benchmark."""
    failing = {row.id for row in ROWS.values() if benchmark in row.numbers and not met(row, {}, benchmark)}
    expected = LEFT_TO_OPERATORS | ({"kubelet-event-qps"} if benchmark in up_to(Benchmark.CIS_1_24) else set())
    assert failing == {identifier for identifier in expected if benchmark in ROWS[identifier].numbers}


@pytest.mark.parametrize("name", OF_K3S[Component.API_SERVER])
def test_a_missing_default_of_k3s_passes_only_if_that_of_kubernetes_is_compliant(name: str) -> None:
    """Of the API server's arguments that K3s sets, only the port has a compliant default of the API server."""
    broken = {row.id for row in API_SERVER if met(row, {}) and not met(row, {name: UNSET})}
    assert bool(broken) == (name != "secure-port")


SHORT = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305"
LONG = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
NO_FORWARD_SECRECY = "TLS_RSA_WITH_AES_128_GCM_SHA256"

CASES = cases("benchmark/argument-values.tsv")
"""Values of the arguments of each row in several spellings, among them UNSET."""


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_row_accepts_compliant_values_in_each_spelling(case: Case) -> None:
    assert met(ROWS[case.rule], {case.subject: case.value}) is case.accepted


def test_a_space_hides_no_feature_gate() -> None:
    assert not met(ROWS["apiserver-alpha-apis"], {"feature-gates": "NodeSwap=false, AllAlpha=T"})


def test_every_argument_of_every_row_has_examples() -> None:
    assert {(case.rule, case.subject) for case in CASES} == {
        (row.id, flag.name) for row in ROWS.values() for flag in flags(row.check)
    }


@pytest.mark.parametrize(
    ("suite", "first_that_refuses"),
    [
        ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", None),
        ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", None),
        ("TLS_RSA_WITH_AES_256_GCM_SHA384", Benchmark.CIS_1_12),
        ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", Benchmark.CIS_1_12),
        ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", Benchmark.CIS_1_12),
        ("TLS_RSA_WITH_AES_128_CBC_SHA", Benchmark.CIS_1_10),
        ("TLS_RSA_WITH_3DES_EDE_CBC_SHA", Benchmark.CIS_1_10),
        ("TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", Benchmark.CIS_1_10),
        ("TLS_ECDHE_RSA_WITH_RC4_128_SHA", OLDEST),
        ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", OLDEST),
        ("TLS_RSA_WITH_RC4_128_SHA", OLDEST),
    ],
)
def test_newer_benchmarks_reject_more_cipher_suites(suite: str, first_that_refuses: Benchmark | None) -> None:
    """1.10 rejects 3DES and RSA with CBC; 1.12 rejects CBC and RSA key exchange."""
    row = ROWS["apiserver-cipher-suites"]
    refusing = [benchmark for benchmark in Benchmark if not met(row, {"tls-cipher-suites": suite}, benchmark)]
    every = list(Benchmark)
    assert refusing == (every[every.index(first_that_refuses) :] if first_that_refuses else [])


@pytest.mark.parametrize("benchmark", Benchmark)
def test_suites_without_forward_secrecy_are_accepted_up_to_1_11(benchmark: Benchmark) -> None:
    """Each benchmark has its own list, and a suite can have two names."""
    row = ROWS["tls-cipher-suites"]
    later = benchmark not in up_to(Benchmark.CIS_1_11)
    assert met(row, {"tls-cipher-suites": f"{SHORT},{LONG}"}, benchmark)
    assert met(row, {"tls-cipher-suites": f"{SHORT},{NO_FORWARD_SECRECY}"}, benchmark) is not later
    assert not met(row, {}, benchmark)


@pytest.mark.parametrize("minor", range(OLDEST_COVERED.minor, NEWEST_KNOWN.minor + 1))
def test_protect_kernel_defaults_is_required_if_the_benchmark_has_it(minor: int) -> None:
    """A site can disable it only in other versions."""
    version = Version(1, minor, 0)
    has_it = fitting_benchmark(version) in ROWS["protect-kernel-defaults"].numbers
    assert PROTECT_KERNEL_DEFAULTS_REQUIRED.includes(version) is has_it
