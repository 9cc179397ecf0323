"""How a finding is declared: one function, whose name is its id and whose docstring `explain` prints.

To add one, write the function in the module of its topic; nothing else names it. What no look at a host can tell is
declared without a function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from agent.report import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.situation import Situation


APPLY = "k3s-harden apply"
INSTALL = "k3s-harden install"
"""Remedies, as they are typed."""


def written_by_apply(seen: Situation, resource_id: str) -> str:
    """The remedy for a resource of ours: apply, with what has to come first where apply would refuse it."""
    refusals = (refusal for refusal in seen.plan.refusals if refusal.id == resource_id)
    refusal = next(refusals, None)
    if refusal is None:
        return APPLY
    return f"{APPLY} --force, which keeps a backup" if refusal.edited else f"{refusal.hint}; then {APPLY}"


class Trouble(NamedTuple):
    """One case of a finding; `where` is a path, with `:line` where it is known."""

    message: str
    wanted: str = ""
    found: str = ""
    where: str = ""
    remedy: str = ""


class Detector(Protocol):
    """Looks for one kind of trouble in what was seen of a host; pure."""

    def __call__(self, seen: Situation) -> Iterator[Trouble]:
        """Yield each case."""
        ...


class Kind(NamedTuple):
    """A kind of finding; `blocks_gate` as in report.Finding. One without `detect` is said by a verb, of what it did."""

    id: str
    level: Level
    blocks_gate: bool
    explanation: str
    detect: Detector | None

    def case(self, trouble: Trouble) -> Finding:
        """A case of this kind, as the report has it."""
        return Finding(self.id, self.level, self.blocks_gate, *trouble)


KINDS: dict[str, Kind] = {}
"""All kinds by id, in the order of the modules that declare them."""


def finding(level: Level, *, blocks_gate: bool | None = None) -> Callable[[Detector], Detector]:
    """Declare a detector as a kind of finding of this level. An error keeps K3s down unless it is said not to."""

    def declare(detect: Detector) -> Detector:
        name = detect.__name__.replace("_", "-")  # type: ignore[attr-defined]
        holds = level is Level.ERROR if blocks_gate is None else blocks_gate
        KINDS[name] = Kind(name, level, holds, detect.__doc__ or "", detect)
        return detect

    return declare


def declared(name: str, level: Level, explanation: str) -> Kind:
    """Declare a kind of finding that a verb says of what it did. It keeps no K3s down."""
    KINDS[name] = Kind(name, level, blocks_gate=False, explanation=explanation, detect=None)
    return KINDS[name]
