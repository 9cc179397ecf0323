"""The arguments that K3s passes to each component, and what else it writes for them.

Taken from the lines that K3s logs at the start of v1.32 and newer, in tests/data/benchmark/argument-lines.tsv; a test
compares them. DIFFERENCES contains the differences and their reasons.
"""

from __future__ import annotations

import base64
import json
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

from tests.k8s.certificates import kubeconfig, write
from tests.k8s.configuration import Configuration, component_arguments

API_SERVER, CONTROLLER_MANAGER, SCHEDULER = "kube-apiserver", "kube-controller-manager", "kube-scheduler"
KUBELET, KUBE_PROXY = "kubelet", "kube-proxy"

API_SERVER_PORT = 6444
ETCD = "https://127.0.0.1:2379"
KINE = "http://127.0.0.1:2399"
CONTAINERD = "/run/k3s/containerd/containerd.sock"
CLUSTER_DNS = "10.43.0.10"
_CLUSTER_RANGE, _SERVICE_RANGE = "10.42.0.0/16", "10.43.0.0/16"
_STRONG = (
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,"
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,"
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305"
)

DIFFERENCES: Mapping[str, Mapping[str, str]] = {
    API_SERVER: {
        "advertise-port": "a flag of K3s' patched API server, which the upstream one does not have",
        "egress-selector-config-file": "K3s' tunnel to the kubelets does not exist; the API server connects directly",
    },
    CONTROLLER_MANAGER: {
        "controllers": "here `*,tokencleaner`; K3s also switches off service, route and cloud-node-lifecycle, which the"
        " upstream controller manager of 1.37 does not know and exits at"
    },
    KUBELET: {
        "cloud-provider": "K3s' cloud controller does not exist; with it, nodes would keep their taint",
        "containerd": "a flag of cAdvisor that K3s' kubelet has",
    },
}
"""Arguments that K3s passes, and these tests omit or set to another value: by component, with the reason."""


class Host(NamedTuple):
    """The inputs of the arguments besides the configuration."""

    data_dir: Path
    node_name: str
    node_ip: str
    datastore: str
    """The address of etcd or kine."""
    api_server: str = f"https://127.0.0.1:{API_SERVER_PORT}"
    """The address in the kubeconfigs of the other components."""


def arguments(
    component: str, configuration: Configuration, host: Host, added: Mapping[str, str] | None = None
) -> list[str]:
    """Return a component's command line for a configuration; `added` are more defaults."""
    defaults = {
        API_SERVER: _api_server,
        CONTROLLER_MANAGER: _controller_manager,
        SCHEDULER: _scheduler,
        KUBELET: _kubelet,
        KUBE_PROXY: _kube_proxy,
    }[component](configuration, host)
    given = configuration.all(f"{component}-arg")
    if component == KUBELET:
        given = tuple(argument for argument in given if not _copied(argument))
    return component_arguments({**defaults, **(added or {})}, given)


def prepare(configuration: Configuration, host: Host) -> None:
    """Write the files that K3s writes at its start: kubeconfigs, the encryption key, the kubelet's configuration."""
    tls, cred, agent = host.data_dir / "server/tls", host.data_dir / "server/cred", host.data_dir / "agent"
    for user in ("admin", "controller", "scheduler"):
        kubeconfig(cred / f"{user}.kubeconfig", host.api_server, tls / "server-ca.crt", tls / f"client-{user}")
    for user, name in (("kubelet", "kubelet"), ("kube-proxy", "kubeproxy"), ("k3s-controller", "k3scontroller")):
        certificate = agent / f"client-{user}"
        kubeconfig(agent / f"{name}.kubeconfig", host.api_server, agent / "server-ca.crt", certificate)
    if configuration.true("secrets-encryption"):
        _encryption_key(cred / "encryption-config.json")
    _kubelet_file(configuration, host)
    _copy_kubelet_files(configuration, host)


def _copied(argument: str) -> tuple[Path, str] | None:
    """Return the operator's file or directory that K3s copies, and the name of the copy; None for another argument.

    Source: k3s pkg/daemons/agent/agent.go, since v1.32: it removes these arguments. At a path that does not exist K3s
    exits. Here the kubelet gets the argument then, and exits too.
    """
    name, _, value = argument.removeprefix("--").partition("=")
    target = {"config": "10-cli-config.conf", "config-dir": "20-cli-config-dir"}.get(name)
    source = Path(value)
    return (source, target) if target and (source.is_dir() if name == "config-dir" else source.is_file()) else None


