"""Killed at each system call that changes something: what is there is old or new, and the next run puts it right.

strace kills the process when it asks for the call, so that the call is not made: what the call before it left is what
the next run finds. Calls that change nothing to be seen, such as fsync(2), are no moments of their own. What becomes
of data that the disk had not yet when the power went is for the tests that boot a machine.
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
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.system.machine import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = [pytest.mark.root, pytest.mark.strace]

SERVER = ("--role", "server", "--k3s-version", "1.34")
OLDER_SERVER = ("--role", "server", "--k3s-version", "1.24")
STATE = "var/lib/k3s-harden"
LOCK = "run/k3s-harden.lock"
TEMPORARY = re.compile(r"\..*\.k3s-harden")

CALLS = (
    "openat,write,pwrite64,ftruncate,fchmod,fchown,fsync,mkdirat,renameat,renameat2,unlinkat,"
    "?open,?mkdir,?rename,?unlink,?rmdir,?link,?symlink,linkat,symlinkat,?chmod,?chown,fchmodat,fchownat,fallocate"
)
"""What a program can change files with; those of this processor's that strace does not know are left out."""


class Node(NamedTuple):
    """A directory, with no content, or a file."""

    mode: int
    content: bytes | None


class Moment(NamedTuple):
    """The n-th call of its name since the run began."""

    call: str
    number: int
    line: str


Tree = dict[str, Node]


def read(root: Path) -> Tree:
    """All that is below root, by its path there."""
    found = {}
    for path in root.rglob("*"):
        mode = path.lstat().st_mode & 0o7777
        found[str(path.relative_to(root))] = Node(mode, None if path.is_dir() else path.read_bytes())
    return found


def without_state(tree: Tree) -> Tree:
    """The tree as K3s and systemd see it: without our journal, our backups and our lock."""
    return {path: node for path, node in tree.items() if not path.startswith(STATE) and path != LOCK}


class Runs:
    """Runs of the program on one tree at a time, below `place`."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.root = place / "host"
        warm = place / "warm"
        new_host(warm)
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forks.py")), str(warm)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1"},
        )

    def close(self) -> None:
        self._server.communicate(timeout=10)

    def __call__(self, verb: str, *words: str) -> tuple[int, str]:
        """One run, to its exit code and all that it printed."""
        self._prepare(verb, words)
        return self._finish()

    def traced(self, verb: str, *words: str, kill_at: Moment | None = None) -> tuple[int, list[str]]:
        """One run under strace, to its exit code and its calls; strace kills it when it asks for the one to kill at."""
        number = self._prepare(verb, words)
        log = self.place / "calls"
        injection = [f"--inject={kill_at.call}:signal=KILL:when={kill_at.number}"] if kill_at else []
        strace = subprocess.Popen(
            ["strace", f"--attach={number}", f"--output={log}", f"--trace={CALLS}", *injection],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert strace.stderr is not None
        # From this line on the process is held until strace has seen to it.
        assert "attached" in strace.stderr.readline()
        code, _ = self._finish()
        strace.communicate(timeout=10)
        return code, [line for line in log.read_text(errors="replace").splitlines() if "(" in line]

    def start_from(self, tree: Path) -> None:
        """Make the host a copy of another one."""
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(tree, self.root)

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


def new_host(root: Path) -> None:
    subprocess.run(["sh", str(CHECKOUT / ".ci/disposable-host"), str(root)], check=True)


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    """In memory where there is such a place: no disk is waited for, and none is meant to be tested."""
    memory = Path("/dev/shm")  # noqa: S108 - the name below it is made by mkdtemp
    place = Path(mkdtemp(dir=memory)) if os.access(memory, os.W_OK) else tmp_path
    new = Runs(place)
    yield new
    new.close()
    shutil.rmtree(place)


def moments(calls: list[str]) -> Iterator[Moment]:
    """Of a whole run's calls, those after which something is not as it was before."""
    seen: Counter[str] = Counter()
    for line in calls:
        call = line.partition("(")[0]
        seen[call] += 1
        opens = call in {"openat", "open"}
        if (opens and not re.search("O_CREAT|O_TRUNC", line)) or call == "fsync" or " = -1 E" in line:
            continue
        yield Moment(call, seen[call], line)


def partial(now: Tree, old: Tree, new: Tree) -> Iterator[str]:
    """What is neither as it was nor as it is to be, nor a step between that a reader can not be misled by."""
    for path, node in now.items():
        name = path.rpartition("/")[2]
        if node in {old.get(path), new.get(path)}:
            continue
        if TEMPORARY.fullmatch(name) and node.mode in {0o600, 0o644, 0o640}:
            continue
        if path not in old and node == Node(0o700, None) and path in new:
            continue  # made, and private until it has its mode
        if path.startswith("proc/sys/") and node.content == b"":
            continue  # the plain file that stands for a kernel value is cut by O_TRUNC; a real one is not
        yield f"{path}: {node}"
    yield from (f"{path}: gone" for path in old.keys() & new.keys() if path not in now)


