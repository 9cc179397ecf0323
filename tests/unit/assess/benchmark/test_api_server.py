"""Rows of the API server: numbers in the benchmarks, and values that pass or fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.assess.benchmark.api_server import API_SERVER
from agent.assess.benchmark.frameworks import ONLY_IN_FRAMEWORKS
from agent.base.model import Component
from agent.k3s.cis.versions import Benchmark
from tests.unit.assess.benchmark.rows import OF_K3S, fix, flags

if TYPE_CHECKING:
    from agent.assess.benchmark.control import BenchmarkControl

ADMISSION = "enable-admission-plugins"
K3S_SETS = OF_K3S[Component.API_SERVER]
OLDEST, NEWEST = Benchmark.CIS_1_23, Benchmark.CIS_2_1
ROWS = (
    *API_SERVER,
    *(row for row in ONLY_IN_FRAMEWORKS if any(flag.component is Component.API_SERVER for flag in flags(row.check))),
)


def by_id(identifier: str) -> BenchmarkControl:
    (row,) = [row for row in ROWS if row.id == identifier]
    return row


def met(row: BenchmarkControl, given: dict[str, str], benchmark: Benchmark = NEWEST) -> bool:
    """Return whether arguments of the API server meet all tests of a row, by value or by default."""
    return all(
        flag.criterion.accepts(given[flag.name]) if flag.name in given else flag.unset_passes
        for flag in flags(row.check_of(benchmark))
    )


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
}


@pytest.mark.parametrize("benchmark", Benchmark)
def test_only_choices_of_the_operator_fail_on_an_unconfigured_k3s(benchmark: Benchmark) -> None:
    """K3s' own arguments meet all other rows, with the cipher suites and plugins of each benchmark."""
    failing = {row.id for row in API_SERVER if benchmark in row.numbers and not met(row, K3S_SETS, benchmark)}
    assert failing == {identifier for identifier in LEFT_TO_OPERATORS if benchmark in by_id(identifier).numbers}


@pytest.mark.parametrize("name", K3S_SETS)
def test_a_missing_default_of_k3s_passes_only_if_that_of_kubernetes_is_compliant(name: str) -> None:
    """Of the arguments that K3s sets, only the port has a compliant default of the API server."""
    given = {other: value for other, value in K3S_SETS.items() if other != name}
    broken = {row.id for row in API_SERVER if met(row, K3S_SETS) and not met(row, given)}
    assert bool(broken) == (name != "secure-port")


FILE = "/etc/ssl/some.pem"
UNSET = "(unset)"
MODE, DISABLED = "authorization-mode", "disable-admission-plugins"

