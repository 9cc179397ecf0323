"""The host tree of a K3s that has run: certificates, kubeconfigs, and files for kubelet and etcd."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import NamedTuple

from tests.tree import Tree

CHECKOUT = Path(__file__).parents[1]
DATA_DIR = "var/lib/rancher/k3s"
LEASE = "var/lib/cni/networks/cbr0/10.42.0.2"
"""The file that the container network writes for the first pod."""

_FIRST_WITH_KUBELET_FILES = 32
SERVER_FILES: Mapping[str, int] = {
    "server/tls/client-ca.crt": 0o644,
    "server/tls/client-ca.key": 0o600,
    "server/tls/server-ca.crt": 0o644,
    "server/tls/server-ca.key": 0o600,
    "server/tls/serving-kube-apiserver.crt": 0o644,
    "server/tls/serving-kube-apiserver.key": 0o600,
    "server/tls/etcd/server-ca.crt": 0o644,
    "server/tls/etcd/server-ca.key": 0o600,
    "server/cred/admin.kubeconfig": 0o600,
    "server/cred/controller.kubeconfig": 0o600,
    "server/cred/scheduler.kubeconfig": 0o600,
    "server/token": 0o600,
}
AGENT_FILES: Mapping[str, int] = {
    "agent/client-ca.crt": 0o600,
    "agent/kubelet.kubeconfig": 0o600,
    "agent/kubeproxy.kubeconfig": 0o600,
    "agent/serving-kubelet.crt": 0o600,
    "agent/serving-kubelet.key": 0o600,
}
ETCD = """\
advertise-client-urls: https://127.0.0.1:2379
client-transport-security:
  cert-file: /{data}/server/tls/etcd/server-client.crt
  client-cert-auth: true
  key-file: /{data}/server/tls/etcd/server-client.key
  trusted-ca-file: /{data}/server/tls/etcd/server-ca.crt
data-dir: /{data}/server/db/etcd
name: node-1
peer-transport-security:
  cert-file: /{data}/server/tls/etcd/peer-server-client.crt
  client-cert-auth: true
  key-file: /{data}/server/tls/etcd/peer-server-client.key
  trusted-ca-file: /{data}/server/tls/etcd/peer-ca.crt
"""
_KUBELET = """\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous:
    enabled: false
  webhook:
    cacheTTL: 2m0s
    enabled: true
  x509:
    clientCAFile: /{data}/agent/client-ca.crt
authorization:
  mode: Webhook
  webhook: {{}}
staticPodPath: /{data}/agent/pod-manifests
tlsCertFile: /{data}/agent/serving-kubelet.crt
tlsPrivateKeyFile: /{data}/agent/serving-kubelet.key
"""
KEYS = '{"keys":[{"name":"aescbckey","secret":"c2VjcmV0IG9mIHRoZSBjbHVzdGVyIG9mIDMyIGJ5dGU="}]}'


def encryption(*providers: str) -> str:
    """Return the encryption configuration that K3s writes with these providers; identity has no key."""
    listed = ",".join(f'{{"{name}":{"{}" if name == "identity" else KEYS}}}' for name in providers)
    head = '{"kind":"EncryptionConfiguration","apiVersion":"apiserver.config.k8s.io/v1","resources":'
    return f'{head}[{{"resources":["secrets"],"providers":[{listed}]}}]}}'


ENCRYPTION = encryption("aescbc", "identity")
_UNIT = """\
[Service]
Type=notify
EnvironmentFile=-/etc/systemd/system/{service}.service.env
ExecStart=/usr/local/bin/k3s {role}
"""


class K3s(NamedTuple):
    """The K3s that has run on the host."""

    role: str = "server"
    minor: int = 34
    """The minor version of Kubernetes."""
    etcd: bool = True
    """Whether a server's datastore is etcd; otherwise it is SQLite."""
    encrypts: bool = True
    """Whether K3s has an encryption configuration; it encrypts only if secrets-encryption is also set."""
    data_dir: str = DATA_DIR
    """Relative to the root of the tree."""


def fresh(root: Path) -> Path:
    """Create the tree of a newly installed Debian without K3s."""
    subprocess.run([CHECKOUT / ".ci/disposable-host", root], check=True)
    return root


def started(root: Path, k3s: K3s) -> Path:
    """Add the files that K3s writes at its first start."""
    files = dict(AGENT_FILES)
    if k3s.role == "server":
        files |= SERVER_FILES
    for name, mode in files.items():
        put(root, f"{k3s.data_dir}/{name}", "made: by K3s\n", mode)
    put(root, LEASE, "a pod\n", 0o600)
    if k3s.role == "server":
        _datastore(root, k3s)
        put(root, "etc/rancher/k3s/k3s.yaml", "made: by K3s\n", 0o600)
    if k3s.minor >= _FIRST_WITH_KUBELET_FILES:
        drop_ins = f"{k3s.data_dir}/agent/etc/kubelet.conf.d"
        put(root, f"{drop_ins}/00-k3s-defaults.conf", _KUBELET.format(data=k3s.data_dir), 0o600)
        (root / drop_ins).chmod(0o700)
    service = "k3s" if k3s.role == "server" else "k3s-agent"
    put(root, f"etc/systemd/system/{service}.service", _UNIT.format(service=service, role=k3s.role), 0o644)
    put(root, "etc/hostname", "node-1\n", 0o644)
    return root


def put(root: Path, name: str | PurePath, text: str | bytes = "", mode: int = 0o600) -> Path:
    return Tree(root).write(name, text, mode)


def _datastore(root: Path, k3s: K3s) -> None:
    if k3s.etcd:
        put(root, f"{k3s.data_dir}/server/db/etcd/config", ETCD.format(data=k3s.data_dir))
        (root / k3s.data_dir / "server/db/etcd").chmod(0o700)
    else:
        put(root, f"{k3s.data_dir}/server/db/state.db", "SQLite format 3")
    if k3s.encrypts:
        put(root, f"{k3s.data_dir}/server/cred/encryption-config.json", ENCRYPTION)
