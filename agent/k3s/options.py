"""K3s' own options: their names, short names, environment variables, and which of them hold secrets. Pure."""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


ALIASES = {
    "c": "config",
    "d": "data-dir",
    "i": "node-ip",
    "kube-cloud-controller-arg": "kube-cloud-controller-manager-arg",
    "kube-controller-arg": "kube-controller-manager-arg",
    "l": "log",
    "o": "write-kubeconfig",
    "s": "server",
    "t": "token",
}
"""Short and deprecated names, by the name in use (k3s, pkg/cli/cmds)."""

AGENT_KEYS = _names(
    """
    airgap-extra-registry alsologtostderr bind-address cluster-secret config container-runtime-endpoint data-dir debug
    default-runtime disable-apiserver-lb disable-default-registry-endpoint disable-selinux docker enable-pprof
    flannel-cni-conf flannel-conf flannel-iface image-credential-provider-bin-dir image-credential-provider-config
    image-service-endpoint kube-proxy-arg kubelet-arg lb-server-port log no-flannel node-external-dns node-external-ip
    node-internal-dns node-ip node-label node-name node-taint nonroot-devices pause-image prefer-bundled-bin
    private-registry protect-kernel-defaults resolv-conf rootless selinux server snapshotter token token-file v vmodule
    vpn-auth vpn-auth-file with-node-id
    """
)
"""Options of `k3s agent` in any version since 1.23 (k3s, pkg/cli/cmds/agent.go). It exits on any other option."""

SERVER_ONLY_KEYS = _names(
    """
    advertise-address advertise-port agent-token agent-token-file apiserver-bind-address apiserver-port cluster-cidr
    cluster-dns cluster-domain cluster-init cluster-reset cluster-reset-restore-path datastore-cafile datastore-certfile
    datastore-endpoint datastore-keyfile default-local-storage-path disable disable-agent disable-apiserver
    disable-cloud-controller disable-controller-manager disable-etcd disable-helm-controller disable-kube-proxy
    disable-network-policy disable-scheduler egress-selector-mode embedded-registry etcd-arg etcd-disable-snapshots
    etcd-expose-metrics etcd-s3 etcd-s3-access-key etcd-s3-bucket etcd-s3-bucket-lookup-type etcd-s3-config-secret
    etcd-s3-endpoint etcd-s3-endpoint-ca etcd-s3-folder etcd-s3-insecure etcd-s3-proxy etcd-s3-region
    etcd-s3-retention etcd-s3-secret-key etcd-s3-session-token etcd-s3-skip-ssl-verify etcd-s3-timeout
    etcd-snapshot-compress etcd-snapshot-dir etcd-snapshot-name etcd-snapshot-reconcile-interval
    etcd-snapshot-retention etcd-snapshot-schedule-cron flannel-backend flannel-external-ip flannel-ipv6-masq
    helm-job-image https-listen-port kine-tls kube-apiserver-arg kube-cloud-controller-manager-arg
    kube-controller-manager-arg kube-scheduler-arg no-deploy secrets-encryption secrets-encryption-provider
    service-cidr service-node-port-range servicelb-namespace supervisor-metrics supervisor-port
    system-default-registry tls-san tls-san-security write-kubeconfig write-kubeconfig-group write-kubeconfig-mode
    write-kubeconfig-name
    """
)
"""Options of `k3s server`, but not of `k3s agent`, in any version since 1.23 (k3s, pkg/cli/cmds/server.go)."""

REMOVED_KEYS = _names("cluster-secret disable-selinux no-deploy no-flannel")
"""Options that v1.26 removed (k3s-io/k3s #6574)."""

REMOVED_IN = 26

FATAL_KEYS = _names("cluster-secret no-deploy no-flannel")
"""Options at which v1.25 exits, on servers and agents (k3s-io/k3s #6069)."""

FATAL_IN = 25

