"""containerd, CNI, the network policy controller and the images of the test pods.

As in K3s: the paths of containerd's configuration, state and socket, the bridge cni0 and its range. Not as in K3s:
containerd, runc and the CNI plugins are Debian's. The network policy controller is a separate kube-router; the one
in K3s is built in and newer.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.k8s.components import CONTAINERD

TOLERATE_CGROUP_V1 = (
    "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/05-test-machine.conf",
    '{"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "failCgroupV1": false}\n',
)
"""The file, with its content, that a kubelet of v1.35 or newer needs to start on control groups v1."""

IMAGE = "docker.io/library/tools:test"
"""The image of all containers, with busybox; pods never pull it."""

NETWORK_POLICY_CONTROLLER = (
    "--run-router=false",
    "--run-firewall=true",
    "--run-service-proxy=false",
    "--run-loadbalancer=false",
    "--iptables-sync-period=5s",
    "--service-cluster-ip-range=10.43.0.0/16",
    "--metrics-port=0",
    "--health-port=0",
)
CONTROLLER_ROLE: tuple[Mapping[str, object], ...] = (
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "system:k3s-controller"},
        "rules": [
            {
                "apiGroups": ["", "discovery.k8s.io", "networking.k8s.io"],
                "resources": [
                    "endpoints",
                    "endpointslices",
                    "namespaces",
                    "networkpolicies",
                    "nodes",
                    "pods",
                    "services",
                ],
                "verbs": ["get", "list", "watch"],
            }
        ],
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "system:k3s-controller"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:k3s-controller"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:k3s-controller"}],
    },
)
"""The permissions of the network policy controller; K3s grants them in its rolebindings.yaml."""

_CTR = ("ctr", f"--address={CONTAINERD}", "--namespace=k8s.io")
_CNI_PLUGINS = "/usr/lib/cni"


def network(subnet: str) -> str:
    """Return the configuration of CNI for a node with this range of addresses."""
    address = {"type": "host-local", "ranges": [[{"subnet": subnet}]], "routes": [{"dst": "0.0.0.0/0"}]}
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "hairpinMode": True, "ipMasq": True}
    content = {
        "cniVersion": "0.4.0",
        "name": "cbr0",
        "plugins": [{**bridge, "ipam": address}, {"type": "portmap", "capabilities": {"portMappings": True}}],
    }
    return json.dumps(content)


def import_images(data_dir: Path) -> None:
    """Import the image archives in agent/images, as K3s does."""
    for archive in sorted((data_dir / "agent/images").glob("*.tar")):
        subprocess.run((*_CTR, "images", "import", str(archive)), check=True, capture_output=True, timeout=60)


def etcd_arguments(directory: Path) -> tuple[str, ...]:
    tls = directory.parents[1] / "tls/etcd"
    return (
        f"--data-dir={directory}",
        "--listen-client-urls=https://127.0.0.1:2379",
        "--advertise-client-urls=https://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
        f"--cert-file={tls}/server-client.crt",
        f"--key-file={tls}/server-client.key",
        "--client-cert-auth",
        f"--trusted-ca-file={tls}/server-ca.crt",
    )


def containerd(root: Path, networks: Path) -> str:
    """Return the configuration of containerd, with its images in `root` and CNI's files in `networks`."""
    return f"""\
version = 2
root = "{root}"
state = "/run/k3s/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs"]
[grpc]
address = "{CONTAINERD}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{IMAGE}"
# A process without CAP_SYS_RESOURCE, as in a container, may not lower it.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{_CNI_PLUGINS}"
conf_dir = "{networks}"
"""
