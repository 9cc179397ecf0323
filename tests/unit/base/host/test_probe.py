"""Detection of K3s processes by psutil and by /proc."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.base.host.probe import by_proc, by_psutil
from tests.fake import in_memory


@contextmanager
def process(program: Path, *words: str, user: int | None = None) -> Iterator[int]:
    """Start a process with this name and command line, and return its ID."""
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([*words, "60"], executable=program, user=user) as running:
        try:
            # exec(2) closes the pipe on which Popen waits, then changes the name, and sets the command line last.
            started = Path(f"/proc/{running.pid}")
            while (started / "comm").read_text().strip() != program.name[:15] or not (started / "cmdline").read_bytes():
                time.sleep(0.01)
            yield running.pid
        finally:
            running.kill()


@pytest.mark.parametrize("words", [("k3s server",), ("/usr/local/bin/k3s-east agent --flag",)])
def test_psutil_and_proc_return_the_same_process(tmp_path: Path, words: tuple[str, ...]) -> None:
    before = time.time()
    with process(tmp_path / "k3s-server", *words) as pid:
        plain, known = ({process.pid: process for process in way()}[pid] for way in (by_proc, by_psutil))
        assert plain.line == known.line == " ".join((*words, "60"))
        assert plain.started == pytest.approx(known.started, abs=0.1)
        # The kernel counts start times in ticks, and its boot time in whole seconds.
        assert before - 2 < plain.started < time.time() + 2


@pytest.mark.parametrize("name", ["k4s", "a k3s", "x) k3s"])
def test_a_process_with_another_name_is_ignored(tmp_path: Path, name: str) -> None:
    with process(tmp_path / name, "k3s server") as pid:
        assert pid not in {process.pid for process in (*by_proc(), *by_psutil())}


def test_a_name_with_parentheses_is_parsed(tmp_path: Path) -> None:
    before = time.time()
    with process(tmp_path / "k3s) R (x", "k3s server") as pid:
        found = {process.pid: process for process in by_proc()}[pid]
        assert before - 2 < found.started < time.time() + 2


@pytest.mark.root
def test_a_process_of_another_user_is_ignored() -> None:
    """Any user can name a process `k3s agent`, and would choose the role of a host whose K3s has no service."""
    with in_memory() as directory:
        directory.chmod(0o755)
        with process(directory / "k3s-agent", "k3s agent", user=65534) as pid:
            assert pid not in {process.pid for process in (*by_proc(), *by_psutil())}
        with process(directory / "k3s-agent", "k3s agent") as pid:
            assert pid in {process.pid for process in by_proc()} & {process.pid for process in by_psutil()}
