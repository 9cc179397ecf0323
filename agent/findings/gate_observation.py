"""Findings about a gate that observes, because a package was installed on a cluster that ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.model import Location
from agent.base.repair import RunVerb
from agent.findings.registry import Problem, error, no, steps, warning
from agent.harden.changes.journal import OBSERVES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.harden.situation import Situation

OBSERVING = ("gate-observes", "gate-observes-too-long")

_MOST_DAYS = 30
_FIX = steps(
    RunVerb("impact"),
    RunVerb("apply"),
    alternative=steps(RunVerb("install", ("--enforce",))),
)
_GENERAL = "run `sudo k3s-harden impact`, then `sudo k3s-harden apply`, or `sudo k3s-harden install --enforce`"


@warning(repair=_GENERAL)
def gate_observes(situation: Situation) -> Iterator[Problem]:
    """The gate hardens nothing and blocks nothing, because its package was installed on a cluster that ran.

    The first successful apply ends this, and so does `install --enforce`. From day 30 on it is an error.
    """
    if situation.gate_observes_since and _days(situation) < _MOST_DAYS:
        yield _problem(situation)


@error(
    blocks_gate=no("The gate observes, so it blocks nothing."),
    prevents_start=no("K3s itself is not affected."),
    repair=_GENERAL,
)
def gate_observes_too_long(situation: Situation) -> Iterator[Problem]:
    """The gate has observed for 30 days or longer, so K3s still starts unhardened."""
    if situation.gate_observes_since and _days(situation) >= _MOST_DAYS:
        yield _problem(situation)


def _problem(situation: Situation) -> Problem:
    since = situation.gate_observes_since
    message = f"the gate observes since {since}: K3s starts even if this host is not hardened"
    return Problem(message, "a gate that blocks an unhardened K3s", location=Location(OBSERVES), repair=_FIX)


def _days(situation: Situation) -> int:
    from datetime import date

    return (date.fromisoformat(situation.today.date) - date.fromisoformat(situation.gate_observes_since)).days
