"""`check --watch`: changes, resizing, signals and errors on a terminal, and usage without a terminal."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.cli.watch import _cut, _outcome
from agent.errors import HostError
from agent.host.process import Completed
from tests.fake import Programs, fake_host
from tests.terminal import CHECKOUT, Terminal

if TYPE_CHECKING:
    from agent.host import Host
    from agent.report import Report

OPTIONS = ("--role", "server", "--k3s-version", "1.34")
COMPLIANT = "Host is compliant, now and after the next boot"
ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"


@pytest.fixture(scope="module")
def hardened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("host") / "root"
    subprocess.run([CHECKOUT / ".ci/disposable-host", root], check=True)
    command = [sys.executable, "-m", "agent", "apply", "--root", str(root), *OPTIONS]
    subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True)
    return root


@pytest.fixture
def root(hardened: Path, tmp_path: Path) -> Path:
    """Create a compliant host tree for each test."""
    return Path(shutil.copytree(hardened, tmp_path / "root", symlinks=True))


def watched(root: Path, *words: str, columns: int = 80) -> Terminal:
    return Terminal("check", "--watch", "--root", root, *OPTIONS, *words, columns=columns, lines=40)


def loosen(root: Path) -> None:
    (root / "var/lib/rancher/k3s/server").chmod(0o777)


def test_a_change_is_shown_with_its_time_and_ctrl_c_ends_with_the_last_exit_code(root: Path) -> None:
    """The previous screen is restored, with the last report below it, and without a traceback."""
    with watched(root) as terminal:
        first = terminal.read_until(COMPLIANT)
        assert first.startswith(ENTER)
        assert re.search(r"Last change: \d\d:\d\d:\d\d\. Checked every 2 s; Ctrl-C ends\.", first)
        loosen(root)
        assert "mode-loosened" in terminal.read_until("Host is not compliant")
        terminal.press("\x03")
        rest = terminal.rest()
        assert terminal.end() == 3
    _, left, report = rest.partition(LEAVE)
    assert left
    assert "mode-loosened" in report
    assert "Traceback" not in rest
    assert "interrupted" not in rest


def test_nothing_is_written_while_the_report_does_not_change(root: Path) -> None:
    """The screen is redrawn only after a change."""
    with watched(root) as terminal:
        terminal.read_until(COMPLIANT)
        terminal.during(0.5)
        assert terminal.during(5) == ""
        terminal.press("\x03")
        terminal.rest()
        assert terminal.end() == 0


def test_the_report_follows_the_size_of_the_terminal(root: Path) -> None:
    """A resize redraws the report immediately. Lines in the middle are omitted, so the result is always shown."""
    with watched(root, columns=120) as terminal:
        terminal.read_until(COMPLIANT)
        terminal.during(0.3)
        for columns, lines in ((50, 5), (20, 3), (1, 1)):
            terminal.resize(columns, lines)
            shown = terminal.read_until("\x1b[J")
            if columns == 50:
                assert "more lines do not fit this terminal" in shown
                assert COMPLIANT[:20] in shown
                assert shown.count("\n") < lines
        terminal.resize(100, 40)
        assert COMPLIANT in terminal.read_until("\x1b[J")


def test_a_line_that_is_longer_than_the_terminal_counts_as_several() -> None:
    """The report does not wrap plain lines. Styles have no width."""
    lines = ["head", "a" * 25, "\x1b[1mb\x1b[0m", "result"]
    assert _cut(lines, 10, 6) == lines
    assert _cut(lines, 10, 5) == ["head", "(1 more li", "\x1b[1mb\x1b[0m", "result"]
    assert _cut(lines, 10, 3) == ["head", "(2 more li", "result"]
    assert _cut(lines, 10, 1) == ["(3 more li", "result"]
    assert _cut(["only"], 10, 1) == ["only"]


def test_errors_are_shown_and_do_not_end_the_watch(root: Path) -> None:
    """Settings can be invalid while they are edited. Ctrl-C then ends with the exit code of the error."""
    settings = root / "etc/k3s-harden/config.yaml"
    with watched(root) as terminal:
        terminal.read_until(COMPLIANT)
        settings.parent.mkdir(exist_ok=True)
        settings.write_text("role: [\n")
        terminal.read_until("k3s-harden: cannot use /etc/k3s-harden/config.yaml")
        settings.unlink()
        terminal.read_until(COMPLIANT)
        shutil.rmtree(root / "var")
        terminal.read_until("Host is not compliant")
        settings.write_text("role: [\n")
        terminal.read_until("cannot use /etc/k3s-harden/config.yaml")
        terminal.press("\x03")
        rest = terminal.rest()
        assert terminal.end() == 2
    assert "Traceback" not in rest


def test_files_removed_during_a_check_are_not_an_error(root: Path) -> None:
    """The next check shows the present state."""
    noise = root / "etc/sysctl.d"
    with watched(root) as terminal:
        terminal.read_until(COMPLIANT)
        until = time.monotonic() + 5
        while time.monotonic() < until:
            for number in range(50):
                (noise / f"{number}.conf").write_text("kernel.pid_max = 1\n")
            for number in range(50):
                (noise / f"{number}.conf").unlink()
        terminal.press("\x03")
        assert "Traceback" not in terminal.rest()
        assert terminal.end() == 0


def test_an_error_of_the_operating_system_is_shown_too(tmp_path: Path) -> None:
    """A file can be removed between two calls of the program."""

    def check(host: Host) -> Report:
        raise FileNotFoundError(2, "No such file or directory", f"{host.root}/etc/x")

    outcome = _outcome(fake_host(tmp_path), check)
    assert isinstance(outcome, HostError)
    assert outcome.message.startswith("cannot observe the host: ")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGQUIT, 131)])
def test_a_signal_restores_the_screen(root: Path, number: signal.Signals, code: int) -> None:
    """The screen of the shell is restored, and the exit code is that of the signal."""
    with watched(root) as terminal:
        terminal.read_until(COMPLIANT)
        terminal.send(number)
        rest = terminal.rest()
        assert terminal.end() == code
    assert LEAVE in rest
    assert "Traceback" not in rest


def test_ctrl_z_restores_the_screen_and_continuing_shows_the_report_again(root: Path) -> None:
    """While the program is stopped, the screen of the shell is shown."""
    with watched(root) as terminal:
        terminal.read_until(COMPLIANT)
        terminal.send(signal.SIGTSTP)
        terminal.read_until(LEAVE)
        until = time.monotonic() + 20
        while terminal.state != "T":
            assert time.monotonic() < until
        terminal.send(signal.SIGCONT)
        assert ENTER in terminal.read_until(COMPLIANT)


def test_a_dumb_terminal_gets_the_reports_one_below_the_other(root: Path) -> None:
    """The output contains no control characters."""
    environment = {"TERM": "dumb", "NO_COLOR": "1"}
    words = ("check", "--watch", "--root", root, *OPTIONS)
    with Terminal(*words, environment=environment) as terminal:
        shown = terminal.read_until(COMPLIANT)
        loosen(root)
        shown += terminal.read_until("Host is not compliant")
        terminal.press("\x03")
        shown += terminal.rest()
        assert terminal.end() == 3
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "cannot use --watch: standard output is not a terminal, and it redraws a screen"),
        (("--format", "json"), "cannot use --watch with --format json: it redraws a screen for a person"),
    ],
)
def test_watch_without_a_terminal_is_a_usage_error(root: Path, words: tuple[str, ...], problem: str) -> None:
    """The error contains the reason. Programs can use the exit code of a single check."""
    command = [sys.executable, "-m", "agent", "check", "--watch", "--root", str(root), *words]
    run = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr.splitlines()[0]) == (2, "", f"k3s-harden: {problem}")


def test_watch_with_json_is_rejected_on_a_terminal_too(root: Path) -> None:
    """A program cannot read a sequence of documents that replace each other."""
    with watched(root, "--format", "json") as terminal:
        assert "cannot use --watch with --format json" in terminal.rest()
        assert terminal.end() == 2


def test_k3s_version_runs_again_only_if_the_program_changed(tmp_path: Path) -> None:
    """`k3s --version` takes longer than the rest of a check."""
    program = tmp_path / "k3s"
    program.write_text("old")
    words = ("/k3s", "--version")
    programs = Programs({words: Completed(0, "", "")})
    host = fake_host(tmp_path, programs=programs)
    for _ in range(3):
        host.ask_once(words, timeout=1)
        host = host.again()
    assert len(programs.asked) == 1
    host.ask_once(words, timeout=1)
    host = host.again()
    program.write_text("new")
    host = host.again()
    host.ask_once(words, timeout=1)
    assert len(programs.asked) == 2
    host.renewed().ask_once(words, timeout=1)
    assert len(programs.asked) == 3
