"""Controls beyond the benchmarks: access to the files that control a node and its cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Union

from agent.assess.benchmark.control import BenchmarkControl, benchmark_control
from agent.assess.checks import host_paths
from agent.assess.checks.check import AllOf
from agent.assess.checks.file_access import NoSecretInServices, OnlyRoot
from agent.harden.guide.sysctls import PARAMETERS_FILE
from agent.k3s.roles_and_versions import EVERYWHERE, ON_SERVERS

if TYPE_CHECKING:
    from agent.assess.checks.host_paths import HostPaths
    from agent.k3s.roles_and_versions import Applies

    Paths = Union[tuple[str, ...], HostPaths]

_NODE_PASSWORD = "/etc/rancher/node/password"  # noqa: S105 - the path of the node's password
_CREDENTIALS = "server/cred"
_CNI = "agent/etc/cni/net.d"


def _row(
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
    _row(
        "k3s-service-environment-access",
        host_paths.ENVIRONMENT_FILES,
        host_paths.ENVIRONMENT_DIRECTORIES,
        secret=True,
    ),
    _row("k3s-config-directory-access", directories=host_paths.CONFIG_DIRECTORIES),
    _row("k3s-config-access", host_paths.CONFIG_FILE, secret=host_paths.CONFIG_WITH_SECRETS),
    _row(
        "k3s-config-drop-ins-access",
        host_paths.CONFIG_DROPINS,
        host_paths.CONFIG_DROPIN_DIRECTORY,
        secret=host_paths.CONFIG_WITH_SECRETS,
    ),
    _row("k3s-registries-access", host_paths.REGISTRIES, secret=host_paths.CONFIG_WITH_SECRETS),
    _row("k3s-token-access", host_paths.TOKENS, secret=True),
    _row("server-credentials-access", (f"{_CREDENTIALS}/**",), (_CREDENTIALS,), secret=True, applies=ON_SERVERS),
    _row("encryption-config-access", host_paths.ENCRYPTION, secret=True, applies=ON_SERVERS),
    _row("agent-keys-access", ("agent/*.key", _NODE_PASSWORD), secret=True),
    _row("agent-kubeconfigs-access", ("agent/*.kubeconfig",), secret=True),
    _row("kubelet-config-access", host_paths.KUBELET_FILES, host_paths.KUBELET_DIRECTORIES),
    _row("pod-sources-access", host_paths.POD_SOURCES, host_paths.POD_SOURCE_DIRECTORIES),
    _row("cni-config-access", (f"{_CNI}/*",), (_CNI,)),
    _row("etcd-data-access", host_paths.ETCD, host_paths.ETCD_DIRECTORIES, secret=True, applies=ON_SERVERS),
    _row("sqlite-data-access", host_paths.SQLITE, host_paths.SQLITE_DIRECTORY, secret=True, applies=ON_SERVERS),
    _row("snapshots-access", host_paths.SNAPSHOTS, host_paths.SNAPSHOT_DIRECTORY, secret=True, applies=ON_SERVERS),
    _row("audit-policy-access", host_paths.AUDIT_POLICY, applies=ON_SERVERS),
    _row("pod-security-admission-access", host_paths.POD_SECURITY, applies=ON_SERVERS),
    _row("policy-manifest-access", ("server/manifests/policy.yaml",), applies=ON_SERVERS),
    _row("audit-log-access", host_paths.AUDIT_LOGS, host_paths.AUDIT_LOG_DIRECTORY, secret=True, applies=ON_SERVERS),
    benchmark_control("k3s-binary-access", OnlyRoot(host_paths.BINARIES, contents=("data",))),
    _row("kernel-parameters-file-access", (PARAMETERS_FILE,)),
)
"""From the service that starts K3s to its data."""
