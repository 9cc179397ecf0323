"""Other programs: a fixed environment and limited time, the detection of K3s, and an ssh-keygen that cannot sign."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import pytest

from agent.base.errors import ExitCode, HostError, UnsupportedHostError
from agent.base.host import Host
from agent.base.host.probe import by_proc, by_psutil
from agent.base.host.process import SEARCH_PATH, Completed, run
from agent.base.host.ssh_keygen import signature
from agent.reports import repair_texts
from tests.fake import in_memory

SHELL = "/bin/sh"


def test_a_program_returns_its_code_and_both_outputs() -> None:
    assert run([SHELL, "-c", "echo out; echo err >&2; exit 3"], timeout=10) == Completed(3, "out\n", "err\n")


def test_arguments_are_not_interpreted_by_a_shell() -> None:
    words = ["a b", "$HOME", "*", "", "é", "\n"]
    script = "import sys; print(sys.argv[1:])"
    assert run([sys.executable, "-c", script, *words], timeout=10).stdout == f"{words}\n"


def test_the_environment_is_fixed() -> None:
    assert "HOME" in os.environ or "PATH" in os.environ
    done = run([SHELL, "-c", "/usr/bin/env; pwd"], timeout=10)
    lines = {line for line in done.stdout.splitlines() if not line.startswith(("PWD=", "SHLVL=", "_=", "OLDPWD="))}
    assert lines == {f"PATH={':'.join(SEARCH_PATH)}", "LC_ALL=C.UTF-8", "LANG=C.UTF-8", "/"}


def test_standard_input_is_empty() -> None:
    assert run(["/bin/cat"], timeout=10) == Completed(0, "", "")


def test_output_that_is_not_utf8_is_decoded() -> None:
    assert run([SHELL, "-c", r"printf 'a\377b'"], timeout=10).stdout == "a�b"


def test_large_output_on_both_streams_does_not_block() -> None:
    script = "import sys; sys.stderr.write('e' * 300_000); sys.stdout.write('o' * 300_000)"
    done = run([sys.executable, "-c", script], timeout=30, largest_output=300_000)
    assert (len(done.stdout), len(done.stderr)) == (300_000, 300_000)


@pytest.mark.parametrize("script", ["exec sleep 600", "sleep 600 & wait"])
def test_a_program_that_exceeds_the_time_limit_is_killed(script: str) -> None:
    with pytest.raises(HostError, match=r"^cannot run /bin/sh: it did not finish within 0\.2 s$"):
        run([SHELL, "-c", script], timeout=0.2)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_program_that_prints_without_end_is_killed_with_its_children(tmp_path: Path, stream: str) -> None:
    script = f"sleep 600 & echo $! >{tmp_path}/child; exec cat /dev/zero >/dev/{stream}"
    with pytest.raises(HostError, match=r"^cannot run /bin/sh: it printed more than 65536 bytes$"):
        run([SHELL, "-c", script], timeout=60)
    child = (tmp_path / "child").read_text().strip()
    for _ in range(1200):
        try:
            state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            break
        if state == "Z":
            break
        time.sleep(0.05)
    else:
        pytest.fail("the child still runs")


def test_a_program_that_cannot_be_run_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    (tmp_path / "script").write_text("#!/no/such/interpreter\n")
    (tmp_path / "script").chmod(0o755)
    missing, denied = "No such file or directory", "Permission denied"
    for name, reason in {"none": missing, "plain": denied, ".": denied, "script": missing}.items():
        path = f"{tmp_path}/{name}"
        with pytest.raises(HostError) as caught:
            run([path], timeout=10)
        assert caught.value.message == f"cannot run {path}: {reason}"


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


class WithProgram(Host):
    """A host with another ssh-keygen."""

    program: PurePosixPath | None = None

    def trusted_tool(self, name: str) -> PurePosixPath | None:
        assert name == "ssh-keygen"
        return self.program


OLD = """#!/bin/sh
echo "unknown option -- Y" >&2
echo "usage: ssh-keygen [-q] [-b bits]" >&2
exit 1
"""


def test_an_ssh_keygen_before_openssh_8_1_is_an_error(tmp_path: Path) -> None:
    program = tmp_path / "ssh-keygen"
    program.write_text(OLD, encoding="utf-8")
    program.chmod(0o755)
    host = WithProgram(**{**vars(Host.real()), "program": PurePosixPath(program)})
    with pytest.raises(UnsupportedHostError, match="cannot sign the report with /key: unknown option -- Y") as caught:
        signature(host, b"{}", PurePosixPath("/key"))
    assert caught.value.exit_code is ExitCode.ENVIRONMENT
    assert "OpenSSH 8.1" in repair_texts.text(caught.value.repair)


def test_a_host_without_ssh_keygen_is_an_error() -> None:
    """Minimal systems have no OpenSSH."""
    with pytest.raises(UnsupportedHostError, match="found no program ssh-keygen") as caught:
        signature(WithProgram(**vars(Host.real())), b"{}", PurePosixPath("/key"))
    assert "OpenSSH 8.1" in repair_texts.text(caught.value.repair)
