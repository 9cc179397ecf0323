"""An assessment, or the nodes of a cluster, as ClusterReports of OpenReports, which Policy Reporter shows.

Fields: github.com/openreports/reports-api, config/crd/openreports.io_clusterreports.yaml.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING

from agent.assess.assessment import ControlStatus
from agent.base.report import NODE_UID
from agent.cluster.node_status import Annotation, PublishedResult
from agent.k3s.redaction import redacted_all
from agent.reports.assessments.common import verdict_fix

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.assess.assessment import Assessment, Verdict
    from agent.cluster.fleet.members import Fleet
    from agent.cluster.fleet.published import FleetNode

_RESULTS = {
    ControlStatus.FAIL: "fail",
    ControlStatus.UNKNOWN: "error",
    ControlStatus.MANUAL: "warn",
    ControlStatus.WAIVED: "skip",
    ControlStatus.NOT_APPLICABLE: "skip",
    ControlStatus.PASS: "pass",
}
"""The most important first: a report that is too large loses its last results."""
LARGEST = 128 << 10
"""Bytes of an object. The annotation that `kubectl apply` adds with the same content may have 256 KiB."""
_LONGEST = 512


def as_openreports(assessment: Assessment) -> str:
    """Return the report of a node as JSON."""
    return json.dumps(node_report(assessment), indent=1) + "\n"


def node_report(assessment: Assessment) -> dict[str, object]:
    """Return the report of a node."""
    verdicts = sorted(assessment.verdicts, key=lambda verdict: list(_RESULTS).index(verdict.status))
    shown = [_result(assessment, verdict) for verdict in verdicts if verdict.status is not ControlStatus.PASS]
    summary = {**dict.fromkeys(_RESULTS.values(), 0), **Counter(_RESULTS[verdict.status] for verdict in verdicts)}
    return _cluster_report((assessment.node or "unnamed").lower(), assessment.fact(NODE_UID), summary, shown)


def fleet_reports(fleet: Fleet) -> str:
    """Return a list of reports as JSON."""
    reports = [_report_of_node(node, int(fleet.when)) for node in fleet.nodes]
    return json.dumps(redacted_all({"apiVersion": "v1", "kind": "List", "items": reports}), indent=1) + "\n"


def _cluster_report(
    name: str, uid: str, summary: Mapping[str, int], results: Sequence[object], cluster: str = ""
) -> dict[str, object]:
    """Return the one report of a Node, with as many results as fit; without its UID, nothing owns the report."""
    prefix = re.sub("[^a-z0-9]+", "-", f"{cluster.lower()}-").lstrip("-")
    node = {"apiVersion": "v1", "kind": "Node", "name": name, **({"uid": uid} if uid else {})}
    metadata = {"name": f"k3s-harden-{prefix}{name}", "labels": {"app.kubernetes.io/managed-by": "k3s-harden"}}
    report: dict[str, object] = {
        "apiVersion": "openreports.io/v1alpha1",
        "kind": "ClusterReport",
        "metadata": {**metadata, **({"ownerReferences": [node]} if uid else {})},
        "source": "k3s-harden",
        "scope": node,
        "summary": dict(summary),
        "results": list(results),
    }
    while len(json.dumps(report, indent=1)) > LARGEST:
        results = results[: len(results) * 9 // 10]
        report |= {"results": list(results), "configuration": {"limits": {"maxResults": len(results)}}}
    return report


def _result(assessment: Assessment, verdict: Verdict) -> dict[str, object]:
    values = "; ".join(map(" ".join, verdict.values.items()))
    return {
        "policy": str(assessment.benchmark),
        "rule": verdict.control.id,
        "category": verdict.section or "beyond the benchmark",
        "severity": str(verdict.control.rating.severity) if verdict.is_open else "info",
        "timestamp": {"seconds": int(assessment.when), "nanos": 0},
        "result": _RESULTS[verdict.status],
        "message": f"{verdict.control.title}; {values}"[:_LONGEST],
        "properties": {
            "status": str(verdict.status),
            "remediation": verdict_fix(verdict)[:_LONGEST],
            "waiver": verdict.accepted,
        },
    }


def _report_of_node(node: FleetNode, when: int) -> dict[str, object]:
    """Return the report of a node. One that does not count is an error, whatever its numbers are."""
    is_unknown = node.result is PublishedResult.UNKNOWN
    counted = {"pass": Annotation.PASSED, "fail": Annotation.FAILED, "error": Annotation.UNDETERMINED}
    summary = {result: 0 if is_unknown else int(node.published[name] or 0) for result, name in counted.items()}
    summary |= {"error": summary["error"] + is_unknown, "warn": int(bool(node.differs)), "skip": 0}
    rows = [("published-report", "error" if is_unknown else "fail", node.reason)] * bool(node.reason)
    rows += [("equal-nodes", "warn", "; ".join(node.differs))] * bool(node.differs)
    rows += [(control, "fail", "failed on this node") for control in node.failed_controls or ()]
    shared = {"policy": node.published[Annotation.BENCHMARK] or "none", "timestamp": {"seconds": when, "nanos": 0}}
    results = [{**shared, "rule": rule, "result": result, "message": message} for rule, result, message in rows]
    # The Node of another cluster would not be found, and so its report deleted.
    return _cluster_report(node.name, "" if node.cluster else node.uid, summary, results, node.cluster)
