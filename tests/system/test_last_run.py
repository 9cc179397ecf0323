"""The record of the last successful run: it is written only when it changes, and a damaged one is ignored."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path, PurePosixPath

import pytest

from agent.base.errors import HardenError
from agent.base.host import Host
from agent.base.host.tree import LARGEST_READ
from agent.harden.changes import last_run
from agent.harden.changes.last_run import RECORD, LastRun, RecordedSettings
from agent.k3s.roles_and_versions import Version
from tests.fake import fake_host

pytestmark = pytest.mark.root

SETTINGS = PurePosixPath("/etc/k3s-harden/config.yaml")
RUN = LastRun(
    "2027-01-01",
    {"server": Version.parse("v1.24.17+k3s1"), "agent": Version.parse("v1.25.16+k3s4")},
    RecordedSettings("2026-12-24", SETTINGS, {SETTINGS: "reason: Grüße\n\0".encode()}),
    {"server": "2049:131:70000000:1:2"},
)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    for directory in ("run", "var/lib"):
        (tmp_path / directory).mkdir(parents=True)
    return fake_host(tmp_path, is_live=True)


@pytest.fixture
def file(host: Host) -> Path:
    return Path(host.root, RECORD.relative_to("/"))


def test_a_record_is_read_as_it_was_written(host: Host, file: Path) -> None:
    last_run.write_last_run(host, RUN)
    assert last_run.read_last_run(host, []) == RUN
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_record_that_is_the_same_is_not_written_again(host: Host, file: Path) -> None:
    last_run.write_last_run(host, RUN)
    lock = Path(host.root, "run/k3s-harden.lock")
    lock.unlink()
    before = file.stat()
    last_run.write_last_run(host, RUN)
    assert (file.stat(), lock.exists()) == (before, False)


def test_a_record_is_not_written_while_another_run_holds_the_lock(host: Host) -> None:
    with host.lock():
        last_run.write_last_run(host, RUN)
    assert last_run.read_last_run(host, []) == LastRun()


def test_a_tree_has_no_record(tmp_path: Path) -> None:
    """A host tree can become another host."""
    host = fake_host(tmp_path)
    last_run.write_last_run(host, RUN)
    assert not (tmp_path / "var").exists()


def _changed(**values: object) -> bytes:
    return json.dumps({"schema": 1, "day": "2027-01-01", "versions": {}, "settings": None, **values}).encode()


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{", b"\0" * 100, b"[]", b"{}", b"[" * 100_000, b" " * (LARGEST_READ + 1)),
        _changed(schema=2),
        *(_changed(day=day) for day in ("yesterday", 7, "2026-02-31", "2026-1-5", "99999999999999999999-01-01")),
        _changed(versions={"server": "x"}),
        _changed(versions=[]),
        _changed(settings={"day": "", "path": "/a", "files": [{"path": "/a"}]}),
        _changed(settings={"day": "", "path": 7, "files": []}),
        _changed(settings=[]),
        _changed(programs=[]),
        _changed(programs={"server": 7}),
    ],
)
def test_a_damaged_record_is_ignored_and_reported(host: Host, file: Path, data: bytes) -> None:
    file.parent.mkdir()
    file.write_bytes(data)
    unreadable: list[HardenError] = []
    assert last_run.read_last_run(host, unreadable) == LastRun()
    assert [error.message.startswith(f"cannot read {RECORD}") for error in unreadable] == [True]
    last_run.write_last_run(host, RUN)
    assert last_run.read_last_run(host, []) == RUN


@pytest.mark.parametrize(("owner", "mode"), [(1000, 0o600), (0, 0o666)])
def test_a_record_that_another_user_can_write_is_ignored_and_reported(
    host: Host, file: Path, owner: int, mode: int
) -> None:
    """Its settings and its K3s version would decide how root hardens the host."""
    last_run.write_last_run(host, RUN)
    os.chown(file, owner, -1)
    file.chmod(mode)
    unreadable: list[HardenError] = []
    assert last_run.read_last_run(host, unreadable) == LastRun()
    assert [error.message.startswith(f"cannot use {RECORD}: ") for error in unreadable] == [True]