def left_overs(tree: Tree) -> list[str]:
    return [path for path in tree if TEMPORARY.fullmatch(path.rpartition("/")[2])]


class Story(NamedTuple):
    """A run to be killed: the host it starts on, and that host before the program was ever there."""

    words: tuple[str, ...]
    start: Path
    origin: Tree


def on_a_new_host(runs: Runs, place: Path) -> Story:
    new_host(place)
    return Story(("apply", *SERVER), place, without_state(read(place)))


def on_a_host_of_an_older_k3s(runs: Runs, place: Path) -> Story:
    """Much is there already: some files to be replaced, one of them edited by hand, modes loosened, a value drifted."""
    new_host(place)
    (place / "var/lib/rancher/k3s/server").mkdir(parents=True)
    (place / "etc/sysctl.d/90-kubelet.conf").write_text("# an administrator's\nkernel.panic = 5\n")
    origin = without_state(read(place))
    runs.start_from(place)
    assert runs("apply", "--force", *OLDER_SERVER)[0] == 0
    shutil.rmtree(place)
    shutil.copytree(runs.root, place)
    server = place / "var/lib/rancher/k3s/server"
    server.chmod(0o755)
    (server / "manifests/policy.yaml").chmod(0o644)
    (server / "audit.yaml").write_text("edited: by hand\n")
    (place / "proc/sys/kernel/panic").write_text("0\n")
    return Story(("apply", "--force", *SERVER), place, origin)


def while_it_is_undone(runs: Runs, place: Path) -> Story:
    """A revert of two runs, over a file of somebody's that comes back."""
    story = on_a_host_of_an_older_k3s(runs, place)
    runs.start_from(place)
    assert runs(*story.words)[0] == 0
    shutil.rmtree(place)
    shutil.copytree(runs.root, place)
    return story._replace(words=("revert",))


STORIES = [on_a_new_host, on_a_host_of_an_older_k3s, while_it_is_undone]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_run_that_is_killed_anywhere_does_no_damage(runs: Runs, story: object) -> None:
    """After a kill at any change: nothing is half, apply ends as wanted without left-overs, revert leads to the start."""
    assert callable(story)
    told: Story = story(runs, runs.place / "start")
    old = without_state(read(told.start))
    runs.start_from(told.start)
    code, calls = runs.traced(*told.words)
    assert code == 0
    ended = without_state(read(runs.root))
    hardened = ended if told.words[0] == "apply" else old
    at = list(moments(calls))
    assert len(at) > 30
    wrong: list[str] = []
    for moment in at:
        wrong += [f"{moment.line[:120]}\n    {what}" for what in after_a_kill(runs, told, moment, old, ended, hardened)]
    assert not wrong, f"{len(wrong)} at {len(at)} moments:\n" + "\n".join(wrong)


def after_a_kill(
    runs: Runs, told: Story, moment: Moment, old: Tree, ended: Tree, hardened: Tree
) -> Iterator[str]:
    """What is wrong after a kill at that moment, with the host itself, and with each way to go on from there."""
    runs.start_from(told.start)
    code, calls = runs.traced(*told.words, kill_at=moment)
    assert (code, calls[-1].partition("(")[0]) == (-signal.SIGKILL, moment.call), "strace did not kill where it was to"
    yield from (f"half done: {what}" for what in partial(without_state(read(runs.root)), old, ended))
    killed = runs.place / "killed"
    shutil.rmtree(killed, ignore_errors=True)
    shutil.copytree(runs.root, killed)
    code, output = runs("check", *SERVER)
    if code not in {0, 3}:
        yield f"check exits {code}: {output}"
    if read(runs.root) != read(killed):
        yield "check changed something"
    for way in (("apply", "--force", *SERVER), ("revert",)):
        runs.start_from(killed)
        code, output = runs(*way)
        now = read(runs.root)
        if code:
            yield f"{way[0]} exits {code}: {output}"
        if without_state(now) != (hardened if way[0] == "apply" else told.origin):
            yield f"{way[0]} ends elsewhere: {unlike(without_state(now), hardened if way[0] == 'apply' else told.origin)}"
        if left_overs(now):
            yield f"{way[0]} leaves {left_overs(now)}"
        if way[0] == "apply":
            code, output = runs("check", *SERVER)
            if code:
                yield f"check after apply exits {code}: {output}"
            code, output = runs("revert")
            now = read(runs.root)
            if code or without_state(now) != told.origin:
                yield f"apply, then revert exits {code}, {unlike(without_state(now), told.origin)}: {output}"
        if any(path.startswith(f"{STATE}/journal") for path in now):
            yield f"{way[0]}: the journal outlives revert: {[path for path in now if path.startswith(STATE)]}"


def unlike(now: Mapping[str, Node], wanted: Mapping[str, Node]) -> list[str]:
    """The paths at which two trees differ."""
    return sorted(path for path in now.keys() | wanted.keys() if now.get(path) != wanted.get(path))
