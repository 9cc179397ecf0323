"""Line breaks on a terminal."""

from __future__ import annotations

import shlex
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from agent.reports.layout import command_lines, print_line

WORDS = st.lists(st.text(st.sampled_from("ab /'\"\\$-"), min_size=1, max_size=20), min_size=1, max_size=12)


def printed(text: str, width: int, indent: int = 0, hanging: int = 0) -> list[str]:
    console = Console(file=StringIO(), width=width)
    print_line(console, Text(text), indent, hanging)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


@given(words=WORDS, width=st.integers(20, 200))
def test_a_broken_command_is_the_same_command(words: list[str], width: int) -> None:
    """A shell reads the same words, whatever they contain."""
    command = shlex.join(words)
    text = "\n".join(command_lines(command, width))
    assert shlex.split(text.replace("\\\n", " ")) == words


def test_no_backslash_follows_a_word_that_does_not_fit() -> None:
    """A terminal would show it alone on the next line, and the command could not be pasted."""
    program = f"/opt/{'a' * 40}/k3s-harden"
    assert command_lines(f"{program} apply --role server", 40) == [f"{program} apply --role server"]
    for width in range(10, 90):
        lines = command_lines(f"sudo {program} apply --role server --root /mnt", width)
        assert all(len(line) <= width for line in lines if line.endswith(chr(92)))


def test_a_command_is_broken_before_an_option() -> None:
    command = "sudo k3s-harden apply --root '/mnt/my image' --role server"
    assert command_lines(command, 80) == [command]
    assert command_lines(command, 50) == ["sudo k3s-harden apply --root '/mnt/my image' \\", "    --role server"]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one two three four five", ["  one two three", "      four five"]),
        ("/var/lib/rancher/k3s/server", ["  /var/lib/", "      rancher/k3s/", "      server"]),
        ("x" * 30, ["  " + "x" * 30]),
        ("one, two", ["  one, two"]),
        ("", ["  "]),
    ],
)
def test_lines_break_between_words_and_after_slashes(text: str, lines: list[str]) -> None:
    """A word that cannot be broken is left to the terminal, so that it can be copied."""
    assert printed(text, 18, 2, 4) == lines


def test_a_word_that_the_next_line_cannot_hold_begins_beside_its_label() -> None:
    """Otherwise the label would be alone on its line."""
    assert printed("found  --plugins=NodeRestriction,ServiceAccount", 36, 2, 7) == [
        "  found  --plugins=NodeRestriction,",
        "         ServiceAccount",
    ]
    assert printed("found  in /var/lib/rancher/k3s", 24, 2, 2) == ["  found  in", "    /var/lib/rancher/k3s"]


@given(text=st.text(st.sampled_from("ab/, 日"), max_size=200), width=st.integers(15, 80))
def test_no_character_is_lost(text: str, width: int) -> None:
    assert "".join("".join(printed(text, width, 2, 2)).split()) == "".join(text.split())
