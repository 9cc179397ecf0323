"""Secrets in a datastore of kine, and annotations as K3s writes them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath

import pytest

from agent.assess.checks.answer import ControlStatus
from agent.assess.checks.secret_effects import QUERY, encryption_effect, key_age_effects, rotation_effects
from agent.base.errors import HostError
from agent.base.host.node_state import read_rows
from agent.cluster.node_status import parse_node
from agent.harden.node.facts import HostFacts
from tests.fake import fake_host
from tests.unit.assess.checks.nodes import CheckedNode

SCHEMA = """\
CREATE TABLE kine (id INTEGER PRIMARY KEY AUTOINCREMENT, name INTEGER, created INTEGER, deleted INTEGER,
 create_revision INTEGER, prev_revision INTEGER, lease INTEGER, value BLOB, old_value BLOB);
CREATE INDEX kine_name_id_index ON kine (name,id);
"""
OLD, NEW = b"k8s:enc:aescbc:v1:aescbckey:\1\2", b"k8s:enc:aescbc:v1:aescbckey-2026-12-02T04:05:06Z:\1\2"
CLEAR = b"k8s\0\n\x0c\n\2v1\x12\6Secret password of the test"
STATE = PurePosixPath("/state.db")


@pytest.fixture
def facts(server: CheckedNode) -> HostFacts:
    return server.facts()


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Yield the connection of the server, with a write-ahead log and a transaction that is not committed."""
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(SCHEMA)
        yield connection


def store(writer: sqlite3.Connection, name: str, value: bytes, *, deleted: bool = False) -> None:
    writer.execute("INSERT INTO kine (name, deleted, value) VALUES (?, ?, ?)", (name, deleted, value))


def found(tmp_path: Path, facts: HostFacts) -> tuple[ControlStatus, str]:
    rows = read_rows(fake_host(tmp_path), STATE, QUERY, most=1000, seconds=5)
    effect = encryption_effect(facts, [start for (start,) in rows])
    return effect.status, effect.observed.partition("; ")[0]


def test_only_the_latest_rows_that_are_not_deleted_count(
    tmp_path: Path, writer: sqlite3.Connection, facts: HostFacts
) -> None:
    store(writer, "/registry/secrets/default/a", CLEAR)
    store(writer, "/registry/secrets/default/a", OLD)
    store(writer, "/registry/secrets/default/gone", CLEAR)
    store(writer, "/registry/secrets/default/gone", CLEAR, deleted=True)
    store(writer, "/registry/configmaps/default/a", CLEAR)
    store(writer, "/registry/secretstores/default/a", CLEAR)
    assert found(tmp_path, facts) == (ControlStatus.PASS, "all 1 Secrets are encrypted, with aescbckey (1)")


def test_clear_text_is_counted_and_not_shown(tmp_path: Path, writer: sqlite3.Connection, facts: HostFacts) -> None:
    store(writer, "/registry/secrets/default/a", OLD)
    store(writer, "/registry/secrets/default/b", CLEAR)
    assert found(tmp_path, facts) == (ControlStatus.FAIL, "1 of 2 Secrets are stored as clear text, with aescbckey (1)")


def test_a_half_finished_rotation_shows_both_keys(tmp_path: Path, writer: sqlite3.Connection, facts: HostFacts) -> None:
    store(writer, "/registry/secrets/default/a", OLD)
    store(writer, "/registry/secrets/default/b", NEW)
    assert found(tmp_path, facts)[1].endswith("with aescbckey (1), aescbckey-2026-12-02T04:05:06Z (1)")


def test_reading_waits_for_no_writer_and_blocks_none(
    tmp_path: Path, writer: sqlite3.Connection, facts: HostFacts
) -> None:
    store(writer, "/registry/secrets/default/a", OLD)
    writer.execute("BEGIN IMMEDIATE")
    store(writer, "/registry/secrets/default/b", CLEAR)
    assert found(tmp_path, facts)[0] is ControlStatus.PASS
    writer.execute("COMMIT")
    assert found(tmp_path, facts)[0] is ControlStatus.FAIL


