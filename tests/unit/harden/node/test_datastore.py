"""Detection of the datastore on a host."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from agent.base.model import Location
from agent.harden.node.datastore import Datastore, detect_datastore, sqlite_database
from agent.k3s.config import ConfigValue
from tests.fake import fake_host

DATA_DIR = PurePosixPath("/var/lib/rancher/k3s")
ENDPOINT = ConfigValue("mysql://(not shown)", Location(PurePosixPath("/etc/rancher/k3s/config.yaml"), 1))


@pytest.mark.parametrize(
    ("files", "endpoint", "expected"),
    [
        ((), None, Datastore.NONE),
        (("state.db",), None, Datastore.SQLITE),
        (("state.db", "etcd/member/wal/0.wal"), None, Datastore.ETCD),
        ((), ENDPOINT, Datastore.EXTERNAL),
        (("state.db",), ENDPOINT, Datastore.EXTERNAL),
        (("etcd/name",), ENDPOINT, Datastore.EXTERNAL),
        (("etcd/member/wal/0.wal",), ENDPOINT, Datastore.ETCD),
        ((), ConfigValue("", ENDPOINT.location), Datastore.NONE),
        (("state.db",), ConfigValue("", ENDPOINT.location), Datastore.SQLITE),
        (("state.db",), ConfigValue("sqlite://", ENDPOINT.location), Datastore.SQLITE),
        (("site.db",), ConfigValue("sqlite://db/site.db?(not shown)", ENDPOINT.location), Datastore.SQLITE),
        (("state.db",), ConfigValue("sqlite:///opt/db/site.db", ENDPOINT.location), Datastore.NONE),
    ],
)
def test_an_etcd_on_disk_takes_precedence_over_the_endpoint(
    files: tuple[str, ...], endpoint: ConfigValue | None, expected: Datastore, tmp_path: Path
) -> None:
    """K3s recognizes it by its write-ahead log (k3s, pkg/cluster/managed.go and pkg/etcd)."""
    for name in files:
        path = tmp_path / "var/lib/rancher/k3s/server/db" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert detect_datastore(fake_host(tmp_path), DATA_DIR, endpoint)[0] is expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("sqlite:///opt/db/s.db", "/opt/db/s.db"),
        ("sqlite:///opt/db/s.db?(not shown)", "/opt/db/s.db"),
        ("sqlite://", f"{DATA_DIR}/server/db/state.db"),
        ("", f"{DATA_DIR}/server/db/state.db"),
        ("mysql://(not shown)", "None"),
        ("(not shown)", "None"),
    ],
)
def test_the_file_of_a_sqlite_endpoint_is_known(address: str, expected: str) -> None:
    """kine has a default without a path."""
    assert str(sqlite_database(ConfigValue(address, ENDPOINT.location), DATA_DIR)) == expected
