"""The assessment on a terminal: everything is there at any width, with or without colour."""

from __future__ import annotations

import re
from io import StringIO

import pytest
from hypothesis import given
from rich.console import Console

from agent.assess.assessment import Assessment, ControlStatus, Evidence
from agent.present import Verbosity, remediation
from agent.present.assessments import AssessmentFormat, as_text
from agent.present.assessments.common import cleaned
from agent.present.assessments.table import print_to
from tests.unit.present.assessments.samples import CALM, COMPARED, FAILS, FULL, WARNS, at, hostile, steps


def table(
    assessment: Assessment = FULL,
    *,
    width: int = 100,
    verbosity: Verbosity = Verbosity.NORMAL,
    colour: bool = False,
) -> str:
    """The assessment on a terminal of this width."""
    file = StringIO()
    console = Console(
        file=file, width=width, highlight=False, force_terminal=colour, color_system="truecolor" if colour else None
    )
    print_to(console, cleaned(assessment), verbosity)
    return file.getvalue()


def words(text: str) -> str:
    """The text without its line breaks and gaps, so that it does not matter where it was broken."""
    return re.sub(r"\s", "", text)


def letters(text: str) -> list[str]:
    """What there is to read, in no order: columns that are broken stand beside each other."""
    return sorted(words(text))


@pytest.mark.parametrize("width", [50, 80, 400])
def test_everything_is_there_at_any_width(width: int) -> None:
    """Long text is broken, not cut; no line is wider than the terminal."""
    long = FULL._replace(verdicts=(*FULL.verdicts, FAILS._replace(found="x" * 300, remediation=steps("y" * 300))))
    text = table(long, width=width, verbosity=Verbosity.VERBOSE)
    assert max(map(len, text.splitlines())) <= width
    assert letters(text) == letters(table(long, width=5000, verbosity=Verbosity.VERBOSE))
    assert (text.count("x") >= 300, text.count("y") >= 300) == (True, True)


def test_a_control_is_a_row_below_its_section() -> None:
    """With its status in words, its number, title and id."""
    lines = table(width=200).splitlines()
    section = lines.index(next(line for line in lines if line.startswith("1.2 API server")))
    assert lines[section + 1].split() == [
        "UNKNOWN",
        "1.2.10",
        *("Ensure", "that", "the", "title", "of", "encryption-providers", "(--encryption-provider-config)"),
        "encryption-providers",
    ]
    assert "1.2.1 " not in "".join(lines), "what passed is shown by -v alone"


def test_what_is_for_a_person_is_counted() -> None:
    """One by one they would drown what is open; -v shows each with what to look at."""
    assert "1 control is for a person to look at (MANUAL); -v shows them" in table(width=200)
    assert "for a person" not in table(CALM)
    text = table(width=200, verbosity=Verbosity.VERBOSE)
    assert "reason   Look at the bindings" in text
    assert "-v shows them" not in text


def test_what_is_open_has_evidence_and_remedy() -> None:
    """What passed has not, unless it is asked for."""
    text = table(width=200)
    for there in (
        "expected mode 0600 or stricter",
        "seen     mode 0644  /var/lib/rancher/k3s/server/tls/b.crt",
        "owner    apply",
        "fix      Run it as root.",
        "waiver   the vendor's agent reads it (until 2027",
    ):
        assert there in text
    assert "what K3s v1.28 itself sets" not in text
    assert "what K3s v1.28 itself sets" in table(width=200, verbosity=Verbosity.VERBOSE)
    assert "k3s.service" in table(verbosity=Verbosity.VERBOSE)
    assert "k3s.service" not in table()


def test_much_evidence_is_shortened() -> None:
    """A thousand certificates may all be wrong alike; -v shows each."""
    assessment = FULL._replace(verdicts=(FAILS._replace(evidence=tuple(Evidence("m", at(f"/{n}")) for n in range(9))),))
    assert [line.split()[-1] for line in table(assessment).splitlines() if " seen " in line] == [
        *("/0", "/1", "/2", "/3", "/4"),
        "more",
    ]
    assert "and 4 more" in table(assessment)
    assert table(assessment, verbosity=Verbosity.VERBOSE).count(" seen ") == 9


def test_what_is_to_be_copied_keeps_its_lines() -> None:
    """Each on its own, and indented against each other as they were."""
    lines = table(width=200).splitlines()
    place = next(n for n, line in enumerate(lines) if line.strip().startswith("Put this into"))
    start = len(lines[place]) - len(lines[place].lstrip())
    assert [line[start:].rstrip() for line in lines[place : place + 3]] == remediation.text(WARNS.remediation).split(
        "\n"
    )


def test_the_summary_counts_by_section_and_by_who_must_act() -> None:
    """And the last line concludes, with a sign that needs no colour."""
    lines = [re.sub(r"\s{2,}", "  ", line).strip() for line in table(width=200).splitlines()]
    assert "4.2 kubelet  1 WAIVED  1 UNKNOWN" in lines
    assert "apply  2 to do  vm.panic_on_oom, pki-certificate-mode" in lines
    assert lines[-1].startswith("✘ 5 controls are open (")
    assert table(CALM).splitlines()[-1].startswith("✔ nothing is open (")
    assert "to do" not in table(CALM)


def test_quiet_leaves_what_makes_the_exit_code() -> None:
    """Nothing where nothing is open."""
    text = table(COMPARED, verbosity=Verbosity.QUIET)
    statuses = [line.split()[0] for line in text.splitlines() if line.split() and line.split()[0] in set(ControlStatus)]
    assert statuses == ["UNKNOWN", "FAIL", "FAIL"]
    assert table(CALM, verbosity=Verbosity.QUIET) == ""


def test_what_the_baseline_had_says_so() -> None:
    """It does not make the exit code."""
    assert (
        len(
            re.findall(
                r"(?m)(?:pki-certificate-mode|kubelet-tls)  known from the baseline *$", table(COMPARED, width=200)
            )
        )
        == 2
    )


def test_colour_only_adds_colour() -> None:
    """A terminal without it shows the same text; brackets in it are text, and no markup."""
    assessment = FULL._replace(verdicts=(FAILS._replace(found="[red]x :smile:[/]"),))
    plain, coloured = table(assessment), table(assessment, colour=True)
    assert "\x1b[" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain
    assert "\x1b[1;31mFAIL\x1b[0m" in coloured
    assert "[red]x :smile:[/]" in plain


@given(assessment=hostile())
def test_nothing_from_a_host_moves_the_cursor_or_makes_a_row(assessment: Assessment) -> None:
    """Rich lets most of it through; no line but ours begins with a status."""
    lines = table(assessment, verbosity=Verbosity.VERBOSE).split("\n")
    assert all(line.isprintable() for line in lines)
    rows = [line for line in lines if re.match(f"(?:{'|'.join(ControlStatus)})  ", line)]
    assert len(rows) == len(FULL.verdicts)


def test_a_file_gets_the_table_without_colour() -> None:
    """As wide as a page."""
    text = as_text(FULL, AssessmentFormat.TABLE)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 120
    assert "seen     mode 0644" in text
