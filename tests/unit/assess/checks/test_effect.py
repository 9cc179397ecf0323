"""Effects in the verdicts of controls and in the formats of a report."""

from __future__ import annotations

import json

import pytest

from agent.assess.assessment import ControlStatus, Verdict
from agent.assess.benchmark import catalogue
from agent.assess.checks.answer import Effect
from agent.assess.verdict import verdict
from agent.base.repair import Run
from agent.base.value import replace
from agent.k3s.cis.versions import Benchmark
from agent.reports.assessments import assessment_text
from agent.reports.formats import Format
from tests.unit.assess.checks.nodes import CheckedNode, fix
from tests.unit.reports.assessments.samples import FULL
from tests.unit.reports.assessments.test_json_assessment import VALIDATOR, read

EFFECT = Effect(
    subject="NetworkPolicies on this node",
    configured="K3s' controller enforces them",
    status=ControlStatus.FAIL,
    observed="pod default/web has no rule for ingress",
    command="sudo iptables-save",
    controls=("apiserver-profiling",),
    steps=(Run("sudo systemctl restart k3s.service"),),
)


@pytest.mark.parametrize("status", [ControlStatus.PASS, ControlStatus.FAIL, ControlStatus.UNKNOWN])
def test_a_control_fails_if_its_effect_is_not_in_force(hardened: CheckedNode, status: ControlStatus) -> None:
    """What is unknown is marked, and the control keeps the status of its configuration."""
    at = hardened.assessed()
    at.effects = (replace(EFFECT, status=status),)
    (control,) = catalogue.controls_named("apiserver-profiling")
    judged = verdict(control, Benchmark.CIS_2_0, at, None)
    assert (judged.configured, judged.in_force) == (ControlStatus.PASS, status)
    assert (judged.evidence[-1].observation, judged.evidence[-1].repeated_by) == (
        f"{EFFECT.subject}: {EFFECT.observed}",
        EFFECT.command,
    )
    if status is ControlStatus.FAIL:
        assert (judged.status, judged.found) == (ControlStatus.FAIL, EFFECT.observed)
        assert fix(judged) == "sudo systemctl restart k3s.service"
    else:
        assert judged.status is ControlStatus.PASS


@pytest.mark.parametrize(("control", "expected"), [("kernel.panic", ControlStatus.FAIL), ("apiserver-profiling", None)])
def test_what_is_looked_at_on_the_node_itself_is_in_force(
    hardened: CheckedNode, control: str, expected: ControlStatus | None
) -> None:
    hardened.write("/proc/sys/kernel/panic", "0\n")
    at = hardened.assessed()
    (row,) = catalogue.controls_named(control)
    assert verdict(row, Benchmark.CIS_2_0, at, None).in_force is None
    at.effects = (replace(EFFECT, controls=()),)
    assert verdict(row, Benchmark.CIS_2_0, at, None).in_force is expected


@pytest.mark.parametrize("output_format", [Format.PLAIN, Format.TABLE, Format.HTML, Format.JSON])
def test_each_control_has_marks_of_what_is_configured_and_in_force(output_format: Format) -> None:
    def marked(verdict: Verdict) -> Verdict:
        return verdict._replace(configured=ControlStatus.PASS, in_force=ControlStatus.FAIL)

    text = assessment_text(replace(FULL, verdicts=tuple(map(marked, FULL.verdicts))), output_format)
    if output_format is Format.JSON:
        assert {(row["configured_status"], row["in_force"]) for row in json.loads(text)["verdicts"]} == {
            ("PASS", "FAIL")
        }
    else:
        assert "configured: PASS, in force: FAIL" in text
        assert "configured: " not in assessment_text(FULL, output_format)


@pytest.mark.parametrize("output_format", [Format.PLAIN, Format.TABLE, Format.HTML, Format.JSON])
def test_a_report_has_a_section_of_what_is_in_force(output_format: Format) -> None:
    text = assessment_text(replace(FULL, effects=(EFFECT,)), output_format)
    assert EFFECT.observed in text
    assert "in force" in text.lower().replace("_", " ").replace("-", " ")
    assert EFFECT.observed not in assessment_text(FULL, output_format)


def test_effects_in_json_follow_the_schema() -> None:
    report = read(replace(FULL, effects=(EFFECT,)))
    VALIDATOR.validate(report)
    assert [found["status"] for found in report["in_force"]] == ["FAIL"]


def test_each_effect_is_a_metric() -> None:
    metrics = assessment_text(replace(FULL, effects=(EFFECT,)), Format.OPENMETRICS)
    assert f'k3s_harden_in_force{{subject="{EFFECT.subject}",status="FAIL"}} 1' in metrics
