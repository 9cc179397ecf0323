"""An assessment in the format of `kube-bench --json`, for programs that read the reports of kube-bench.

The keys are those of the Go structs in kube-bench, check/controls.go and check/check.go, spelling included.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from agent.assess.assessment import Assessment, ControlStatus, Verdict
from agent.assess.benchmark.catalogue import SECTIONS
from agent.base.report import K3S_VERSION
from agent.base.value import replace
from agent.k3s.roles_and_versions import Version
from agent.reports.assessments.common import UNNUMBERED, verdict_fix

_PARTS = {
    "1": ("master", "Control Plane Security Configuration"),
    "2": ("etcd", "Etcd Node Configuration"),
    "3": ("controlplane", "Control Plane Configuration"),
    "4": ("node", "Worker Node Security Configuration"),
    "5": ("policies", "Kubernetes Policies"),
}
"""Node type and name of each part of the benchmark, by which kube-bench groups its controls."""

_OURS = ("node", SECTIONS[""])
"""Part of the controls beyond the benchmark. It has a node type that readers of kube-bench reports support."""

_STATES = ("pass", "fail", "warn", "info")


def of_benchmark(assessment: Assessment) -> Assessment:
    """Return the assessment without the controls beyond the benchmark.

    Their numbers and their part do not exist in kube-bench, so readers may reject them.
    """
    return replace(assessment, verdicts=tuple(verdict for verdict in assessment.verdicts if verdict.number))


def as_kube_bench(assessment: Assessment) -> str:
    """Return one JSON object on one line, as kube-bench prints it."""
    import json

    parts: dict[str, list[tuple[str, Sequence[Verdict]]]] = {}
    for section, verdicts in assessment.sections.items():
        parts.setdefault(section.partition(".")[0], []).append((section, verdicts))
    controls = [_controls(assessment, part, groups) for part, groups in parts.items()]
    return json.dumps({"Controls": controls, "Totals": _counts(assessment.verdicts)}) + "\n"


def _controls(assessment: Assessment, part: str, groups: Sequence[tuple[str, Sequence[Verdict]]]) -> dict[str, object]:
    node_type, text = _PARTS.get(part, _OURS)
    found = ""
    with suppress(ValueError):
        found = Version.parse(assessment.fact(K3S_VERSION)).family
    return {
        "id": part or UNNUMBERED,
        "version": f"k3s-{assessment.benchmark}",
        **({"detected_version": found} if found else {}),
        "text": text,
        "node_type": node_type,
        "tests": [
            {
                "section": section or UNNUMBERED,
                "type": "",
                **_counts(verdicts, ""),
                "desc": SECTIONS.get(section, section),
                "results": [_result(verdict) for verdict in verdicts],
            }
            for section, verdicts in groups
        ],
        **_counts(verdict for _, verdicts in groups for verdict in verdicts),
    }


def _result(verdict: Verdict) -> dict[str, object]:
    reason = verdict.reason
    # kube-bench has no state for these.
    if verdict.status is ControlStatus.WAIVED and verdict.waiver:
        reason = f"waived: {verdict.accepted}"
    elif verdict.status is ControlStatus.UNKNOWN:
        reason = f"could not be determined: {reason}" if reason else "could not be determined"
    return {
        "test_number": verdict.number.text if verdict.number else verdict.control.id,
        "test_desc": verdict.control.recommendation,
        "audit": "; ".join(dict.fromkeys(shown.origin for shown in verdict.evidence)),
        "AuditEnv": "",
        "AuditConfig": "",
        "type": {"WARN": "manual", "INFO": "skip"}.get(_state(verdict), "") if not verdict.is_open else "",
        "remediation": verdict_fix(verdict),
        "test_info": [verdict_fix(verdict)],
        "status": _state(verdict),
        "actual_value": verdict.found,
        "scored": verdict.is_scored,
        "IsMultiple": False,
        "expected_result": verdict.expected,
        **({"reason": reason} if reason else {}),
    }


def _state(verdict: Verdict) -> str:
    """Return the state in kube-bench: WARN for manual and unscored controls, INFO for skipped ones."""
    if verdict.status is ControlStatus.PASS:
        return "PASS"
    if verdict.status in (ControlStatus.WAIVED, ControlStatus.NOT_APPLICABLE):
        return "INFO"
    return "FAIL" if verdict.is_open and verdict.is_scored else "WARN"


def _counts(verdicts: Iterable[Verdict], prefix: str = "total_") -> dict[str, int]:
    states = [_state(verdict) for verdict in verdicts]
    return {f"{prefix}{state}": states.count(state.upper()) for state in _STATES}
