"""A ClusterReport of an assessment: what is in it, and its size. tests/k8s applies it with the real definition."""

from __future__ import annotations

import json
from typing import Any

from agent.assess.assessment import Assessment, ControlStatus
from agent.base.report import NODE_UID, Fact
from agent.base.value import replace
from agent.reports.assessments import assessment_text
from agent.reports.assessments.openreports import LARGEST
from agent.reports.formats import Format
from tests.unit.reports.assessments.samples import FULL


def report(assessment: Assessment = FULL) -> dict[str, Any]:
    return dict(json.loads(assessment_text(assessment, Format.OPENREPORTS)))


def validate(assessment: Assessment) -> None:
    """Assert that each control is counted, and that each result belongs to one."""
    found = report(assessment)
    assert sum(found["summary"].values()) == len(assessment.verdicts)
    assert {row["result"] for row in found["results"]} <= {"fail", "error", "warn", "skip"}


def test_a_known_uid_makes_the_node_its_owner() -> None:
    """Kubernetes deletes it with the Node."""
    found = report(replace(FULL, facts=(*FULL.facts, Fact(NODE_UID, "1-2", "API server"))))
    owner = {"apiVersion": "v1", "kind": "Node", "name": "node-1", "uid": "1-2"}
    assert (found["scope"], found["metadata"]["ownerReferences"]) == (owner, [owner])


def test_a_report_that_is_too_large_loses_its_least_important_results() -> None:
    """The summary stays complete, and the number of results is a limit of the report."""
    verdict = next(verdict for verdict in FULL.verdicts if verdict.status is ControlStatus.FAIL)
    passing = tuple(verdict._replace(status=ControlStatus.NOT_APPLICABLE) for _ in range(3000))
    large = replace(FULL, verdicts=(*passing, verdict._replace(found="x" * 100_000)))
    text = assessment_text(large, Format.OPENREPORTS)
    found = json.loads(text)
    assert LARGEST // 2 < len(text) <= LARGEST + 1
    assert found["summary"] == {"fail": 1, "error": 0, "warn": 0, "skip": 3000, "pass": 0}
    assert found["results"][0]["result"] == "fail"
    assert found["configuration"]["limits"]["maxResults"] == len(found["results"])
