"""Controls of the arguments of the controller manager (1.3) and of the scheduler (1.4)."""

from __future__ import annotations

from agent.assess.benchmark.control import BenchmarkControl, benchmark_control, removed
from agent.assess.benchmark.guide_options import of_the_guide
from agent.assess.checks.arguments import ArgumentCheck
from agent.base.model import ON_SERVERS, Component
from agent.harden.guide.criteria import Boolean, LeavesGateOn, Loopback, NotEmpty
from agent.harden.guide.k3s_options import newest


def _row(identifier: str, check: ArgumentCheck, *, default: str) -> BenchmarkControl:
    remediation = removed(check.component, check.name, default=default)
    return benchmark_control(identifier, check, applies=ON_SERVERS, remediation=remediation)


CONTROLLER_MANAGER_AND_SCHEDULER: tuple[BenchmarkControl, ...] = (
    of_the_guide(Component.CONTROLLER_MANAGER, newest("terminated-pod-gc-threshold")),
    _row(
        "controller-manager-profiling",
        ArgumentCheck(Component.CONTROLLER_MANAGER, "profiling", Boolean(expected=False)),
        default="K3s sets it to false",
    ),
    _row(
        "controller-manager-service-account-credentials",
        ArgumentCheck(Component.CONTROLLER_MANAGER, "use-service-account-credentials", Boolean(expected=True)),
        default="K3s sets it to true",
    ),
    _row(
        "controller-manager-service-account-key",
        ArgumentCheck(Component.CONTROLLER_MANAGER, "service-account-private-key-file", NotEmpty()),
        default="K3s sets it to a key that it makes",
    ),
    _row(
        "controller-manager-root-ca",
        ArgumentCheck(Component.CONTROLLER_MANAGER, "root-ca-file", NotEmpty()),
        default="K3s sets it to the authority of the cluster",
    ),
    _row(
        "controller-manager-rotate-kubelet-server-certificate",
        ArgumentCheck(
            Component.CONTROLLER_MANAGER,
            "feature-gates",
            LeavesGateOn("RotateKubeletServerCertificate"),
            unset_passes=True,
        ),
        default="the gate RotateKubeletServerCertificate is enabled by default (other gates can stay in the list)",
    ),
    _row(
        "controller-manager-bind-address",
        ArgumentCheck(Component.CONTROLLER_MANAGER, "bind-address", Loopback()),
        default="K3s sets it to the loopback address",
    ),
    _row(
        "scheduler-profiling",
        ArgumentCheck(Component.SCHEDULER, "profiling", Boolean(expected=False)),
        default="K3s sets it to false",
    ),
    _row(
        "scheduler-bind-address",
        ArgumentCheck(Component.SCHEDULER, "bind-address", Loopback()),
        default="K3s sets it to the loopback address",
    ),
)
"""In the benchmarks' order, which is the same in all of them."""
