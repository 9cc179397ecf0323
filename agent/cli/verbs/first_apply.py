"""What the first apply asks on a server where K3s runs: which objects break as soon as it writes policy.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.errors import HardenError
from agent.base.model import Instruction, OwnCommand, Role
from agent.base.report import NextStep
from agent.findings.after_run import breaking_at_once, impact_unknown

if TYPE_CHECKING:
    from agent.base.host import Host
    from agent.base.report import Finding
    from agent.harden.situation import Request, Situation

_SECONDS = 10.0
"""For all requests to the API server."""

WAYS_ON = (
    NextStep(OwnCommand("impact"), "see all objects, when they break, and what to do"),
    NextStep(Instruction("admit their traffic by `network-policies.allow`, or postpone a part by `stages`")),
    NextStep(OwnCommand("apply", ("--accept-impact",)), "harden now"),
)


def is_first_on_a_running_server(host: Host, situation: Situation) -> bool:
    """Return whether apply would change a server for the first time while K3s runs on it."""
    is_running_server = situation.facts.role is Role.SERVER and situation.facts.running_since is not None
    return host.is_live and is_running_server and not situation.journal.runs and bool(situation.plan.changes)


def breaks_at_once(host: Host, request: Request, situation: Situation) -> tuple[Finding, ...]:
    """Return a finding for each object that breaks at once, or one if the API server does not answer."""
    from agent.cli.verbs.impact import impact_on_server
    from agent.cluster.reader import LIMITS
    from agent.findings.impact import When

    try:
        found = impact_on_server(host, request, situation, LIMITS._replace(total=_SECONDS))
    except HardenError as error:
        return (impact_unknown(error),)
    return breaking_at_once([entry for entry in found.breaks if entry.when in (When.AT_ONCE, When.NEXT_CONNECTION)])
