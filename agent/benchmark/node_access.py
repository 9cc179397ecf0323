"""Controls beyond the benchmarks: access to the files that control a node and its cluster."""

from __future__ import annotations

from agent.benchmark.control import BenchmarkControl, benchmark_control
from agent.checks import host_paths
from agent.checks.check import AllOf
from agent.checks.file_access import NoSecretInServices, OnlyRoot
from agent.guide.sysctls import PARAMETERS_FILE
from agent.model import ON_SERVERS

_CREDENTIALS = "server/cred"
_CNI = "agent/etc/cni/net.d"
_CERTIFICATES = "k3s-io/k3s pkg/daemons/control/deps/deps.go"
_AGENT = "k3s-io/k3s pkg/agent/config/config.go"
_CONFIG = "k3s-io/k3s pkg/configfilearg/parser.go"
_INSTALL = "k3s-io/k3s install.sh"
_KUBE_API_SERVER = "kubernetes/kubernetes staging/src/k8s.io/apiserver/pkg/server/options"


NODE_ACCESS: tuple[BenchmarkControl, ...] = (
    benchmark_control(
        "k3s-service-access",
        AllOf(
            (OnlyRoot(host_paths.SERVICE_FILES, directories=host_paths.SERVICE_DIRECTORIES), NoSecretInServices()),
        ),
        _INSTALL,
    ),
    benchmark_control(
        "k3s-service-environment-access",
        OnlyRoot(host_paths.ENVIRONMENT_FILES, directories=host_paths.ENVIRONMENT_DIRECTORIES, secret=True),
        _INSTALL,
    ),
    benchmark_control("k3s-config-directory-access", OnlyRoot(directories=host_paths.CONFIG_DIRECTORIES), _CONFIG),
    benchmark_control(
        "k3s-config-access", OnlyRoot(host_paths.CONFIG_FILE, secret=host_paths.CONFIG_WITH_SECRETS), _CONFIG
    ),
    benchmark_control(
        "k3s-config-drop-ins-access",
        OnlyRoot(
            host_paths.CONFIG_DROPINS,
            directories=host_paths.CONFIG_DROPIN_DIRECTORY,
            secret=host_paths.CONFIG_WITH_SECRETS,
        ),
        _CONFIG,
    ),
    benchmark_control(
        "k3s-registries-access",
        OnlyRoot(host_paths.REGISTRIES, secret=host_paths.CONFIG_WITH_SECRETS),
        "k3s-io/docs docs/installation/private-registry.md",
    ),
    benchmark_control("k3s-token-access", OnlyRoot(host_paths.TOKENS, secret=True), "k3s-io/docs docs/cli/token.md"),
    benchmark_control(
        "server-credentials-access",
        OnlyRoot((f"{_CREDENTIALS}/**",), directories=(_CREDENTIALS,), secret=True),
        _CERTIFICATES,
        applies=ON_SERVERS,
    ),
    benchmark_control(
        "encryption-config-access",
        OnlyRoot((f"{_CREDENTIALS}/encryption-config.json",), secret=True),
        _CERTIFICATES,
        applies=ON_SERVERS,
    ),
    benchmark_control("agent-keys-access", OnlyRoot(("agent/*.key",), secret=True), _AGENT),
    benchmark_control("agent-kubeconfigs-access", OnlyRoot(("agent/*.kubeconfig",), secret=True), _AGENT),
    benchmark_control(
        "kubelet-config-access",
        OnlyRoot(host_paths.KUBELET_FILES, directories=host_paths.KUBELET_DIRECTORIES),
        "k3s-io/k3s pkg/daemons/agent/agent.go",
    ),
    benchmark_control(
        "cni-config-access", OnlyRoot((f"{_CNI}/*",), directories=(_CNI,)), "k3s-io/k3s pkg/agent/flannel/setup.go"
    ),
    benchmark_control(
        "etcd-data-access",
        OnlyRoot(host_paths.ETCD, directories=host_paths.ETCD_DIRECTORIES, secret=True),
        "k3s-io/k3s pkg/daemons/executor/executor.go",
        applies=ON_SERVERS,
    ),
    benchmark_control(
        "sqlite-data-access",
        OnlyRoot(host_paths.SQLITE, directories=host_paths.SQLITE_DIRECTORY, secret=True),
        "k3s-io/kine pkg/drivers/sqlite/sqlite.go",
        applies=ON_SERVERS,
    ),
    benchmark_control(
        "snapshots-access",
        OnlyRoot(host_paths.SNAPSHOTS, directories=host_paths.SNAPSHOT_DIRECTORY, secret=True),
        "k3s-io/k3s pkg/etcd/snapshot.go",
        applies=ON_SERVERS,
    ),
    benchmark_control("audit-policy-access", OnlyRoot(host_paths.AUDIT_POLICY), _KUBE_API_SERVER, applies=ON_SERVERS),
    benchmark_control(
        "pod-security-admission-access", OnlyRoot(host_paths.POD_SECURITY), _KUBE_API_SERVER, applies=ON_SERVERS
    ),
    benchmark_control(
        "policy-manifest-access",
        OnlyRoot(("server/manifests/policy.yaml",)),
        "k3s-io/k3s pkg/deploy/controller.go",
        applies=ON_SERVERS,
    ),
    benchmark_control(
        "audit-log-access",
        OnlyRoot(host_paths.AUDIT_LOGS, directories=host_paths.AUDIT_LOG_DIRECTORY, secret=True),
        _KUBE_API_SERVER,
        applies=ON_SERVERS,
    ),
    benchmark_control("k3s-binary-access", OnlyRoot(host_paths.BINARIES, contents=("data",)), _INSTALL),
    benchmark_control(
        "kernel-parameters-file-access", OnlyRoot((PARAMETERS_FILE,)), "systemd/systemd src/sysctl/sysctl.c"
    ),
)
"""From the service that starts K3s to its data."""
