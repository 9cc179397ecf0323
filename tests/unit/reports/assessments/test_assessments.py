"""All formats of an assessment: selection, hostile text, and shared texts."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given

from agent.assess.assessment import Assessment, ControlStatus, Note
from agent.base.repair import Instruction, Repair, Run, RunVerb
from agent.base.report import NextStep
from agent.base.times import timestamp
from agent.base.value import replace
from agent.reports.assessments import assessment_text, present_assessment
from agent.reports.assessments.common import (
    assessment_result,
    cleaned,
    section_title,
    short_result,
)
from agent.reports.formats import Format, Verbosity
from agent.reports.repair_texts import Caller, called_by
from tests.unit.reports.assessments.samples import CALM, FAILS, FULL, NOTHING, WAIVED, WHEN, WHEN_IN_WORDS, hostile
from tests.unit.reports.reports import Stream

FORMATS = [output_format for output_format in Format if output_format is not Format.AUTO]


def shown(assessment: Assessment, output_format: Format, stream: Stream) -> str:
    present_assessment(assessment, output_format, Verbosity.NORMAL, stream)
    return stream.text


def test_auto_is_a_table_on_a_terminal_and_plain_lines_elsewhere() -> None:
    assert shown(FULL, Format.AUTO, Stream()) == assessment_text(FULL, Format.PLAIN)
    assert assessment_text(FULL, Format.AUTO) == assessment_text(FULL, Format.PLAIN)
    on_a_terminal = shown(FULL, Format.AUTO, Stream(is_terminal=True))
    assert on_a_terminal == shown(FULL, Format.TABLE, Stream(is_terminal=True))
    assert on_a_terminal != assessment_text(FULL, Format.PLAIN)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "euc-jp", "utf-8", "utf-16"])
@pytest.mark.parametrize("output_format", FORMATS)
def test_each_encoding_of_the_stream_is_supported(encoding: str, output_format: Format) -> None:
    assessment = replace(FULL, verdicts=(FAILS._replace(found="é 日本"), *FULL.verdicts))
    assert ("node-1" if output_format is Format.CKLB else "pki-certificate-mode") in shown(
        assessment, output_format, Stream(encoding)
    )


@pytest.mark.parametrize("output_format", FORMATS)
def test_no_format_has_a_secret_in_a_next_step(output_format: Format) -> None:
    steps = (
        NextStep(RunVerb("apply", ("--set", "x-token=hunter2")), "a token=hunter2"),
        NextStep(Run("env K3S_TOKEN=hunter2 sh"), "p"),
        NextStep(Instruction("set password=hunter2")),
    )
    assert "hunter2" not in assessment_text(replace(FULL, next_steps=steps), output_format)


@given(assessment=hostile())
def test_cleaning_is_idempotent_and_keeps_printable_text(assessment: Assessment) -> None:
    assert cleaned(FULL) == FULL
    once = cleaned(assessment)
    assert cleaned(once) == once
    assert [verdict.status for verdict in once.verdicts] == [verdict.status for verdict in assessment.verdicts]


def test_sections_and_controls_are_in_the_order_of_their_numbers() -> None:
    """1.2.10 comes after 1.2.9; controls beyond the benchmark come last."""
    sections = FULL.sections
    assert list(sections) == ["1.1", "1.2", "2", "4.2", "5.1", ""]
    numbers = [control.number.text for inside in sections.values() for control in inside if control.number]
    assert numbers == ["1.1.1", "1.1.20", "1.2.1", "1.2.10", "2.2", "4.2.4", "4.2.9", "5.1.1"]
    assert [verdict.control.id for verdict in sections[""]] == [
        "sysctl-precedence",
        "vm.panic_on_oom",
        "server-directory",
    ]


def test_a_section_without_a_title_has_its_number() -> None:
    assert section_title("1.2") == "1.2 API server"
    assert section_title("9.9") == "9.9"
    assert section_title("") == "The host, beyond the benchmark"


ONE, IT = replace(CALM, verdicts=(FAILS,)), frozenset({FAILS.control.id})
_OTHERS = "1 PASS, 1 WAIVED, 1 NOT_APPLICABLE, 1 MANUAL; beyond the benchmark 2 PASS"


@pytest.mark.parametrize(
    ("assessment", "words"),
    [
        (FULL, f"5 open controls (3 FAIL, 2 UNKNOWN), 1 of them beyond the benchmark; {_OTHERS}."),
        (CALM, "No open controls; 1 PASS, 1 NOT_APPLICABLE; beyond the benchmark 1 PASS."),
        (NOTHING, "No open controls."),
        (ONE, "1 open control (1 FAIL)."),
        (
            replace(CALM, known=frozenset()),
            "No new open controls; 1 PASS, 1 NOT_APPLICABLE; beyond the benchmark 1 PASS.",
        ),
        (replace(ONE, known=IT), "No new open controls, 1 in the baseline (1 FAIL)."),
        (replace(ONE, known=frozenset()), "1 new open control (1 FAIL)."),
        (
            replace(ONE, known=frozenset(), not_in_baseline=IT),
            "No new open controls, 1 that the baseline does not have (1 FAIL).",
        ),
    ],
)
def test_the_result_counts_open_controls(assessment: Assessment, words: str) -> None:
    assert assessment_result(assessment) == words


def test_the_short_result_leaves_out_what_is_not_open_beyond_the_benchmark() -> None:
    """A table has a line for these controls, and its result fits 80 columns."""
    words = "5 open controls (3 FAIL, 2 UNKNOWN); 1 PASS, 1 WAIVED, 1 NOT_APPLICABLE, 1 MANUAL."
    assert short_result(FULL) == words
    assert words in assessment_text(FULL, Format.TABLE).splitlines()[-1]


def test_the_options_of_the_run_are_in_every_command() -> None:
    """This includes the notes, because a command without --root would change this machine."""
    note = Note("K3s does not start", None, Repair((RunVerb("apply"),)), prevents_start=True)
    with called_by(lambda: Caller(options=("--root /mnt",))):
        assert "fix: sudo k3s-harden apply --root /mnt\n" in assessment_text(replace(FULL, notes=(note,)), Format.PLAIN)


def test_a_waiver_has_reason_expiry_and_location() -> None:
    assert WAIVED.waiver
    where = "/etc/k3s-harden/waivers.yaml:3"
    assert WAIVED.waiver.line == f"the vendor's agent reads it (expires 2027-06-30, {where})"
    assert WAIVED.waiver._replace(expires="", location=None).line == "the vendor's agent reads it (does not expire)"


@pytest.mark.parametrize("output_format", [found for found in FORMATS if found is not Format.OPENMETRICS])
def test_each_format_has_the_approver_of_a_waiver(output_format: Format) -> None:
    """Metrics have no texts of people."""
    assert WAIVED.waiver
    verdict = WAIVED._replace(waiver=WAIVED.waiver._replace(approved_by="Ann"))
    report = assessment_text(replace(FULL, verdicts=(verdict,)), output_format, Verbosity.VERBOSE)
    assert any(text in report for text in ("approved by Ann", '"approved_by": "Ann"', ">Ann</td>"))


def test_a_timestamp_is_in_utc() -> None:
    assert timestamp(WHEN) == WHEN_IN_WORDS
    assert datetime.fromisoformat(WHEN_IN_WORDS.replace("Z", "+00:00")) == datetime.fromtimestamp(
        int(WHEN), timezone.utc
    )


def test_the_sample_has_every_status() -> None:
    assert {verdict.status for verdict in FULL.verdicts} == set(ControlStatus)
