"""The manual page."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from agent import __version__
from tests.programs_here import ran
from tests.tools.dist.manual import manual
from tests.tools.generate_docs import commands, program_options

EPOCH = 1_700_000_000


def formatted(*options: str) -> str:
    """Return the page as groff prints it without a warning."""
    run = ran("groff", "-man", "-Tascii", *options, input=manual(EPOCH))
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout


def test_the_manual_contains_every_verb_and_option() -> None:
    page = manual(EPOCH).replace(r"\-", "-")
    for command in commands():
        assert (f'.SS "{command.name}"' in page) == (not command.hidden)
        for option in () if command.hidden else command.options:
            assert all(rf"\fB{name}\fR" in page for name in option.names), option
    assert all(rf"\fB{name}\fR" in page for option in program_options() for name in option.names)


def test_the_manual_is_plain_roff() -> None:
    page = manual(EPOCH)
    assert page.isascii()
    assert page.startswith(rf'.TH K3S\-HARDEN 8 2023-11-14 "k3s\-harden {__version__}"')
    requests = {line.split()[0] for line in page.splitlines() if line.startswith((".", "'"))}
    assert requests == {".TH", ".nr", ".ad", ".SH", ".SS", ".TP", ".PP", ".B", ".I", ".SY", ".YS"}
    assert not re.search(r"(?<!\\)-", page.replace("2023-11-14", ""))
    assert max(map(len, page.splitlines())) < 120


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff")
def test_groff_formats_the_manual_without_warnings() -> None:
    printed = formatted("-ww")
    assert "System Administration" in printed


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff")
def test_commands_of_the_manual_can_be_pasted() -> None:
    printed = formatted("-P-cbou", "-rLL=80n")
    lines = printed.splitlines()
    assert max(map(len, lines)) <= 80
    for command in commands():
        if not command.hidden:
            assert command.example in " ".join(printed.split())
            assert f"Exit codes: {', '.join(code for code, _ in command.exit_codes)} " in " ".join(printed.split())
    assert [line for line in lines if line.endswith("-")] == []


def test_the_manual_names_the_gate_that_the_drop_in_starts() -> None:
    drop_in = Path("systemd/k3s.service.d/zzz-k3s-harden.conf").read_text(encoding="utf-8")
    (gate,) = set(re.findall(r"ask start (\S+) &", drop_in))
    page = " ".join(manual(EPOCH).replace(r"\-", "-").split())
    assert f"The gate of k3s.service is {gate.replace('%N', 'k3s')}." in page
    assert f".B systemctl status {gate.replace('%N', 'k3s')} " in page
