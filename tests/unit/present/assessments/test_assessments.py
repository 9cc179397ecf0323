"""Which presenter is chosen, and what becomes of text that other people wrote."""

from __future__ import annotations

from datetime import datetime, timezone
from io import BytesIO

import pytest
from hypothesis import given

from agent.assess.assessment import Assessment, ControlStatus
from agent.present import Verbosity
from agent.present.assessments import AssessmentFormat, as_text, present
from agent.present.assessments.common import by_section, cleaned, conclusion, section_title, timestamp, title, waived
from tests.unit.present.assessments.samples import (
    CALM,
    COMPARED,
    FAILS,
    FULL,
    NOTHING,
    WAIVED,
    WHEN,
    WHEN_IN_WORDS,
    hostile,
)
from tests.unit.present.reports import Stream

FORMATS = [wanted for wanted in AssessmentFormat if wanted is not AssessmentFormat.AUTO]


def shown(assessment: Assessment, wanted: AssessmentFormat, stream: Stream) -> str:
    """What a presenter writes, as its reader sees it."""
    present(assessment, wanted, Verbosity.NORMAL, stream)
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, BytesIO)
    return buffer.getvalue().decode(stream.encoding)


def test_auto_is_a_table_on_a_terminal_and_plain_lines_elsewhere() -> None:
    """A pipe, a journal and a file are no terminals."""
    assert shown(FULL, AssessmentFormat.AUTO, Stream()) == as_text(FULL, AssessmentFormat.PLAIN)
    assert as_text(FULL, AssessmentFormat.AUTO) == as_text(FULL, AssessmentFormat.PLAIN)
    on_a_terminal = shown(FULL, AssessmentFormat.AUTO, Stream(is_terminal=True))
    assert on_a_terminal == shown(FULL, AssessmentFormat.TABLE, Stream(is_terminal=True))
    assert on_a_terminal != as_text(FULL, AssessmentFormat.PLAIN)


@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize("assessment", [FULL, CALM, NOTHING, COMPARED])
def test_each_format_is_lines_and_the_same_each_time(wanted: AssessmentFormat, assessment: Assessment) -> None:
    """The last one is ended; nothing in it depends on when or where it is written."""
    text = as_text(assessment, wanted)
    assert text.endswith("\n")
    assert text == as_text(assessment, wanted)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "euc-jp", "utf-8", "utf-16"])
@pytest.mark.parametrize("wanted", FORMATS)
def test_no_encoding_is_an_error(encoding: str, wanted: AssessmentFormat) -> None:
    """What it lacks is replaced, in each format."""
    assessment = FULL._replace(verdicts=(FAILS._replace(found="é 日本"), *FULL.verdicts))
    assert "pki-certificate-mode" in shown(assessment, wanted, Stream(encoding))


@pytest.mark.parametrize(
    "wanted",
    [
        AssessmentFormat.JSON,
        AssessmentFormat.KUBE_BENCH,
        AssessmentFormat.JUNIT,
        AssessmentFormat.SARIF,
        AssessmentFormat.OPENMETRICS,
    ],
)
@given(assessment=hostile())
def test_what_programs_read_is_ascii(wanted: AssessmentFormat, assessment: Assessment) -> None:
    """No stream's encoding can then make it anything else than what it says it is."""
    assert as_text(assessment, wanted).isascii()


@pytest.mark.parametrize("wanted", FORMATS)
@given(assessment=hostile())
def test_no_format_has_what_a_terminal_would_obey(wanted: AssessmentFormat, assessment: Assessment) -> None:
    """Paths and contents are other people's."""
    lines = as_text(assessment, wanted).split("\n")
    assert [line for line in lines if not line.isprintable()] == []


@given(assessment=hostile())
def test_cleaning_leaves_nothing_to_clean(assessment: Assessment) -> None:
    """So each presenter may do it again; and no verdict is lost or turned by it."""
    once = cleaned(assessment)
    assert cleaned(once) == once
    assert [one.status for one in once.verdicts] == [one.status for one in assessment.verdicts]


def test_what_is_clean_stays_as_it_is() -> None:
    """With the line breaks and the indentation of what is to be copied."""
    assert cleaned(FULL) == FULL


def test_sections_and_controls_come_in_the_order_of_their_numbers() -> None:
    """As numbers, so that 1.2.10 comes after 1.2.9; what no benchmark has comes last, as it came."""
    sections = by_section(FULL)
    assert list(sections) == ["1.1", "1.2", "2", "4.2", "5.1", ""]
    numbers = [one.number.text for inside in sections.values() for one in inside if one.number]
    assert numbers == ["1.1.1", "1.1.20", "1.2.1", "1.2.10", "2.2", "4.2.4", "4.2.9", "5.1.1"]
    assert [one.control.id for one in sections[""]] == ["sysctl-precedence", "vm.panic_on_oom", "server-directory"]


def test_a_section_without_a_title_is_known_by_its_number() -> None:
    """A benchmark may have one that no other has."""
    assert section_title("1.2") == "1.2 API server"
    assert section_title("9.9") == "9.9"
    assert section_title("") == "The host, beyond the benchmark"


@pytest.mark.parametrize(
    ("assessment", "words"),
    [
        (FULL, "5 controls are open (3 PASS, 3 FAIL, 1 WAIVED, 1 NOT_APPLICABLE, 1 MANUAL, 2 UNKNOWN)"),
        (CALM, "nothing is open (2 PASS, 1 NOT_APPLICABLE)"),
        (NOTHING, "nothing is open"),
        (CALM._replace(verdicts=(FAILS,)), "1 control is open (1 FAIL)"),
        (CALM._replace(known=frozenset()), "nothing new is open (2 PASS, 1 NOT_APPLICABLE)"),
        (
            FULL._replace(verdicts=(FAILS,), known=frozenset({FAILS.control.id})),
            "nothing new is open, 1 known from the baseline (1 FAIL)",
        ),
        (FULL._replace(verdicts=(FAILS,), known=frozenset()), "1 control is newly open (1 FAIL)"),
    ],
)
def test_the_conclusion_says_what_is_open(assessment: Assessment, words: str) -> None:
    """With a baseline, what is new and what was known."""
    assert conclusion(assessment) == words


def test_the_title_names_benchmark_and_node() -> None:
    """With role and version, as far as they are known."""
    assert title(FULL) == "k3s-harden assess: cis-1.9, node-1, server, v1.28.5+k3s1"
    assert title(NOTHING) == "k3s-harden assess: cis-1.9"


def test_a_waiver_says_why_until_when_and_where() -> None:
    """One without an end says that, too."""
    assert WAIVED.waiver
    where = "/etc/k3s-harden/waivers.yaml:3"
    assert waived(WAIVED.waiver) == f"the vendor's agent reads it (until 2027-06-30, {where})"
    assert waived(WAIVED.waiver._replace(expires="", location=None)) == "the vendor's agent reads it (for good)"


def test_a_time_is_told_in_utc() -> None:
    """Any program reads it, and gets the same second back."""
    assert timestamp(WHEN) == WHEN_IN_WORDS
    assert datetime.fromisoformat(WHEN_IN_WORDS.replace("Z", "+00:00")) == datetime.fromtimestamp(
        int(WHEN), timezone.utc
    )


def test_each_status_is_in_the_sample() -> None:
    """Or the tests beside this one would not look at it."""
    assert {one.status for one in FULL.verdicts} == set(ControlStatus)
