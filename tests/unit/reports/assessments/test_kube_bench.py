"""The kube-bench JSON: keys and values of kube-bench's reports."""

from __future__ import annotations

import json
import re
from typing import Any

from agent.assess.assessment import Assessment, ControlStatus
from agent.base.report import Fact
from agent.base.value import replace
from agent.reports.assessments import assessment_text
from agent.reports.assessments.kube_bench import of_benchmark
from agent.reports.formats import Format
from tests.unit.reports.assessments.samples import (
    FOR_A_PERSON,
    FULL,
)

# Keys that the Go structs of kube-bench write (check/controls.go and check/check.go), in their order.
TOTALS = ["total_pass", "total_fail", "total_warn", "total_info"]
CONTROLS = ["id", "version", "detected_version", "text", "node_type", "tests", *TOTALS]
GROUP = ["section", "type", "pass", "fail", "warn", "info", "desc", "results"]
CHECK = {
    **dict.fromkeys(("test_number", "test_desc", "audit", "AuditEnv", "AuditConfig", "type", "remediation"), str),
    "test_info": list,
    **dict.fromkeys(("status", "actual_value"), str),
    **dict.fromkeys(("scored", "IsMultiple"), bool),
    **dict.fromkeys(("expected_result", "reason"), str),
}
NODE_TYPES = {"master", "node", "etcd", "controlplane", "policies"}


def read(assessment: Assessment, *, beyond: bool = True) -> Any:
    return json.loads(assessment_text(assessment if beyond else of_benchmark(assessment), Format.KUBE_BENCH))


def validate(assessment: Assessment) -> None:
    """Assert that the report is on one line, as kube-bench writes it, and has no number twice."""
    assert assessment_text(assessment, Format.KUBE_BENCH).count("\n") == 1
    validate_report(read(assessment))
    of_benchmark = read(assessment, beyond=False)
    validate_report(of_benchmark)
    groups = [group for part in of_benchmark["Controls"] for group in part["tests"]]
    numbers = [check["test_number"] for group in groups for check in group["results"]]
    assert all(re.fullmatch(r"[0-9]+(\.[0-9]+)+", number) for number in numbers)
    assert len(set(numbers)) == len(numbers)


def validate_report(report: Any) -> None:
    """Assert that keys, types and sums are those of the Go structs."""
    assert list(report) == ["Controls", "Totals"]
    assert list(report["Totals"]) == TOTALS
    for controls in report["Controls"]:
        assert [key for key in CONTROLS if key in controls] == list(controls)
        assert set(CONTROLS) - set(controls) <= {"detected_version"}
        assert controls["node_type"] in NODE_TYPES
        for group in controls["tests"]:
            assert list(group) == GROUP
            for check in group["results"]:
                assert [key for key in CHECK if key in check] == list(check)
                assert set(CHECK) - set(check) <= {"reason"}

                assert all(type(check[key]) is CHECK[key] for key in check)
                assert check["status"] in {"PASS", "FAIL", "WARN", "INFO"}
            for state in ("pass", "fail", "warn", "info"):
                assert group[state] == sum(check["status"] == state.upper() for check in group["results"])
        for state in ("pass", "fail", "warn", "info"):
            assert controls[f"total_{state}"] == sum(group[state] for group in controls["tests"])
    for total in TOTALS:
        assert report["Totals"][total] == sum(controls[total] for controls in report["Controls"])


def test_an_unknown_version_of_kubernetes_is_absent() -> None:
    """kube-bench omits the key too."""
    unknown = replace(FULL, facts=(Fact("K3s version", "v1.37 assumed", "nothing"),))
    assert not any("detected_version" in controls for controls in read(unknown)["Controls"])


def test_a_manual_control_that_fails_warns() -> None:
    """As in kube-bench, which does not score it."""
    (found,) = read(replace(FULL, verdicts=(FOR_A_PERSON._replace(status=ControlStatus.FAIL),)))["Controls"]
    (check,) = found["tests"][0]["results"]
    assert (check["status"], check["scored"], check["type"]) == ("WARN", False, "")
