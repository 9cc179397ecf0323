"""Declaration of a reason on the host, with the line of K3s' log by which somebody finds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.base import package_data
from agent.base.report import Level
from agent.findings.registry import finding, no, yes

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.findings.registry import Detector


class Reason(NamedTuple):
    """What docs/howto/host.md says about a reason besides its finding, a row of reasons.tsv."""

    on_trees: bool
    """Whether `--root` finds it on a host tree, too."""
    symptom: str
    """What K3s' log contains; a description if there is no such line."""
    source: str
    """How it is known, where K3s or the component decides, and issues of k3s-io/k3s with reports."""


REASONS = {
    name: Reason(on_trees == "yes", symptom, source)
    for name, on_trees, symptom, source in package_data.rows("findings", "machine", "reasons.tsv")
}
"""By id of the finding, in the order of declaration."""


def stops_k3s(repair: str) -> Callable[[Detector], Detector]:
    """Declare a finding of level error: K3s certainly exits, or repeats its start for ever."""
    return lambda detect: _declared(detect, Level.ERROR, repair)


def may_fail(repair: str) -> Callable[[Detector], Detector]:
    """Declare a finding of level warning: K3s starts, or whether it does is not certain."""
    return lambda detect: _declared(detect, Level.WARNING, repair)


def _declared(detect: Detector, level: Level, repair: str) -> Detector:
    symptom = REASONS[detect.__name__.replace("_", "-")].symptom
    blocks = no("K3s fails by itself. The gate blocks only a K3s that would run unhardened.")
    is_certain = level is Level.ERROR
    prevents = yes(f"K3s fails: {symptom}.") if is_certain else no("K3s starts, or whether it does is unknown.")
    return finding(level, blocks_gate=blocks, prevents_start=prevents, repair=repair)(detect)
