"""Severity of each control by its risk: severities.tsv, with one row for each group of controls and its reason."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from agent.base import package_data
from agent.base.model import StrEnum


class Severity(StrEnum):
    """What an attacker gains while a control is open, the most serious step first."""

    CRITICAL = "critical"  # the node or the cluster, without credentials or for any local user
    HIGH = "high"  # the same with one credential, foothold or mistake of somebody else
    MEDIUM = "medium"  # a larger effect, or fewer traces, of an attack that succeeds by other means
    LOW = "low"


class Rating(NamedTuple):
    """The severity of a control."""

    severity: Severity
    reason: str


def rating(control_id: str) -> Rating:
    """Return the severity of a control and its reason; a control without a row, which a test rejects, is medium."""
    return _ratings().get(control_id, Rating(Severity.MEDIUM, ""))


@cache
def _ratings() -> dict[str, Rating]:
    table = package_data.read("assess", "benchmark", "severities.tsv").decode()
    rows = (line.split("\t") for line in table.splitlines()[1:])
    return {name: Rating(Severity(step), reason) for step, reason, names in rows for name in names.split()}
