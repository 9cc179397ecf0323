"""Controls beyond the benchmarks: access to the files that control a node and its cluster."""

from __future__ import annotations

from agent.benchmark.control import BenchmarkControl
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
    BenchmarkControl(
        "k3s-service-access",
        "Only root can change the services that start K3s, and they contain no secret",
        AllOf(
            (OnlyRoot(host_paths.SERVICE_FILES, directories=host_paths.SERVICE_DIRECTORIES), NoSecretInServices()),
        ),
        "systemd runs the commands of a unit and its drop-ins as root, so everyone who can write one, or add one, can"
        " run commands as root. systemd shows the content of units to all users, so a token in the command line or in"
        " `Environment=` is not secret.",
        _INSTALL,
    ),
    BenchmarkControl(
        "k3s-service-environment-access",
        "Only root can read and change the environment files of the services that start K3s",
        OnlyRoot(host_paths.ENVIRONMENT_FILES, directories=host_paths.ENVIRONMENT_DIRECTORIES, secret=True),
        "install.sh writes the cluster's token to this file. Everyone who can read it can join a node to the cluster,"
        " and with a server's token read all Secrets. Everyone who can write it controls K3s.",
        _INSTALL,
    ),
    BenchmarkControl(
        "k3s-config-directory-access",
        "Only root can change the directory of K3s' configuration",
        OnlyRoot(directories=host_paths.CONFIG_DIRECTORIES),
        "Everyone who can write a directory can replace the files in it, whatever their modes are.",
        _CONFIG,
    ),
    BenchmarkControl(
        "k3s-config-access",
        "Only root can change K3s' main configuration file",
        OnlyRoot(host_paths.CONFIG_FILE, secret=host_paths.CONFIG_WITH_SECRETS),
        "K3s runs as root with these options, and they contain the arguments of all components. With a token or a"
        " datastore-endpoint the file also contains a secret of the cluster.",
        _CONFIG,
    ),
    BenchmarkControl(
        "k3s-config-drop-ins-access",
        "Only root can change the drop-ins of K3s' configuration",
        OnlyRoot(
            host_paths.CONFIG_DROPINS,
            directories=host_paths.CONFIG_DROPIN_DIRECTORY,
            secret=host_paths.CONFIG_WITH_SECRETS,
        ),
        "A drop-in overrides any option of K3s. Everyone who can write one, or add one to the directory, controls K3s.",
        _CONFIG,
    ),
    BenchmarkControl(
        "k3s-registries-access",
        "Only root can change K3s' configuration of registries",
        OnlyRoot(host_paths.REGISTRIES, secret=host_paths.CONFIG_WITH_SECRETS),
        "It decides from where images come, so everyone who can write it can replace the image of any pod. It can"
        " contain passwords of registries.",
        "k3s-io/docs docs/installation/private-registry.md",
    ),
    BenchmarkControl(
        "k3s-token-access",
        "Only root can read and change the tokens of the cluster, and the key for its datastore",
        OnlyRoot(host_paths.TOKENS, secret=True),
        "With a server's token anybody can join a server, and read the certificate authorities and all Secrets. With"
        " the key of `datastore-keyfile` anybody can do what K3s can do in an external datastore.",
        "k3s-io/docs docs/cli/token.md",
    ),
    BenchmarkControl(
        "server-credentials-access",
        "Only root can read and change the credentials of the control plane",
        OnlyRoot((f"{_CREDENTIALS}/**",), directories=(_CREDENTIALS,), secret=True),
        "The directory contains the kubeconfigs of the control plane's components and the passwords of the nodes.",
        _CERTIFICATES,
        applies=ON_SERVERS,
    ),
    BenchmarkControl(
        "encryption-config-access",
        "Only root can read and change the keys that encrypt Secrets",
        OnlyRoot((f"{_CREDENTIALS}/encryption-config.json",), secret=True),
        "The file contains the keys. Everyone who has them and a copy of the datastore can read all Secrets.",
        _CERTIFICATES,
        applies=ON_SERVERS,
    ),
    BenchmarkControl(
        "agent-keys-access",
        "Only root can read and change the private keys of the node",
        OnlyRoot(("agent/*.key",), secret=True),
        "They are the keys of the kubelet and kube-proxy. With the kubelet's key anybody can read the Secrets of all"
        " pods on the node.",
        _AGENT,
    ),
    BenchmarkControl(
        "agent-kubeconfigs-access",
        "Only root can read and change the kubeconfigs of the node",
        OnlyRoot(("agent/*.kubeconfig",), secret=True),
        "They give access to the node's keys. Everyone who can change one can connect a component to another API"
        " server.",
        _AGENT,
    ),
    BenchmarkControl(
        "kubelet-config-access",
        "Only root can change the configuration files of the kubelet",
        OnlyRoot(host_paths.KUBELET_FILES, directories=host_paths.KUBELET_DIRECTORIES),
        "They configure how the kubelet authenticates and authorizes clients. Everyone who can write one, or a"
        " directory on its path, controls the node.",
        "k3s-io/k3s pkg/daemons/agent/agent.go",
    ),
    BenchmarkControl(
        "cni-config-access",
        "Only root can change the configuration of the container network",
        OnlyRoot((f"{_CNI}/*",), directories=(_CNI,)),
        "containerd runs the programs that these files name as root for each pod.",
        "k3s-io/k3s pkg/agent/flannel/setup.go",
    ),
    BenchmarkControl(
        "etcd-data-access",
        "Only root can read and change the data of etcd",
        OnlyRoot(host_paths.ETCD, directories=host_paths.ETCD_DIRECTORIES, secret=True),
        "The data is the whole cluster, including its Secrets. Everyone who can write it controls the cluster.",
        "k3s-io/k3s pkg/daemons/executor/executor.go",
        applies=ON_SERVERS,
    ),
    BenchmarkControl(
        "sqlite-data-access",
        "Only root can read and change the SQLite datastore",
        OnlyRoot(host_paths.SQLITE, directories=host_paths.SQLITE_DIRECTORY, secret=True),
        "The database is the whole cluster, including its Secrets. Everyone who can write it controls the cluster.",
        "k3s-io/kine pkg/drivers/sqlite/sqlite.go",
        applies=ON_SERVERS,
    ),
    BenchmarkControl(
        "snapshots-access",
        "Only root can read and change the snapshots of the datastore, and the data that a restore replaced",
        OnlyRoot(host_paths.SNAPSHOTS, directories=host_paths.SNAPSHOT_DIRECTORY, secret=True),
        "A snapshot is a copy of the whole cluster, including its Secrets, and a cluster is restored from it. A restore"
        " keeps the data from before in `server/db/etcd-old-*`.",
        "k3s-io/k3s pkg/etcd/snapshot.go",
        applies=ON_SERVERS,
    ),
    BenchmarkControl(
        "audit-policy-access",
        "Only root can change the audit policy",
        OnlyRoot(host_paths.AUDIT_POLICY),
        "Everyone who can write it can hide requests from the audit log at K3s' next start.",
        _KUBE_API_SERVER,
        applies=ON_SERVERS,
    ),
    BenchmarkControl(
        "pod-security-admission-access",
        "Only root can change the admission configuration",
        OnlyRoot(host_paths.POD_SECURITY),
        "Everyone who can write it can exempt pods from the Pod Security Standards at K3s' next start.",
        _KUBE_API_SERVER,
        applies=ON_SERVERS,
    ),
    BenchmarkControl(
        "policy-manifest-access",
        "Only root can change the manifest of policies",
        OnlyRoot(("server/manifests/policy.yaml",)),
        "K3s applies the file with full cluster rights, so everyone who can write it is an administrator.",
        "k3s-io/k3s pkg/deploy/controller.go",
        applies=ON_SERVERS,
    ),
    BenchmarkControl(
        "audit-log-access",
        "Only root can read and change the audit logs",
        OnlyRoot(host_paths.AUDIT_LOGS, directories=host_paths.AUDIT_LOG_DIRECTORY, secret=True),
        "The logs name users, Secrets and other objects. Everyone who can write them can remove evidence.",
        _KUBE_API_SERVER,
        applies=ON_SERVERS,
    ),
    BenchmarkControl(
        "k3s-binary-access",
        "Only root can change the program K3s, and the programs that it unpacks",
        OnlyRoot(host_paths.BINARIES, contents=("data",)),
        "K3s runs as root. Its names kubectl, crictl and ctr are symlinks to it, and administrators run them as root."
        " K3s starts the programs in the directory `data`, such as containerd and runc, as root.",
        _INSTALL,
    ),
    BenchmarkControl(
        "kernel-parameters-file-access",
        "Only root can change the file of the kernel parameters",
        OnlyRoot((PARAMETERS_FILE,)),
        "The kernel gets these values at every boot.",
        "systemd/systemd src/sysctl/sysctl.c",
    ),
)
"""From the service that starts K3s to its data."""
