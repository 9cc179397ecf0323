"""An assessment as OSCAL assessment results, and its open and waived controls as a plan of action and milestones.

OSCAL 1.2.1 (usnistgov/OSCAL). Each control is an observation, each open or waived one a risk, and each control of NIST
SP 800-53 that a rule of the Kubernetes STIG belongs to a finding. UUIDs follow from the names of what they identify.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from agent.assess.assessment import ControlStatus
from agent.assess.framework_view import coverage, worst
from agent.assess.frameworks import Framework
from agent.assess.frameworks.references import nist_controls, references_of
from agent.base.report import K3S_VERSION, ROLE
from agent.base.times import timestamp
from agent.cli.present.assessments import common
from agent.cli.present.assessments.common import evidence_line, fact, verdict_fix, waived

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.assess.assessment import Assessment, Evidence, Verdict, Waiver

_VERSION = "1.2.1"
_NAMES = UUID("6f2ddd16-3dd5-5d8c-9d44-3f6f4b1c6a5e")
"""The namespace of the UUIDs; it must never change."""
_NAMESPACE = "urn:k3s-harden:oscal"
_NO_PLAN = "No assessment plan exists: k3s-harden assesses the controls of its catalogue, as its documents describe."
_IN_RISKS = (ControlStatus.FAIL, ControlStatus.UNKNOWN, ControlStatus.WAIVED)


def identifier(*names: str) -> str:
    """Return the UUID of version 5 of what these names identify."""
    return str(uuid5(_NAMES, "\0".join(names)))


def as_results(assessment: Assessment) -> str:
    """Return assessment results as one JSON object and a line break."""
    plan = identifier("no assessment plan")
    verdicts = assessment.verdicts
    reviewed = [{"control-id": _catalog_id(name)} for name in nist_controls()]
    result = {
        "uuid": _of(assessment, "result", str(assessment.benchmark), str(assessment.when)),
        "title": common.assessment_title(assessment),
        "description": f"{coverage(assessment, Framework.STIG)}. {coverage(assessment, Framework.NIST)}.",
        "start": timestamp(assessment.when),
        "end": timestamp(assessment.when),
        "local-definitions": _definitions(assessment),
        "reviewed-controls": {"control-selections": [{"include-controls": reviewed}]},
        **_filled("observations", [_observation(assessment, verdict) for verdict in verdicts]),
        **_filled("risks", [_risk(assessment, verdict) for verdict in verdicts if verdict.status in _IN_RISKS]),
        "findings": [_finding(assessment, name, _referring(verdicts, name)) for name in nist_controls()],
    }
    return _document(
        "assessment-results",
        assessment,
        {
            "import-ap": {"href": f"#{plan}"},
            "results": [result],
            "back-matter": {"resources": [{"uuid": plan, "title": "No assessment plan", "description": _NO_PLAN}]},
        },
    )


def as_plan(assessment: Assessment) -> str:
    """Return a plan of action and milestones as one JSON object and a line break."""
    verdicts = [verdict for verdict in assessment.verdicts if verdict.status in _IN_RISKS]
    items = [_item(assessment, verdict) for verdict in verdicts]
    # OSCAL requires an item.
    nothing = {"title": "Nothing to do", "description": "No control is open or waived."}
    return _document(
        "plan-of-action-and-milestones",
        assessment,
        {
            "system-id": {"identifier-type": "https://ietf.org/rfc/rfc4122", "id": _of(assessment, "node")},
            "local-definitions": _definitions(assessment),
            **_filled("observations", [_observation(assessment, verdict) for verdict in verdicts]),
            **_filled("risks", [_risk(assessment, verdict) for verdict in verdicts]),
            "poam-items": items or [{"uuid": _of(assessment, "item"), **nothing}],
        },
    )


def _document(name: str, assessment: Assessment, content: dict[str, object]) -> str:
    import json

    from agent import __version__

    metadata = {
        "title": f"{name.replace('-', ' ').capitalize()} of {assessment.node or 'unnamed'}",
        "last-modified": timestamp(assessment.when),
        "version": timestamp(assessment.when),
        "oscal-version": _VERSION,
        "props": _props({"tool": f"k3s-harden {__version__}", "benchmark": str(assessment.benchmark)}),
    }
    uuid = _of(assessment, name, str(assessment.benchmark), str(assessment.when))
    return json.dumps({name: {"uuid": uuid, "metadata": metadata, **content}}, indent=2) + "\n"


def _of(assessment: Assessment, *names: str) -> str:
    """Return the UUID of a part of the assessments of this node."""
    return identifier(assessment.node or f"root {assessment.root}", *names)


def _definitions(assessment: Assessment) -> dict[str, object]:
    about = f"K3s {fact(assessment, ROLE)} {fact(assessment, K3S_VERSION)}".strip()
    return {
        "components": [
            {
                "uuid": _of(assessment, "cluster"),
                "type": "system",
                "title": "Kubernetes cluster",
                "description": "The cluster of the node, as its API server describes it.",
                "status": {"state": "operational"},
            }
        ],
        "inventory-items": [
            {
                "uuid": _of(assessment, "node"),
                "description": f"Node {assessment.node or 'unnamed'}, {about}",
                **_filled("props", _props({made.name: made.value for made in assessment.facts})),
            }
        ],
    }


def _observation(assessment: Assessment, verdict: Verdict) -> dict[str, object]:
    control, number = verdict.control, verdict.number
    is_of_cluster = any(evidence.cluster_object for evidence in verdict.evidence)
    subject = ("cluster", "component") if is_of_cluster else ("node", "inventory-item")
    found = (("Expected", verdict.expected), ("Found", verdict.found), ("Reason", verdict.reason))
    references = references_of(control.id)
    return {
        "uuid": _of(assessment, "observation", control.id),
        "title": control.title,
        "description": " ".join(f"{word}: {text}." for word, text in found if text) or control.title,
        "props": _props(
            {
                "control": control.id,
                "status": str(verdict.status),
                "cis-number": number.text if number else "",
                "severity": str(control.rating.severity),
                "stig-rules": " ".join(references.stig),
            }
        ),
        "methods": ["EXAMINE" if verdict.status is ControlStatus.MANUAL else "TEST"],
        "types": ["control-objective"],
        "subjects": [{"subject-uuid": _of(assessment, subject[0]), "type": subject[1]}],
        **_filled("relevant-evidence", [_evidence(evidence) for evidence in verdict.evidence]),
        "collected": timestamp(assessment.when),
    }


def _evidence(evidence: Evidence) -> dict[str, object]:
    command = {"command": evidence.repeated_by} if evidence.repeated_by else {}
    return {"description": evidence_line(evidence), **_filled("props", _props(command))}


def _risk(assessment: Assessment, verdict: Verdict) -> dict[str, object]:
    control, waiver = verdict.control, verdict.waiver
    fix, approver = verdict_fix(verdict), waiver.approved_by if waiver else ""
    remediation = {
        "uuid": _of(assessment, "remediation", control.id),
        "lifecycle": "planned" if waiver else "recommendation",
        "title": f"Meet {control.id}",
        "description": fix or "A person decides what to do.",
        "props": _props({"owner": common.owner_name(verdict.owner)}),
        **_filled("tasks", [_milestone(assessment, verdict, waiver)] if waiver and waiver.expires else []),
    }
    return {
        "uuid": _of(assessment, "risk", control.id),
        "title": control.title,
        "description": control.why,
        "statement": f"{control.rating.reason} {waived(waiver) if waiver else verdict.reason}".strip() or control.why,
        "props": _props({"severity": str(control.rating.severity), "approved-by": approver}),
        "status": "deviation-approved" if waiver else "open",
        **({"deadline": f"{waiver.expires}T23:59:59Z"} if waiver and waiver.expires else {}),
        "remediations": [remediation],
        "related-observations": _links(assessment, "observation", [verdict]),
    }


def _milestone(assessment: Assessment, verdict: Verdict, waiver: Waiver) -> dict[str, object]:
    return {
        "uuid": _of(assessment, "milestone", verdict.control.id),
        "type": "milestone",
        "title": "The waiver or stage ends",
        "description": waived(waiver),
        "timing": {"on-date": {"date": f"{waiver.expires}T23:59:59Z"}},
    }


def _item(assessment: Assessment, verdict: Verdict) -> dict[str, object]:
    control, waiver = verdict.control, verdict.waiver
    return {
        "uuid": _of(assessment, "item", control.id),
        "title": control.title,
        "description": waived(waiver) if waiver else verdict.reason or f"Found: {verdict.found or 'not met'}.",
        "props": _props(
            {
                "control": control.id,
                "status": str(verdict.status),
                "approved-by": waiver.approved_by if waiver else "",
                "ends": waiver.expires if waiver else "",
            }
        ),
        "related-observations": _links(assessment, "observation", [verdict]),
        "related-risks": _links(assessment, "risk", [verdict]),
    }


def _links(assessment: Assessment, part: str, verdicts: Sequence[Verdict]) -> list[dict[str, str]]:
    return [{f"{part}-uuid": _of(assessment, part, verdict.control.id)} for verdict in verdicts]


def _referring(verdicts: Sequence[Verdict], nist: str) -> list[Verdict]:
    return [verdict for verdict in verdicts if nist in references_of(verdict.control.id).nist]


def _finding(assessment: Assessment, nist: str, verdicts: Sequence[Verdict]) -> dict[str, object]:
    status = worst(verdict.status for verdict in verdicts) if verdicts else ControlStatus.MANUAL
    risks = [verdict for verdict in verdicts if verdict.status in _IN_RISKS]
    is_met = status is ControlStatus.PASS
    reason = "pass" if is_met else "fail" if status is ControlStatus.FAIL else "other"
    remarks = (
        "Each observation passes. They cover a part of the control; a person assesses the rest."
        if is_met
        else f"The worst status of the observations is {status}."
        if verdicts
        else "No control observes it; a person assesses it."
    )
    return {
        "uuid": _of(assessment, "finding", nist),
        "title": nist,
        "description": f"Observations on {nist} of {Framework.NIST.full_name}: {len(verdicts)}.",
        "target": {
            "type": "statement-id",
            "target-id": f"{_catalog_id(nist)}_smt",
            "status": {"state": "satisfied" if is_met else "not-satisfied", "reason": reason, "remarks": remarks},
        },
        **_filled("related-observations", _links(assessment, "observation", verdicts)),
        **_filled("related-risks", _links(assessment, "risk", risks)),
    }


def _catalog_id(nist: str) -> str:
    """Return the ID in NIST's catalog: ac-17.2 for AC-17(2)."""
    return nist.lower().replace("(", ".").rstrip(")")


def _props(values: dict[str, str]) -> list[dict[str, str]]:
    """Return properties; one without a value is left out, because OSCAL allows no empty value."""
    return [
        {"name": re.sub(r"^[^A-Za-z_]|[^A-Za-z0-9_.-]", "_", name), "ns": _NAMESPACE, "value": value.strip()}
        for name, value in values.items()
        if value.strip()
    ]


def _filled(name: str, items: list[dict[str, object]] | list[dict[str, str]]) -> dict[str, object]:
    """Return the member; nothing if it has no items, because OSCAL allows no empty list."""
    return {name: items} if items else {}
