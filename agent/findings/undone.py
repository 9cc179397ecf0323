"""What revert cannot undo by itself, and says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.findings.registry import Trouble, finding, of
from agent.guide.files import POLICY_FILE
from agent.report import Level, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.report import Finding, Item
    from agent.situation import Situation

_DELETE = "k3s-harden render policy --k3s-version 1.NN | k3s kubectl delete --ignore-not-found -f -"


@finding(Level.NOTE)
def objects_remain(seen: Situation) -> Iterator[Trouble]:
    """After a revert: K3s keeps the objects of a manifest that is gone, so the cluster still has its policies.

    They are removed with kubectl, on one server.
    """
    # A look at the host cannot tell: only the run that removes the manifest knows of it.
    del seen
    yield from ()


def after_revert(items: Iterable[Item], *, k3s_runs: bool) -> tuple[Finding, ...]:
    """What is left to do once these items of a revert are done."""
    undone = [item.id for item in items if item.status is Status.CHANGED]
    found = []
    if any(name.endswith(f"/{POLICY_FILE}") for name in undone):
        message = "K3s keeps the NetworkPolicies and PodSecurityPolicies of the manifest that was here"
        found.append(of("objects-remain", Trouble(message, remedy=f"on one server: {_DELETE}")))
    if k3s_runs and any(name.endswith(".yaml") for name in undone):
        found.append(of("restart-needed", Trouble("K3s runs with what was undone", remedy="restart K3s")))
    return tuple(found)
