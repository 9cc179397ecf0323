"""Controls of the guide and the components that no benchmark has: kernel parameters, directories, a file, TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.assess.benchmark.argument_rows import tls_version
from agent.assess.benchmark.control import BenchmarkControl, benchmark_control
from agent.assess.benchmark.node_access import NODE_ACCESS
from agent.assess.checks.check import AllOf
from agent.assess.checks.file_modes import Ownership, Permissions
from agent.assess.checks.host_paths import KUBECONFIG
from agent.assess.checks.static_policy_checks import PoliciesFromFiles
from agent.assess.checks.sysctls_and_directories import (
    GuideDirectory,
    KernelParameter,
    KubeconfigOptions,
    SysctlPrecedence,
)
from agent.harden.guide.guide_files import ADMISSION_POLICIES_APPLY, DIRECTORIES
from agent.harden.guide.sysctls import SYSCTLS
from agent.k3s.roles_and_versions import EVERYWHERE, ON_SERVERS, Component

if TYPE_CHECKING:
    from agent.harden.guide.sysctls import SysctlRow


def _kernel_parameter(row: SysctlRow) -> BenchmarkControl:
    return benchmark_control(
        row.id,
        KernelParameter(row),
        applies=row.applies,
        # The guide does not write parameters whose default is compliant; apply does not undo changes by others.
        guide=row if row.written else None,
        texts=row,
    )


BEYOND: tuple[BenchmarkControl, ...] = (
    *map(_kernel_parameter, SYSCTLS),
    benchmark_control("sysctl-precedence", SysctlPrecedence()),
    *(benchmark_control(row.id, GuideDirectory(row), applies=row.applies, guide=row) for row in DIRECTORIES),
    benchmark_control(
        "k3s-kubeconfig",
        AllOf((Permissions(KUBECONFIG), Ownership(KUBECONFIG), KubeconfigOptions(KUBECONFIG.name))),
        applies=ON_SERVERS,
        caution="give people their own kubeconfigs",
    ),
    *NODE_ACCESS,
    tls_version("apiserver-tls-min-version", Component.API_SERVER, ON_SERVERS),
    tls_version("kubelet-tls-min-version", Component.KUBELET, EVERYWHERE),
    benchmark_control(
        "admission-policies-from-files",
        PoliciesFromFiles(),
        applies=ADMISSION_POLICIES_APPLY,
    ),
)
"""Kernel parameters in the guide's order, their overrides, directories, access to files, TLS, and policies."""
