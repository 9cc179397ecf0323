"""Which processes are K3s, asked of psutil and of /proc: both see the same."""

from __future__ import annotations

import shutil
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from agent.host.probe import by_proc, by_psutil

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def process(program: Path, *words: str) -> Iterator[int]:
    """A process of this name whose command line is these words; gives its id."""
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([*words, "60"], executable=program) as running:
        try:
            yield running.pid
        finally:
            running.kill()


@pytest.mark.parametrize("words", [("k3s server",), ("/usr/local/bin/k3s-east agent --flag",)])
def test_psutil_and_proc_tell_the_same_of_a_k3s_process(tmp_path: Path, words: tuple[str, ...]) -> None:
    """A program that carries no psutil sees the same process, with the same words, started at the same time."""
    before = time.time()
    with process(tmp_path / "k3s-server", *words) as pid:
        plain, known = ({one.pid: one for one in way()}[pid] for way in (by_proc, by_psutil))
        assert plain.line == known.line == " ".join((*words, "60"))
        assert plain.started == pytest.approx(known.started, abs=0.1)
        # The kernel counts a start in ticks, and the time of its boot in whole seconds.
        assert plain.started == pytest.approx(before, abs=2)


@pytest.mark.parametrize("name", ["k4s", "a k3s", "x) k3s"])
def test_a_process_of_another_name_is_not_looked_at(tmp_path: Path, name: str) -> None:
    """The name alone decides, also one with the spaces and parentheses in it that /proc sets names between."""
    with process(tmp_path / name, "k3s", "server") as pid:
        assert pid not in {one.pid for one in (*by_proc(), *by_psutil())}


def test_a_name_with_parentheses_is_read_whole(tmp_path: Path) -> None:
    """What follows the last parenthesis are the numbers, whatever the name looks like."""
    with process(tmp_path / "k3s) R (x", "k3s", "server") as pid:
        found = {one.pid: one for one in by_proc()}[pid]
        assert found.started == pytest.approx(time.time(), abs=2)