def _copy_kubelet_files(configuration: Configuration, host: Host) -> None:
    directory = host.data_dir / "agent/etc/kubelet.conf.d"
    for source, name in filter(None, map(_copied, configuration.all(f"{KUBELET}-arg"))):
        if directory in (source, *source.parents):
            continue
        if source.is_dir():
            shutil.copytree(source, directory / name, dirs_exist_ok=True)
        else:
            shutil.copyfile(source, directory / name)


def _encryption_key(path: Path) -> None:
    if path.exists():
        return
    key = {"name": "aescbckey", "secret": base64.b64encode(secrets.token_bytes(32)).decode()}
    providers = [{"aescbc": {"keys": [key]}}, {"identity": {}}]
    content = {
        "kind": "EncryptionConfiguration",
        "apiVersion": "apiserver.config.k8s.io/v1",
        "resources": [{"resources": ["secrets"], "providers": providers}],
    }
    write(path, json.dumps(content), 0o600)


def _kubelet_file(configuration: Configuration, host: Host) -> None:
    """Write 00-k3s-defaults.conf: the fields of tests/data/benchmark/00-k3s-defaults.conf that are not defaults."""
    agent = host.data_dir / "agent"
    for directory in (agent / "etc/kubelet.conf.d", agent / "pod-manifests"):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    fields: dict[str, object] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "0.0.0.0",  # noqa: S104 - as K3s; it is an address inside the node's network namespace
        "allowedUnsafeSysctls": ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"],
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"cacheTTL": "2m0s", "enabled": True},
            "x509": {"clientCAFile": f"{agent}/client-ca.crt"},
        },
        "authorization": {"mode": "Webhook", "webhook": {"cacheAuthorizedTTL": "5m0s", "cacheUnauthorizedTTL": "30s"}},
        "cgroupDriver": "cgroupfs",
        "clusterDNS": [CLUSTER_DNS],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD}",
        "evictionHard": {"imagefs.available": "5%", "nodefs.available": "5%"},
        "evictionMinimumReclaim": {"imagefs.available": "10%", "nodefs.available": "10%"},
        "failSwapOn": False,
        "healthzBindAddress": "127.0.0.1",
        "serializeImagePulls": False,
        "staticPodPath": f"{agent}/pod-manifests",
        "streamingConnectionIdleTimeout": "4h0m0s",
        "tlsCertFile": f"{agent}/serving-kubelet.crt",
        "tlsPrivateKeyFile": f"{agent}/serving-kubelet.key",
    }
    if configuration.true("protect-kernel-defaults"):
        fields["protectKernelDefaults"] = True
    write(agent / "etc/kubelet.conf.d/00-k3s-defaults.conf", yaml.safe_dump(fields), 0o600)


def _api_server(configuration: Configuration, host: Host) -> dict[str, str]:
    server = host.data_dir / "server"
    tls = server / "tls"
    found = {
        "advertise-address": host.node_ip,
        "allow-privileged": "true",
        "anonymous-auth": "false",
        "api-audiences": "https://kubernetes.default.svc.cluster.local,k3s",
        "authorization-mode": "Node,RBAC",
        "bind-address": "127.0.0.1",
        "cert-dir": f"{tls}/temporary-certs",
        "client-ca-file": f"{tls}/client-ca.crt",
        "enable-admission-plugins": "NodeRestriction",
        "enable-aggregator-routing": "true",
        "enable-bootstrap-token-auth": "true",
        "etcd-servers": host.datastore,
        "kubelet-certificate-authority": f"{tls}/server-ca.crt",
        "kubelet-client-certificate": f"{tls}/client-kube-apiserver.crt",
        "kubelet-client-key": f"{tls}/client-kube-apiserver.key",
        "kubelet-preferred-address-types": "InternalIP,ExternalIP,Hostname",
        "profiling": "false",
        "proxy-client-cert-file": f"{tls}/client-auth-proxy.crt",
        "proxy-client-key-file": f"{tls}/client-auth-proxy.key",
        "requestheader-allowed-names": "system:auth-proxy",
        "requestheader-client-ca-file": f"{tls}/request-header-ca.crt",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
        "secure-port": str(API_SERVER_PORT),
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": f"{tls}/service.key",
        "service-account-signing-key-file": f"{tls}/service.current.key",
        "service-cluster-ip-range": _SERVICE_RANGE,
        "service-node-port-range": "30000-32767",
        "storage-backend": "etcd3",
        "tls-cert-file": f"{tls}/serving-kube-apiserver.crt",
        "tls-cipher-suites": _STRONG,
        "tls-private-key-file": f"{tls}/serving-kube-apiserver.key",
    }
    if host.datastore == ETCD:
        found["etcd-cafile"] = f"{tls}/etcd/server-ca.crt"
        found["etcd-certfile"], found["etcd-keyfile"] = f"{tls}/etcd/client.crt", f"{tls}/etcd/client.key"
    if configuration.true("secrets-encryption"):
        found["encryption-provider-config"] = f"{server}/cred/encryption-config.json"
        found["encryption-provider-config-automatic-reload"] = "true"
    names = {text.partition("=")[0].rstrip("+-") for text in configuration.all(f"{API_SERVER}-arg")}
    if "authentication-config" in names:
        del found["anonymous-auth"]
    if "authorization-config" in names:
        del found["authorization-mode"]
    return found


