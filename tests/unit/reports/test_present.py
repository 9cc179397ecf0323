"""All formats of a report: selection, characters that a stream lacks, the result line, and the plain lines."""

from __future__ import annotations

from io import StringIO
from itertools import product
from pathlib import PurePosixPath

import pytest

from agent.base.model import Location
from agent.base.repair import Instruction, Repair, Run, RunVerb
from agent.base.report import GATE_VERB, Finding, Item, ItemStatus, Level, NextStep, Report, Wording
from agent.base.value import replace
from agent.reports import present
from agent.reports.formats import Format, Verbosity, fitting
from agent.reports.repair_texts import Caller, called_by
from agent.reports.text import result
from tests.unit.reports.reports import CALM, FULL, Stream, hostile, shown


def test_auto_is_a_table_on_a_terminal_and_plain_lines_elsewhere() -> None:
    assert shown(FULL, Format.AUTO) == shown(FULL, Format.PLAIN)
    on_a_terminal = shown(FULL, Format.AUTO, stream=Stream(is_terminal=True))
    assert on_a_terminal == shown(FULL, Format.TABLE, stream=Stream(is_terminal=True))
    assert on_a_terminal != shown(FULL, Format.PLAIN)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "koi8-r", "euc-jp", "utf-8", "utf-16"])
@pytest.mark.parametrize("output_format", [Format.PLAIN, Format.TABLE, Format.JSON])
def test_each_encoding_of_the_stream_is_supported(encoding: str, output_format: Format) -> None:
    odd = FULL.findings[-1]._replace(id="odd", message="→ 日本 \udcff")
    text = shown(replace(FULL, findings=(*FULL.findings, odd)), output_format, stream=Stream(encoding))
    assert "sysctl-override" in text
    assert "some-note" in text


def test_symbols_of_the_program_have_an_ascii_form() -> None:
    text = "a → b — c … ✔ ✘ é"
    assert fitting(text, Stream("utf-8")) == text
    assert fitting(text, Stream("ascii")) == r"a -> b - c ... + x \xe9"
    assert fitting(text, Stream("latin-1")) == "a -> b - c ... + x é"
    assert fitting(text, Stream("cp1252")) == "a -> b — c … + x é"
    assert fitting(text, StringIO()) == r"a -> b - c ... + x \xe9"
    assert fitting("→ \udc80", Stream("utf-8")) == r"→ \udc80"


APPLY = Repair((RunVerb("apply"),))


def on_a_tree() -> Caller:
    return Caller(options=("--root /mnt",))


COMPLIANT, NOT = "Host is compliant with the guide, now and after the next boot", "Host is not compliant"
BLOCKED = "K3s is blocked"


@pytest.mark.parametrize(
    ("verb", "items", "code", "words"),
    [
        ("check", [Item("/a", ItemStatus.COMPLIANT)], 0, COMPLIANT),
        ("check", [Item("/a", ItemStatus.DIFFERS)], 3, NOT),
        ("diff", [], 0, COMPLIANT),
        ("apply", [Item("/a", ItemStatus.CHANGED)], 0, "Host is compliant with the guide"),
        ("apply", [Item("/a", ItemStatus.FAILED)], 1, "Failed; nothing was changed"),
        ("apply", [Item("/a", ItemStatus.DIFFERS)], 3, f"{NOT}; nothing was changed"),
        ("apply", [Item("/a", ItemStatus.REFUSED)], 1, "Failed; nothing was changed"),
        ("apply", [Item("/a", ItemStatus.EDITED)], 4, "Partially applied; see what is left"),
        (
            "apply",
            [Item("/a", ItemStatus.FAILED, blocked_by_environment=True)],
            6,
            "Nothing was changed; this environment does not allow it",
        ),
        (GATE_VERB, [Item("/a", ItemStatus.EDITED)], 0, "K3s may start"),
        (GATE_VERB, [Item("/a", ItemStatus.FAILED)], 1, BLOCKED),
        (GATE_VERB, [Item("/a", ItemStatus.DIFFERS)], 3, BLOCKED),
    ],
)
def test_the_result_states_the_meaning_of_the_exit_code(verb: str, items: list[Item], code: int, words: str) -> None:
    report = Report(verb=verb, writes=verb not in {"check", "diff"}, facts=(), items=tuple(items), findings=())
    assert report.exit_code == code
    assert result(report).partition(" (")[0].rstrip(".") == words


def test_every_report_has_a_result() -> None:
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
    two = Finding("f", Level.ERROR, blocks_gate=False, prevents_start=False, message="m")
    fatal = two._replace(prevents_start=True)
    assert result(replace(CALM, findings=(two, two))) == "Host is not compliant (2 problems, 1 compliant)."
    assert "(2 problems, 1 of them prevents K3s from starting, 1 c" in result(replace(CALM, findings=(two, fatal)))
    assert "(1 problem that prevents K3s from starting, 1 c" in result(replace(CALM, findings=(fatal,)))
    assert result(FULL).endswith("(5 problems, 1 warning, 2 changed, 1 kept, 1 compliant).")


def test_a_difference_and_its_findings_are_one_problem() -> None:
    differs = Item("/a", ItemStatus.DIFFERS, "mode 0755 → 0700")
    loose = Finding("f", Level.ERROR, blocks_gate=True, prevents_start=False, message="m", resource="/a")
    elsewhere = loose._replace(resource="")
    report = replace(CALM, items=(*CALM.items, differs), findings=(loose, loose._replace(id="g"), elsewhere))
    assert result(report) == "Host is not compliant (2 problems, 1 compliant)."
    (line,) = [line for line in shown(report).splitlines() if line.startswith("differs")]
    assert line == "differs /a: mode 0755 → 0700; error f: m; error g: m"
    assert shown(report, Format.TABLE).count("/a") == 1


