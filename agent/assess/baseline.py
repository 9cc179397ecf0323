"""An earlier JSON report of `assess`: the status of each control at that time."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from agent.assess.assessment import SCHEMA, ControlStatus, Evidence
from agent.assess.checks.answer import LISTED_APART
from agent.assess.provenance import MACHINE_ID_FACT, FileContent, sha256_of_report
from agent.base.errors import InputError
from agent.base.model import Location
from agent.base.times import parse_timestamp
from agent.base.value import Value
from agent.findings.gate_faults import GATE_FINDINGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SCHEMAS = frozenset({1, 2, SCHEMA})
"""The schemas in which the keys that are read here are the same."""
_DAY = 86_400
_HINT = "pass a report of `k3s-harden assess --format json`"


_CUT = r"(and )?\d+ more( are not shown)?"
"""The observation instead of those that a report leaves out."""


def places(evidence: Iterable[Evidence]) -> frozenset[str]:
    """Return the objects and files that evidence is about, each with what was observed; none if some are left out.

    Objects of K3s itself are listed apart.
    """
    found = [item for item in evidence if not item.observation.startswith(LISTED_APART)]
    if any(re.fullmatch(_CUT, item.observation) for item in found):
        return frozenset()
    located = ((item.cluster_object or (item.location and str(item.location.path)), item) for item in found)
    return frozenset(f"{place}: {item.observation}" for place, item in located if place)


def _earlier(verdict: Mapping[str, Any]) -> EarlierVerdict:
    evidence = map(_evidence, verdict["evidence"])
    return EarlierVerdict(
        str(verdict.get("title", "")),
        str(verdict.get("number", "")),
        ControlStatus(verdict["status"]),
        str(verdict.get("found", "")),
        tuple(f"{item.observation} ({item.location})" if item.location else item.observation for item in evidence),
    )


def _evidence(item: Mapping[str, Any]) -> Evidence:
    location = item["location"]
    where = Location(PurePosixPath(location["path"]), location.get("line")) if location else None
    return Evidence(str(item["observation"]), where, str(item["source"]), str(item.get("cluster_object", "")))


class OtherSchemaError(InputError):
    """A report of another version of this program, whose schema is different."""


class EarlierVerdict(Value):
    """What a report has about a control."""

    title: str
    number: str
    status: ControlStatus
    found: str
    evidence: tuple[str, ...]


class Baseline(Value):
    """An earlier report."""

    benchmark: str
    node: str
    when: float
    """Seconds since the epoch."""
    facts: Mapping[str, str]
    statuses: Mapping[str, ControlStatus]
    """By the id of the control."""
    known: Mapping[str, frozenset[str]]
    """The places of the controls that were open, by id, as `places` returns them; empty if they are not compared."""
    version: str
    """Of the program that wrote it."""
    verdicts: Mapping[str, EarlierVerdict]
    """By the id of the control."""
    file: FileContent
    gate: tuple[str, ...] = ()
    """The gaps in the gate."""
    is_verified: bool = False
    """Whether an allowed signer signed the file."""
    machine: str = ""
    """The id of the assessed machine, as provenance has it; empty if the report has none."""

    def require_use(self, machine: str, now: float, days: int, *, of_another: bool) -> None:
        """Raise InputError if the report is older than some days, or of another machine: it would hide failures."""
        location, age = Location(self.file.path), (now - self.when) / _DAY
        if age > days:
            found = f"the baseline is {age:.0f} days old, expected at most {days}"
            raise InputError(location, found, "write a new baseline, or pass --baseline-days DAYS")
        if not of_another and (self.machine != machine or not machine):
            whose = f"of the machine {self.machine}" if self.machine else "of an unknown machine"
            found = f"the baseline is a report {whose}, expected {machine or 'a machine id, which this host lacks'}"
            hint = "write a baseline of this node; for a replaced machine or a host tree, pass --other-machine"
            raise InputError(location, found, hint)

    @property
    def is_compliant(self) -> bool:
        """Return whether no control was open and the gate had no gap."""
        return not self.known and not self.gate


def parse_baseline(data: bytes, path: PurePosixPath) -> Baseline:
    """Parse a report. Raises InputError for an invalid one, and OtherSchemaError for an unsupported schema."""
    import json

    location = Location(path)
    try:
        report = json.loads(data)
        if report["schema"] not in _SCHEMAS:
            raise OtherSchemaError(location, f"its schema is {report['schema']!r}, expected {SCHEMA}", _HINT)
        if "sha256" in report and report["sha256"] != sha256_of_report(report):
            raise InputError(location, "it was changed after it was written: its sha256 differs", _HINT)
        statuses = {str(verdict["id"]): ControlStatus(verdict["status"]) for verdict in report["verdicts"]}
        counted = sum(report["counts"].values())
        if counted != len(statuses):
            # A control that was removed from the report would be one of a newer version, which does not fail a run.
            raise InputError(location, f"it is incomplete: found {len(statuses)} controls, expected {counted}", _HINT)
        notes = report.get("notes", ())  # a report of the first schema can be without them
        return Baseline(
            file=FileContent(path, data, "baseline, not verified"),
            benchmark=str(report["benchmark"]),
            node=str(report["node"]),
            when=parse_timestamp(report["time"]),
            facts={str(fact["name"]): str(fact["value"]) for fact in report["facts"]},
            statuses=statuses,
            known={
                str(verdict["id"]): places(map(_evidence, verdict["evidence"]))
                for verdict in report["verdicts"]
                if verdict["is_open"]
            },
            version=str(report.get("version", "")),
            verdicts={str(verdict["id"]): _earlier(verdict) for verdict in report["verdicts"]},
            machine=next(
                (str(fact["value"]) for fact in report.get("provenance", ()) if fact["name"] == MACHINE_ID_FACT), ""
            ),
            gate=tuple(str(note["message"]) for note in notes if note.get("finding") in GATE_FINDINGS),
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(location, "it is not a report of an assessment", _HINT) from error
