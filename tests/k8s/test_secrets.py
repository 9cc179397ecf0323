"""secrets-encryption, with the datastore as judge."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.k8s.node import Node

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("server")]

DATABASE = "/var/lib/rancher/k3s/server/db/state.db"
PLAIN = "a-value-that-is-easy-to-find"


def stored(node: Node, copy: Path, key: str) -> bytes:
    """Return the newest value of a key in kine's table, read from a copy of the database."""
    for suffix in ("", "-wal"):
        file = node.path(f"{DATABASE}{suffix}")
        if file.exists():
            copy.with_name(f"{copy.name}{suffix}").write_bytes(file.read_bytes())
    with closing(sqlite3.connect(copy)) as database:
        row = database.execute("SELECT value FROM kine WHERE name = ? ORDER BY id DESC LIMIT 1", (key,)).fetchone()
    assert row is not None, f"{key} is not in the datastore"
    return bytes(row[0])


def test_secret_is_encrypted_in_the_datastore(server: Node, tmp_path: Path) -> None:
    """A Secret has the prefix of K3s' key, and a ConfigMap with the same value is readable."""
    metadata = {"name": "stored", "namespace": "default"}
    server.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"value": PLAIN}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": PLAIN}},
    )
    secret = stored(server, tmp_path / "secret.db", "/registry/secrets/default/stored")
    assert secret.startswith(b"k8s:enc:aescbc:v1:aescbckey:")
    assert PLAIN.encode() not in secret
    assert PLAIN.encode() in stored(server, tmp_path / "map.db", "/registry/configmaps/default/stored")
    assert server.kubectl("get", "secret", "stored", "--output=jsonpath={.data.value}")


def test_key_is_private(server: Node) -> None:
    """The file with the key is readable by root only."""
    path = server.path("/var/lib/rancher/k3s/server/cred/encryption-config.json")
    assert path.stat().st_mode & 0o777 == 0o600