def _controller_manager(_: Configuration, host: Host) -> dict[str, str]:
    tls, credentials = host.data_dir / "server/tls", f"{host.data_dir}/server/cred/controller.kubeconfig"
    signing = {}
    for signer, authority in (
        ("kube-apiserver-client", "client"),
        ("kubelet-client", "client"),
        ("kubelet-serving", "server"),
        ("legacy-unknown", "server"),
    ):
        signing[f"cluster-signing-{signer}-cert-file"] = f"{tls}/{authority}-ca.nochain.crt"
        signing[f"cluster-signing-{signer}-key-file"] = f"{tls}/{authority}-ca.key"
    return {
        **signing,
        "allocate-node-cidrs": "true",
        "authentication-kubeconfig": credentials,
        "authorization-kubeconfig": credentials,
        "bind-address": "127.0.0.1",
        "cluster-cidr": _CLUSTER_RANGE,
        "configure-cloud-routes": "false",
        "controllers": "*,tokencleaner",
        "kubeconfig": credentials,
        "profiling": "false",
        "root-ca-file": f"{tls}/server-ca.crt",
        "secure-port": "10257",
        "service-account-private-key-file": f"{tls}/service.current.key",
        "service-cluster-ip-range": _SERVICE_RANGE,
        "tls-cert-file": f"{tls}/{CONTROLLER_MANAGER}/{CONTROLLER_MANAGER}.crt",
        "tls-private-key-file": f"{tls}/{CONTROLLER_MANAGER}/{CONTROLLER_MANAGER}.key",
        "use-service-account-credentials": "true",
    }


def _scheduler(_: Configuration, host: Host) -> dict[str, str]:
    tls, credentials = host.data_dir / "server/tls", f"{host.data_dir}/server/cred/scheduler.kubeconfig"
    return {
        "authentication-kubeconfig": credentials,
        "authorization-kubeconfig": credentials,
        "bind-address": "127.0.0.1",
        "kubeconfig": credentials,
        "profiling": "false",
        "secure-port": "10259",
        "tls-cert-file": f"{tls}/{SCHEDULER}/{SCHEDULER}.crt",
        "tls-private-key-file": f"{tls}/{SCHEDULER}/{SCHEDULER}.key",
    }


def _kubelet(configuration: Configuration, host: Host) -> dict[str, str]:
    agent = host.data_dir / "agent"
    taints = ",".join(configuration.all("node-taint"))
    return {
        **({"register-with-taints": taints} if taints else {}),
        "config-dir": f"{agent}/etc/kubelet.conf.d",
        "hostname-override": host.node_name,
        "kubeconfig": f"{agent}/kubelet.kubeconfig",
        "node-ip": host.node_ip,
        "node-labels": ",".join(configuration.all("node-label")),
        "read-only-port": "0",
    }


def _kube_proxy(_: Configuration, host: Host) -> dict[str, str]:
    return {
        "cluster-cidr": _CLUSTER_RANGE,
        "conntrack-max-per-core": "0",
        "conntrack-tcp-timeout-close-wait": "0s",
        "conntrack-tcp-timeout-established": "0s",
        "healthz-bind-address": "127.0.0.1",
        "hostname-override": host.node_name,
        "kubeconfig": f"{host.data_dir}/agent/kubeproxy.kubeconfig",
        "proxy-mode": "iptables",
    }
