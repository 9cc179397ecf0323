"""The table of an assessment at any width, with and without color."""

from __future__ import annotations

import re
from io import StringIO

import pytest
from hypothesis import given
from rich.console import Console

from agent.assess.assessment import Assessment, ControlStatus, Evidence, SiteChoices
from agent.assess.benchmark.control import BenchmarkControl
from agent.assess.checks.file_modes import Permissions
from agent.base.repair import Instruction, Repair, Run
from agent.base.value import replace
from agent.reports.assessments.common import assessment_result, cleaned
from agent.reports.assessments.table_assessment import print_assessment
from agent.reports.formats import Verbosity
from tests.unit.reports.assessments.samples import CALM, COMPARED, FAILS, FULL, at, hostile, steps
from tests.unit.reports.reports import words


def table(
    assessment: Assessment = FULL, *, width: int = 100, verbosity: Verbosity = Verbosity.NORMAL, color: bool = False
) -> str:
    file = StringIO()
    console = Console(
        file=file, width=width, highlight=False, force_terminal=color, color_system="truecolor" if color else None
    )
    print_assessment(console, cleaned(assessment), verbosity)
    return file.getvalue()


def letters(text: str) -> list[str]:
    """Return the sorted characters, because folded columns are side by side."""
    return sorted(words(text))


@pytest.mark.parametrize("width", [50, 80, 400])
def test_everything_is_there_at_any_width(width: int) -> None:
    long = replace(FULL, verdicts=(*FULL.verdicts, FAILS._replace(found="/xyz" * 75, repair=steps("y " * 300))))
    text = table(long, width=width, verbosity=Verbosity.VERBOSE)
    assert max(map(len, text.splitlines())) <= width
    assert letters(text) == letters(table(long, width=5000, verbosity=Verbosity.VERBOSE))
    assert (text.count("x") >= 75, text.count("y") >= 300) == (True, True)


def _set_by(setting: str) -> BenchmarkControl:
    return replace(FAILS.control, id=setting, check=Permissions((), setting=setting))


def test_the_result_says_what_the_profile_leaves_open_and_what_closes_it() -> None:
    """Some are closed by a setting of their own."""
    settings = ("seccomp-default", "pki.certificate-permissions")
    fails = [FAILS._replace(control=_set_by(key)) for key in settings]
    found = replace(FULL, verdicts=tuple(fails), choices=SiteChoices(not_chosen=frozenset(settings)))
    assert "profile" not in table(found)
    by_strict = replace(found, choices=found.choices._replace(set_by_strict=frozenset(settings[:1])))
    last = " The profile guide leaves 2 open; `profile: strict` closes 1 of them."
    assert words(table(by_strict)).endswith(words(last))
    assert assessment_result(by_strict).endswith(last)


def test_an_assessment_without_open_controls_names_no_owner_and_no_review() -> None:
    assert table(CALM).splitlines()[-1].startswith("✔ No open controls; ")
    assert "owner" not in table(CALM)
    assert "manual review" not in table(CALM)


def test_a_command_of_a_fix_can_be_pasted() -> None:
    """A backslash continues it; a number and its step are apart from the next ones."""
    fix = Repair(
        (
            Instruction("look for Services that use externalIPs, because new ones are rejected"),
            Run("sudo k3s-harden apply --root /srv/image --role server --k3s-version v1.34.2+k3s1"),
        )
    )
    assert """
              fix       1. look for Services that use externalIPs, because new
                           ones are rejected
                        2. sudo k3s-harden apply --root /srv/image \\
                               --role server --k3s-version v1.34.2+k3s1
""" in table(replace(FULL, verdicts=(FAILS._replace(repair=fix),)), width=80).replace("FAIL  ", "      ")


def test_much_evidence_is_shortened() -> None:
    assessment = replace(FULL, verdicts=(FAILS._replace(evidence=tuple(Evidence("m", at(f"/{n}")) for n in range(9))),))
    assert [line.split()[1] for line in table(assessment).splitlines() if " evidence " in line] == [
        *("/0:", "/1:", "/2:", "/3:", "/4:"),
        "and",
    ]
    assert "and 4 more" in table(assessment)
    assert table(assessment, verbosity=Verbosity.VERBOSE).count(" evidence ") == 9


def test_quiet_shows_only_new_open_controls() -> None:
    text = table(COMPARED, verbosity=Verbosity.QUIET)
    statuses = [line.split()[0] for line in text.splitlines() if line.split() and line.split()[0] in set(ControlStatus)]
    assert statuses == ["UNKNOWN", "FAIL", "FAIL"]
    assert table(CALM, verbosity=Verbosity.QUIET) == ""


def test_controls_in_the_baseline_are_marked() -> None:
    marked = re.findall(r"(?m)(?:pki-certificate-mode|kubelet-tls)  in the baseline *$", table(COMPARED, width=200))
    assert len(marked) == 2


def test_color_only_adds_color() -> None:
    """The text is the same without color. Rich markup in host text is not interpreted."""
    assessment = replace(FULL, verdicts=(FAILS._replace(found="[red]x :smile:[/]"),))
    plain, colored = table(assessment), table(assessment, color=True)
    assert "\x1b[" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == plain
    assert "\x1b[1;31mFAIL\x1b[0m" in colored
    assert "[red]x :smile:[/]" in plain


@given(assessment=hostile())
def test_hostile_text_adds_no_row_and_no_control_character(assessment: Assessment) -> None:
    """Rich does not escape most control characters."""
    lines = table(assessment, verbosity=Verbosity.VERBOSE).split("\n")
    assert all(line.isprintable() for line in lines)
    rows = [line for line in lines if re.match(f"(?:{'|'.join(ControlStatus)})  ", line)]
    assert len(rows) == len(FULL.verdicts)
