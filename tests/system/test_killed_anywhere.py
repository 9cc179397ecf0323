"""A kill at each system call that changes something: files are old or new, and the next run is compliant.

strace kills the process before the call is made, so the next run finds the result of the previous call. Calls without a
visible change, such as fsync(2), are skipped. Data that was not on the disk at a power failure is a subject of the
guest tests.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.k3s_tree import fresh
from tests.machine import CHECKOUT, OLDER_SERVER, SERVER
from tests.tree import Entry, Tree

pytestmark = [pytest.mark.root, pytest.mark.strace]

STATE = "/var/lib/k3s-harden"
LOCK = "/run/k3s-harden.lock"
TEMPORARY = re.compile(r"\..*\.k3s-harden")
IMPORTED = re.compile(r'\.(pyc?|so)"')

CALLS = (
    "openat,write,pwrite64,ftruncate,fchmod,fchown,fsync,mkdirat,renameat,renameat2,unlinkat,"
    "?open,?mkdir,?rename,?unlink,?rmdir,?link,?symlink,linkat,symlinkat,?chmod,?chown,fchmodat,fchownat,fallocate"
)
"""System calls that change files; calls that strace does not support on this processor are omitted."""


class CallNumber(NamedTuple):
    """The n-th call of a name since the start of the run."""

    call: str
    number: int
    line: str


Entries = dict[str, Entry]


def read(root: Path) -> Entries:
    return Tree(root).tree("/")


def without_state(tree: Entries) -> Entries:
    """Return the tree without the journal, backups and lock."""
    return {path: node for path, node in tree.items() if not path.startswith(STATE) and path != LOCK}


class Runs:
    """Runs of the program on one tree at a time below `place`."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.root = place / "host"
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forks.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1"},
        )

    def close(self) -> None:
        self._server.communicate(timeout=10)

    def __call__(self, verb: str, *words: str) -> tuple[int, str]:
        self._prepare(verb, words)
        return self._finish()

    def traced(
        self, verb: str, *words: str, kill_at: CallNumber | None = None, by: str = "KILL"
    ) -> tuple[int, list[str]]:
        """Run once under strace, which kills the process at the given call; return exit code and calls."""
        number = self._prepare(verb, words)
        log = self.place / "calls"
        injection = [f"--inject={kill_at.call}:signal={by}:when={kill_at.number}"] if kill_at else []
        strace = subprocess.Popen(
            ["strace", f"--attach={number}", f"--output={log}", f"--trace={CALLS}", *injection],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert strace.stderr is not None
        # The process is stopped until strace is attached.
        assert "attached" in strace.stderr.readline()
        code, _ = self._finish()
        strace.communicate(timeout=10)
        return code, [line for line in log.read_text(errors="replace").splitlines() if "(" in line]

    def changing_calls(self, start: Path, *words: str, code: int = 0) -> list[CallNumber]:
        """Run on a copy of `start`, and return the calls that change something.

        Imports are left to a run before: other processes create __pycache__ directories, so the number of calls of an
        import changes.
        """
        self.start_from(start)
        self(*words)
        self.start_from(start)
        ended, calls = self.traced(*words)
        assert ended == code
        assert [line for line in calls if IMPORTED.search(line)] == []
        return list(call_numbers(calls))

    def start_from(self, tree: Path) -> None:
        """Make the host a copy of another tree."""
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(tree, self.root)

    def keep_as(self, tree: Path) -> None:
        shutil.rmtree(tree, ignore_errors=True)
        shutil.copytree(self.root, tree)

    def _prepare(self, verb: str, words: tuple[str, ...]) -> int:
        return int(self._say(json.dumps([str(self.place / "output"), verb, "--root", str(self.root), *words])))

    def _finish(self) -> tuple[int, str]:
        return int(self._say("")), (self.place / "output").read_text()

    def _say(self, line: str) -> str:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(f"{line}\n")
        self._server.stdin.flush()
        return self._server.stdout.readline()


@pytest.fixture
def runs(in_memory: Path) -> Iterator[Runs]:
    """A host in its own directory, and the program, loaded once."""
    new = Runs(in_memory)
    yield new
    new.close()


def call_numbers(calls: list[str]) -> Iterator[CallNumber]:
    """Return the calls of a complete run that change something."""
    seen: Counter[str] = Counter()
    cuts = False
    for line in calls:
        call = line.partition("(")[0]
        seen[call] += 1
        opens = call in {"openat", "open"}
        if (opens and not re.search("O_CREAT|O_TRUNC", line)) or call == "fsync" or " = -1 E" in line:
            continue
        # Opening the plain file of a kernel value truncates it; a real kernel value is never empty.
        if not cuts:
            yield CallNumber(call, seen[call], line)
        cuts = "O_TRUNC" in line


def partial(now: Entries, old: Entries, new: Entries) -> Iterator[str]:
    """Return what is neither the old nor the new state, nor an allowed intermediate state."""
    for path, node in now.items():
        name = path.rpartition("/")[2]
        if node in {old.get(path), new.get(path)}:
            continue
        if TEMPORARY.fullmatch(name) and node.mode in {0o600, 0o644, 0o640}:
            continue
        if path not in old and (node.kind, node.mode) == ("directory", 0o700) and path in new:
            continue  # created, and private until its mode is set
        yield f"{path}: {node}"
    yield from (f"{path}: gone" for path in old.keys() & new.keys() if path not in now)


class Scenario(NamedTuple):
    """A run to kill: its arguments, the host on which it starts, and that host before the first run.

    `undone_by` restores the origin without another apply.
    """

    words: tuple[str, ...]
    start: Path
    origin: Entries
    undone_by: tuple[str, ...] = ("revert",)


def on_a_new_host(_: Runs, place: Path) -> Scenario:
    """All paths are new, including parent directories."""
    fresh(place)
    return Scenario(("apply", *SERVER), place, without_state(read(place)))


def after_an_upgrade(runs: Runs, place: Path) -> Scenario:
    """Existing files of the program change, among them a file and a directory of an administrator."""
    fresh(place)
    (place / "var/lib/rancher/k3s/server").mkdir(parents=True)
    (place / "etc/sysctl.d/90-kubelet.conf").write_text("# an administrator's\nkernel.panic = 5\n")
    origin = without_state(read(place))
    runs.start_from(place)
    assert runs("apply", "--force", *OLDER_SERVER)[0] == 0
    runs.keep_as(place)
    return Scenario(("apply", *SERVER), place, origin)


def over_hand_edits(runs: Runs, place: Path) -> Scenario:
    """After the first run a file was edited, modes were opened and a value changed."""
    scenario = after_an_upgrade(runs, place)
    server = place / "var/lib/rancher/k3s/server"
    server.chmod(0o755)
    (server / "manifests/policy.yaml").chmod(0o644)
    (server / "audit.yaml").write_text("edited: by hand\n")
    (place / "proc/sys/kernel/panic").write_text("0\n")
    return scenario._replace(words=("apply", "--force", *SERVER), undone_by=("revert", "--force"))


def with_a_full_journal(runs: Runs, place: Path) -> Scenario:
    """The two oldest records are merged."""
    fresh(place)
    origin = without_state(read(place))
    runs.start_from(place)
    assert runs("apply", *SERVER)[0] == 0
    drifting = runs.root / "proc/sys/kernel/panic"
    for number in range(1, 60):
        drifting.write_text("0\n")
        assert runs("apply", *SERVER)[0] == 0
        if len(list(Path(f"{runs.root}{STATE}/journal").iterdir())) <= number:
            break
    else:
        pytest.fail("the journal grows without end")
    drifting.write_text("0\n")
    runs.keep_as(place)
    return Scenario(("apply", *SERVER), place, origin)


def while_it_is_undone(runs: Runs, place: Path) -> Scenario:
    """A revert of two runs, after which the administrator's file is restored."""
    scenario = after_an_upgrade(runs, place)
    runs.start_from(place)
    assert runs(*scenario.words)[0] == 0
    runs.keep_as(place)
    return scenario._replace(words=("revert",))


@pytest.mark.parametrize(
    "begin",
    [on_a_new_host, after_an_upgrade, over_hand_edits, with_a_full_journal, while_it_is_undone],
    ids=lambda begin: begin.__name__,
)
def test_apply_and_revert_recover_from_a_kill_at_any_call(runs: Runs, begin: Callable[[Runs, Path], Scenario]) -> None:
    scenario = begin(runs, runs.place / "start")
    old = without_state(read(scenario.start))
    at = runs.changing_calls(scenario.start, *scenario.words)
    assert len(at) > 10
    ended = without_state(read(runs.root))
    wrong: dict[str, list[str]] = {}
    for number in at:
        for what in after_a_kill(runs, scenario, number, old, ended):
            wrong.setdefault(what, []).append(number.line[:100])
    assert not wrong, "\n".join(f"{what}\n    if killed at {'; '.join(calls)}" for what, calls in wrong.items())


def test_a_keyboard_interrupt_leaves_no_temporary_files(runs: Runs) -> None:
    scenario = on_a_new_host(runs, runs.place / "start")
    at = runs.changing_calls(scenario.start, *scenario.words)
    ended = without_state(read(runs.root))
    # The signal arrives after the call. After a call that opens a file, it arrives before the cleanup is registered.
    for number in [number for number in at if number.call != "openat"][::5]:
        runs.start_from(scenario.start)
        code, _ = runs.traced(*scenario.words, kill_at=number, by="INT")
        assert code not in {0, 3}, number
        now = read(runs.root)
        assert list(partial(without_state(now), scenario.origin, ended)) == []
        assert [path for path in now if TEMPORARY.fullmatch(path.rpartition("/")[2])] == [], number
        assert list(ended_wrong(runs, ("apply", *SERVER), {0}, ended)) == [], number
        assert list(ended_wrong(runs, ("revert",), {0}, scenario.origin)) == [], number


@pytest.mark.parametrize("verb", ["assess", "drift"])
def test_a_kill_while_a_report_is_written_leaves_the_old_or_the_new_report(runs: Runs, verb: str) -> None:
    start = runs.place / "start"
    fresh(start)
    runs.start_from(start)
    report = Path(f"{runs.root}/report.json" if verb == "assess" else f"{runs.root}{STATE}/assessment.json")
    words = ("assess", "--format", "json", "--output", str(report), *SERVER) if verb == "assess" else ("drift", *SERVER)
    expected = 3 if verb == "assess" else 0
    assert runs(*words)[0] == expected
    runs.keep_as(start)
    # Another process can change how many files a report reads, and with it the number of an openat(2).
    at = [number for number in runs.changing_calls(start, *words, code=expected) if number.call != "openat"]
    assert len(at) >= 4
    for number in at:
        runs.start_from(start)
        assert runs.traced(*words, kill_at=number)[0] == -signal.SIGKILL, number
        assert json.loads(report.read_bytes())["schema"] == 3, number
        assert runs(*words)[0] == expected, number
        left = [path for path in read(runs.root) if TEMPORARY.fullmatch(Path(path).name)]
        assert left == [], number


def after_a_kill(runs: Runs, scenario: Scenario, number: CallNumber, old: Entries, ended: Entries) -> Iterator[str]:
    """Return what is wrong after a kill at that call, and after each way to continue."""
    runs.start_from(scenario.start)
    code, calls = runs.traced(*scenario.words, kill_at=number)
    assert (code, calls[-1].partition("(")[0]) == (-signal.SIGKILL, number.call), "strace did not kill at this call"
    yield from (f"half done: {what}" for what in partial(without_state(read(runs.root)), old, ended))
    killed = runs.place / "killed"
    runs.keep_as(killed)
    hardened = ended if scenario.words[0] == "apply" else old
    yield from ended_wrong(runs, ("check", *SERVER), {0, 3}, without_state(read(killed)))
    yield from ended_wrong(runs, ("apply", "--force", *SERVER), {0}, hardened)
    yield from ended_wrong(runs, ("revert",), {0}, scenario.origin)
    runs.start_from(killed)
    yield from ended_wrong(runs, scenario.undone_by, {0}, scenario.origin)


def ended_wrong(runs: Runs, words: tuple[str, ...], codes: set[int], expected: Entries) -> Iterator[str]:
    """Run the command and return what is wrong afterwards."""
    code, output = runs(*words)
    now = read(runs.root)
    verb = " ".join(words[:2])
    if code not in codes:
        calm = ("compliant", "changed", "kept", "note", "next", "k3s-harden apply", "k3s-harden revert")
        yield f"{verb} exits {code}: {' | '.join(line for line in output.splitlines() if not line.startswith(calm))}"
    if expected != (seen := without_state(now)):
        paths = sorted(p for p in seen.keys() | expected.keys() if seen.get(p) != expected.get(p))
        yield f"{verb} leaves other files: {paths}"
    left = [re.sub(r"\d{9,}", "SECONDS", path) for path in now if TEMPORARY.fullmatch(path.rpartition("/")[2])]
    if left and words[0] != "check":
        yield f"{verb} leaves {left}"
    if words[0] == "revert" and f"{STATE}/journal" in now:
        yield f"{verb} leaves the journal"
