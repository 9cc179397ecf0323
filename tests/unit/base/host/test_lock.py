"""The lock: other runs wait for a limited time, and the kernel releases it when the holder ends."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.base.errors import ExitCode, HostError, LockHeldError
from agent.base.host import LOCK, Host
from agent.base.value import replace
from agent.reports import repair_texts
from tests.fake import fake_host, fill, in_memory, mounted, names

CHECKOUT = Path(__file__).parents[4]

HOLD = """
import sys
from agent.base.host import Host
with Host.tree_at(sys.argv[1]).lock():
    print("held", flush=True)
    sys.stdin.readline()
"""

TAKE_TURNS = """
import sys
from pathlib import Path
from agent.base.host import Host
counter = Path(sys.argv[1], "counter")
for _ in range(20):
    with Host.tree_at(sys.argv[1]).lock():
        counter.write_text(str(int(counter.read_text()) + 1))
        if "removing" in sys.argv:
            Path(sys.argv[1], "run/k3s-harden.lock").unlink()
"""


@pytest.fixture
def host() -> Iterator[Host]:
    with in_memory() as root:
        yield fake_host(root)


def patient(host: Host, seconds: float) -> Host:
    """The same host with a run that waits for the lock; other runs do not wait."""
    return replace(host, lock_wait=seconds)


@contextmanager
def process(script: str, root: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", script, root]
    with subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def held_by_another(host: Host, running: subprocess.Popen[str]) -> None:
    assert running.stdout is not None
    assert running.stdout.readline() == "held\n"
    with pytest.raises(LockHeldError, match=f"process {running.pid} holds it"), host.lock():
        pass


def test_the_lock_file_is_private_and_is_not_removed(host: Host) -> None:
    before = os.umask(0o077)
    try:
        with host.lock():
            pass
    finally:
        os.umask(before)
    run, lock = Path(host.root, "run"), Path(host.root, *LOCK.parts[1:])
    assert stat.S_IMODE(run.stat().st_mode) == 0o755
    assert stat.S_IMODE(lock.stat().st_mode) == 0o600
    assert lock.read_text() == f"{os.getpid()}\n"


def test_a_second_run_fails_after_its_wait(host: Host) -> None:
    with process(HOLD, host.root) as holder:
        held_by_another(host, holder)
        with pytest.raises(LockHeldError) as caught, patient(host, 0.2).lock():
            pass
    assert caught.value.message == f"cannot get the lock {LOCK}: process {holder.pid} holds it"
    assert repair_texts.text(caught.value.repair) == "wait until that run ends, then run this again"
    assert caught.value.exit_code is ExitCode.LOCKED


def test_a_waiting_run_gets_the_lock_when_the_holder_ends(host: Host) -> None:
    with process(HOLD, host.root) as holder:
        held_by_another(host, holder)
        with process(HOLD, host.root) as waiting:
            assert holder.stdin is not None
            holder.stdin.close()
            held_by_another(host, waiting)


def test_the_kernel_releases_the_lock_of_a_killed_holder(host: Host) -> None:
    with process(HOLD, host.root) as holder:
        held_by_another(host, holder)
        holder.send_signal(signal.SIGKILL)
        with patient(host, 10).lock():
            assert Path(host.root, *LOCK.parts[1:]).read_text() == f"{os.getpid()}\n"


def test_a_lock_file_that_is_removed_before_it_is_locked_is_created_again(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise another run could lock a new file at the same time."""
    path, lock = Path(host.root, *LOCK.parts[1:]), fcntl.flock
    removals = iter((path.unlink,))

    def late(descriptor: int, operation: int) -> None:
        next(removals, lambda: None)()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with host.lock():
        assert path.read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("options", [[], ["removing"]])
def test_only_one_process_holds_the_lock(host: Host, options: list[str]) -> None:
    counter = Path(host.root, "counter")
    counter.write_text("0")
    workers = [
        subprocess.Popen([sys.executable, "-c", TAKE_TURNS, host.root, *options], cwd=CHECKOUT) for _ in range(4)
    ]
    assert [worker.wait(60) for worker in workers] == [0] * 4
    assert counter.read_text() == "80"


@pytest.mark.parametrize(
    ("path", "make"),
    [
        ("run/k3s-harden.lock", Path.mkdir),
        ("run/k3s-harden.lock", os.mkfifo),
        ("run/k3s-harden.lock", lambda lock: lock.symlink_to(lock.parents[2] / "outside/made")),
        ("run", lambda run: run.symlink_to(run.parents[1] / "outside")),
        ("run", Path.touch),
    ],
    ids=["directory", "FIFO", "symlink", "link on the way", "file on the way"],
)
def test_another_file_type_is_rejected_as_lock(path: str, make: Callable[[Path], object], host: Host) -> None:
    root = Path(host.root, "host")
    outside = Path(host.root, "outside")
    outside.mkdir()
    (root / path).parent.mkdir(parents=True)
    make(root / path)
    with pytest.raises(HostError, match=r"^cannot open /run/k3s-harden\.lock: "), fake_host(root).lock():
        pass
    assert names(outside) == []


def test_a_hard_linked_lock_file_is_rejected_and_not_truncated(host: Host) -> None:
    run = Path(host.root, "run")
    run.mkdir()
    (run / "precious").write_text("precious\n")
    os.link(run / "precious", run / "k3s-harden.lock")
    with pytest.raises(HostError, match="it has 2 hard links, expected 1"), host.lock():
        pass
    assert (run / "precious").read_text() == "precious\n"


@pytest.mark.root
@pytest.mark.parametrize("is_read_only", [True, False])
def test_the_lock_can_be_taken_on_a_read_only_or_full_file_system(host: Host, *, is_read_only: bool) -> None:
    """The sandbox of the drift check is read-only. The lock file must exist."""
    run = Path(host.root, "run")
    run.mkdir()
    with mounted(run, "size=8k,mode=755"):
        if is_read_only:
            with host.lock():
                pass
            subprocess.run(["mount", "-o", "remount,ro", str(run)], check=True)
        else:
            fill(run / "filler")
        holder = os.getpid() if is_read_only else "unknown"
        with host.lock(), pytest.raises(LockHeldError, match=f"process {holder} holds it"), host.lock():
            pass
