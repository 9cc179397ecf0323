"""Which presenter is chosen, and what becomes of characters that a stream cannot take."""

from __future__ import annotations

from io import StringIO
from itertools import product

import pytest

from agent.errors import ExitCode
from agent.present import Format, Verbosity, fitting
from agent.present.wording import verdict
from agent.report import GATE_VERB, Finding, Item, ItemStatus, Level, Report
from tests.unit.present.reports import CALM, FULL, Stream, shown


def test_auto_is_a_table_on_a_terminal_and_plain_lines_elsewhere() -> None:
    """A pipe and a journal are no terminals."""
    assert shown(FULL, Format.AUTO) == shown(FULL, Format.PLAIN)
    on_a_terminal = shown(FULL, Format.AUTO, stream=Stream(is_terminal=True))
    assert on_a_terminal == shown(FULL, Format.TABLE, stream=Stream(is_terminal=True))
    assert on_a_terminal != shown(FULL, Format.PLAIN)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "koi8-r", "euc-jp", "utf-8", "utf-16"])
@pytest.mark.parametrize("wanted", [Format.PLAIN, Format.TABLE, Format.JSON])
def test_no_encoding_is_an_error(encoding: str, wanted: Format) -> None:
    """What it lacks is replaced, in each format; nothing is lost or added."""
    report = FULL._replace(
        findings=(*FULL.findings, Finding("odd", Level.NOTE, blocks_gate=False, message="→ 日本 \udcff"))
    )
    text = shown(report, wanted, stream=Stream(encoding))
    assert "sysctl-override" in text
    assert "some-note" in text


def test_our_own_signs_have_a_plain_form() -> None:
    """Where the stream cannot take them; others become escapes, and what it can take stays as it is."""
    text = "a → b — c … ✔ ✘ é"
    assert fitting(text, Stream("utf-8")) == text
    assert fitting(text, Stream("ascii")) == r"a -> b - c ... + x \xe9"
    assert fitting(text, Stream("latin-1")) == "a -> b - c ... + x é"
    assert fitting(text, Stream("cp1252")) == "a -> b — c … + x é"
    assert fitting(text, StringIO()) == r"a -> b - c ... + x \xe9"
    assert fitting("→ \udc80", Stream("utf-8")) == r"→ \udc80"


CODES = {
    ("check", 0): "compliant, now and at the next boot",
    ("check", 3): "not as wanted",
    ("diff", 0): "compliant, now and at the next boot",
    ("apply", 0): "compliant",
    ("apply", 1): "an error; nothing was changed",
    ("apply", 3): "applied, but not as wanted: see the errors",
    ("apply", 4): "partly applied: see what is left",
    ("apply", 6): "cannot be changed from inside this environment",
    (GATE_VERB, 0): "K3s may start",
}


@pytest.mark.parametrize(
    ("verb", "items", "code"),
    [
        ("check", [Item("/a", ItemStatus.COMPLIANT)], 0),
        ("check", [Item("/a", ItemStatus.DIFFERS)], 3),
        ("diff", [], 0),
        ("apply", [Item("/a", ItemStatus.CHANGED)], 0),
        ("apply", [Item("/a", ItemStatus.FAILED)], 1),
        ("apply", [Item("/a", ItemStatus.DIFFERS)], 3),
        ("apply", [Item("/a", ItemStatus.REFUSED)], 1),
        ("apply", [Item("/a", ItemStatus.EDITED)], 4),
        ("apply", [Item("/a", ItemStatus.FAILED, blocked_by_environment=True)], 6),
        (GATE_VERB, [Item("/a", ItemStatus.EDITED)], 0),
    ],
)
def test_the_verdict_goes_by_the_exit_code(verb: str, items: list[Item], code: int) -> None:
    """Its words say what the number means for this verb."""
    report = Report(verb=verb, writes=verb not in {"check", "diff"}, facts=(), items=tuple(items), findings=())
    assert report.exit_code == code
    assert verdict(report).partition(" (")[0] == CODES[verb, code]


def test_every_report_has_a_verdict() -> None:
    """Whatever the verb, the items and the findings."""
    verbs = ("apply", "check", "diff", GATE_VERB, "revert", "install", "uninstall", "service-accounts")
    for verb, status, level, blocked in product(verbs, ItemStatus, Level, (False, True)):
        items = (Item("/a", status, blocked_by_environment=blocked),)
        findings = (Finding("f", level, blocks_gate=blocked, message="m"),)
        report = Report(verb=verb, writes=verb not in {"check", "diff"}, facts=(), items=items, findings=findings)
        assert verdict(report)
        assert report.exit_code in {0, 1, 3, 4, 6}
        for wanted in (Format.PLAIN, Format.JSON):
            assert shown(report, wanted, Verbosity.QUIET if report.exit_code else Verbosity.NORMAL)


def test_the_verdict_counts() -> None:
    """Each status, errors and warnings, in the right number of words; notes are not worth counting."""
    two = Finding("f", Level.ERROR, blocks_gate=False, message="m")
    assert verdict(CALM._replace(findings=(two, two))) == "not as wanted (1 compliant, 2 errors)"
    assert verdict(FULL).endswith("2 changed, 1 kept, 1 failed, 1 error, 1 warning)")


def test_an_apply_with_nothing_to_do_says_so() -> None:
    """As do revert and uninstall, in their own words."""
    done, idle = (Item("/a", ItemStatus.CHANGED),), (Item("/a", ItemStatus.COMPLIANT),)
    words = {
        "apply": ("compliant", "compliant; nothing was changed"),
        "revert": ("undone", "nothing to undo"),
        "uninstall": ("taken away", "nothing to take away"),
    }
    for verb, expected in words.items():
        reports = [Report(verb=verb, writes=True, facts=(), items=items, findings=()) for items in (done, idle)]
        assert tuple(verdict(report).partition(" (")[0] for report in reports) == expected
    assert ExitCode.COMPLIANT.meaning
