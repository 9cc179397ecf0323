"""Controls that no CIS benchmark has and that a rule of the Kubernetes STIG asks for: assessed only for a framework."""

from __future__ import annotations

from agent.assess.benchmark.argument_rows import tls_version, without_plugin
from agent.assess.benchmark.control import BenchmarkControl, benchmark_control
from agent.assess.checks.argument_checks import ArgumentCheck
from agent.assess.checks.check import AllOf
from agent.harden.guide.criteria import DurationFrom, ListIncludes, NotGiven, TurnsOnNone
from agent.harden.guide.k3s_options import newest
from agent.k3s.roles_and_versions import ON_SERVERS, Component

_API_SERVER = Component.API_SERVER
_KUBELET = Component.KUBELET


_ADMISSION = newest("admission-control-config-file")

ONLY_IN_FRAMEWORKS: tuple[BenchmarkControl, ...] = (
    benchmark_control(
        _ADMISSION.id,
        ArgumentCheck(_API_SERVER, "admission-control-config-file", _ADMISSION.meets),
        applies=_ADMISSION.applies,
        guide=_ADMISSION,
    ),
    benchmark_control(
        "apiserver-alpha-apis",
        AllOf(
            (
                ArgumentCheck(_API_SERVER, "feature-gates", TurnsOnNone(("AllAlpha",)), unset_passes=True),
                ArgumentCheck(_API_SERVER, "runtime-config", TurnsOnNone(("api/all", "api/alpha")), unset_passes=True),
            )
        ),
        applies=ON_SERVERS,
    ),
    benchmark_control(
        "apiserver-approved-cipher-suites",
        ArgumentCheck(
            _API_SERVER,
            "tls-cipher-suites",
            ListIncludes(
                tuple(
                    f"TLS_ECDHE_{key}_WITH_AES_{suite}"
                    for key in ("ECDSA", "RSA")
                    for suite in ("128_GCM_SHA256", "256_GCM_SHA384")
                )
            ),
        ),
        applies=ON_SERVERS,
    ),
    benchmark_control("apiserver-pod-security-plugin", without_plugin("PodSecurity"), applies=ON_SERVERS),
    benchmark_control(
        "apiserver-validating-admission-webhook", without_plugin("ValidatingAdmissionWebhook"), applies=ON_SERVERS
    ),
    tls_version("controller-manager-tls-min-version", Component.CONTROLLER_MANAGER, ON_SERVERS),
    benchmark_control(
        "kubelet-idle-timeout",
        ArgumentCheck(_KUBELET, "streaming-connection-idle-timeout", DurationFrom("5m"), unset_passes=True),
    ),
    benchmark_control(
        "kubelet-static-pod-path",
        ArgumentCheck(_KUBELET, "pod-manifest-path", NotGiven()),
        caution="look for static pods in the directory agent/pod-manifests, because they are deleted",
    ),
    tls_version("scheduler-tls-min-version", Component.SCHEDULER, ON_SERVERS),
)
"""In the order of frameworks.tsv."""
