"""Declaration of a reason on the host, with the line of K3s' log by which somebody finds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.report import Level
from agent.base.value import Value
from agent.findings.registry import finding, no, yes

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.findings.registry import Detector

_BLOCKS_NOTHING = no("K3s fails by itself. The gate blocks only a K3s that would run unhardened.")


class Reason(Value):
    """What docs/howto/host.md says about a reason besides its finding."""

    symptom: str
    """What K3s' log contains; a description if there is no such line."""
    on_trees: bool
    """Whether `--root` finds it on a host tree, too."""
    source: str
    """How it is known, where K3s or the component decides, and issues of k3s-io/k3s with reports."""


REASONS: dict[str, Reason] = {}
"""By id of the finding, in the order of declaration."""


def stops_k3s(symptom: str, *, on_trees: bool, source: str, repair: str) -> Callable[[Detector], Detector]:
    """Declare a finding of level error: K3s certainly exits, or repeats its start for ever."""
    return _declared(Reason(symptom, on_trees, source), Level.ERROR, repair)


def may_fail(symptom: str, *, on_trees: bool, source: str, repair: str) -> Callable[[Detector], Detector]:
    """Declare a finding of level warning: K3s starts, or whether it does is not certain."""
    return _declared(Reason(symptom, on_trees, source), Level.WARNING, repair)


def _declared(reason: Reason, level: Level, repair: str) -> Callable[[Detector], Detector]:
    is_certain = level is Level.ERROR
    prevents = yes(f"K3s fails: {reason.symptom}.") if is_certain else no("K3s starts, or whether it does is unknown.")
    declare = finding(level, blocks_gate=_BLOCKS_NOTHING, prevents_start=prevents, repair=repair)

    def note(detect: Detector) -> Detector:
        REASONS[detect.__name__.replace("_", "-")] = reason
        return declare(detect)

    return note
