"""Progress: a line on a terminal, shown after one second and removed at the end."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.k3s_tree import fresh
from tests.programs_here import ran
from tests.terminal import CHECKOUT, Terminal, screen

OPTIONS = ("--role", "server", "--k3s-version", "1.34")
WAITING = "k3s-harden apply: waiting for the end of another run"

SOON = "from agent.cli import progress; progress._DELAY = 0.1\n"
"""Shows the line early, so that a busy machine is not too late for the first step."""
SLOW = """\
import sys, time
from agent.cli.streams import progress
with progress("apply", quiet="-q" in sys.argv) as show:
    show("reading the host")
    time.sleep(float(sys.argv[1]))
    for number in range(1, 4):
        show("/etc/\\x1b[2J" + "long" * 40, number, 3)
        time.sleep(0.5)
print("the report")
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return fresh(tmp_path / "root")


@contextmanager
def locked(root: Path) -> Iterator[None]:
    (root / "run").mkdir(exist_ok=True)
    descriptor = os.open(root / "run/k3s-harden.lock", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def slow(seconds: float, *words: str, soon: str = SOON, **options: Any) -> Terminal:
    return Terminal(str(seconds), *words, program=(sys.executable, "-c", soon + SLOW), **options)


def test_apply_shows_the_reason_of_its_wait_and_removes_the_line(root: Path) -> None:
    with Terminal("apply", "--root", root, *OPTIONS, columns=120) as terminal:
        with locked(root):
            shown = terminal.read_until(WAITING)
        shown += terminal.rest()
        assert terminal.end() == 0
    lines = screen(shown, 120)
    assert "another run" not in "\n".join(lines)
    assert "k3s-harden apply: server" in "\n".join(lines)


def test_ctrl_c_removes_the_line(root: Path) -> None:
    with locked(root), Terminal("apply", "--root", root, *OPTIONS, columns=120) as terminal:
        shown = terminal.read_until(WAITING)
        terminal.press("\x03")
        shown += terminal.rest()
        assert terminal.end() == 130
    assert "another run" not in "\n".join(screen(shown.replace("^C", ""), 120))
    assert "k3s-harden: interrupted" in shown
    assert "Traceback" not in shown


def test_a_run_that_is_shorter_than_the_delay_shows_nothing() -> None:
    with slow(0, soon=SOON.replace("0.1", "600")) as terminal:
        assert terminal.rest() == "the report\r\n"


@pytest.mark.parametrize("environment", [{}, {"TERM": "dumb"}, {"NO_COLOR": "1"}, {"LC_ALL": "C"}])
def test_each_step_is_shown_on_one_line(environment: dict[str, str]) -> None:
    with slow(1.5, columns=60, environment=environment) as terminal:
        shown = terminal.rest()
        assert terminal.end() == 0
    steps = [step for step in shown.split("\r") if step.strip()]
    assert steps[0].strip() == "k3s-harden apply: reading the host"
    assert any(step.startswith("k3s-harden apply: 3 of 3: /etc/\\x1b[2Jlong") for step in steps)
    assert all(len(step.rstrip("\n")) < 60 for step in steps)
    assert "\x1b" not in shown
    assert screen(shown, 60) in (["the report", ""], ["the report"])


def test_a_narrow_terminal_gets_no_second_line() -> None:
    """The line stays single even if the terminal becomes narrower."""
    with slow(2, columns=80) as terminal:
        terminal.read_until("reading the host")
        terminal.resize(20, 24)
        shown = terminal.rest()
    assert all(len(step.rstrip("\n")) < 20 for step in shown.split("\r") if step.strip())


def test_quiet_shows_nothing() -> None:
    with slow(1.5, "-q") as terminal:
        assert terminal.rest() == "the report\r\n"


def test_a_redirected_report_leaves_the_line_on_the_terminal(tmp_path: Path) -> None:
    with (tmp_path / "report").open("wb") as file, slow(1.5, stdout=file.fileno()) as terminal:
        shown = terminal.rest()
    assert "3 of 3" in shown
    assert screen(shown, 80) == [""]
    assert (tmp_path / "report").read_text(encoding="utf-8") == "the report\n"


def test_a_pipe_gets_no_line() -> None:
    """A pager would write to the same terminal."""
    reading, writing = os.pipe()
    with slow(1.5, stdout=writing) as terminal:
        os.close(writing)
        assert terminal.rest() == ""
    assert os.read(reading, 100) == b"the report\n"
    os.close(reading)


def test_without_a_terminal_nothing_is_shown_and_no_thread_is_started() -> None:
    """The output is the journal of a unit, for example."""
    program = SLOW + "import threading; print(threading.active_count(), 'agent.cli.progress' in sys.modules)\n"
    run = ran(sys.executable, "-c", program, "1.2", cwd=CHECKOUT)
    assert (run.stdout, run.stderr) == ("the report\n1 False\n", "")


def test_a_closed_terminal_is_not_an_error() -> None:
    with slow(3) as terminal:
        terminal.read_until("reading the host")
        terminal.close()
        assert terminal.end() in (0, 1, -1)
