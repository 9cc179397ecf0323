"""A report that is longer than the terminal."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.terminal import Terminal

PROFILE = "The profile guide leaves"


def _pager(tmp_path: Path, name: str = "pager") -> Path:
    """Create a pager that writes what it shows, and in which mode, to files."""
    program = tmp_path / name
    program.write_text(f'#!/bin/sh\necho "$1 $LESS$LESSSECURE" >{tmp_path}/how\ncat >{tmp_path}/shown\n')
    program.chmod(0o755)
    for directory in ("root/etc", "root/usr"):
        (tmp_path / directory).mkdir(parents=True, exist_ok=True)
    return program


def _assess(tmp_path: Path, lines: int, **environment: str) -> tuple[int, str]:
    words = ("assess", "--root", tmp_path / "root", "--role", "server")
    with Terminal(*words, lines=lines, environment=environment) as terminal:
        text = terminal.rest()
        return terminal.end(), text


def test_a_long_report_is_shown_by_the_pager_of_the_user(tmp_path: Path) -> None:
    """The words of PAGER are its command line, and the exit code is that of the assessment."""
    code, text = _assess(tmp_path, 24, PAGER=f"{_pager(tmp_path)} -x")
    assert (code, PROFILE in text) == (3, False)
    assert PROFILE in (tmp_path / "shown").read_text()
    assert "\x1b[" in (tmp_path / "shown").read_text()
    assert (tmp_path / "how").read_text() == "-x FRX\n"


def test_less_is_the_only_pager_by_sudo_and_starts_no_other_program(tmp_path: Path) -> None:
    """A rule of sudoers for this program must not give a shell."""
    _pager(tmp_path, "less")
    code, text = _assess(tmp_path, 24, PATH=f"{tmp_path}:/usr/bin:/bin", PAGER="/none", SUDO_UID="1000")
    assert (code, PROFILE in text, (tmp_path / "how").read_text()) == (3, False, " FRX1\n")


@pytest.mark.parametrize(
    ("lines", "more"), [(2000, {}), (0, {}), (24, {"PAGER": "cat"}), (24, {"PAGER": ""}), (24, {"PAGER": "/none"})]
)
def test_the_terminal_has_what_fits_and_what_no_pager_shows(tmp_path: Path, lines: int, more: dict[str, str]) -> None:
    code, text = _assess(tmp_path, lines, **{"PAGER": str(_pager(tmp_path)), **more})
    assert (code, PROFILE in text, (tmp_path / "shown").exists()) == (3, True, False)


def test_a_pipe_has_no_pager(tmp_path: Path) -> None:
    with Terminal("assess", environment={"PAGER": str(_pager(tmp_path))}, stdout=subprocess.DEVNULL) as terminal:
        terminal.rest()
    assert not (tmp_path / "shown").exists()
