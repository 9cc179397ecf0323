"""Controls of the arguments of the kubelet (section 4.2) and of kube-proxy (section 4.3).

The kubelet's settings are named as arguments, although K3s v1.32 and newer sets them in the kubelet's files.
"""

from __future__ import annotations

from functools import partial

from agent.assess.benchmark.argument_rows import of_the_guide
from agent.assess.benchmark.control import BenchmarkControl, benchmark_control
from agent.assess.checks.argument_checks import ArgumentCheck
from agent.assess.checks.check import AllOf, NotInK3s
from agent.harden.guide.criteria import (
    AtLeast,
    Boolean,
    Equals,
    LeavesGateOn,
    ListExcludes,
    ListSubsetOf,
    Loopback,
    NotEmpty,
)
from agent.harden.guide.k3s_options import POD_MAX_PIDS, PROTECT_KERNEL_DEFAULTS, SECCOMP_DEFAULT, newest
from agent.k3s.cis.versions import Benchmark, up_to
from agent.k3s.go_values import suites_with_long_names
from agent.k3s.roles_and_versions import Component

_guide = partial(of_the_guide, Component.KUBELET)
_argument = partial(ArgumentCheck, Component.KUBELET)
_row = benchmark_control

_CIPHERS = newest("tls-cipher-suites")
_STRONG_UNTIL_1_11 = ListSubsetOf(
    (
        *suites_with_long_names(_CIPHERS.value.split(",")),
        "TLS_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_RSA_WITH_AES_256_GCM_SHA384",
    )
)
"""Includes two without forward secrecy, which the benchmarks accept up to 1.11."""

KUBELET: tuple[BenchmarkControl, ...] = (
    _row("kubelet-anonymous-auth", _argument("anonymous-auth", Boolean(expected=False))),
    _row(
        "kubelet-authorization-mode",
        _argument("authorization-mode", ListExcludes(("AlwaysAllow",))),
    ),
    _row("kubelet-client-ca", _argument("client-ca-file", NotEmpty())),
    # Without a --config file the kubelet opens port 10255 by default (cmd/kubelet/app/options/options.go).
    _row(
        "kubelet-read-only-port",
        _argument("read-only-port", Equals("0")),
    ),
    _guide(newest("streaming-connection-idle-timeout")),
    _guide(PROTECT_KERNEL_DEFAULTS),
    _guide(newest("make-iptables-util-chains")),
    benchmark_control(
        "kubelet-hostname-override",
        NotInK3s(
            "K3s always passes the node's name with --hostname-override, and creates the kubelet's certificate for the"
            " same name."
        ),
    ),
    # kubernetes/kubernetes #117119, CHANGELOG-1.37 and CHANGELOG-1.27
    benchmark_control(
        "kubelet-event-qps",
        _argument("event-qps", AtLeast(0, example=50), unset_passes=True),
        earlier=dict.fromkeys(up_to(Benchmark.CIS_1_24), _argument("event-qps", Equals("0"))),
    ),
    benchmark_control(
        "kubelet-serving-certificate",
        AllOf((_argument("tls-cert-file", NotEmpty()), _argument("tls-private-key-file", NotEmpty()))),
    ),
    _row(
        "kubelet-rotate-certificates",
        _argument("rotate-certificates", Boolean(expected=True), unset_passes=True),
    ),
    _row(
        "kubelet-rotate-server-certificate",
        _argument("feature-gates", LeavesGateOn("RotateKubeletServerCertificate"), unset_passes=True),
    ),
    _guide(_CIPHERS, earlier=dict.fromkeys(up_to(Benchmark.CIS_1_11), _STRONG_UNTIL_1_11)),
    benchmark_control(
        "kubelet-pod-max-pids",
        _argument("pod-max-pids", POD_MAX_PIDS.meets, setting="pod-max-pids"),
        caution="find out how many processes your largest pod has, and choose a larger number",
    ),
    benchmark_control(
        "kubelet-seccomp-default",
        _argument("seccomp-default", SECCOMP_DEFAULT.meets, setting="seccomp-default"),
        caution=(
            "test your workloads with 'seccompProfile: type: RuntimeDefault' in their security context, because"
            " programs that need a rare system call fail with it"
        ),
    ),
    benchmark_control(
        "kube-proxy-metrics-bind-address",
        ArgumentCheck(Component.KUBE_PROXY, "metrics-bind-address", Loopback(), unset_passes=True),
        caution="run the program that collects the metrics in the host's network",
    ),
)
"""In the benchmarks' order."""
