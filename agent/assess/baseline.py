"""An earlier JSON report of `assess`: the status of each control at that time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.assess.assessment import SCHEMA, ControlStatus
from agent.assess.provenance import FileContent, sha256_of_report
from agent.base.errors import InputError
from agent.base.model import Location
from agent.base.times import parse_timestamp
from agent.findings.gate import GATE_FINDINGS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import PurePosixPath

_SCHEMAS = frozenset({1, SCHEMA})
"""The schemas in which the keys that are read here are the same."""
_HINT = "pass a report of `k3s-harden assess --format json`"


class OtherSchemaError(InputError):
    """A report of another version of this program, whose schema is different."""


class Baseline(NamedTuple):
    """An earlier report."""

    benchmark: str
    node: str
    when: float
    """Seconds since the epoch."""
    facts: Mapping[str, str]
    statuses: Mapping[str, ControlStatus]
    """By the id of the control."""
    known: frozenset[str]
    """The ids of the controls that were open."""
    file: FileContent
    gate: tuple[str, ...] = ()
    """The gaps in the gate."""
    is_verified: bool = False
    """Whether an allowed signer signed the file."""

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
            known=frozenset(str(verdict["id"]) for verdict in report["verdicts"] if verdict["is_open"]),
            gate=tuple(str(note["message"]) for note in notes if note.get("finding") in GATE_FINDINGS),
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(location, "it is not a report of an assessment", _HINT) from error
