"""Paths that K3s uses unless its configuration sets others."""

from __future__ import annotations

from pathlib import PurePosixPath

DEFAULT_DATA_DIR = PurePosixPath("/var/lib/rancher/k3s")
"""The default of `data-dir`."""

K3S_CONFIG_FILE = PurePosixPath("/etc/rancher/k3s/config.yaml")
"""The default of K3S_CONFIG_FILE and `--config`."""

CERTIFICATE_DIRECTORIES = ("server/tls", "server/tls/etcd")
"""Directories of control plane certificates, relative to the data directory.

Each component creates its certificates in deeper directories at every start.
"""
