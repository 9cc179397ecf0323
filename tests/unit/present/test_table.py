"""The table of a report at any width, with and without color."""

from __future__ import annotations

import re
from io import StringIO

import pytest
from rich.console import Console

from agent.model import Instruction, Remediation
from agent.present import Format, Verbosity, remediation
from agent.present.table import print_to
from agent.report import Finding, Item, ItemStatus, Level, Report
from agent.value import replace
from tests.unit.present.reports import CALM, FULL, Stream, shown


def table(
    report: Report = FULL, *, width: int = 80, verbosity: Verbosity = Verbosity.NORMAL, color: bool = False
) -> str:
    """Return the report as shown on a terminal of this width."""
    file = StringIO()
    console = Console(file=file, width=width, force_terminal=color, color_system="truecolor" if color else None)
    print_to(console, report, verbosity)
    return file.getvalue()


def words(text: str) -> str:
    """Return the text without white space, so that line breaks do not matter."""
    return re.sub(r"\s", "", text)


@pytest.mark.parametrize("width", [40, 80, 400])
def test_no_text_is_lost_at_any_width(width: int) -> None:
    """Long paths are folded, not cut; no line is wider than the terminal."""
    long_path = "/var/lib/rancher/k3s/server/manifests/" + "x" * 90
    report = replace(FULL, items=(*FULL.items, Item(long_path, ItemStatus.EDITED, "d" * 100, "h" * 100)))
    text = table(report, width=width)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("x") >= 90
    for finding in report.findings:
        location = str(finding.location or "")
        fix = remediation.text(finding.remediation)
        for value in (finding.id, finding.message, finding.expected, finding.found, location, fix):
            assert words(value) in words(text)


def test_each_item_is_a_row() -> None:
    """It contains status, ID, detail and fix."""
    lines = table(width=400).splitlines()
    for item in FULL.items:
        row = [str(item.status), item.id]
        place = next(n for n, line in enumerate(lines) if re.split(r"\s{2,}", line)[:2] == row)
        assert item.detail in lines[place]
        assert item.hint in lines[place + 1] if item.hint and item.detail else item.hint in lines[place]


def test_a_narrow_column_loses_no_text() -> None:
    """Every character of an item is shown."""
    report = replace(CALM, items=(Item("i" * 100, ItemStatus.CHANGED, "d" * 200, "h" * 300),))
    text = table(report)
    assert (text.count("i"), text.count("d"), text.count("h")) >= (100, 200, 300)
    body = "\n".join(text.splitlines()[1:-1])
    assert (body.count("i") - 1, body.count("d") - 1, body.count("h") - 1) == (100, 200, 300)


def test_color_only_adds_color() -> None:
    """The text is the same without color. Rich markup in host text is not interpreted."""
    report = replace(FULL, items=(*FULL.items, Item("/etc/[bold]a[/]", ItemStatus.DIFFERS, "[red]x :smile:")))
    plain, colored = table(report), table(report, color=True)
    assert "\x1b[" not in plain
    assert "\x1b[" in colored
    assert words(re.sub(r"\x1b\[[0-9;]*m", "", colored)) == words(plain)
    assert "[bold]a[/]" in plain
    assert "[red]x :smile:" in plain


def test_a_diff_is_shown_line_by_line() -> None:
    """Each line keeps its first character."""
    lines = [line.strip() for line in table().splitlines()]
    for line in ("-old", "+new", "mode 0644 → 0600"):
        assert line in lines


@pytest.mark.parametrize(("line", "code"), [("-old", 31), ("+new", 32), ("@@ -1 +1 @@", 36)])
def test_a_line_of_a_diff_has_the_color_of_its_kind(line: str, code: int) -> None:
    """The colors are from the palette of the terminal, which is readable on dark and light backgrounds."""
    assert f"\x1b[{code}m{line}\x1b[0m\n" in table(color=True)


def test_verbose_adds_facts_and_quiet_hides_compliant_and_changed_items() -> None:
    """A table shows compliant items without -v."""
    assert "k3s.service" in table(verbosity=Verbosity.VERBOSE)
    assert "k3s.service" not in table()
    assert "/etc/compliant" in table()
    quiet = table(verbosity=Verbosity.QUIET)
    for gone in ("k3s-harden apply", "/etc/compliant", "/etc/changed", "some-note"):
        assert gone not in quiet
    for there in ("/etc/edited", "/etc/kept", "sysctl-override", "some-warning", "Partially applied"):
        assert there in quiet
    assert table(CALM, verbosity=Verbosity.QUIET) == ""


def test_the_last_line_starts_with_a_mark() -> None:
    """The mark is a check mark for exit code 0, and a cross otherwise."""
    assert table(CALM).splitlines()[-1].startswith("✔ Host is compliant")
    assert "✘ Partially applied" in table()


@pytest.mark.parametrize("char", ["\x1b[2J", "\r", "\x07", "\x9b", "\u202e", "\n"])
def test_control_characters_of_host_text_are_escaped(char: str) -> None:
    """Rich does not escape most control characters."""
    hostile = f"a{char}b"
    report = Report(
        verb="check",
        writes=False,
        facts=(),
        items=(Item(hostile, ItemStatus.DIFFERS, hostile, hostile, diff=f"-{hostile}\n"),),
        findings=(
            Finding(
                "f",
                Level.ERROR,
                blocks_gate=False,
                prevents_start=False,
                message=hostile,
                found=hostile,
                remediation=Remediation((Instruction(hostile),)),
            ),
        ),
    )
    text = table(report, verbosity=Verbosity.VERBOSE)
    assert all(line.isprintable() for line in text.split("\n"))
    assert text.count(char.encode("unicode_escape").decode()) == (6 if char == "\n" else 7)


def test_a_table_in_a_pipe_has_no_color() -> None:
    """The text is the same as on a terminal."""
    piped = shown(FULL, Format.TABLE)
    assert "\x1b[" not in piped
    terminal = shown(FULL, Format.TABLE, stream=Stream(is_terminal=True))
    assert "/etc/edited" in piped
    assert "/etc/edited" in terminal