def test_what_apply_fixes_in_a_file_that_differs_is_the_same_problem() -> None:
    differs, at = Item("/a", ItemStatus.DIFFERS, "content"), Location(PurePosixPath("/a"), 3)
    by_apply = Repair((RunVerb("apply"),))
    finding = Finding("f", Level.ERROR, True, False, "m", location=at, repair=by_apply)
    first = Repair((Run("sudo rm /b"), *by_apply.steps))
    same, other = (
        replace(CALM, items=(differs,), findings=(finding._replace(repair=repair),)) for repair in (by_apply, first)
    )
    assert ("(1 problem)" in result(same), "(2 problems)" in result(other)) == (True, True)


def test_the_most_urgent_problems_come_first() -> None:
    calm = Finding("w", Level.WARNING, blocks_gate=False, prevents_start=False, message="m")
    findings = (
        calm,
        calm._replace(id="e", level=Level.ERROR),
        calm._replace(id="s", prevents_start=True),
        calm._replace(id="n", level=Level.NOTE),
    )
    items = (Item("/b", ItemStatus.DIFFERS), Item("/c", ItemStatus.CHANGED), Item("/e", ItemStatus.EDITED))
    lines = shown(replace(CALM, items=items, findings=findings)).splitlines()[1:-1]
    assert [line.split(":")[0] for line in lines] == [
        *("changed /c", "warning s", "differs /b", "edited /e", "error e", "warning w", "note n")
    ]


def test_the_result_is_worded_by_the_verb() -> None:
    wording = Wording("every change was undone", "Reverted", "Nothing to revert", "reverted")
    for status, expected in (
        (ItemStatus.CHANGED, "Reverted"),
        (ItemStatus.COMPLIANT, "Nothing to revert"),
        (ItemStatus.EDITED, "Partially reverted; see what is left"),
    ):
        report = Report("revert", writes=True, facts=(), items=(Item("/a", status),), findings=(), wording=wording)
        assert result(report).partition(" (")[0].rstrip(".") == expected


@pytest.mark.parametrize("output_format", [Format.PLAIN, Format.JSON])
def test_commands_repeat_the_host_options_of_the_run(output_format: Format) -> None:
    stream = StringIO()
    finding = FULL.findings[0]._replace(repair=APPLY)
    with called_by(on_a_tree):
        present(replace(CALM, findings=(finding,)), output_format, Verbosity.NORMAL, stream)
    assert "sudo k3s-harden apply --root /mnt" in stream.getvalue()


@pytest.mark.parametrize("verbosity", [Verbosity.NORMAL, Verbosity.VERBOSE])
@pytest.mark.parametrize("output_format", [Format.PLAIN, Format.TABLE])
def test_a_report_ends_with_the_next_steps(output_format: Format, verbosity: Verbosity) -> None:
    steps = (NextStep(Instruction("look at /a")), NextStep(RunVerb("apply"), "apply the hardening"))
    stream = StringIO()
    with called_by(on_a_tree):
        present(replace(CALM, next_steps=steps), output_format, verbosity, stream)
    last = stream.getvalue().partition("Host is compliant")[2].splitlines()[1:]
    assert last == (
        ["next 1: look at /a", "next 2: apply the hardening: sudo k3s-harden apply --root /mnt"]
        if output_format is Format.PLAIN
        else [
            *("", "Next steps", "  1. look at /a", "  2. apply the hardening:"),
            "     sudo k3s-harden apply --root /mnt",
        ]
    )


@pytest.mark.parametrize("output_format", [Format.PLAIN, Format.TABLE])
def test_quiet_prints_only_the_result(output_format: Format) -> None:
    for report in (FULL, CALM):
        text = shown(report, output_format, Verbosity.QUIET)
        assert text in {f"{mark}{result(report)}\n" for mark in ("✔ ", "✘ ", f"result {int(report.exit_code)}: ")} or (
            output_format is Format.TABLE and " ".join(text.split()).endswith(result(report))
        )
    assert shown(FULL, Format.JSON, Verbosity.QUIET) == shown(FULL, Format.JSON)


def test_verbose_adds_facts() -> None:
    lines = shown(FULL, verbosity=Verbosity.VERBOSE).splitlines()
    added = ["fact role: server (k3s.service)", "fact K3s version: v1.34.1+k3s1 (/usr/local/bin/k3s --version)"]
    assert lines[1:3] == added
    assert [line for line in lines if line not in added] == shown(FULL).splitlines()


def test_an_empty_report_has_title_and_result() -> None:
    nothing = Report(verb="revert", writes=True, facts=(), items=(), findings=())
    assert shown(nothing) == "k3s-harden revert\nresult 0: Host is compliant with the guide; nothing was changed.\n"


@pytest.mark.parametrize("char", ["\n", "\r", "\x1b[2J", "\x07", "\x85", "\u2028", "\u202e", "\x9b", "\udc80", "\0"])
def test_host_text_cannot_forge_lines_or_control_the_terminal(char: str) -> None:
    """File names and contents are untrusted."""
    text = shown(hostile(f"a{char}result 0: compliant"), verbosity=Verbosity.VERBOSE)
    assert len(text.splitlines()) == 5
    assert all(line.isprintable() for line in text.split("\n"))
    assert [line for line in text.splitlines() if line.startswith("result ")] == [
        "result 3: Host is not compliant (2 problems)."
    ]
