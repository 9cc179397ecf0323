"""An assessment as OSCAL assessment results, and its open and waived controls as a plan of action and milestones.

OSCAL 1.2.1 (usnistgov/OSCAL). Each control is an observation, each open or waived one a risk, and each control of NIST
SP 800-53 that a rule of the Kubernetes STIG belongs to a finding. UUIDs follow from the names of what they identify.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid5

from agent import __version__
from agent.assess.assessment import Assessment, ControlStatus, Verdict
from agent.assess.framework_view import coverage, rule_results, worst
from agent.assess.frameworks import Framework
from agent.assess.frameworks.references import nist_controls, references_of
from agent.base.report import K3S_VERSION, ROLE
from agent.base.times import timestamp
from agent.reports.assessments.common import assessment_title, owner_name, verdict_fix

Json = dict[str, Any]

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
    document = _Document(assessment)
    plan = identifier("no assessment plan")
    reviewed = [{"control-id": _catalog_id(name)} for name in nist_controls()]
    result = {
        "uuid": document.uuid("result", *document.edition),
        "title": assessment_title(assessment),
        "description": f"{coverage(assessment, Framework.STIG)}. {coverage(assessment, Framework.NIST)}.",
        "start": document.when,
        "reviewed-controls": {"control-selections": [{"include-controls": reviewed}]},
        **document.observed(assessment.verdicts),
        "findings": list(map(document.finding, nist_controls())),
    }
    resource = {"uuid": plan, "title": "No assessment plan", "description": _NO_PLAN}
    content = {"import-ap": {"href": f"#{plan}"}, "results": [result], "back-matter": {"resources": [resource]}}
    return document.text("assessment-results", content)


def as_plan(assessment: Assessment) -> str:
    """Return a plan of action and milestones as one JSON object and a line break."""
    document = _Document(assessment)
    verdicts = [verdict for verdict in assessment.verdicts if verdict.status in _IN_RISKS]
    # OSCAL requires an item.
    nothing = document.part(["item"], "Nothing to do", "No control is open or waived.")
    content = {
        "system-id": {"identifier-type": "https://ietf.org/rfc/rfc4122", "id": document.uuid("node")},
        **document.observed(verdicts),
        "poam-items": list(map(document.item, verdicts)) or [nothing],
    }
    return document.text("plan-of-action-and-milestones", content)


class _Document:
    """The parts of a document about an assessment."""

    def __init__(self, assessment: Assessment) -> None:
        self.assessment = assessment
        self.when = timestamp(assessment.when)
        self._rules = rule_results(assessment)
        self.edition = (str(assessment.benchmark), str(assessment.when))

    def uuid(self, *names: str) -> str:
        """Return the UUID of a part of the assessments of this node."""
        return identifier(self.assessment.node or f"root {self.assessment.root}", *names)

    def text(self, name: str, content: Json) -> str:
        """Return the whole document."""
        metadata = {
            "title": f"{name.replace('-', ' ').capitalize()} of {self.assessment.node or 'unnamed'}",
            "last-modified": self.when,
            "version": self.when,
            "oscal-version": _VERSION,
            "props": _props({"tool": f"k3s-harden {__version__}", "benchmark": self.edition[0]}),
        }
        head = {"uuid": self.uuid(name, *self.edition), "metadata": metadata}
        return json.dumps({name: {**head, **content}}, indent=2) + "\n"

    def observed(self, verdicts: Sequence[Verdict]) -> Json:
        """Return the node and the cluster, and what was observed on them."""
        assessment = self.assessment
        about = f"{assessment.node or 'unnamed'}, K3s {assessment.fact(ROLE)} {assessment.fact(K3S_VERSION)}"
        facts = _props({made.name: made.value for made in assessment.facts})
        cluster = self.part(
            ["cluster"], "Kubernetes cluster", "The cluster of the node, as its API server describes it."
        )
        node = _filled({"uuid": self.uuid("node"), "description": f"Node {about.strip()}", "props": facts})
        components = [{**cluster, "type": "system", "status": {"state": "operational"}}]
        return _filled(
            {
                "local-definitions": {"components": components, "inventory-items": [node]},
                "observations": list(map(self._observation, verdicts)),
                "risks": [self._risk(verdict) for verdict in verdicts if verdict.status in _IN_RISKS],
            }
        )

    def part(self, names: Sequence[str], title: str, text: str, props: Mapping[str, str] | None = None) -> Json:
        """Return the members that each part has."""
        return _filled({"uuid": self.uuid(*names), "title": title, "description": text, "props": _props(props or {})})

    def _observation(self, verdict: Verdict) -> Json:
        control = verdict.control
        is_of_cluster = any(shown.cluster_object for shown in verdict.evidence)
        subject = ("cluster", "component") if is_of_cluster else ("node", "inventory-item")
        text = " ".join(f"{name.capitalize()}: {text}." for name, text in verdict.values.items()) or control.title
        evidence = [
            _filled({"description": shown.line, "props": _props({"command": shown.repeated_by or ""})})
            for shown in verdict.evidence
        ]
        props = {
            "control": control.id,
            "status": str(verdict.status),
            "cis-number": verdict.shown_number,
            "severity": str(control.rating.severity),
            "stig-rules": " ".join(references_of(control.id).stig),
        }
        return {
            **self.part(["observation", control.id], control.title, text, props),
            "methods": ["EXAMINE" if verdict.status is ControlStatus.MANUAL else "TEST"],
            "types": ["control-objective"],
            "subjects": [{"subject-uuid": self.uuid(subject[0]), "type": subject[1]}],
            **_filled({"relevant-evidence": evidence}),
            "collected": self.when,
        }

    def _risk(self, verdict: Verdict) -> Json:
        control, waiver = verdict.control, verdict.waiver
        fix = verdict_fix(verdict) or "A person decides what to do."
        statement = f"{control.rating.reason} {verdict.accepted or verdict.reason}".strip() or control.why
        approver = waiver.approved_by if waiver else ""
        props = {"severity": str(control.rating.severity), "approved-by": approver}
        repair = self.part(["remediation", control.id], f"Meet {control.id}", fix, {"owner": owner_name(verdict.owner)})
        risk = {
            **self.part(["risk", control.id], _weakness(verdict), control.why, props),
            "statement": statement,
            "status": ("deviation-approved" if approver else "deviation-requested") if waiver else "open",
            "remediations": [{**repair, "lifecycle": "planned" if waiver else "recommendation"}],
            **self._related("observation", [verdict]),
        }
        if waiver and waiver.expires:
            risk["deadline"] = end = f"{waiver.expires}T23:59:59Z"
            task = self.part(["milestone", control.id], "The waiver or stage ends", verdict.accepted)
            risk["remediations"][0]["tasks"] = [{**task, "type": "milestone", "timing": {"on-date": {"date": end}}}]
        return risk

    def item(self, verdict: Verdict) -> Json:
        """Return the item of the plan about a control."""
        text = verdict.accepted or verdict.reason or f"Found: {verdict.found or 'not met'}."
        return {
            **self.part(["item", verdict.control.id], _weakness(verdict), text),
            **self._related("observation", [verdict]),
            **self._related("risk", [verdict]),
        }

    def finding(self, nist: str) -> Json:
        """Return the finding about a control of NIST: satisfied if each rule of the STIG that belongs to it passes."""
        verdicts = [verdict for verdict in self.assessment.verdicts if nist in references_of(verdict.control.id).nist]
        status = worst(result.status for result in self._rules if nist in result.rule.nist)
        state = "satisfied" if status is ControlStatus.PASS else "not-satisfied"
        remarks = f"The worst status of its rules of the STIG is {status}. A person assesses the rest of the control."
        reason = {ControlStatus.PASS: "pass", ControlStatus.FAIL: "fail"}.get(status, "other")
        target = {"type": "statement-id", "target-id": f"{_catalog_id(nist)}_smt"}
        text = f"Observations on {nist} of {Framework.NIST.full_name}: {len(verdicts)}."
        return {
            **self.part(["finding", nist], nist, text),
            "target": {**target, "status": {"state": state, "reason": reason, "remarks": remarks}},
            **self._related("observation", verdicts),
            **self._related("risk", [verdict for verdict in verdicts if verdict.status in _IN_RISKS]),
        }

    def _related(self, part: str, verdicts: Sequence[Verdict]) -> Json:
        links = [{f"{part}-uuid": self.uuid(part, verdict.control.id)} for verdict in verdicts]
        return _filled({f"related-{part}s": links})


def _weakness(verdict: Verdict) -> str:
    """Return the title of a risk: the title of a control states the requirement."""
    words = {ControlStatus.FAIL: "Not met", ControlStatus.WAIVED: "Waived"}
    return f"{words.get(verdict.status, 'Not determined')}: {verdict.control.title}"


def _catalog_id(nist: str) -> str:
    """Return the ID in NIST's catalog: ac-17.2 for AC-17(2)."""
    return nist.lower().replace("(", ".").rstrip(")")


def _props(values: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the properties that have a value, because OSCAL allows no empty one."""
    return [
        {"name": re.sub(r"^[^A-Za-z_]|[^A-Za-z0-9_.-]", "_", name), "ns": _NAMESPACE, "value": value.strip()}
        for name, value in values.items()
        if value.strip()
    ]


def _filled(members: Json) -> Json:
    """Return the members that are not empty lists, which OSCAL does not allow."""
    return {name: value for name, value in members.items() if value != []}
