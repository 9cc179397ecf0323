"""All formats of a report: selection, characters that a stream lacks, and the result line."""

from __future__ import annotations

from io import StringIO
from itertools import product

import pytest

from agent.errors import ExitCode
from agent.model import OwnCommand, Remediation
from agent.present import Format, Verbosity, fitting, present
from agent.present.text import result
from agent.report import GATE_VERB, Finding, Item, ItemStatus, Level, Report
from agent.value import replace
from tests.unit.present.reports import CALM, FULL, Stream, shown


def test_auto_is_a_table_on_a_terminal_and_plain_lines_elsewhere() -> None:
    """A pipe is not a terminal."""
    assert shown(FULL, Format.AUTO) == shown(FULL, Format.PLAIN)
    on_a_terminal = shown(FULL, Format.AUTO, stream=Stream(is_terminal=True))
    assert on_a_terminal == shown(FULL, Format.TABLE, stream=Stream(is_terminal=True))
    assert on_a_terminal != shown(FULL, Format.PLAIN)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "koi8-r", "euc-jp", "utf-8", "utf-16"])
@pytest.mark.parametrize("output_format", [Format.PLAIN, Format.TABLE, Format.JSON])
def test_each_encoding_of_the_stream_is_supported(encoding: str, output_format: Format) -> None:
    """Each format replaces characters that the encoding lacks."""
    report = replace(
        FULL,
        findings=(
            *FULL.findings,
            Finding("odd", Level.NOTE, blocks_gate=False, prevents_start=False, message="→ 日本 \udcff"),
        ),
    )
    text = shown(report, output_format, stream=Stream(encoding))
    assert "sysctl-override" in text
    assert "some-note" in text


def test_symbols_of_the_program_have_an_ascii_form() -> None:
    """Other characters that the stream lacks are escaped."""
    text = "a → b — c … ✔ ✘ é"
    assert fitting(text, Stream("utf-8")) == text
    assert fitting(text, Stream("ascii")) == r"a -> b - c ... + x \xe9"
    assert fitting(text, Stream("latin-1")) == "a -> b - c ... + x é"
    assert fitting(text, Stream("cp1252")) == "a -> b — c … + x é"
    assert fitting(text, StringIO()) == r"a -> b - c ... + x \xe9"
    assert fitting("→ \udc80", Stream("utf-8")) == r"→ \udc80"


APPLY = Remediation((OwnCommand("apply"),))
CODES = {
    ("check", 0): "Host is compliant, now and after the next boot",
    ("check", 3): "Host is not compliant",
    ("diff", 0): "Host is compliant, now and after the next boot",
    ("apply", 0): "Host is compliant",
    ("apply", 1): "Failed; nothing was changed",
    ("apply", 3): "Applied, but the host is not compliant",
    ("apply", 4): "Partially applied; see what is left",
    ("apply", 6): "Nothing can be changed from inside this environment",
    ("revert", 4): "Partially reverted; see what is left",
    (GATE_VERB, 0): "K3s may start",
    (GATE_VERB, 1): "K3s is blocked",
    (GATE_VERB, 3): "K3s is blocked",
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
        ("revert", [Item("/a", ItemStatus.EDITED)], 4),
        (GATE_VERB, [Item("/a", ItemStatus.EDITED)], 0),
        (GATE_VERB, [Item("/a", ItemStatus.FAILED)], 1),
        (GATE_VERB, [Item("/a", ItemStatus.DIFFERS)], 3),
    ],
)
def test_the_result_states_the_meaning_of_the_exit_code(verb: str, items: list[Item], code: int) -> None:
    """The text depends on the verb."""
    report = Report(verb=verb, writes=verb not in {"check", "diff"}, facts=(), items=tuple(items), findings=())
    assert report.exit_code == code
    assert result(report).partition(" (")[0].rstrip(".") == CODES[verb, code]


def test_every_report_has_a_result() -> None:
    """All combinations of verb, status and level have one."""
    verbs = ("apply", "check", "diff", GATE_VERB, "revert", "install", "uninstall", "service-accounts")
    for verb, status, level, blocked in product(verbs, ItemStatus, Level, (False, True)):
        items = (Item("/a", status, blocked_by_environment=blocked),)
        findings = (Finding("f", level, blocks_gate=blocked, prevents_start=False, message="m"),)
        report = Report(verb=verb, writes=verb not in {"check", "diff"}, facts=(), items=items, findings=findings)
        assert result(report)
        assert report.exit_code in {0, 1, 3, 4, 6}
        for output_format in (Format.PLAIN, Format.JSON):
            assert shown(report, output_format, Verbosity.QUIET if report.exit_code else Verbosity.NORMAL)


def test_the_result_has_counts() -> None:
    """It counts each status, errors and warnings; notes are not counted."""
    two = Finding("f", Level.ERROR, blocks_gate=False, prevents_start=False, message="m")
    assert result(replace(CALM, findings=(two, two))) == "Host is not compliant (1 compliant, 2 errors)."
    assert result(FULL).endswith("2 changed, 1 kept, 1 failed, 1 error, 1 warning).")


def test_the_result_of_a_run_without_changes_states_it() -> None:
    """Each verb that makes changes has such a result."""
    done, idle = (Item("/a", ItemStatus.CHANGED),), (Item("/a", ItemStatus.COMPLIANT),)
    words = {
        "apply": ("Host is compliant", "Host is compliant; nothing was changed"),
        "revert": ("Reverted", "Nothing to revert"),
        "install": ("Installed", "Already installed; nothing was changed"),
        "uninstall": ("Uninstalled", "Nothing to uninstall"),
        "service-accounts": ("Compliant", "Compliant; nothing was changed"),
    }
    for verb, expected in words.items():
        reports = [Report(verb=verb, writes=True, facts=(), items=items, findings=()) for items in (done, idle)]
        assert tuple(result(report).partition(" (")[0] for report in reports) == expected
    assert ExitCode.COMPLIANT.meaning


@pytest.mark.parametrize("output_format", [Format.PLAIN, Format.JSON])
def test_commands_repeat_the_host_options_of_the_run(output_format: Format) -> None:
    """The printed commands can be pasted."""
    finding = Finding("f", Level.ERROR, blocks_gate=False, prevents_start=False, message="m", remediation=APPLY)
    stream = StringIO()
    present(replace(CALM, findings=(finding,)), output_format, Verbosity.NORMAL, stream, ("--root /mnt",))
    assert "sudo k3s-harden apply --root /mnt" in stream.getvalue()


@pytest.mark.parametrize("output_format", [Format.PLAIN, Format.TABLE])
def test_an_item_with_other_content_has_the_command_that_shows_the_difference(output_format: Format) -> None:
    """The command repeats the host options of the run."""
    item = Item("/a", ItemStatus.DIFFERS, "content", shown_by=OwnCommand("diff"))
    stream = StringIO()
    present(replace(CALM, items=(item,)), output_format, Verbosity.NORMAL, stream, ("--root /mnt",))
    assert "content; `sudo k3s-harden diff --root /mnt` shows the difference" in stream.getvalue()
