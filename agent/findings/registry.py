"""How a finding is declared: one function, whose name is its id and whose docstring `explain` prints.

To add one, write the function in the module of its topic; nothing else names it. What no look at a host can tell is
declared without a function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from agent.model import NO_REMEDIATION, FixOwner, Instruction, OwnCommand, Remediation, Restart, ShellCommand
from agent.report import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.model import Location
    from agent.situation import Situation


APPLY = Remediation((OwnCommand("apply"),), FixOwner.APPLY)
INSTALL = Remediation((OwnCommand("install"),))
UNINSTALL = Remediation((OwnCommand("uninstall"),))


def instruction(text: str, location: Location | None = None, *, restart: Restart = Restart.NOT_NEEDED) -> Remediation:
    """Return a remediation with one step that the operator does, at `location` if that is a file to edit."""
    return Remediation((Instruction(text, location),), restart=restart)


def shell_command(line: str) -> Remediation:
    """Return a remediation with one command that the operator runs."""
    return Remediation((ShellCommand(line),))


def written_by_apply(seen: Situation, resource_id: str) -> Remediation:
    """Return the remediation for a managed resource: apply, after what apply requires if it refuses the resource."""
    refusal = next((refusal for refusal in seen.plan.refusals if refusal.id == resource_id), None)
    if refusal is None:
        return APPLY
    if refusal.edited:
        return Remediation((OwnCommand("apply", ("--force",)),))
    return Remediation((Instruction(refusal.hint), *APPLY.steps))


class Trouble(NamedTuple):
    """One case of a finding."""

    message: str
    expected: str = ""
    found: str = ""
    location: Location | None = None
    remediation: Remediation = NO_REMEDIATION


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
    prevents_start: bool
    explanation: str
    detect: Detector | None

    def case(self, trouble: Trouble) -> Finding:
        """A case of this kind, as the report has it."""
        return Finding(self.id, self.level, self.blocks_gate, self.prevents_start, *trouble)


KINDS: dict[str, Kind] = {}
"""All kinds by id, in the order of the modules that declare them."""


def finding(
    level: Level, *, blocks_gate: bool | None = None, prevents_start: bool = False
) -> Callable[[Detector], Detector]:
    """Declare a detector as a kind of finding of this level. An error keeps K3s down unless it is said not to."""

    def declare(detect: Detector) -> Detector:
        name = detect.__name__.replace("_", "-")  # type: ignore[attr-defined]
        holds = level is Level.ERROR if blocks_gate is None else blocks_gate
        KINDS[name] = Kind(name, level, holds, prevents_start, detect.__doc__ or "", detect)
        return detect

    return declare


def declared(name: str, level: Level, explanation: str) -> Kind:
    """Declare a kind of finding that a verb says of what it did. It keeps no K3s down."""
    KINDS[name] = Kind(name, level, blocks_gate=False, prevents_start=False, explanation=explanation, detect=None)
    return KINDS[name]
