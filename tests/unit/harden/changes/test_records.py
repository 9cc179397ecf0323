"""Journal records that are too large, damaged or hostile."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.base.errors import HardenError, HostError
from agent.base.host import Host
from agent.base.model import Absent, File, FileMode
from agent.harden.changes.journal import JOURNAL, Journal
from agent.harden.plan.plan import Change
from agent.verbs.revert import revert
from tests.fake import fake_host, in_memory, names

A = PurePosixPath("/etc/a.conf")
RECORD = "000001-1700000000.json"
CHANGE = {
    "before": {"absent": "/etc/a.conf"},
    "after": {"file": "/etc/a.conf", "content": "x", "mode": "0600", "owner": "0:0"},
}
VALID = {"schema": 1, "version": "1", "changes": [CHANGE]}


def file(content: bytes) -> File:
    return File(path=A, content=content, mode=FileMode(0o600))


@pytest.fixture
def host() -> Iterator[Host]:
    with in_memory() as root:
        (root / "etc").mkdir()
        yield fake_host(root)


def path_of(host: Host, path: PurePosixPath) -> Path:
    return Path(host.root, *path.parts[1:])


def test_a_record_that_could_not_be_read_back_is_not_written(host: Host) -> None:
    changes = [Change(Absent(A), File(A / str(number), b"\0" * 16_000, FileMode(0o600))) for number in range(100)]
    with pytest.raises(HostError, match=r"^cannot write /var/lib/k3s-harden/journal/000001-1700000000\.begun: found"):
        Journal(host).begin(changes)
    assert names(path_of(host, JOURNAL)) == []


SCALARS: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["\0", "/\0", "\ud800", "/etc"])
)
ANY = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8
)
KEYS = st.sampled_from(["file", "absent", "sysctl", "permissions", "directory", "mode", "owner", "content", "value"])
FIELDS = (
    ANY
    | st.sampled_from(["/etc/a.conf", "/", "..", "//", "/etc/../x", "0600", "99999", "0:0", "4294967296:0", "0:0:0"])
    | st.integers(min_value=10**18).map(lambda number: f"{number}:0")
)
STATES = ANY | st.dictionaries(KEYS, FIELDS, max_size=5)
RECORDS = st.one_of(
    st.binary(max_size=200),
    ANY.map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries({"schema": st.just(1) | ANY, "changes": ANY}).map(lambda value: json.dumps(value).encode()),
    st.lists(st.fixed_dictionaries({"before": STATES, "after": STATES}), max_size=3).map(
        lambda changes: json.dumps({"schema": 1, "changes": changes}).encode()
    ),
    st.integers(0, 300).map(lambda size: json.dumps(VALID, indent=1).encode()[:size]),
    st.sampled_from([b"[" * 100_000, b'{"a":' * 100_000, b'{"schema": 1' + b"0" * 5000 + b"}", b"\xff\xfe{}", b""]),
)


@settings(max_examples=1000, deadline=None)
@given(data=RECORDS, force=st.booleans())
def test_any_record_is_read_or_is_an_error(data: bytes, *, force: bool) -> None:
    """1,000 generated journals: every message names a path, and nothing else is raised."""
    with in_memory() as root:
        (root / "etc").mkdir()
        host = fake_host(root)
        record = path_of(host, JOURNAL / RECORD)
        record.parent.mkdir(parents=True)
        record.write_bytes(data)
        journal = Journal(host)
        try:
            journal.written("/etc/a.conf")
            journal.history(journal.runs())
        except HostError as error:
            assert error.message.startswith(f"cannot read {JOURNAL / RECORD}")  # noqa: PT017 - some journals are valid
        (run,) = journal.runs()
        journal.damage([run])
        try:
            revert(host, last=False, force=force)
        except HardenError as error:
            assert "\n" not in error.message  # noqa: PT017 - some journals are valid


@pytest.mark.parametrize("kind", ["symlink", "FIFO", "directory"])
def test_a_record_that_is_not_a_regular_file_is_an_error(kind: str, host: Host) -> None:
    record = path_of(host, JOURNAL / RECORD)
    record.parent.mkdir(parents=True)
    if kind == "symlink":
        (record.parent / "real").write_text(json.dumps(VALID))
        record.symlink_to("real")
    elif kind == "FIFO":
        os.mkfifo(record)
    else:
        record.mkdir()
    journal = Journal(host)
    message = rf"^cannot read {JOURNAL / RECORD}: found .*{kind}.*, expected a regular file$"
    with pytest.raises(HostError, match=message):
        journal.changes(journal.runs()[0])
    assert list(journal.damage(journal.runs())) == [JOURNAL / RECORD]
