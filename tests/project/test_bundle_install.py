"""The script `install` of the archive, killed before each program that it runs, and several of them at once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.fake import in_memory

pytestmark = pytest.mark.root

CHECKOUT = Path(__file__).parents[2]
SOURCES = CHECKOUT / ".ci/dist/bundle"
KILLER = """#!/bin/sh
echo >>{calls}
[ "$(wc -l <{calls})" != "${{KILL_AT:-}}" ] || {{ kill -9 $PPID; exit; }}
exec {program} "$@"
"""
PROGRAM = """#!/bin/sh
[ "$1" != --version ] || {{ echo {version}; exit; }}
PYTHONPATH={checkout} exec {python} {start} "$@"
"""
TOOLS = ("cp", "ln", "mkdir", "mv", "restorecon", "rm", "sync")


class Machine:
    """An archive of each version, and tools that kill the script that runs them."""

    def __init__(self, place: Path) -> None:
        self.target, self.calls = place / "opt/k3s-harden", place / "calls"
        self._place, self._tools = place, place / "tools"
        for version in ("old", "new"):
            self._make_archive(place / version, version)
        for name in TOOLS:
            program = shutil.which(name) or "/bin/true"
            self._write(self._tools / name, KILLER.format(calls=self.calls, program=program))
        self._write(self._tools / "getconf", "#!/bin/sh\necho glibc 2.99\n")

    def _make_archive(self, archive: Path, version: str) -> None:
        script = (SOURCES / "install").read_text("utf-8").replace("/usr/local/bin", str(self._place / "bin"))
        start = PROGRAM.format(version=version, checkout=CHECKOUT, python=sys.executable, start=SOURCES / "start.py")
        self._write(archive / "install", script)
        self._write(archive / "bin/real", start)
        self._write(archive / "bin/k3s-harden", KILLER.format(calls=self.calls, program='"$(dirname "$0")/real"'))
        for number in range(3):
            self._write(archive / f"bin/_internal/{number}", version)

    @staticmethod
    def _write(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        path.chmod(0o755)

    def start(self, version: str, kill_at: int = 0) -> subprocess.Popen[bytes]:
        self.calls.write_bytes(b"")
        environment = {"PATH": f"{self._tools}:{os.environ['PATH']}", "KILL_AT": str(kill_at)}
        words = ["/bin/sh", str(self._place / version / "install"), str(self.target)]
        return subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def install(self, version: str, kill_at: int = 0) -> int:
        """Run the script of this version; it is killed before this call of a program."""
        return self.start(version, kill_at).wait()

    @property
    def installed(self) -> str:
        """The version of all files of the installed program."""
        found = {file.read_text("utf-8") for file in (self.target / "bin/_internal").glob("*")}
        assert len(found) <= 1
        return "".join(found)

    @property
    def beside(self) -> list[str]:
        """The names of all other files in the directory."""
        return sorted(path.name for path in self.target.parent.iterdir() if path != self.target)


@pytest.fixture
def machine() -> Iterator[Machine]:
    with in_memory() as place:
        yield Machine(place)


@pytest.mark.parametrize("before", ["", "old"])
def test_a_kill_leaves_a_complete_program_and_the_next_run_finishes(before: str) -> None:
    """Without a program, the gate blocks K3s."""
    for kill_at in count(1):
        with in_memory() as place:
            machine = Machine(place)
            assert not before or machine.install(before) == 0
            code = machine.install("new", kill_at)
            assert code in {0, -signal.SIGKILL}
            assert machine.installed in {before, "new"}, kill_at
            assert machine.install("new") == 0
            assert (machine.installed, machine.beside) == ("new", []), kill_at
        if code == 0:
            break
    assert kill_at > 8


def test_what_a_killed_run_of_an_earlier_release_left_is_removed(machine: Machine) -> None:
    machine.install("old")
    machine.target.rename(machine.target.with_name("k3s-harden.old"))
    shutil.copytree(machine.target.with_name("k3s-harden.old"), machine.target.with_name("k3s-harden.new"))
    assert machine.install("new") == 0
    assert (machine.installed, machine.beside) == ("new", [])


@pytest.mark.parametrize("before", ["", "old"])
def test_several_runs_at_once_leave_one_complete_program(machine: Machine, before: str) -> None:
    assert not before or machine.install(before) == 0
    runs = [machine.start("new") for _ in range(4)]
    assert [run.wait() for run in runs] == [0] * 4
    assert (machine.installed, machine.beside) == ("new", [])


def test_a_file_system_without_an_exchange_gets_the_program_too(machine: Machine) -> None:
    """NFS has none."""
    machine.install("old")
    for version in ("old", "new"):
        refuses = '#!/bin/sh\n[ "$1" = --version ]\n'
        (machine.calls.parent / version / "bin/real").write_text(refuses, "utf-8")
    assert machine.install("new") == 0
    assert (machine.installed, machine.beside) == ("new", [])
