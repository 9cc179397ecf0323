"""secrets-encryption, tested by reading the datastore."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from tests.k8s.node import Node

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("server")]

DATABASE = "/var/lib/rancher/k3s/server/db/state.db"
SECRET, PLAIN = "the-value-of-the-secret", "the-value-of-the-map"


def objects() -> tuple[Mapping[str, object], ...]:
    metadata = {"name": "stored", "namespace": "default"}
    return (
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"value": SECRET}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": PLAIN}},
    )


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
    """A Secret has the prefix of K3s' key, and a ConfigMap is readable."""
    server.apply(*objects())
    secret = stored(server, tmp_path / "secret.db", "/registry/secrets/default/stored")
    assert secret.startswith(b"k8s:enc:aescbc:v1:aescbckey:")
    assert SECRET.encode() not in secret
    assert PLAIN.encode() in stored(server, tmp_path / "map.db", "/registry/configmaps/default/stored")
    assert server.kubectl("get", "secret", "stored", "--output=jsonpath={.data.value}")


def test_secret_is_encrypted_in_etcd(new_node: Callable[..., Node]) -> None:
    """With embedded etcd, no file of the datastore contains the Secret's value; one contains the ConfigMap's value."""
    node = new_node()
    node.config({"config.yaml": {"cluster-init": True, "disable-agent": True}})
    assert node.harden("apply").returncode == 0
    node.start_server()
    node.wait_until_deployed()
    node.apply(*objects())
    files = [path for path in node.path("/var/lib/rancher/k3s/server/db/etcd").rglob("*") if path.is_file()]
    written = b"".join(path.read_bytes() for path in files)
    assert SECRET.encode() not in written
    assert PLAIN.encode() in written
    assert b"k8s:enc:aescbc:v1:aescbckey:" in written
