"""The plain lines of an assessment."""

from __future__ import annotations

from hypothesis import given

from agent.assess.assessment import Assessment, Evidence
from agent.base.value import replace
from agent.reports.assessments import assessment_text
from agent.reports.formats import Format, Verbosity
from tests.unit.reports.assessments.samples import CALM, CANNOT_TELL, COMPARED, FAILS, FULL, NOTHING, at, hostile


def plain(assessment: Assessment, verbosity: Verbosity = Verbosity.NORMAL) -> list[str]:
    return assessment_text(assessment, Format.PLAIN, verbosity).splitlines()


def test_quiet_shows_only_new_open_controls_and_the_result() -> None:
    lines = [line for line in plain(FULL) if line.startswith(("FAIL", "UNKNOWN", "result"))]
    assert plain(FULL, Verbosity.QUIET) == lines
    assert plain(CALM, Verbosity.QUIET) == []
    new = [line.split()[2] for line in plain(COMPARED, Verbosity.QUIET)[:-1]]
    assert new == ["encryption-providers:", "etcd-client-certificate:", "vm.panic_on_oom:"]


def test_much_evidence_is_shortened() -> None:
    evidence = tuple(Evidence("m", at(f"/{n}")) for n in range(9))
    assessment = replace(FULL, verdicts=(FAILS._replace(evidence=evidence),))
    assert "; location /0, /1, /2, /3, /4, and 4 more; " in plain(assessment)[1]
    assert plain(assessment, Verbosity.VERBOSE)[4].count("; evidence /") == 9


def test_controls_in_the_baseline_are_marked() -> None:
    """They are open, but do not affect the exit code."""
    known = [line.split()[2] for line in plain(COMPARED) if "; in the baseline; owner " in line]
    assert known == ["pki-certificate-mode:", "kubelet-tls:"]
    assert plain(COMPARED)[-1].startswith(
        "result 3: 3 new open controls (2 FAIL, 1 UNKNOWN), 1 of them beyond the benchmark, 2 in the baseline ("
    )
    known_all = frozenset(verdict.control.id for verdict in FULL.verdicts)
    assert plain(replace(FULL, known=known_all))[-1].startswith("result 0: ")
    added = plain(replace(COMPARED, not_in_baseline=frozenset({CANNOT_TELL.control.id})))
    assert [line.split()[2] for line in added if "; new control, not in the baseline; " in line] == [
        f"{CANNOT_TELL.control.id}:"
    ]


def test_an_assessment_without_open_controls_is_short() -> None:
    assert len(plain(CALM)) == 5
    assert plain(NOTHING) == ["k3s-harden assess: cis-1.9", "result 0: No open controls."]


@given(assessment=hostile())
def test_hostile_text_adds_no_line(assessment: Assessment) -> None:
    """The number of lines is that of harmless text with one note, one owner and the next steps; one is a result."""
    lines = plain(assessment)
    assert [line for line in lines if line.startswith("result ")] == plain(FULL)[-1:]
    assert len(lines) == len(plain(FULL)) - 3 + len(assessment.next_steps)
