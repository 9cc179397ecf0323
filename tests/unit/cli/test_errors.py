"""Errors on a terminal: no line is longer than the terminal, and commands can be pasted."""

from __future__ import annotations

import shlex

import pytest

from agent.base.repair import NO_REPAIR, Instruction, Repair, Run
from agent.cli.streams import error_lines

MESSAGE = "cannot install the gate in /srv/images/a-very-long-name-of-a-host-tree: systemd is not installed there"
COMMAND = "sudo k3s-harden assess --root /srv/image --config '/etc/my settings.yaml' --format html --output report.html"


def test_without_a_terminal_message_and_hint_have_one_line_each() -> None:
    """Programs that read standard error get whole lines; an error without a hint has no second line."""
    assert error_lines(MESSAGE, Repair((Run(COMMAND),)), 0) == [f"k3s-harden: {MESSAGE}", f"  fix: {COMMAND}"]
    assert error_lines(MESSAGE, NO_REPAIR, 0) == [f"k3s-harden: {MESSAGE}"]
    assert error_lines("cannot", NO_REPAIR, 80) == ["k3s-harden: cannot"]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_lines_end_between_words(width: int) -> None:
    """Only a word that is longer exceeds the width."""
    install = Instruction("install systemd in the tree first; other init systems are not supported by the gate")
    shown = error_lines(MESSAGE, Repair((install,)), width)
    assert " ".join(" ".join(shown).split()).startswith(f"k3s-harden: {MESSAGE} fix: install systemd in the tree")
    assert max(map(len, shown)) <= width
    assert all(line.startswith("  ") for line in shown[1:])


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_command_can_be_pasted_at_any_width(width: int) -> None:
    """A shell reads the lines as the same words."""
    shown = error_lines("cannot", Repair((Run(COMMAND),)), width)
    assert max(map(len, shown)) <= width
    pasted = "\n".join(shown[1:]).replace("  fix: ", "").replace("\\\n", "")
    assert shlex.split(pasted) == shlex.split(COMMAND)


@pytest.mark.parametrize("width", [0, 80])
def test_secrets_are_replaced(width: int) -> None:
    """A message can contain a line of K3s' configuration."""
    repair = Repair((Instruction("remove token=K10aaa::server:b"),))
    assert "K10aaa" not in " ".join(error_lines("cannot use token=K10aaa::server:b", repair, width))


@pytest.mark.parametrize("width", [0, 80])
def test_a_name_cannot_forge_a_line_or_control_the_terminal(width: int) -> None:
    """Names of files, and the errors of other programs, are untrusted."""
    repair = Repair((Instruction("remove '/etc/x\x1b]0;\x07\n'"),))
    shown = error_lines("cannot read /etc/x\x1b[31m\nresult 0: compliant\r\x9b", repair, width)
    assert all(line.isprintable() for line in shown)
    assert r"/etc/x\x1b[31m\nresult 0: compliant" in " ".join(" ".join(shown).split())
