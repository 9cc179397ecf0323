"""Rows of controller manager, scheduler, kubelet and kube-proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.assess.benchmark.controller_manager_and_scheduler import CONTROLLER_MANAGER_AND_SCHEDULER
from agent.assess.benchmark.kubelet import KUBELET
from agent.base.model import NEWEST_KNOWN, OLDEST_COVERED, Version
from agent.harden.guide.k3s_options import PROTECT_KERNEL_DEFAULTS_REQUIRED
from agent.k3s.cis.versions import Benchmark, fitting_benchmark
from tests.unit.assess.benchmark.rows import OF_K3S, flags

if TYPE_CHECKING:
    from agent.assess.benchmark.control import BenchmarkControl
    from agent.assess.checks.check import Check

ROWS = CONTROLLER_MANAGER_AND_SCHEDULER + KUBELET

SHORT = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305"
LONG = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
GATE = "RotateKubeletServerCertificate"
NO_FORWARD_SECRECY = "TLS_RSA_WITH_AES_128_GCM_SHA256"


def by_id(identifier: str) -> BenchmarkControl:
    (row,) = [row for row in ROWS if row.id == identifier]
    return row


def meets(check: Check, changed: dict[str, str | None]) -> bool:
    """Return whether K3s' own arguments with these changes meet a check; None removes an argument."""
    for flag in flags(check):
        value = (OF_K3S[flag.component] | changed).get(flag.name)
        if not (flag.unset_passes if value is None else flag.criterion.accepts(value)):
            return False
    return True


def test_an_unconfigured_k3s_fails_only_choices_of_the_operator() -> None:
    assert {row.id for row in ROWS if not meets(row.check, {})} == {
        "terminated-pod-gc-threshold",
        "protect-kernel-defaults",
        "tls-cipher-suites",
        "kubelet-pod-max-pids",
        "kubelet-seccomp-default",
    }


def test_a_component_without_arguments_passes_only_by_compliant_defaults() -> None:
    """The defaults include anonymous requests, AlwaysAllow, profiling, all interfaces and an open read-only port."""
    assert {row.id for row in ROWS for flag in flags(row.check) if flag.unset_passes} == {
        "controller-manager-rotate-kubelet-server-certificate",
        "streaming-connection-idle-timeout",
        "make-iptables-util-chains",
        "kubelet-event-qps",
        "kubelet-rotate-certificates",
        "kubelet-rotate-server-certificate",
        "kube-proxy-metrics-bind-address",
    }


@pytest.mark.parametrize(
    ("identifier", "argument", "strict", "weak"),
    [
        ("terminated-pod-gc-threshold", "terminated-pod-gc-threshold", ["12500"], ["0"]),
        ("controller-manager-profiling", "profiling", [], ["true"]),
        ("controller-manager-service-account-credentials", "use-service-account-credentials", [], ["0"]),
        ("controller-manager-service-account-key", "service-account-private-key-file", [], [""]),
        ("controller-manager-root-ca", "root-ca-file", [], [None]),
        ("controller-manager-rotate-kubelet-server-certificate", "feature-gates", [], [f"{GATE}=false"]),
        ("controller-manager-bind-address", "bind-address", ["::1"], ["0.0.0.0"]),  # noqa: S104 - refused
        ("scheduler-profiling", "profiling", [], [None]),
        ("scheduler-bind-address", "bind-address", ["::1"], ["::"]),
        ("kubelet-anonymous-auth", "anonymous-auth", [], ["True"]),
        ("kubelet-authorization-mode", "authorization-mode", ["Webhook"], ["AlwaysAllow"]),
        ("kubelet-client-ca", "client-ca-file", [], [None]),
        ("kubelet-read-only-port", "read-only-port", [], ["10255", None]),
        ("streaming-connection-idle-timeout", "streaming-connection-idle-timeout", ["4h0m0s"], ["0", "0s"]),
        ("protect-kernel-defaults", "protect-kernel-defaults", ["true"], ["false"]),
        ("make-iptables-util-chains", "make-iptables-util-chains", [], ["false"]),
        ("kubelet-event-qps", "event-qps", ["50"], ["-1"]),
        ("kubelet-serving-certificate", "tls-cert-file", [], [None]),
        ("kubelet-serving-certificate", "tls-private-key-file", [], [""]),
        ("kubelet-rotate-certificates", "rotate-certificates", [], ["false"]),
        ("kubelet-rotate-server-certificate", "feature-gates", [], ["AllBeta=false"]),
        ("tls-cipher-suites", "tls-cipher-suites", [f"{SHORT},{LONG}"], [f"{SHORT},TLS_RSA_WITH_AES_128_CBC_SHA"]),
        ("kubelet-pod-max-pids", "pod-max-pids", ["4096"], ["-1"]),
        ("kubelet-seccomp-default", "seccomp-default", ["true"], ["false"]),
        ("kube-proxy-metrics-bind-address", "metrics-bind-address", ["127.0.0.1:10249"], ["0.0.0.0:10249"]),
    ],
)
def test_only_values_as_strict_as_those_of_k3s_pass(
    identifier: str, argument: str, strict: list[str], weak: list[str | None]
) -> None:
    """Values that differ from those of K3s; None removes the argument."""
    check = by_id(identifier).check
    assert [value for value in strict if not meets(check, {argument: value})] == []
    assert [value for value in weak if meets(check, {argument: value})] == []


@pytest.mark.parametrize("benchmark", Benchmark)
def test_suites_without_forward_secrecy_are_accepted_up_to_1_11(benchmark: Benchmark) -> None:
    """Each benchmark has its own list, and a suite can have two names."""
    check = by_id("tls-cipher-suites").check_of(benchmark)
    later = list(Benchmark).index(benchmark) > list(Benchmark).index(Benchmark.CIS_1_11)
    assert meets(check, {"tls-cipher-suites": f"{SHORT},{LONG}"})
    assert meets(check, {"tls-cipher-suites": f"{SHORT},{NO_FORWARD_SECRECY}"}) is not later
    assert not meets(check, {})


@pytest.mark.parametrize("minor", range(OLDEST_COVERED.minor, NEWEST_KNOWN.minor + 1))
def test_protect_kernel_defaults_is_required_if_the_benchmark_has_it(minor: int) -> None:
    """A site can disable it only in other versions."""
    version = Version(1, minor, 0)
    has_it = fitting_benchmark(version) in by_id("protect-kernel-defaults").numbers
    assert PROTECT_KERNEL_DEFAULTS_REQUIRED.includes(version) is has_it
