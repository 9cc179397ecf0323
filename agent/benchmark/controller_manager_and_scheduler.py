"""Controls of the arguments of the controller manager (1.3) and of the scheduler (1.4)."""

from __future__ import annotations

from agent.benchmark.control import BenchmarkControl, numbered, removed
from agent.benchmark.guide_options import of_the_guide
from agent.checks.arguments import ArgumentCheck
from agent.guide.criteria import Boolean, LeavesGateOn, Loopback, NotEmpty
from agent.guide.k3s_options import newest
from agent.model import ON_SERVERS, Component

_SOURCE = "k3s-io/k3s pkg/daemons/control/server.go"
_PROFILING = (
    "The profiler shows the program's activity and memory to everyone who may call it, and takes processor time. It is"
    " only needed for debugging."
)
_LOCAL = (
    "The port reveals details of the cluster and can be attacked, and nothing outside the host needs it. In a cluster"
    " with only IPv6, K3s sets ::1, which is equivalent."
)


def _row(  # noqa: PLR0913 - a row is this wide, and the calls name its fields
    identifier: str, numbers: str, check: ArgumentCheck, *, title: str, why: str, default: str
) -> BenchmarkControl:
    return BenchmarkControl(
        identifier,
        title,
        check,
        why,
        numbers=numbered(numbers),
        applies=ON_SERVERS,
        remediation=removed(check.component, check.name, default=default),
        source=_SOURCE,
    )


CONTROLLER_MANAGER_AND_SCHEDULER: tuple[BenchmarkControl, ...] = (
    of_the_guide(
        Component.CONTROLLER_MANAGER,
        newest("terminated-pod-gc-threshold"),
        "1.3.1u 1.3.1u 1.3.1u 1.3.1u 1.3.1u 1.3.1M 1.3.1M 1.3.1M 1.3.1M 1.3.1M",
        source=_SOURCE,
    ),
    _row(
        "controller-manager-profiling",
        "1.3.2A 1.3.2A 1.3.2A 1.3.2A 1.3.2A 1.3.2A 1.3.2A 1.3.2A 1.3.2A 1.3.2A",
        ArgumentCheck(Component.CONTROLLER_MANAGER, "profiling", Boolean(expected=False)),
        title="The controller manager does not serve profiling data",
        why=_PROFILING,
        default="K3s sets it to false",
    ),
    _row(
        "controller-manager-service-account-credentials",
        "1.3.3A 1.3.3A 1.3.3A 1.3.3A 1.3.3A 1.3.3A 1.3.3A 1.3.3A 1.3.3A 1.3.3A",
        ArgumentCheck(Component.CONTROLLER_MANAGER, "use-service-account-credentials", Boolean(expected=True)),
        title="Each controller has its own service account",
        why=(
            "Otherwise all controllers share one user with the rights of all of them. A fault in one controller can"
            " then use all rights, and the audit log does not show which controller it was."
        ),
        default="K3s sets it to true",
    ),
    _row(
        "controller-manager-service-account-key",
        "1.3.4A 1.3.4A 1.3.4A 1.3.4A 1.3.4A 1.3.4A 1.3.4A 1.3.4A 1.3.4A 1.3.4A",
        ArgumentCheck(Component.CONTROLLER_MANAGER, "service-account-private-key-file", NotEmpty()),
        title="Service account tokens are signed with a separate key",
        why="A separate key can be rotated without a change to any certificate, and its loss exposes nothing else.",
        default="K3s sets it to a key that it makes",
    ),
    _row(
        "controller-manager-root-ca",
        "1.3.5A 1.3.5A 1.3.5A 1.3.5A 1.3.5A 1.3.5A 1.3.5A 1.3.5A 1.3.5A 1.3.5A",
        ArgumentCheck(Component.CONTROLLER_MANAGER, "root-ca-file", NotEmpty()),
        title="Pods receive the certificate authority of the API server",
        why=(
            "The controller manager adds it to each pod's token. A pod without it cannot distinguish the API server"
            " from an impostor, and sends its token to both."
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
            "With the gate disabled, a kubelet receives no new serving certificate, and uses the old one until it"
            " expires. K3s leaves the gate enabled, and creates the certificates of its kubelets itself."
        ),
        default="the gate RotateKubeletServerCertificate is enabled by default (other gates can stay in the list)",
    ),
    _row(
        "controller-manager-bind-address",
        "1.3.7A 1.3.7A 1.3.7A 1.3.7A 1.3.7A 1.3.7A 1.3.7A 1.3.7A 1.3.7A 1.3.7A",
        ArgumentCheck(Component.CONTROLLER_MANAGER, "bind-address", Loopback()),
        title="The controller manager listens only on the loopback address",
        why=_LOCAL,
        default="K3s sets it to the loopback address",
    ),
    _row(
        "scheduler-profiling",
        "1.4.1A 1.4.1A 1.4.1A 1.4.1A 1.4.1A 1.4.1A 1.4.1A 1.4.1A 1.4.1A 1.4.1A",
        ArgumentCheck(Component.SCHEDULER, "profiling", Boolean(expected=False)),
        title="The scheduler does not serve profiling data",
        why=_PROFILING,
        default="K3s sets it to false",
    ),
    _row(
        "scheduler-bind-address",
        "1.4.2A 1.4.2A 1.4.2A 1.4.2A 1.4.2A 1.4.2A 1.4.2A 1.4.2A 1.4.2A 1.4.2A",
        ArgumentCheck(Component.SCHEDULER, "bind-address", Loopback()),
        title="The scheduler listens only on the loopback address",
        why=_LOCAL,
        default="K3s sets it to the loopback address",
    ),
)
"""In the benchmarks' order, which is the same in all of them."""
