"""upgrade-node: what is on the node after a failure of the installed version, and after a kill anywhere."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from agent.base.errors import LockHeldError
from agent.base.host.writable_tree import locked
from agent.verbs.install import BESIDE, INSTALLED, UPGRADE_LOCK, upgrade_node
from tests import fake

TESTED = [f"{BESIDE}/bin/k3s-harden gate", f"{BESIDE}/bin/k3s-harden check"]
IN_PLACE = [f"{INSTALLED}/bin/k3s-harden install", f"{INSTALLED}/bin/k3s-harden check"]
WRITES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "ctypes.dlsym", "program")
"""Events of sys.audit() before something is written, besides open(), and before a program of the node runs."""


class Machine:
    """The image, and a node with the gate and a version of the program: the content of each of its files."""

    def __init__(self, place: Path) -> None:
        self.bundle, self.root = place / "image/opt/k3s-harden", place / "node"
        self.put(self.bundle, "new")
        self.put(self.root / INSTALLED.relative_to("/"), "old")
        unit = self.root / "etc/systemd/system/k3s-harden@.service"
        for directory in (unit.parent, self.root / "run", self.root / "usr/lib/systemd"):
            directory.mkdir(parents=True, exist_ok=True)
        (self.root / "usr/lib/systemd/systemd").touch(0o755)
        unit.write_text(f"[Service]\nExecStart={INSTALLED}/bin/k3s-harden gate\n")
        self.ran: list[str] = []
        self.codes: dict[str, int] = {}

    @staticmethod
    def put(directory: Path, version: str) -> None:
        for name in ("bin/k3s-harden", "bin/_internal/libpython.so", "CONTENTS"):
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(version)

    def run(self, words: Sequence[str]) -> int:
        sys.audit("program")
        assert len(self.versions(PurePosixPath(words[0]).parents[1])) == 1
        self.ran.append(" ".join(words))
        return self.codes.get(self.ran[-1], 0)

    def versions(self, directory: PurePosixPath) -> set[str]:
        """Return the contents of the files of a program on the node."""
        top = self.root / directory.relative_to("/")
        return {path.read_text() for path in top.rglob("*") if path.is_file()}

    def upgrade(self) -> int:
        self.ran = []
        return upgrade_node(fake.fake_host(self.root), PurePosixPath(self.bundle), self.run, lambda _: None)


@pytest.fixture
def machine(in_memory: Path) -> Machine:
    return Machine(in_memory)


def test_a_node_without_the_gate_gets_none(machine: Machine) -> None:
    """Only check runs there."""
    (machine.root / "etc/systemd/system/k3s-harden@.service").unlink()
    assert (machine.upgrade(), machine.ran) == (0, [TESTED[1], IN_PLACE[1]])


def test_the_previous_version_stays_until_check_succeeds_in_place(machine: Machine) -> None:
    """The next run removes it."""
    machine.codes = {IN_PLACE[1]: 3}
    assert machine.upgrade() == 3
    assert (machine.versions(INSTALLED), machine.versions(BESIDE)) == ({"new"}, {"old"})
    machine.codes = {}
    assert machine.upgrade() == 0
    assert machine.versions(BESIDE) == set()


@pytest.mark.parametrize(
    "make", [os.mkfifo, lambda path: path.symlink_to("../elsewhere"), Path.touch], ids=["FIFO", "symlink", "file"]
)
def test_another_file_in_the_place_of_the_copy_is_replaced(machine: Machine, make: Callable[[Path], object]) -> None:
    """Without waiting for the writer of a FIFO, and without following a symlink."""
    beside, elsewhere = machine.root / str(BESIDE)[1:], machine.root / "elsewhere"
    (elsewhere / "kept").mkdir(parents=True)
    make(beside)
    assert machine.upgrade() == 0
    assert (machine.versions(INSTALLED), machine.versions(BESIDE)) == ({"new"}, set())
    assert (elsewhere / "kept").exists()


def test_a_second_run_at_once_ends_before_it_touches_the_copy_of_the_first(machine: Machine) -> None:
    """The first run could otherwise install a copy that the second one removes."""
    host = fake.fake_host(machine.root)
    with locked(host.writable_tree, UPGRADE_LOCK, wait=0), pytest.raises(LockHeldError):
        machine.upgrade()
    assert (machine.ran, machine.versions(BESIDE)) == ([], set())
    assert machine.upgrade() == 0


def test_after_a_kill_anywhere_one_version_is_complete_and_the_next_run_finishes() -> None:
    """The process is killed before each write and before each program."""
    for call in count():
        with fake.in_memory() as place:
            machine = Machine(place)
            child = os.fork()
            if not child:
                sys.addaudithook(partial(_kill_at, iter(range(call, -1, -1))))
                os._exit(machine.upgrade())
            was_killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
            assert machine.versions(INSTALLED) in ({"old"}, {"new"}), call
            assert machine.upgrade() == 0, call
            assert (machine.versions(INSTALLED), machine.versions(BESIDE)) == ({"new"}, set()), call
        if not was_killed:
            break
    assert call > 20


def _kill_at(left: Iterator[int], event: str, words: tuple[Any, ...]) -> None:
    is_write = words[2] & os.O_ACCMODE if event == "open" else event in WRITES
    if is_write and not next(left, 1):
        os.kill(os.getpid(), signal.SIGKILL)