def test_a_datastore_that_cannot_be_read_is_unknown(tmp_path: Path, facts: HostFacts) -> None:
    (tmp_path / "state.db").write_text("not a database, but longer than its header of one hundred bytes" * 3)
    with pytest.raises(HostError, match="file is not a database") as caught:
        read_rows(fake_host(tmp_path), STATE, QUERY, most=1, seconds=1)
    effect = encryption_effect(facts, caught.value.message)
    assert (effect.status, effect.observed) == (ControlStatus.UNKNOWN, caught.value.message)


def test_a_query_that_takes_too_long_ends(tmp_path: Path, writer: sqlite3.Connection) -> None:
    store(writer, "/registry/secrets/default/a", OLD)
    endless = "WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x) SELECT max(n) FROM x"
    with pytest.raises(HostError, match="interrupted"):
        read_rows(fake_host(tmp_path), STATE, endless, most=1, seconds=0.05)


@pytest.mark.parametrize(
    ("first", "second", "status", "says"),
    [
        ("start-aa", "reencrypt_finished-aa", ControlStatus.PASS, "no rotation is in progress on 2 servers"),
        ("prepare-aa", "prepare-aa", ControlStatus.FAIL, "a rotation is not finished (s1: prepare, s2: prepare)"),
        ("reencrypt_active-aa", "start-aa", ControlStatus.FAIL, "a rotation is not finished (s1: reencrypt_active)"),
        ("start-aa", "start-bb", ControlStatus.FAIL, "the servers have different keys: s1, s2"),
    ],
)
def test_the_state_of_a_rotation_is_that_of_all_servers(
    facts: HostFacts, first: str, second: str, status: ControlStatus, says: str
) -> None:
    labels = {"node-role.kubernetes.io/control-plane": "true"}
    metadata = [
        {"name": name, "labels": labels, "annotations": {"k3s.io/encryption-config-hash": text}}
        for name, text in (("s1", first), ("s2", second))
    ]
    (effect,) = rotation_effects(facts, [parse_node({"metadata": each}) for each in metadata])
    assert (effect.status, effect.observed) == (status, says)


def test_a_stage_says_what_follows(facts: HostFacts) -> None:
    metadata = {
        "name": "s1",
        "labels": {"node-role.kubernetes.io/control-plane": "true"},
        "annotations": {"k3s.io/encryption-config-hash": "prepare-aa"},
    }
    (effect,) = rotation_effects(facts, [parse_node({"metadata": metadata})])
    assert [step.line for step in effect.steps] == [  # type: ignore[union-attr]
        "sudo k3s secrets-encrypt status",
        "sudo systemctl restart k3s.service",
        "sudo k3s secrets-encrypt rotate",
    ]
    assert list(rotation_effects(facts, [parse_node({"metadata": {"name": "agent"}})])) == []


@pytest.mark.parametrize(
    ("key", "status", "says"),
    [
        ("aescbckey-2026-12-02T04:05:06Z", ControlStatus.PASS, "the key aescbckey-2026-12-02T04:05:06Z is 30 days old"),
        ("secretboxkey-2026-12-01T04:05:06+01:00", ControlStatus.FAIL, "is 31 days old"),
        ("aescbckey", ControlStatus.UNKNOWN, "the name of the key aescbckey has no date"),
        ("aescbckey-2026-99-99T99:99:99Z", ControlStatus.UNKNOWN, "has no date"),
    ],
)
def test_the_age_of_the_key_is_compared_with_the_settings(
    server: CheckedNode, key: str, status: ControlStatus, says: str
) -> None:
    content = {"resources": ["secrets"], "providers": [{"aescbc": {"keys": [{"name": key, "secret": "x"}]}}]}
    server.put("/var/lib/rancher/k3s/server/cred/encryption-config.json", json.dumps({"resources": [content]}))
    now = datetime(2027, 1, 1, 12, tzinfo=timezone.utc).timestamp()
    assert not list(key_age_effects(server.assessed(), now))
    server.put("/etc/k3s-harden/config.yaml", "secrets-key-max-age: 30\n")
    (effect,) = key_age_effects(server.assessed(), now)
    assert effect.status is status
    assert effect.observed.endswith(says)
