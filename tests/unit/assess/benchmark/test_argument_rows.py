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

ROWS = {row.id: row for row in API_SERVER + CONTROLLER_MANAGER_AND_SCHEDULER + KUBELET + ONLY_IN_FRAMEWORKS}
ADMISSION = "enable-admission-plugins"
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


FILE = "/etc/ssl/some.pem"
MODE, DISABLED = "authorization-mode", "disable-admission-plugins"

NODE, EXTERNAL, POLICY = "NodeRestriction", "DenyServiceExternalIPs", "PodSecurityPolicy"
STORAGE, ACCOUNT = "DefaultStorageClass", "ServiceAccount"
SUITE = "TLS_AES_128_GCM_SHA256"
APPROVED = [
    f"TLS_ECDHE_{key}_WITH_AES_{size}" for key in ("RSA", "ECDSA") for size in ("256_GCM_SHA384", "128_GCM_SHA256")
]
WEAK_SUITES = ["", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", f"{SUITE},TLS_RSA_WITH_AES_128_GCM_SHA256"]

SHORT = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305"
LONG = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
GATE = "RotateKubeletServerCertificate"
NO_FORWARD_SECRECY = "TLS_RSA_WITH_AES_128_GCM_SHA256"

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
    ("terminated-pod-gc-threshold", "terminated-pod-gc-threshold", ["12500"], ["0"]),
    ("terminated-pod-gc-threshold", "controllers", [], ["*,-podgc", "ttl"]),
    ("controller-manager-profiling", "profiling", [], ["true"]),
    ("controller-manager-service-account-credentials", "use-service-account-credentials", [], ["0"]),
    ("controller-manager-service-account-key", "service-account-private-key-file", [], [""]),
    ("controller-manager-root-ca", "root-ca-file", [], [UNSET]),
    ("controller-manager-rotate-kubelet-server-certificate", "feature-gates", [UNSET], [f"{GATE}=false"]),
    ("controller-manager-bind-address", "bind-address", ["::1"], ["0.0.0.0"]),  # noqa: S104 - refused
    ("scheduler-profiling", "profiling", [], [UNSET]),
    ("scheduler-bind-address", "bind-address", ["::1"], ["::"]),
    ("kubelet-anonymous-auth", "anonymous-auth", [], ["True"]),
    ("kubelet-authorization-mode", "authorization-mode", ["Webhook"], ["AlwaysAllow"]),
    ("kubelet-client-ca", "client-ca-file", [], [UNSET]),
    ("kubelet-read-only-port", "read-only-port", [], ["10255", UNSET]),
    ("streaming-connection-idle-timeout", "streaming-connection-idle-timeout", ["4h0m0s", UNSET], ["0", "0s"]),
    ("protect-kernel-defaults", "protect-kernel-defaults", ["true"], ["false"]),
    ("make-iptables-util-chains", "make-iptables-util-chains", [UNSET], ["false"]),
    ("kubelet-event-qps", "event-qps", ["50", UNSET], ["-1"]),
    ("kubelet-serving-certificate", "tls-cert-file", [], [UNSET]),
    ("kubelet-serving-certificate", "tls-private-key-file", [], [""]),
    ("kubelet-rotate-certificates", "rotate-certificates", [UNSET], ["false"]),
    ("kubelet-rotate-server-certificate", "feature-gates", [UNSET], ["AllBeta=false"]),
    ("tls-cipher-suites", "tls-cipher-suites", [f"{SHORT},{LONG}"], [f"{SHORT},TLS_RSA_WITH_AES_128_CBC_SHA"]),
    ("kubelet-pod-max-pids", "pod-max-pids", ["4096"], ["-1"]),
    ("kubelet-seccomp-default", "seccomp-default", ["true"], ["false"]),
    ("kube-proxy-metrics-bind-address", "metrics-bind-address", ["127.0.0.1:10249", UNSET], ["0.0.0.0:10249"]),
    ("controller-manager-tls-min-version", "tls-min-version", ["VersionTLS12", UNSET], ["VersionTLS11"]),
    ("scheduler-tls-min-version", "tls-min-version", ["VersionTLS13", UNSET], ["VersionTLS10"]),
    ("kubelet-idle-timeout", "streaming-connection-idle-timeout", ["5m", "4h0m0s", UNSET], ["4m", "0"]),
    ("kubelet-static-pod-path", "pod-manifest-path", [""], ["/etc/pods"]),
)
"""A row's ID, an argument, values that pass, among them UNSET if it can be absent, and values that fail."""


@pytest.mark.parametrize(
    ("identifier", "name", "passing", "failing"), EXAMPLES, ids=[f"{row}-{name}" for row, name, *_ in EXAMPLES]
)
def test_a_row_accepts_compliant_values_in_each_spelling(
    identifier: str, name: str, passing: list[str], failing: list[str]
) -> None:
    row = ROWS[identifier]
    assert [value for value in passing if not met(row, {name: value})] == []
    assert [value for value in failing if met(row, {name: value})] == []
    assert UNSET in passing or not met(row, {name: UNSET})


def test_every_argument_of_every_row_has_examples() -> None:
    assert {(identifier, name) for identifier, name, *_ in EXAMPLES} == {
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