NODE, EXTERNAL, POLICY = "NodeRestriction", "DenyServiceExternalIPs", "PodSecurityPolicy"
STORAGE, ACCOUNT = "DefaultStorageClass", "ServiceAccount"
SUITE = "TLS_AES_128_GCM_SHA256"
APPROVED = [
    f"TLS_ECDHE_{key}_WITH_AES_{size}" for key in ("RSA", "ECDSA") for size in ("256_GCM_SHA384", "128_GCM_SHA256")
]
WEAK_SUITES = ["", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", f"{SUITE},TLS_RSA_WITH_AES_128_GCM_SHA256"]

EXAMPLES: tuple[tuple[str, str, list[str], list[str]], ...] = (
    ("apiserver-anonymous-auth", "anonymous-auth", ["false", "False", "0"], ["true", "1", "", "no"]),
    ("apiserver-token-auth-file", "token-auth-file", [UNSET, ""], [FILE]),
    ("apiserver-kubelet-https", "kubelet-https", ["true", UNSET], ["false"]),
    ("apiserver-kubelet-client-certificate", "kubelet-client-certificate", [FILE], [""]),
    ("apiserver-kubelet-client-certificate", "kubelet-client-key", [FILE], [""]),
    ("apiserver-kubelet-certificate-authority", "kubelet-certificate-authority", [FILE], [""]),
    (
        "apiserver-authorization-not-always-allow",
        MODE,
        ["Node,RBAC", "RBAC", "AlwaysDeny"],
        ["AlwaysAllow", "RBAC,AlwaysAllow"],
    ),
    ("apiserver-authorization-node", MODE, ["Node", "RBAC,Node"], ["RBAC", "", "NodeX", "node,RBAC"]),
    ("apiserver-authorization-rbac", MODE, ["RBAC", "Node,RBAC"], ["Node", "", "ABAC", "rbac"]),
    ("apiserver-external-ips-not-denied", ADMISSION, [NODE, "", UNSET], [EXTERNAL, f"{NODE},{EXTERNAL}"]),
    ("apiserver-external-ips-denied", ADMISSION, [EXTERNAL, f"{NODE},{EXTERNAL}"], [NODE, ""]),
    ("apiserver-event-rate-limit", ADMISSION, [f"{NODE},EventRateLimit"], [NODE, "", "EventRateLimits"]),
    ("apiserver-always-admit", ADMISSION, [NODE, UNSET], ["AlwaysAdmit", f"{NODE},AlwaysAdmit"]),
    ("apiserver-always-pull-images", ADMISSION, [f"AlwaysPullImages,{NODE}"], [NODE, ""]),
    (
        "apiserver-security-context-deny",
        ADMISSION,
        ["SecurityContextDeny", f"{NODE},{POLICY}"],
        [NODE, "", "PodSecurity"],
    ),
    ("apiserver-service-account-plugin", DISABLED, [STORAGE, "", UNSET], [ACCOUNT, f"{STORAGE},{ACCOUNT}"]),
    (
        "apiserver-namespace-lifecycle",
        DISABLED,
        [STORAGE, "", UNSET],
        ["NamespaceLifecycle", f"NamespaceLifecycle,{ACCOUNT}"],
    ),
    ("enable-admission-plugins", ADMISSION, [NODE, f"EventRateLimit,{NODE}"], ["EventRateLimit", "", NODE.lower()]),
    ("apiserver-secure-port", "secure-port", ["6444", "1", UNSET], ["0", "", "-1"]),
    ("apiserver-profiling", "profiling", ["false", "f"], ["true", "T", ""]),
    (
        "audit-log-path",
        "audit-log-path",
        ["/var/log/audit.log"],
        ["", "-", "audit.log", "/dev/null", "/x/../dev/null", "/proc/self/fd/1"],
    ),
    ("audit-log-maxage", "audit-log-maxage", ["30", "365"], ["29", "0", "", "30d"]),
    ("audit-log-maxbackup", "audit-log-maxbackup", ["10", "11"], ["9", "0", ""]),
    ("audit-log-maxsize", "audit-log-maxsize", ["100", "1000"], ["99", "0", "", "100M"]),
    ("request-timeout", "request-timeout", ["300s", "1m0s", "60s", UNSET], ["0", "0s", "", "300"]),
    ("service-account-lookup", "service-account-lookup", ["true", UNSET], ["false", "0", ""]),
    ("apiserver-service-account-key-file", "service-account-key-file", [FILE], [""]),
    ("apiserver-etcd-client-certificate", "etcd-certfile", [FILE], [""]),
    ("apiserver-etcd-client-certificate", "etcd-keyfile", [FILE], [""]),
    ("apiserver-serving-certificate", "tls-cert-file", [FILE], [""]),
    ("apiserver-serving-certificate", "tls-private-key-file", [FILE], [""]),
    ("apiserver-client-ca-file", "client-ca-file", [FILE], [""]),
    ("apiserver-etcd-ca-file", "etcd-cafile", [FILE], [""]),
    ("secrets-encryption", "encryption-provider-config", [FILE], [""]),
    (
        "apiserver-cipher-suites",
        "tls-cipher-suites",
        [SUITE, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"],
        WEAK_SUITES,
    ),
    ("service-account-extend-token-expiration", "service-account-extend-token-expiration", ["false"], ["true"]),
    ("audit-policy-file", "audit-policy-file", ["/etc/audit.yaml"], ["", "audit.yaml"]),
    ("admission-control-config-file", "admission-control-config-file", ["/etc/psa.yaml"], ["", "psa.yaml"]),
    (
        "apiserver-alpha-apis",
        "feature-gates",
        ["", "AllAlpha=false", "AllBeta=true", UNSET],
        ["AllAlpha=true", "AllAlpha=1", "NodeSwap=false, AllAlpha=T"],
    ),
    (
        "apiserver-alpha-apis",
        "runtime-config",
        ["", "api/alpha=false", "api/beta=true", UNSET],
        ["api/all=true", "api/alpha", "api/beta=false,api/alpha=true"],
    ),
    ("apiserver-approved-cipher-suites", "tls-cipher-suites", [",".join(APPROVED)], ["", SUITE, APPROVED[0]]),
    ("apiserver-pod-security-plugin", DISABLED, [STORAGE, "", UNSET], ["PodSecurity"]),
    ("apiserver-validating-admission-webhook", DISABLED, [STORAGE, "", UNSET], ["ValidatingAdmissionWebhook"]),
)
"""A row's ID, an argument, values that pass, among them UNSET if it can be absent, and values that fail."""


@pytest.mark.parametrize(
    ("identifier", "name", "passing", "failing"), EXAMPLES, ids=[f"{row}-{name}" for row, name, *_ in EXAMPLES]
)
def test_a_row_accepts_compliant_values_in_each_spelling(
    identifier: str, name: str, passing: list[str], failing: list[str]
) -> None:
    row = by_id(identifier)
    others = {flag.name: FILE for flag in flags(row.check) if flag.name != name and not flag.unset_passes}
    assert [value for value in passing if value != UNSET and not met(row, {**others, name: value})] == []
    assert [value for value in failing if met(row, {**others, name: value})] == []
    assert met(row, others) == (UNSET in passing)


def test_every_argument_of_every_row_has_examples() -> None:
    """Without an example, a row is not tested."""
    assert {(identifier, name) for identifier, name, *_ in EXAMPLES} == {
        (row.id, flag.name) for row in ROWS for flag in flags(row.check)
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
    row = by_id("apiserver-cipher-suites")
    refusing = [benchmark for benchmark in Benchmark if not met(row, {"tls-cipher-suites": suite}, benchmark)]
    every = list(Benchmark)
    assert refusing == (every[every.index(first_that_refuses) :] if first_that_refuses else [])


def test_a_fix_for_a_plugin_keeps_the_plugin_of_k3s() -> None:
    """The argument replaces NodeRestriction, so a text without it would break another control."""
    for row in API_SERVER:
        if any(flag.name == ADMISSION and not flag.unset_passes for flag in flags(row.check)):
            assert "`enable-admission-plugins=NodeRestriction" in fix(row), row.id
