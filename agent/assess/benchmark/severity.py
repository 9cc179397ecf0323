"""Severities of controls and their reasons, from severities.tsv."""

from __future__ import annotations

from functools import cache

from agent.base import package_data
from agent.base.model import StrEnum
from agent.base.value import Value


class Severity(StrEnum):
    """What an attacker gains while a control is open, the most serious step first."""

    CRITICAL = "critical"  # the node or the cluster, without credentials or for any local user
    HIGH = "high"  # the same with one credential, foothold or mistake of somebody else
    MEDIUM = "medium"  # a larger effect, or fewer traces, of an attack that succeeds by other means
    LOW = "low"


class Rating(Value):
    """The severity of a control."""

    severity: Severity
    reason: str


@cache
def ratings() -> dict[str, Rating]:
    """Return the ratings by severity and risk, such as "high pod-breakout"."""
    table = package_data.rows("assess", "benchmark", "severities.tsv")
    return {f"{severity} {risk}": Rating(Severity(severity), reason) for severity, risk, reason in table}
