"""The table of a report at any width, with and without color."""

from __future__ import annotations

import re
from io import StringIO

import pytest
from rich.console import Console

from agent.base.repair import Instruction, Repair
from agent.base.report import Item, ItemStatus, NextStep, Report
from agent.base.value import replace
from agent.reports import repair_texts
from agent.reports.assessments.table_assessment import _STYLE
from agent.reports.formats import Format, Verbosity
from agent.reports.table_report import _DIFF_STYLE, _LEVEL_STYLE, _STATUS_STYLE, print_report
from tests.unit.reports.reports import CALM, FULL, hostile, shown, words


def table(
    report: Report = FULL, *, width: int = 80, verbosity: Verbosity = Verbosity.NORMAL, color: bool = False
) -> str:
    file = StringIO()
    console = Console(file=file, width=width, force_terminal=color, color_system="truecolor" if color else None)
    print_report(console, report, verbosity)
    return file.getvalue()


@pytest.mark.parametrize("width", [40, 80, 400])
def test_everything_is_there_at_any_width(width: int) -> None:
    long_path = "/var/lib/rancher/k3s/server/manifests/" + "x" * 20 + "/xyz" * 20
    report = replace(
        FULL, items=(*FULL.items, Item(long_path, ItemStatus.EDITED, "d " * 50, Repair((Instruction("h " * 50),))))
    )
    text = table(report, width=width)
    assert max(map(len, text.splitlines())) <= width
    assert words(long_path) in words(text)
    lines = [line.rstrip() for line in text.splitlines()]
    assert all(line.endswith("/") for line in lines if "/xyz" in line and long_path not in line and line[-3:] != "xyz")
    for finding in report.findings:
        location = str(finding.location or "")
        fix = repair_texts.text(finding.repair)
        for value in (finding.id, finding.message, finding.expected, finding.found, location, fix):
            assert words(value) in words(text)


def test_a_terminal_of_no_columns_has_the_usual_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    usual = shown(FULL, Format.TABLE)
    monkeypatch.setenv("COLUMNS", "0")
    assert shown(FULL, Format.TABLE) == usual


@pytest.mark.parametrize("width", [40, 60, 79, 80, 120, 200])
def test_details_are_beside_or_below_their_object(width: int) -> None:
    finding = FULL.findings[0]._replace(message="m")
    lines = table(replace(FULL, items=(), findings=(finding,)), width=width).splitlines()
    place = lines.index(next(line for line in lines if line.startswith("error")))
    indent = len(lines[place + 1]) - len(lines[place + 1].lstrip())
    assert indent == (2 if width < 80 else 11)


def test_color_only_adds_color() -> None:
    """The text is the same without color. Rich markup in host text is not interpreted."""
    report = replace(FULL, items=(*FULL.items, Item("/etc/[bold]a[/]", ItemStatus.DIFFERS, "[red]x :smile:")))
    plain, colored = table(report), table(report, color=True)
    assert "\x1b[" not in plain
    assert "\x1b[" in colored
    assert words(re.sub(r"\x1b\[[0-9;]*m", "", colored)) == words(plain)
    assert "[bold]a[/]" in plain
    assert "[red]x :smile:" in plain


@pytest.mark.parametrize(("line", "code"), [("-old", 31), ("+new", 32), ("@@ -1 +1 @@", 36)])
def test_a_line_of_a_diff_has_the_color_of_its_kind(line: str, code: int) -> None:
    """The colors are from the palette of the terminal, which is readable on dark and light backgrounds."""
    assert f"\x1b[{code}m{line}\x1b[0m\n" in table(color=True)


def test_fixes_are_listed_once() -> None:
    """They are in the next steps, if there are any. -v also shows them below each problem."""
    report = replace(FULL, next_steps=(NextStep(Instruction("remove it in /etc/sysctl.conf:3")),))
    assert "fix: tighten it" in table()
    assert "fix: " not in table(report)
    assert "fix: tighten it" in table(report, verbosity=Verbosity.VERBOSE)


@pytest.mark.parametrize("style", ["yellow", "blue", "bright", "white", "black"])
def test_no_style_vanishes_on_a_light_or_dark_background(style: str) -> None:
    """The palette of a terminal fits its background, except for these."""
    styles = (*_STATUS_STYLE.values(), *_LEVEL_STYLE.values(), *_DIFF_STYLE.values(), *_STYLE.values())
    assert not [style_ for style_ in styles if style in style_]


def test_a_compliant_host_has_a_mark_and_the_number_of_its_items() -> None:
    assert "\n1 compliant item; -v lists it\n" in table(CALM)
    assert table(CALM).splitlines()[-1].startswith("✔ Host is compliant")


@pytest.mark.parametrize("char", ["\x1b[2J", "\r", "\x07", "\x9b", "\u202e", "\n"])
def test_control_characters_of_host_text_are_escaped(char: str) -> None:
    """Rich does not escape most control characters."""
    text = table(hostile(f"a{char}b"), verbosity=Verbosity.VERBOSE)
    assert all(line.isprintable() for line in text.split("\n"))
    assert text.count(char.encode("unicode_escape").decode()) == (7 if char == "\n" else 8)
