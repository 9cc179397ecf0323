"""Controls that no benchmark has: of the guide, the components and access to files, and those of a rule of the STIG."""

from __future__ import annotations

from typing import Union

from agent.assess.benchmark.component_settings import tls_version, without_plugin
from agent.assess.benchmark.control import BenchmarkControl, benchmark_control
from agent.assess.checks import host_paths
from agent.assess.checks.argument_checks import ArgumentCheck
from agent.assess.checks.check import AllOf
from agent.assess.checks.file_access import NoSecretInServices, OnlyRoot
from agent.assess.checks.file_modes import Ownership, Permissions
from agent.assess.checks.host_paths import KUBECONFIG, HostPaths
from agent.assess.checks.policy_checks import PoliciesFromFiles
from agent.assess.checks.sysctls_and_directories import (
    GuideDirectory,
    KernelParameter,
    KubeconfigOptions,
    SysctlPrecedence,
)
from agent.harden.guide.criteria import DurationFrom, ListIncludes, NotGiven, TurnsOnNone
from agent.harden.guide.guide_files import ADMISSION_POLICIES_APPLY, DIRECTORIES
from agent.harden.guide.k3s_options import newest
from agent.harden.guide.sysctls import PARAMETERS_FILE, SYSCTLS, SysctlRow
from agent.k3s.roles_and_versions import EVERYWHERE, ON_SERVERS, Applies, Component

Paths = Union[tuple[str, ...], HostPaths]

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


_NODE_PASSWORD = "/etc/rancher/node/password"  # noqa: S105 - the path of the node's password
_CREDENTIALS = "server/cred"
_CNI = "agent/etc/cni/net.d"


def _only_root(
    identifier: str,
    paths: Paths = (),
    directories: Paths = (),
    *,
    secret: bool | HostPaths = False,
    applies: Applies = EVERYWHERE,
) -> BenchmarkControl:
    return benchmark_control(identifier, OnlyRoot(paths, directories, secret=secret), applies=applies)


NODE_ACCESS: tuple[BenchmarkControl, ...] = (
    benchmark_control(
        "k3s-service-access",
        AllOf((OnlyRoot(host_paths.SERVICE_FILES, host_paths.SERVICE_DIRECTORIES), NoSecretInServices())),
    ),
    _only_root(
        "k3s-service-environment-access", host_paths.ENVIRONMENT_FILES, host_paths.ENVIRONMENT_DIRECTORIES, secret=True
    ),
    _only_root("k3s-config-directory-access", directories=host_paths.CONFIG_DIRECTORIES),
    _only_root("k3s-config-access", host_paths.CONFIG_FILE, secret=host_paths.CONFIG_WITH_SECRETS),
    _only_root(
        "k3s-config-drop-ins-access",
        host_paths.CONFIG_DROPINS,
        host_paths.CONFIG_DROPIN_DIRECTORY,
        secret=host_paths.CONFIG_WITH_SECRETS,
    ),
    _only_root("k3s-registries-access", host_paths.REGISTRIES, secret=host_paths.CONFIG_WITH_SECRETS),
    _only_root("k3s-token-access", host_paths.TOKENS, secret=True),
    _only_root("server-credentials-access", (f"{_CREDENTIALS}/**",), (_CREDENTIALS,), secret=True, applies=ON_SERVERS),
    _only_root("encryption-config-access", host_paths.ENCRYPTION, secret=True, applies=ON_SERVERS),
    _only_root("agent-keys-access", ("agent/*.key", _NODE_PASSWORD), secret=True),
    _only_root("agent-kubeconfigs-access", ("agent/*.kubeconfig",), secret=True),
    _only_root("kubelet-config-access", host_paths.KUBELET_FILES, host_paths.KUBELET_DIRECTORIES),
    _only_root("pod-sources-access", host_paths.POD_SOURCES, host_paths.POD_SOURCE_DIRECTORIES),
    _only_root("cni-config-access", (f"{_CNI}/*",), (_CNI,)),
    _only_root("etcd-data-access", host_paths.ETCD, host_paths.ETCD_DIRECTORIES, secret=True, applies=ON_SERVERS),
    _only_root("sqlite-data-access", host_paths.SQLITE, host_paths.SQLITE_DIRECTORY, secret=True, applies=ON_SERVERS),
    _only_root(
        "snapshots-access", host_paths.SNAPSHOTS, host_paths.SNAPSHOT_DIRECTORY, secret=True, applies=ON_SERVERS
    ),
    _only_root("audit-policy-access", host_paths.AUDIT_POLICY, secret=host_paths.AUDIT_RECEIVER, applies=ON_SERVERS),
    _only_root("pod-security-admission-access", host_paths.POD_SECURITY, applies=ON_SERVERS),
    _only_root("policy-manifest-access", ("server/manifests/policy.yaml",), applies=ON_SERVERS),
    _only_root(
        "audit-log-access", host_paths.AUDIT_LOGS, host_paths.AUDIT_LOG_DIRECTORY, secret=True, applies=ON_SERVERS
    ),
    benchmark_control("k3s-binary-access", OnlyRoot(host_paths.BINARIES, contents=("data",))),
    _only_root("kernel-parameters-file-access", (PARAMETERS_FILE,)),
)
"""From the service that starts K3s to its data."""


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
    benchmark_control("admission-policies-from-files", PoliciesFromFiles(), applies=ADMISSION_POLICIES_APPLY),
)
"""Kernel parameters in the guide's order, their overrides, directories, access to files, TLS, and policies."""
