"""Paths that K3s uses unless its configuration names others."""

from __future__ import annotations

from pathlib import PurePosixPath

DEFAULT_DATA_DIR = PurePosixPath("/var/lib/rancher/k3s")
"""K3s' data directory without `data-dir`."""

K3S_CONFIG_FILE = PurePosixPath("/etc/rancher/k3s/config.yaml")
"""K3s' main configuration file without `--config` and K3S_CONFIG_FILE."""

CERTIFICATE_DIRECTORIES = ("server/tls", "server/tls/etcd")
"""Directories of control plane certificates, relative to the data directory.

Each component creates the certificates in deeper directories for itself, at every start.
"""
