"""Temporary files: unique names, and removal of the files of killed writers."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.base.host import temporary
from tests.fake import names


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_PATH)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize("name", ["policy.yaml", "x" * 255, "ü" * 127, "a.b.1-00000000"])
def test_names_are_unique_and_not_too_long(name: str) -> None:
    found = {temporary.name_for(name) for _ in range(100)}
    assert len(found) == 100
    for unique in found:
        assert f".{os.getpid()}-" in unique
        assert len(os.fsencode(unique)) <= 255
        assert temporary.is_temporary(unique)
        assert temporary.is_temporary(unique, name)
        # sysctl.d(5) and config.yaml.d read *.conf and *.yaml; K3s ignores manifests with a leading dot.
        assert unique.startswith(".")
        assert not unique.endswith((".conf", ".yaml", ".yml", ".json"))


@pytest.mark.parametrize(
    "other", [".a.conf.k3s-harden.bak", "a.conf.1-00000000.k3s-harden", ".a.conf", ".b.a.conf.1-00000000.k3s-harden"]
)
def test_other_names_are_not_temporary_files_of_a_file(other: str) -> None:
    assert not temporary.is_temporary(other, "a.conf")
    assert temporary.is_temporary(".a.conf.k3s-harden", "a.conf"), "earlier releases used a fixed name"


def test_the_file_of_a_running_writer_is_not_removed(tmp_path: Path, directory: int) -> None:
    """Its lock shows that the writer runs, even in another PID namespace."""
    descriptor, name = temporary.create(directory, "a", 0o600)
    (tmp_path / ".a.9-00000000.k3s-harden").touch()
    (tmp_path / ".b.9-00000000.k3s-harden").touch()
    assert temporary.remove_left_overs(directory, "a")
    assert names(tmp_path) == sorted([name, ".b.9-00000000.k3s-harden"])
    os.close(descriptor)
    assert temporary.remove_left_overs(directory)
    assert names(tmp_path) == []
    assert not temporary.remove_left_overs(directory)


def test_a_file_that_is_removed_before_it_is_locked_is_created_again(
    tmp_path: Path, directory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it is locked, another process can remove it as the file of a killed writer."""
    lock = fcntl.flock
    removed: list[str] = []

    def late(descriptor: int, operation: int) -> None:
        if not removed:
            (left,) = tmp_path.iterdir()
            left.unlink()
            removed.append(left.name)
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    descriptor, name = temporary.create(directory, "a", 0o600)
    os.close(descriptor)
    assert names(tmp_path) == [name]
    assert [name] != removed
