"""An assessment as SARIF 2.1.0, the exchange format of code scanners (OASIS, sarif-v2.1.0-errata01)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent.assess.assessment import ControlStatus
from agent.assess.places import split_place
from agent.benchmark.check import (
    AllOf,
    EtcdSetting,
    Flag,
    GuideDirectory,
    KernelParameter,
    Ownership,
    Permissions,
)
from agent.benchmark.control import Assessed
from agent.present.assessments.common import by_section, is_new, timestamp, waived

if TYPE_CHECKING:
    from agent.assess.assessment import Assessment, Evidence, Notice, Verdict
    from agent.benchmark.check import Check
    from agent.benchmark.control import BenchmarkControl

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_FINGERPRINT = "control/v1"
"""The name of our fingerprint; another way to make it gets another version, as SARIF 3.27.17 asks."""

_REPORTED = (ControlStatus.FAIL, ControlStatus.UNKNOWN, ControlStatus.WAIVED)
"""GitHub and others show every result as a problem, whatever its kind: what is none is left out."""


def as_sarif(assessment: Assessment) -> str:
    """One run: a rule for each control, a result for each that failed, is waived, or could not be told."""
    import json

    from agent import __version__

    verdicts = [verdict for verdicts in by_section(assessment).values() for verdict in verdicts]
    rules = {verdict.control.id: _rule(verdict) for verdict in verdicts}
    places = {rule: place for place, rule in enumerate(rules)}
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
        "invocations": [
            {
                "executionSuccessful": True,
                "exitCode": int(assessment.exit_code),
                "exitCodeDescription": assessment.exit_code.meaning,
                "endTimeUtc": timestamp(assessment.when),
                "machine": assessment.node,
                "toolConfigurationNotifications": [_notification(notice) for notice in assessment.notices],
            }
        ],
        "results": [
            _result(assessment, verdict, places[verdict.control.id])
            for verdict in verdicts
            if verdict.status in _REPORTED
        ],
        "properties": {
            "benchmark": str(assessment.benchmark),
            "counts": assessment.counts(),
            "facts": {fact.name: fact.value for fact in assessment.facts},
        },
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule(verdict: Verdict) -> dict[str, object]:
    control = verdict.control
    texts = (control.why, control.repair or verdict.remedy)
    return {
        "id": control.id,
        "shortDescription": {"text": _plain(control.recommendation)},
        "fullDescription": {"text": _plain(control.why)},
        "help": {"text": _plain("\n\n".join(filter(None, texts)))},
        "defaultConfiguration": {"level": _level(verdict)},
        "properties": {
            "tags": ["security", "kubernetes", "k3s", *(["CIS"] if control.numbers else [])],
            "level": control.level,
            "numbers": {str(benchmark): number.text for benchmark, number in control.numbers.items()},
            "source": control.source,
        },
    }


def _level(verdict: Verdict) -> str:
    scored = verdict.number is None or verdict.number.assessed is Assessed.AUTOMATED
    return "error" if scored else "warning"


def _result(assessment: Assessment, verdict: Verdict, rule: int) -> dict[str, object]:
    is_unknown = verdict.status is ControlStatus.UNKNOWN
    shape: dict[str, object] = {
        "ruleId": verdict.control.id,
        "ruleIndex": rule,
        "kind": "open" if is_unknown else "fail",
        # SARIF 3.27.10: what did not fail has no level.
        "level": "none" if is_unknown else _level(verdict),
        "message": {"text": _plain(_message(verdict))},
        "locations": [_location(verdict, seen) for seen in dict.fromkeys(verdict.evidence)] or [_location(verdict)],
        "partialFingerprints": {_FINGERPRINT: _fingerprint(verdict.control)},
        "properties": {
            "status": str(verdict.status),
            "number": verdict.number.text if verdict.number else "",
            "wanted": verdict.wanted,
            "found": verdict.found,
            "actor": str(verdict.actor),
        },
    }
    if assessment.known is not None:
        shape["baselineState"] = "new" if is_new(assessment, verdict) else "unchanged"
    if verdict.status is ControlStatus.WAIVED and verdict.waiver:
        place = _physical(verdict.waiver.where)
        shape["suppressions"] = [
            {
                "kind": "external",
                "status": "accepted",
                "justification": waived(verdict.waiver),
                **({"location": place} if place else {}),
            }
        ]
    return shape


def _message(verdict: Verdict) -> str:
    parts = [f"{verdict.control.recommendation}:"]
    parts += [f"{name} {text};" for name, text in (("wanted", verdict.wanted), ("found", verdict.found)) if text]
    parts += [verdict.reason] if verdict.reason else []
    text = " ".join(parts).rstrip(";:")
    return f"{text}\nTo do, by {verdict.actor}: {verdict.remedy}" if verdict.remedy else text


def _location(verdict: Verdict, seen: Evidence | None = None) -> dict[str, object]:
    """Where it was seen: a file, and always what the control is about, which is no place on a disk."""
    shape: dict[str, object] = dict(_physical(seen.where)) if seen else {}
    asked = subject(verdict.control.check) or verdict.control.id
    shape["logicalLocations"] = [{"fullyQualifiedName": asked}]
    if seen:
        shape["message"] = {"text": _plain(seen.what if "physicalLocation" in shape else f"{seen.what} ({seen.where})")}
    return shape


def _physical(where: str) -> dict[str, object]:
    """The location of a path or "path:line"; empty for what is no absolute path."""
    from urllib.parse import quote

    path, line = split_place(where)
    if not path.startswith("/"):
        return {}
    # A path that begins with two slashes would name a host.
    path = f"/{path.lstrip('/')}"
    place: dict[str, object] = {"artifactLocation": {"uri": f"file://{quote(path)}"}}
    if line:
        place["region"] = {"startLine": line}
    return {"physicalLocation": place}


def _notification(notice: Notice) -> dict[str, object]:
    text = f"{notice.message}\nTo do: {notice.remedy}" if notice.remedy else notice.message
    place = _physical(notice.where)
    return {"level": "warning", "message": {"text": _plain(text)}, **({"locations": [place]} if place else {})}


def _fingerprint(control: BenchmarkControl) -> str:
    """The same on every node and in every run: of what is asked, and neither of where nor of when it was found."""
    from hashlib import sha256

    return sha256(f"{control.id}\0{subject(control.check)}".encode()).hexdigest()


def subject(check: Check) -> str:
    """What a check looks at, in words that are the same on every node; empty where its row's id says all."""
    if isinstance(check, (Permissions, Ownership)):
        return ", ".join(check.paths)
    if isinstance(check, Flag):
        return f"{check.component} --{check.name}"
    if isinstance(check, EtcdSetting):
        return f"etcd {check.key}"
    if isinstance(check, (KernelParameter, GuideDirectory)):
        return check.row.id
    if isinstance(check, AllOf):
        return ", ".join(map(subject, check.checks))
    return ""


def _plain(text: str) -> str:
    """A message without what SARIF reads in one: links, as in [text](target), and placeholders, as in {0}."""
    return re.sub(r"\{([0-9]+)\}", r"{{\1}}", text.replace("](", "] ("))
