"""Controls beyond the benchmarks: access to the files that control a node and its cluster."""

from __future__ import annotations

from agent.assess.benchmark.control import BenchmarkControl, benchmark_control
from agent.assess.checks import host_paths
from agent.assess.checks.check import AllOf
from agent.assess.checks.file_access import NoSecretInServices, OnlyRoot
from agent.base.model import ON_SERVERS
from agent.harden.guide.sysctls import PARAMETERS_FILE

_CREDENTIALS = "server/cred"
_CNI = "agent/etc/cni/net.d"


NODE_ACCESS: tuple[BenchmarkControl, ...] = (
    benchmark_control(
        "k3s-service-access",
        AllOf((OnlyRoot(host_paths.SERVICE_FILES, directories=host_paths.SERVICE_DIRECTORIES), NoSecretInServices())),
    ),
    benchmark_control(
        "k3s-service-environment-access",
        OnlyRoot(host_paths.ENVIRONMENT_FILES, directories=host_paths.ENVIRONMENT_DIRECTORIES, secret=True),
    ),
    benchmark_control("k3s-config-directory-access", OnlyRoot(directories=host_paths.CONFIG_DIRECTORIES)),
    benchmark_control("k3s-config-access", OnlyRoot(host_paths.CONFIG_FILE, secret=host_paths.CONFIG_WITH_SECRETS)),
    benchmark_control(
        "k3s-config-drop-ins-access",
        OnlyRoot(
            host_paths.CONFIG_DROPINS,
            directories=host_paths.CONFIG_DROPIN_DIRECTORY,
            secret=host_paths.CONFIG_WITH_SECRETS,
        ),
    ),
    benchmark_control("k3s-registries-access", OnlyRoot(host_paths.REGISTRIES, secret=host_paths.CONFIG_WITH_SECRETS)),
    benchmark_control("k3s-token-access", OnlyRoot(host_paths.TOKENS, secret=True)),
    benchmark_control(
        "server-credentials-access",
        OnlyRoot((f"{_CREDENTIALS}/**",), directories=(_CREDENTIALS,), secret=True),
        applies=ON_SERVERS,
    ),
    benchmark_control(
        "encryption-config-access",
        OnlyRoot((f"{_CREDENTIALS}/encryption-config.json",), secret=True),
        applies=ON_SERVERS,
    ),
    benchmark_control("agent-keys-access", OnlyRoot(("agent/*.key",), secret=True)),
    benchmark_control("agent-kubeconfigs-access", OnlyRoot(("agent/*.kubeconfig",), secret=True)),
    benchmark_control(
        "kubelet-config-access", OnlyRoot(host_paths.KUBELET_FILES, directories=host_paths.KUBELET_DIRECTORIES)
    ),
    benchmark_control("cni-config-access", OnlyRoot((f"{_CNI}/*",), directories=(_CNI,))),
    benchmark_control(
        "etcd-data-access",
        OnlyRoot(host_paths.ETCD, directories=host_paths.ETCD_DIRECTORIES, secret=True),
        applies=ON_SERVERS,
    ),
    benchmark_control(
        "sqlite-data-access",
        OnlyRoot(host_paths.SQLITE, directories=host_paths.SQLITE_DIRECTORY, secret=True),
        applies=ON_SERVERS,
    ),
    benchmark_control(
        "snapshots-access",
        OnlyRoot(host_paths.SNAPSHOTS, directories=host_paths.SNAPSHOT_DIRECTORY, secret=True),
        applies=ON_SERVERS,
    ),
    benchmark_control("audit-policy-access", OnlyRoot(host_paths.AUDIT_POLICY), applies=ON_SERVERS),
    benchmark_control("pod-security-admission-access", OnlyRoot(host_paths.POD_SECURITY), applies=ON_SERVERS),
    benchmark_control("policy-manifest-access", OnlyRoot(("server/manifests/policy.yaml",)), applies=ON_SERVERS),
    benchmark_control(
        "audit-log-access",
        OnlyRoot(host_paths.AUDIT_LOGS, directories=host_paths.AUDIT_LOG_DIRECTORY, secret=True),
        applies=ON_SERVERS,
    ),
    benchmark_control("k3s-binary-access", OnlyRoot(host_paths.BINARIES, contents=("data",))),
    benchmark_control("kernel-parameters-file-access", OnlyRoot((PARAMETERS_FILE,))),
)
"""From the service that starts K3s to its data."""
