"""The report on a terminal: everything is there at 80 columns, with or without colour."""

from __future__ import annotations

import re
from io import StringIO

import pytest
from rich.console import Console

from agent.present import Format, Verbosity
from agent.present.table import print_to
from agent.report import Finding, Item, ItemStatus, Level, Report
from tests.unit.present.reports import CALM, FULL, Stream, shown


def table(
    report: Report = FULL, *, width: int = 80, verbosity: Verbosity = Verbosity.NORMAL, colour: bool = False
) -> str:
    """The report on a terminal of this width."""
    file = StringIO()
    console = Console(file=file, width=width, force_terminal=colour, color_system="truecolor" if colour else None)
    print_to(console, report, verbosity)
    return file.getvalue()


def words(text: str) -> str:
    """The text without its line breaks and gaps, so that it does not matter where it was broken."""
    return re.sub(r"\s", "", text)


@pytest.mark.parametrize("width", [40, 80, 400])
def test_everything_is_there_at_any_width(width: int) -> None:
    """Long paths are broken, not cut; no line is wider than the terminal."""
    long_path = "/var/lib/rancher/k3s/server/manifests/" + "x" * 90
    report = FULL._replace(items=(*FULL.items, Item(long_path, ItemStatus.EDITED, "d" * 100, "h" * 100)))
    text = table(report, width=width)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("x") >= 90
    for finding in report.findings:
        for value in (finding.id, finding.message, finding.wanted, finding.found, finding.where, finding.remedy):
            assert words(value) in words(text)


def test_each_item_is_a_row() -> None:
    """With its status, detail and hint, where the terminal is wide enough for that."""
    lines = table(width=400).splitlines()
    for item in FULL.items:
        row = [str(item.status), item.id]
        place = next(n for n, line in enumerate(lines) if re.split(r"\s{2,}", line)[:2] == row)
        assert item.detail in lines[place]
        assert item.hint in lines[place + 1] if item.hint and item.detail else item.hint in lines[place]


def test_nothing_of_a_narrow_column_is_lost() -> None:
    """Of each item all characters come out, in their order, one column at a time."""
    report = CALM._replace(items=(Item("i" * 100, ItemStatus.CHANGED, "d" * 200, "h" * 300),))
    text = table(report)
    assert (text.count("i"), text.count("d"), text.count("h")) >= (100, 200, 300)
    body = "\n".join(text.splitlines()[1:-1])
    assert (body.count("i"), body.count("d") - 1, body.count("h") - 1) == (100, 200, 300)


def test_colour_only_adds_colour() -> None:
    """A terminal without it shows the same text; brackets in it are text, and no markup."""
    report = FULL._replace(items=(*FULL.items, Item("/etc/[bold]a[/]", ItemStatus.DIFFERS, "[red]x :smile:")))
    plain, coloured = table(report), table(report, colour=True)
    assert "\x1b[" not in plain
    assert "\x1b[" in coloured
    assert words(re.sub(r"\x1b\[[0-9;]*m", "", coloured)) == words(plain)
    assert "[bold]a[/]" in plain
    assert "[red]x :smile:" in plain


def test_a_diff_is_shown_line_by_line() -> None:
    """With its signs in front."""
    lines = [line.strip() for line in table().splitlines()]
    for line in ("-old", "+new", "mode 0644 → 0600"):
        assert line in lines


@pytest.mark.parametrize(("line", "code"), [("-old", 31), ("+new", 32), ("@@ -1 +1 @@", 36)])
def test_a_line_of_a_diff_has_the_colour_of_its_sign(line: str, code: int) -> None:
    """Colours of the terminal's own palette, which are to be read on a dark ground and on a light one."""
    assert f"\x1b[{code}m{line}\x1b[0m\n" in table(colour=True)


def test_verbose_adds_facts_and_quiet_takes_away_what_is_well() -> None:
    """On a terminal, what is compliant is shown without asking: a person wants to see what was looked at."""
    assert "k3s.service" in table(verbosity=Verbosity.VERBOSE)
    assert "k3s.service" not in table()
    assert "/etc/as-wanted" in table()
    quiet = table(verbosity=Verbosity.QUIET)
    for gone in ("k3s-harden apply", "/etc/as-wanted", "/etc/changed", "some-note"):
        assert gone not in quiet
    for there in ("/etc/edited", "/etc/kept", "sysctl-override", "some-warning", "partly applied"):
        assert there in quiet
    assert table(CALM, verbosity=Verbosity.QUIET) == ""


def test_the_last_line_says_whether_all_is_well() -> None:
    """By a sign that is seen at once."""
    assert table(CALM).splitlines()[-1].startswith("✔ compliant")
    assert "✘ partly applied" in table()


@pytest.mark.parametrize("char", ["\x1b[2J", "\r", "\x07", "\x9b", "\u202e", "\n"])
def test_nothing_found_on_a_host_moves_the_cursor(char: str) -> None:
    """It is shown as an escape; Rich lets most of it through."""
    hostile = f"a{char}b"
    report = Report(
        verb="check",
        writes=False,
        facts=(),
        items=(Item(hostile, ItemStatus.DIFFERS, hostile, hostile, diff=f"-{hostile}\n"),),
        findings=(Finding("f", Level.ERROR, blocks_gate=False, message=hostile, found=hostile, remedy=hostile),),
    )
    text = table(report, verbosity=Verbosity.VERBOSE)
    assert all(line.isprintable() for line in text.split("\n"))
    assert text.count(char.encode("unicode_escape").decode()) == (6 if char == "\n" else 7)


def test_a_table_can_be_asked_for_in_a_pipe() -> None:
    """Without colour then, and with the same words as on a terminal."""
    piped = shown(FULL, Format.TABLE)
    assert "\x1b[" not in piped
    terminal = shown(FULL, Format.TABLE, stream=Stream(is_terminal=True))
    assert "/etc/edited" in piped
    assert "/etc/edited" in terminal
