"""What the benchmarks ask of the arguments of the controller manager (1.3) and of the scheduler (1.4)."""

from __future__ import annotations

from agent.benchmark.control import BenchmarkControl, numbered
from agent.benchmark.guide_options import of_the_guide
from agent.checks.arguments import ArgumentCheck
from agent.guide.criteria import Boolean, LeavesGateOn, Loopback, Present
from agent.guide.k3s_options import newest
from agent.model import ON_SERVERS, Component, Instruction, Remediation, Restart

_SOURCE = "k3s-io/k3s pkg/daemons/control/server.go"
_PROFILING = (
    "The profiler shows anyone who may call it what the program does and holds in memory, and costs time while it"
    " runs. It is there for finding faults, so it is off until then."
)
_LOCAL = (
    "The port reveals details of the cluster, and is one more that can be attacked; nothing outside the host needs it."
    " In a cluster with IPv6 alone K3s sets ::1, which is just as good."
)


def _row(  # noqa: PLR0913 - a row is this wide, and the calls name its fields
    identifier: str,
    numbers: str,
    check: ArgumentCheck,
    *,
    title: str,
    why: str,
    default: str,
) -> BenchmarkControl:
    return BenchmarkControl(
        id=identifier,
        title=title,
        numbers=numbered(numbers),
        applies=ON_SERVERS,
        check=check,
        why=why,
        remediation=Remediation(
            (
                Instruction(
                    f"remove `{check.name}` from the list `{check.component.config_key}` in K3s' configuration, because"
                    f" {default}"
                ),
            ),
            restart=Restart.K3S,
        ),
        source=_SOURCE,
    )


CONTROLLER_MANAGER_AND_SCHEDULER: tuple[BenchmarkControl, ...] = (
    of_the_guide(
        newest("terminated-pod-gc-threshold"),
        Component.CONTROLLER_MANAGER,
        "1.3.1u 1.3.1u 1.3.1u 1.3.1u 1.3.1u 1.3.1M 1.3.1M 1.3.1M 1.3.1M 1.3.1M",
        source=_SOURCE,
    ),
    _row(
        "controller-manager-profiling",
        "1.3.2A 1.3.2A 1.3.2A 1.3.2A 1.3.2A 1.3.2A 1.3.2A 1.3.2A 1.3.2A 1.3.2A",
        ArgumentCheck(Component.CONTROLLER_MANAGER, "profiling", Boolean(expected=False)),
        title="The controller manager cannot be profiled",
        why=_PROFILING,
        default="K3s sets it to false",
    ),
    _row(
        "controller-manager-service-account-credentials",
        "1.3.3A 1.3.3A 1.3.3A 1.3.3A 1.3.3A 1.3.3A 1.3.3A 1.3.3A 1.3.3A 1.3.3A",
        ArgumentCheck(Component.CONTROLLER_MANAGER, "use-service-account-credentials", Boolean(expected=True)),
        title="Each controller has a service account of its own",
        why=(
            "Otherwise all controllers act as one user with the rights of all of them, so that a fault in one can do"
            " what any other may, and the audit log cannot tell which one it was."
        ),
        default="K3s sets it to true",
    ),
    _row(
        "controller-manager-service-account-key",
        "1.3.4A 1.3.4A 1.3.4A 1.3.4A 1.3.4A 1.3.4A 1.3.4A 1.3.4A 1.3.4A 1.3.4A",
        ArgumentCheck(Component.CONTROLLER_MANAGER, "service-account-private-key-file", Present()),
        title="Tokens of service accounts are signed with a key of their own",
        why=(
            "A key that signs these tokens and nothing else can be rotated without a change to any certificate, and"
            " its loss exposes nothing else."
        ),
        default="K3s sets it to a key that it makes",
    ),
    _row(
        "controller-manager-root-ca",
        "1.3.5A 1.3.5A 1.3.5A 1.3.5A 1.3.5A 1.3.5A 1.3.5A 1.3.5A 1.3.5A 1.3.5A",
        ArgumentCheck(Component.CONTROLLER_MANAGER, "root-ca-file", Present()),
        title="Pods get the authority that vouches for the API server",
        why=(
            "The controller manager puts it beside each pod's token. A pod without it cannot tell the API server from"
            " an impostor, and gives its token to either."
        ),
        default="K3s sets it to the authority of the cluster",
    ),
    _row(
        "controller-manager-rotate-kubelet-server-certificate",
        "1.3.6S 1.3.6A 1.3.6A 1.3.6A 1.3.6A 1.3.6A 1.3.6A 1.3.6A 1.3.6A 1.3.6A",
        ArgumentCheck(
            Component.CONTROLLER_MANAGER,
            "feature-gates",
            LeavesGateOn("RotateKubeletServerCertificate"),
            unset_passes=True,
        ),
        title="The controller manager renews the kubelets' serving certificates",
        why=(
            "With the gate off, a kubelet that asks for a new serving certificate gets none, and goes on with the old"
            " one until it expires. K3s leaves the gate on; it makes the certificates of its own kubelets itself."
        ),
        default="the gate RotateKubeletServerCertificate is on by default; other gates can stay in the list",
    ),
    _row(
        "controller-manager-bind-address",
        "1.3.7A 1.3.7A 1.3.7A 1.3.7A 1.3.7A 1.3.7A 1.3.7A 1.3.7A 1.3.7A 1.3.7A",
        ArgumentCheck(Component.CONTROLLER_MANAGER, "bind-address", Loopback()),
        title="The controller manager listens on the host alone",
        why=_LOCAL,
        default="K3s sets it to the host's own address",
    ),
    _row(
        "scheduler-profiling",
        "1.4.1A 1.4.1A 1.4.1A 1.4.1A 1.4.1A 1.4.1A 1.4.1A 1.4.1A 1.4.1A 1.4.1A",
        ArgumentCheck(Component.SCHEDULER, "profiling", Boolean(expected=False)),
        title="The scheduler cannot be profiled",
        why=_PROFILING,
        default="K3s sets it to false",
    ),
    _row(
        "scheduler-bind-address",
        "1.4.2A 1.4.2A 1.4.2A 1.4.2A 1.4.2A 1.4.2A 1.4.2A 1.4.2A 1.4.2A 1.4.2A",
        ArgumentCheck(Component.SCHEDULER, "bind-address", Loopback()),
        title="The scheduler listens on the host alone",
        why=_LOCAL,
        default="K3s sets it to the host's own address",
    ),
)
"""In the benchmarks' order, which is the same in all of them."""
