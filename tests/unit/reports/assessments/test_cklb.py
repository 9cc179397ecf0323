"""The checklist for STIG Viewer 3: each rule with its status, evidence and justification."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.assess.assessment import Assessment, ControlStatus, Evidence, Waiver
from agent.assess.frameworks.references import stig_rules
from agent.base.value import replace
from agent.reports.assessments import assessment_text
from agent.reports.formats import Format
from tests import stig_manager
from tests.unit.reports.assessments.samples import COMPARED, FULL, NOTHING, WAIVED, at, row, verdict

CHECK = WAIVED.control.check
RULE = "V-242402"
"""The rule that the control audit-log-path decides."""


def rules(assessment: Assessment) -> dict[str, Any]:
    (stig,) = json.loads(assessment_text(assessment, Format.CKLB))["stigs"]
    assert stig["size"] == len(stig["rules"])
    return {rule["group_id"]: rule for rule in stig["rules"]}


def validate(assessment: Assessment) -> None:
    """Assert that each rule of the release is there once."""
    found = rules(assessment)
    assert list(found) == [rule.id for rule in stig_rules()]
    assert [rule["rule_id_src"] for rule in found.values()] == [rule.rule_id for rule in stig_rules()]


def judged(status: ControlStatus, **fields: Any) -> Assessment:
    return replace(FULL, verdicts=(verdict(row("audit-log-path", CHECK), status, **fields),))


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (ControlStatus.PASS, "not_a_finding"),
        (ControlStatus.FAIL, "open"),
        (ControlStatus.WAIVED, "open"),
        (ControlStatus.NOT_APPLICABLE, "not_applicable"),
        (ControlStatus.MANUAL, "not_reviewed"),
        (ControlStatus.UNKNOWN, "not_reviewed"),
    ],
)
def test_the_status_of_a_rule_is_that_of_its_controls(status: ControlStatus, word: str) -> None:
    assert rules(judged(status))[RULE]["status"] == word


def test_a_waived_rule_stays_open_with_its_justification() -> None:
    waiver = Waiver("the log is on another host", "2027-06-30", at("/etc/k3s-harden/waivers.yaml", 3), "the CISO")
    rule = rules(judged(ControlStatus.WAIVED, waiver=waiver))[RULE]
    assert rule["status"] == "open"
    assert (
        "Waiver of audit-log-path: the log is on another host (approved by the CISO, expires 2027-06-30"
        in (rule["comments"])
    )


def test_the_details_of_a_rule_have_the_evidence_and_its_command() -> None:
    evidence = (Evidence("audit-log-path=", at("/etc/rancher/k3s/config.yaml", 4)),)
    found = judged(ControlStatus.FAIL, expected="set", found="not set", evidence=evidence)
    assert rules(found)[RULE]["finding_details"].splitlines()[1:] == [
        "Expected: set",
        "Found: not set",
        "/etc/rancher/k3s/config.yaml:4: audit-log-path=",
        "  sudo sed -n 4p /etc/rancher/k3s/config.yaml",
    ]


def test_no_text_is_longer_than_stig_manager_keeps() -> None:
    assert len(rules(judged(ControlStatus.FAIL, found="x" * 100_000))[RULE]["finding_details"]) < 32_767


@pytest.mark.npm
def test_stig_manager_reads_each_rule_without_loss(tmp_path: Path) -> None:
    """Its reader is what STIG Manager imports checklists with."""
    for assessment in (FULL, COMPARED, NOTHING, judged(ControlStatus.FAIL, found="x" * 100_000)):
        file = tmp_path / "node.cklb"
        file.write_text(assessment_text(assessment, Format.CKLB))
        read = stig_manager.read(file)
        (checklist,) = read["checklists"]
        assert (checklist["benchmarkId"], checklist["revisionStr"]) == ("Kubernetes_STIG", "V2R6")
        assert read["target"]["name"] == (assessment.node or "unnamed")
        words = {
            "open": "fail",
            "not_a_finding": "pass",
            "not_applicable": "notapplicable",
            "not_reviewed": "notchecked",
        }
        assert [(each["ruleId"], each["result"], each["detail"], each["comment"]) for each in checklist["reviews"]] == [
            (rule["rule_id_src"], words[rule["status"]], rule["finding_details"], rule["comments"])
            for rule in rules(assessment).values()
        ]
