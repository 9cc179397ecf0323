"""The kube-bench JSON: keys and values of kube-bench's reports."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from agent.assess.assessment import Assessment, ControlStatus, Verdict
from agent.base.report import Fact
from agent.base.value import replace
from agent.reports import repair_texts
from agent.reports.assessments import assessment_text
from agent.reports.assessments.kube_bench import of_benchmark
from agent.reports.formats import Format
from tests.unit.reports.assessments.samples import (
    CANNOT_TELL,
    CANNOT_TELL_EITHER,
    DOES_NOT_APPLY,
    FAILS,
    FOR_A_PERSON,
    FULL,
    KERNEL_FAILS,
    PASSES,
    WAIVED,
    WARNS,
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


def result(verdict: Verdict) -> dict[str, Any]:
    (controls,) = read(replace(FULL, verdicts=(verdict,)))["Controls"]
    (group,) = controls["tests"]
    (check,) = group["results"]
    assert isinstance(check, dict)
    return check


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


def test_controls_are_grouped_as_in_kube_bench() -> None:
    report = read(FULL)
    parts = [
        (controls["id"], controls["node_type"], [group["section"] for group in controls["tests"]])
        for controls in report["Controls"]
    ]
    assert parts == [
        *(("1", "master", ["1.1", "1.2"]), ("2", "etcd", ["2"]), ("4", "node", ["4.2"]), ("5", "policies", ["5.1"])),
        ("host", "node", ["host"]),
    ]
    assert {controls["version"] for controls in report["Controls"]} == {"k3s-cis-1.9"}
    ours = report["Controls"][-1]["tests"][0]["results"]
    assert [check["test_number"] for check in ours] == ["sysctl-precedence", "vm.panic_on_oom", "server-directory"]


def test_an_unknown_version_of_kubernetes_is_absent() -> None:
    """kube-bench omits the key too."""
    assert {controls["detected_version"] for controls in read(FULL)["Controls"]} == {"1.28"}
    unknown = replace(FULL, facts=(Fact("K3s version", "v1.37 assumed", "nothing"),))
    assert not any("detected_version" in controls for controls in read(unknown)["Controls"])


@pytest.mark.parametrize(
    ("verdict", "status", "scored", "kind"),
    [
        (PASSES, "PASS", True, ""),
        (FAILS, "FAIL", True, ""),
        (WARNS, "WARN", False, ""),
        (CANNOT_TELL, "FAIL", True, ""),
        (CANNOT_TELL_EITHER, "WARN", False, ""),
        (FOR_A_PERSON, "WARN", False, "manual"),
        (DOES_NOT_APPLY, "INFO", False, "skip"),
        (WAIVED, "INFO", True, "skip"),
        (KERNEL_FAILS, "FAIL", True, ""),
        (FOR_A_PERSON._replace(status=ControlStatus.FAIL), "WARN", False, ""),
    ],
    ids=lambda value: value.control.id if isinstance(value, Verdict) else str(value),
)
def test_each_verdict_has_its_state(verdict: Verdict, status: str, scored: object, kind: str) -> None:
    check = result(verdict)
    assert (check["status"], check["scored"], check["type"]) == (status, scored, kind)


def test_a_result_has_evidence_values_and_repair() -> None:
    check = result(FAILS)
    assert check["audit"] == "/var/lib/rancher/k3s/server/tls/a.crt; /var/lib/rancher/k3s/server/tls/b.crt"
    assert (check["expected_result"], check["actual_value"]) == ("mode 0600 or stricter", "mode 0644")
    assert check["remediation"] == repair_texts.text(FAILS.repair)
    assert check["test_info"] == [repair_texts.text(FAILS.repair)]
    assert "reason" not in check
    assert result(WAIVED)["reason"].startswith("waived: the vendor's agent reads it (expires 2027-06-30")
    assert result(CANNOT_TELL_EITHER)["reason"] == "could not be determined: K3s has not run yet"
    assert result(FOR_A_PERSON)["reason"] == "Look at the bindings of cluster-admin."