SWITCHES = _names(
    """
    alsologtostderr cluster-init cluster-reset debug disable-agent disable-apiserver disable-apiserver-lb
    disable-cloud-controller disable-controller-manager disable-default-registry-endpoint disable-etcd
    disable-helm-controller disable-kube-proxy disable-network-policy disable-scheduler disable-selinux docker
    embedded-registry enable-pprof etcd-disable-snapshots etcd-expose-metrics etcd-s3 etcd-s3-insecure
    etcd-s3-skip-ssl-verify etcd-snapshot-compress flannel-external-ip flannel-ipv6-masq kine-tls no-flannel
    nonroot-devices prefer-bundled-bin protect-kernel-defaults rootless secrets-encryption selinux supervisor-metrics
    tls-san-security with-node-id
    """
)
"""Boolean options. On a command line the word after one is not its value (Go's flag package)."""

WHOLE_NUMBERS = _names(
    """
    advertise-port apiserver-port etcd-s3-retention etcd-snapshot-retention https-listen-port lb-server-port
    supervisor-port v
    """
)
DURATIONS = _names("etcd-s3-timeout etcd-snapshot-reconcile-interval")

CHECKED_KEYS = (
    SWITCHES
    | WHOLE_NUMBERS
    | DURATIONS
    | _names(
        """
    advertise-address cluster-cidr cluster-dns cluster-reset-restore-path egress-selector-mode flannel-backend node-ip
    service-cidr service-node-port-range
    """
    )
)
"""Options whose values option_values.py checks."""

TOKEN_FILE_KEYS = frozenset({"agent-token-file", "token-file"})
"""Options with a file that K3s waits for, up to four minutes, if it does not exist (k3s, pkg/util/file.go)."""

CONFIG_FILE_VARIABLE = "K3S_CONFIG_FILE"
"""The variable with the path of the main configuration file. K3s reads it before `--config` (pkg/configfilearg)."""

VARIABLES = {
    "AWS_ACCESS_KEY_ID": "etcd-s3-access-key",
    "AWS_SECRET_ACCESS_KEY": "etcd-s3-secret-key",
    "AWS_SESSION_TOKEN": "etcd-s3-session-token",
    "K3S_AGENT_TOKEN": "agent-token",
    "K3S_AGENT_TOKEN_FILE": "agent-token-file",
    "K3S_CLUSTER_INIT": "cluster-init",
    "K3S_CLUSTER_RESET": "cluster-reset",
    "K3S_CLUSTER_SECRET": "cluster-secret",
    "K3S_DATASTORE_CAFILE": "datastore-cafile",
    "K3S_DATASTORE_CERTFILE": "datastore-certfile",
    "K3S_DATASTORE_ENDPOINT": "datastore-endpoint",
    "K3S_DATASTORE_KEYFILE": "datastore-keyfile",
    "K3S_DATA_DIR": "data-dir",
    "K3S_DEBUG": "debug",
    "K3S_KUBECONFIG_GROUP": "write-kubeconfig-group",
    "K3S_KUBECONFIG_MODE": "write-kubeconfig-mode",
    "K3S_KUBECONFIG_OUTPUT": "write-kubeconfig",
    "K3S_LB_SERVER_PORT": "lb-server-port",
    "K3S_NODE_NAME": "node-name",
    "K3S_RESOLV_CONF": "resolv-conf",
    "K3S_SELINUX": "selinux",
    "K3S_SYSTEM_DEFAULT_REGISTRY": "system-default-registry",
    "K3S_TOKEN": "token",
    "K3S_TOKEN_FILE": "token-file",
    "K3S_URL": "server",
    "K3S_VPN_AUTH": "vpn-auth",
    "K3S_VPN_AUTH_FILE": "vpn-auth-file",
}
"""Environment variables and the options that they set (EnvVars in k3s, pkg/cli/cmds)."""

SECRET_KEYS = _names(
    """
    agent-token cluster-secret datastore-endpoint etcd-s3-access-key etcd-s3-proxy etcd-s3-secret-key
    etcd-s3-session-token token vpn-auth
    """
)
"""Options whose values are, or can contain, a password or a token."""
