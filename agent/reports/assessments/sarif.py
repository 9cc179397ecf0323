"""An assessment as SARIF 2.1.0, the exchange format of code scanners (OASIS, sarif-v2.1.0-errata01)."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import PurePosixPath

from agent.assess.assessment import Assessment, ControlStatus, Evidence, Note, Verdict
from agent.assess.benchmark.control import Severity
from agent.base.model import Location
from agent.base.repair import Edit, Instruction, Set
from agent.base.times import timestamp
from agent.k3s.roles_and_versions import K3S_CONFIG_FILE
from agent.reports import repair_texts
from agent.reports.assessments.common import owner_name, verdict_fix

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_FINGERPRINT = "control/v1"
"""Name of the hash of a control and its object; SARIF 3.27.17 requires another version if its computation changes."""

_FILES = "file:///"
"""Address of the root directory of the host."""

_ROOT = "HOST"
"""Name of the root directory in locations. GitHub code scanning rejects absolute file URIs."""

_MOST_LOCATIONS = 10
"""Maximum per result, because GitHub code scanning reads no more."""

_LEVELS = {Severity.CRITICAL: "error", Severity.HIGH: "error", Severity.MEDIUM: "warning", Severity.LOW: "note"}
_SECURITY_SEVERITIES = dict(zip(Severity, ("9.5", "8.0", "5.5", "2.0")))
"""A number in the middle of each step, as GitHub divides them: over 9.0, over 6.9, over 3.9. No score is computed."""

_REPORTED = (ControlStatus.FAIL, ControlStatus.UNKNOWN, ControlStatus.WAIVED)
"""Statuses with a result. GitHub and others show every result as a problem, even one of the kind `pass`."""


def as_sarif(assessment: Assessment) -> str:
    """Return a rule for each control, and a result for each that failed, is waived or could not be determined."""
    import json

    from agent import __version__

    verdicts = assessment.in_order
    rules = {verdict.control.id: _rule(verdict) for verdict in verdicts}
    indexes = {rule: index for index, rule in enumerate(rules)}
    category = "/".join(filter(None, ("k3s-harden", str(assessment.benchmark), assessment.node)))
    run = {
        "tool": {
            "driver": {
                "name": "k3s-harden",
                "version": __version__,
                "shortDescription": {"text": "Assesses a K3s node against the CIS Kubernetes Benchmark"},
                "rules": list(rules.values()),
            }
        },
        "automationDetails": {"id": f"{category}/"},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {
            _ROOT: {"uri": _FILES, "description": {"text": "The root directory of the assessed host"}}
        },
        "invocations": [
            {
                "executionSuccessful": True,
                "exitCode": int(assessment.exit_code),
                "exitCodeDescription": assessment.exit_code.meaning,
                "endTimeUtc": timestamp(assessment.when),
                "machine": assessment.node,
                # GitHub's code scanning makes absolute addresses relative to this directory.
                "workingDirectory": {"uri": _FILES},
                "toolConfigurationNotifications": [_notification(note) for note in assessment.notes],
            }
        ],
        "results": [
            _result(assessment, verdict, indexes[verdict.control.id])
            for verdict in verdicts
            if verdict.status in _REPORTED
        ],
        "properties": {
            "benchmark": str(assessment.benchmark),
            "counts": assessment.counts(),
            "countsOfBenchmark": assessment.benchmark_counts,
            "countsBeyondBenchmark": assessment.counts(""),
            "facts": {fact.name: fact.value for fact in assessment.all_facts},
        },
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule(verdict: Verdict) -> dict[str, object]:
    control = verdict.control
    rated = control.rating
    texts = (control.why, repair_texts.text(verdict.repair))
    return {
        "id": control.id,
        "shortDescription": {"text": _plain(control.recommendation)},
        "fullDescription": {"text": _plain(control.why)},
        "help": {"text": _plain("\n\n".join(filter(None, texts)))},
        "defaultConfiguration": {"level": _LEVELS[rated.severity]},
        "properties": {
            "tags": ["security", "kubernetes", "k3s", *(["CIS"] if control.numbers else [])],
            "security-severity": _SECURITY_SEVERITIES[rated.severity],
            "severity": str(rated.severity),
            "severityReason": rated.reason,
            "level": control.level,
            "numbers": {str(benchmark): number.text for benchmark, number in control.numbers.items()},
            "source": control.source,
        },
    }


def _result(assessment: Assessment, verdict: Verdict, rule: int) -> dict[str, object]:
    control, is_unknown = verdict.control, verdict.status is ControlStatus.UNKNOWN
    evidence = tuple(dict.fromkeys(verdict.evidence))
    left = len(evidence) - _MOST_LOCATIONS
    shape: dict[str, object] = {
        "ruleId": control.id,
        "ruleIndex": rule,
        "kind": "open" if is_unknown else "fail",
        # SARIF 3.27.10: only a failure has a level.
        "level": "none" if is_unknown else _LEVELS[control.rating.severity],
        "message": {"text": _plain(_message(verdict, f"; and {left} more locations" if left > 0 else ""))},
        "locations": [_location(verdict, shown) for shown in evidence[:_MOST_LOCATIONS] or (None,)],
        # The same on every node and in every run.
        "partialFingerprints": {_FINGERPRINT: sha256(f"{control.id}\0{control.check.subject}".encode()).hexdigest()},
        "properties": {
            "status": str(verdict.status),
            "number": verdict.shown_number,
            "expected": verdict.expected,
            "found": verdict.found,
            "owner": str(verdict.owner),
        },
    }
    if assessment.known is not None:
        shape["baselineState"] = "new" if verdict.is_open and not assessment.is_in_baseline(verdict) else "unchanged"
    if verdict.status is ControlStatus.WAIVED and verdict.waiver:
        suppression = {"kind": "external", "status": "accepted", "justification": verdict.accepted}
        location = verdict.waiver.location
        shape["suppressions"] = [{**suppression, **({"location": _physical(location)} if location else {})}]
    return shape


def _message(verdict: Verdict, others: str) -> str:
    parts = [f"{verdict.control.recommendation}:"]
    parts += [f"{name} {text};" for name, text in (("expected", verdict.expected), ("found", verdict.found)) if text]
    parts += [verdict.reason] if verdict.reason else []
    text = " ".join(parts).rstrip(";:") + others
    steps = verdict_fix(verdict)
    return f"{text}\nRemediation (owner: {owner_name(verdict.owner)}): {steps}" if steps else text


def _location(verdict: Verdict, evidence: Evidence | None) -> dict[str, object]:
    """Return the file of the evidence, and the object of the cluster or of the control as logical location.

    GitHub ignores results without a file. So an object of the cluster gets a path of its own, and other evidence
    without a file, such as a default of K3s, that of the first edit, or else K3s' main configuration file.
    """
    steps = verdict.repair.steps
    edited = (step.location for step in steps if isinstance(step, (Edit, Instruction, Set)) and step.location)
    where = (evidence and evidence.location) or next(edited, Location(K3S_CONFIG_FILE))
    if evidence and evidence.cluster_object:
        where = Location(PurePosixPath("/cluster", evidence.cluster_object.replace(" ", "/", 1)))
    subject = (evidence and evidence.cluster_object) or verdict.control.check.subject or verdict.control.id
    shape = {**_physical(where), "logicalLocations": [{"fullyQualifiedName": subject}]}
    if evidence:
        text = f"{evidence.observation} ({evidence.source})" if evidence.source else evidence.observation
        shape["message"] = {"text": _plain(text)}
    return shape


def _physical(location: Location) -> dict[str, object]:
    """Return a physical location. A file as a whole has its first line as region, because GitHub requires one."""
    from urllib.parse import quote

    path = quote(str(location.path).lstrip("/")) or "."
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": path, "uriBaseId": _ROOT},
            "region": {"startLine": location.line or 1},
        }
    }


def _notification(note: Note) -> dict[str, object]:
    steps = repair_texts.text(note.repair)
    text = f"{note.message}\nRemediation: {steps}" if steps else note.message
    locations = {"locations": [_physical(note.location)]} if note.location else {}
    return {"level": "warning", "message": {"text": _plain(text)}, **locations}


def _plain(text: str) -> str:
    """Return a message without links, `[text](target)`, and placeholders, `{0}`, which SARIF would interpret."""
    return re.sub(r"\{([0-9]+)\}", r"{{\1}}", text.replace("](", "] ("))
