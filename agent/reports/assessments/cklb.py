"""An assessment as a checklist of STIG Viewer 3 (.cklb): each rule of the Kubernetes STIG on one node."""

from __future__ import annotations

import json

from agent import __version__
from agent.assess.assessment import Assessment, ControlStatus, Verdict
from agent.assess.framework_view import RuleResult, rule_results
from agent.assess.frameworks.references import STIG_RELEASE, STIG_TITLE
from agent.base.report import K3S_VERSION, ROLE
from agent.reports.assessments import common
from agent.reports.assessments.common import few, verdict_fix
from agent.reports.assessments.oscal import identifier

_STATUSES = {
    ControlStatus.PASS: "not_a_finding",
    ControlStatus.FAIL: "open",
    ControlStatus.WAIVED: "open",
    ControlStatus.NOT_APPLICABLE: "not_applicable",
    ControlStatus.MANUAL: "not_reviewed",
    ControlStatus.UNKNOWN: "not_reviewed",
}
"""A waived rule stays open, with its justification: STIG Viewer knows no accepted risk."""

_LONGEST = 32_000
"""STIG Manager cuts a text of more than 32,767 characters."""


def as_cklb(assessment: Assessment) -> str:
    """Return one JSON object and a line break: the checklist of the assessed node."""
    name = assessment.node or "unnamed"
    uuid = identifier("stig", "Kubernetes_STIG", STIG_RELEASE)
    rules = [_rule(assessment, result, uuid) for result in rule_results(assessment)]
    unknown = ("ip_address", "mac_address", "fqdn", "technology_area", "web_db_site", "web_db_instance")
    target = {
        "target_type": "Computing",
        "host_name": name,
        **dict.fromkeys(unknown, ""),
        "comments": f"k3s-harden {__version__}, K3s {assessment.fact(ROLE)} {assessment.fact(K3S_VERSION)}",
        "role": "None",
        "is_web_database": False,
        "classification": None,
    }
    stig = {
        "stig_name": STIG_TITLE,
        "display_name": "Kubernetes",
        "stig_id": "Kubernetes_STIG",
        "version": 2,
        "release_info": STIG_RELEASE,
        "uuid": uuid,
        "reference_identifier": None,
        "size": len(rules),
        "rules": rules,
    }
    head = {"title": f"{STIG_TITLE}: {name}", "id": identifier("cklb", name, str(assessment.when))}
    format_ = {"cklb_version": "1.0", "active": False, "mode": 1, "has_path": False}
    return json.dumps({**head, **format_, "target_data": target, "stigs": [stig]}, indent=2) + "\n"


def _rule(assessment: Assessment, result: RuleResult, stig: str) -> dict[str, object]:
    rule = result.rule
    return {
        "uuid": identifier("cklb rule", assessment.node, rule.id),
        "stig_uuid": stig,
        "group_id": rule.id,
        "group_id_src": rule.id,
        "group_title": rule.group,
        "rule_id": rule.rule_id.removesuffix("_rule"),
        "rule_id_src": rule.rule_id,
        "rule_version": rule.version,
        "rule_title": rule.title,
        "severity": rule.severity,
        "weight": "10.0",
        "classification": "Unclassified",
        "ccis": list(rule.ccis),
        "status": _STATUSES[result.status],
        "overrides": {},
        "finding_details": _limited("\n\n".join(map(_details, result.verdicts))),
        "comments": _limited(_comments(result)),
    }


def _details(verdict: Verdict) -> str:
    """Return what was found of one control, and the commands that show it."""
    shown, left = few(verdict.evidence)
    lines = [
        f"{verdict.control.id}: {verdict.status}: {verdict.control.title}",
        *(text if name == "reason" else f"{name.capitalize()}: {text}" for name, text in verdict.values.items()),
    ]
    for evidence in shown:
        lines += [evidence.line, f"  {evidence.repeated_by}" if evidence.repeated_by else ""]
    return "\n".join(filter(None, (*lines, left)))


def _comments(result: RuleResult) -> str:
    """Return who decides the rule, the waivers, and what to do."""
    lines = [result.rule.note]
    for verdict in result.verdicts:
        if verdict.waiver:
            lines.append(f"Waiver of {verdict.control.id}: {verdict.accepted}")
        elif verdict.is_open and verdict_fix(verdict):
            lines.append(f"Remediation ({common.owner_name(verdict.owner)}): {verdict_fix(verdict)}")
    if result.status is ControlStatus.MANUAL:
        lines.append("A person has to decide this rule.")
    return "\n".join(filter(None, lines))


def _limited(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 4]}\n..."
