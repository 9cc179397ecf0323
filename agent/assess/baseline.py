"""An earlier JSON report of `assess`, read back: how it stood with each control then."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.assess.assessment import SCHEMA, TIME_FORMAT, ControlStatus
from agent.errors import InputError
from agent.model import Location

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import PurePosixPath

    from agent.host import Host

_HINT = "it must be what `k3s-harden assess --format json` prints"


class Baseline(NamedTuple):
    """How it stood, and on which host. `when` is in seconds since the epoch, `statuses` by the id of the control.

    `known` has the ids of the controls that were open.
    """

    benchmark: str
    node: str
    when: float
    facts: Mapping[str, str]
    statuses: Mapping[str, ControlStatus]
    known: frozenset[str]


def load(host: Host, path: PurePosixPath) -> Baseline:
    """Read the report at a path of this machine. Raises InputError where there is none, or it cannot be used."""
    return parse(host.machine_tree.read_input(path), path)


def parse(data: bytes, path: PurePosixPath) -> Baseline:
    """Read a report. Raises InputError for what is none, or of a shape that this program does not know."""
    import json
    from datetime import datetime, timezone

    try:
        report = json.loads(data)
        if report["schema"] != SCHEMA:
            raise InputError(Location(path), f"it is of schema {report['schema']!r}, and this program reads {SCHEMA}")
        return Baseline(
            benchmark=str(report["benchmark"]),
            node=str(report["node"]),
            when=datetime.strptime(report["time"], TIME_FORMAT).replace(tzinfo=timezone.utc).timestamp(),
            facts={str(fact["name"]): str(fact["value"]) for fact in report["facts"]},
            statuses={str(verdict["id"]): ControlStatus(verdict["status"]) for verdict in report["verdicts"]},
            known=frozenset(str(verdict["id"]) for verdict in report["verdicts"] if verdict["is_open"]),
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(Location(path), "it is no report of an assessment", _HINT) from error
