"""Paths that K3s uses unless its configuration sets others."""

from __future__ import annotations

from pathlib import PurePosixPath

DEFAULT_DATA_DIR = PurePosixPath("/var/lib/rancher/k3s")
"""The default of `data-dir`."""

K3S_CONFIG_FILE = PurePosixPath("/etc/rancher/k3s/config.yaml")
"""The default of K3S_CONFIG_FILE and `--config`."""

TOKEN_FILE = PurePosixPath("/etc/rancher/k3s/token")
"""Where this program's commands put the cluster's token. K3s has no default of `token-file`."""

NETWORK_LEASES = PurePosixPath("/var/lib/cni/networks")
"""The data directory of the CNI plugin host-local, with a directory for each network and in it a file for each pod.

K3s' flannel configuration does not set another one (k3s, pkg/agent/flannel/setup_linux.go).
"""

CERTIFICATE_DIRECTORIES = (
    "server/tls",
    "server/tls/etcd",
    "server/tls/kube-controller-manager",
    "server/tls/kube-scheduler",
)
"""Directories of control plane certificates, relative to the data directory.

The last two have the serving certificates of these components. K3s creates and renews them since May 2025 (k3s,
53de96867); before, the component created a missing one when it started.
"""

K3S_BINARY = PurePosixPath("/usr/local/bin/k3s")
"""The program as install.sh installs it."""
