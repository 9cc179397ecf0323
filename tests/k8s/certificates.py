"""Certificates, keys and kubeconfigs at the paths of K3s, created with openssl(1).

As in K3s: three authorities, the subjects, the paths and the modes. Not as in K3s: no chains (`*.nochain.crt` are
copies), and neither bootstrap data in the datastore nor renewal.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

_CONFIG = """\
[req]
distinguished_name = name
prompt = no
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, digitalSignature, keyEncipherment, keyCertSign
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = clientAuth, serverAuth
"""
_DAYS = "365"


class Leaf(NamedTuple):
    """A certificate: its path without suffix, below the data directory, its authority and its subject."""

    path: str
    authority: str
    name: str
    organization: str = ""
    addresses: tuple[str, ...] = ()
    """Names and IP addresses that a server's certificate is valid for."""


def create(data_dir: Path, node_name: str, node_ip: str) -> None:
    """Create the missing files. Existing authorities, leaves and keys are kept, as at a restart of K3s."""
    tls = data_dir / "server/tls"
    for directory in (tls / "etcd", data_dir / "server/cred", data_dir / "agent"):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory() as scratch:
        config = Path(scratch) / "openssl.cnf"
        config.write_text(_CONFIG)
        for authority in ("client", "server", "request-header", "etcd/server", "etcd/peer"):
            _authority(tls / f"{authority}-ca", f"k3s-{authority.replace('/', '-')}-ca", config)
        for leaf in _leaves(node_name, node_ip):
            _leaf(data_dir, leaf, config)
    for authority in ("client", "server"):
        _copy(tls / f"{authority}-ca.crt", tls / f"{authority}-ca.nochain.crt", 0o644)
        _copy(tls / f"{authority}-ca.crt", data_dir / f"agent/{authority}-ca.crt", 0o600)
    if not (tls / "service.key").exists():
        _openssl("genrsa", "-traditional", "-out", str(tls / "service.key"), "2048")
        (tls / "service.key").chmod(0o600)
    _copy(tls / "service.key", tls / "service.current.key", 0o600)


def kubeconfig(path: Path, url: str, authority: Path, certificate: Path) -> None:
    """Write a kubeconfig of one user; `certificate` is the path without suffix."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": {"server": url, "certificate-authority": str(authority)}}],
        "users": [
            {"name": "user", "user": {"client-certificate": f"{certificate}.crt", "client-key": f"{certificate}.key"}}
        ],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": "user"}}],
        "current-context": "local",
    }
    write(path, json.dumps(content), 0o600)


def write(path: Path, text: str, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)


def _leaves(node_name: str, node_ip: str) -> tuple[Leaf, ...]:
    tls = "server/tls"
    local = ("127.0.0.1", "localhost")
    cluster = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "10.43.0.1")
    return (
        Leaf(f"{tls}/client-admin", "client", "system:admin", "system:masters"),
        Leaf(f"{tls}/client-controller", "client", "system:kube-controller-manager"),
        Leaf(f"{tls}/client-scheduler", "client", "system:kube-scheduler"),
        Leaf(f"{tls}/client-kube-apiserver", "client", "system:apiserver", "system:masters"),
        Leaf(f"{tls}/client-auth-proxy", "request-header", "system:auth-proxy"),
        Leaf(f"{tls}/serving-kube-apiserver", "server", "kube-apiserver", "", (*local, *cluster, node_name, node_ip)),
        Leaf(f"{tls}/kube-controller-manager/kube-controller-manager", "server", "kube-controller-manager", "", local),
        Leaf(f"{tls}/kube-scheduler/kube-scheduler", "server", "kube-scheduler", "", local),
        Leaf(f"{tls}/etcd/client", "etcd/server", "etcd-client"),
        Leaf(f"{tls}/etcd/server-client", "etcd/server", "etcd-server", "", local),
        Leaf(f"{tls}/etcd/peer-server-client", "etcd/peer", "etcd-peer", "", local),
        Leaf("agent/client-kubelet", "client", f"system:node:{node_name}", "system:nodes"),
        Leaf("agent/client-kube-proxy", "client", "system:kube-proxy"),
        Leaf("agent/client-k3s-controller", "client", "system:k3s-controller"),
        Leaf("agent/serving-kubelet", "server", node_name, "", (*local, node_name, node_ip)),
    )


def _authority(path: Path, name: str, config: Path) -> None:
    if not path.with_name(f"{path.name}.crt").exists():
        _request(path, config, "-extensions", "authority", "-subj", f"/CN={name}")


def _leaf(data_dir: Path, leaf: Leaf, config: Path) -> None:
    path = data_dir / leaf.path
    if path.with_name(f"{path.name}.crt").exists():
        return
    path.parent.mkdir(exist_ok=True, mode=0o700)
    authority = data_dir / f"server/tls/{leaf.authority}-ca"
    subject = (f"/O={leaf.organization}" if leaf.organization else "") + f"/CN={leaf.name}"
    names = ",".join(f"{'IP' if name[0].isdigit() else 'DNS'}:{name}" for name in leaf.addresses)
    valid_for = ("-addext", f"subjectAltName={names}") if names else ()
    signed_by = ("-CA", f"{authority}.crt", "-CAkey", f"{authority}.key")
    _request(path, config, "-extensions", "leaf", "-subj", subject, *signed_by, *valid_for)


def _request(path: Path, config: Path, *words: str) -> None:
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")
    out = ("-out", f"{path}.crt", "-keyout", f"{path}.key", "-days", _DAYS)
    _openssl("req", "-x509", "-config", str(config), *new_key, *out, *words)
    Path(f"{path}.key").chmod(0o600)


def _copy(source: Path, target: Path, mode: int) -> None:
    if not target.exists():
        shutil.copyfile(source, target)
        target.chmod(mode)


def _openssl(*words: str) -> None:
    subprocess.run(("openssl", *words), check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
