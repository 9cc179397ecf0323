"""Declaration of the kinds of findings.

A kind is one function: its name is the id, and its docstring is what `explain` prints. A kind that no observation of a
host can show is declared without a function, and a verb reports it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from agent.base.repair import NO_REPAIR, Answer, Cause, Decide, Instruction, Repair, Restart, Run, RunVerb, moved_away
from agent.base.report import Finding, Level, Prediction, Trait
from agent.base.value import Value
from agent.harden.node.version import question
from agent.k3s.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import PurePosixPath

    from agent.base.model import Location
    from agent.base.repair import Step
    from agent.harden.situation import Situation

    Detector = Callable[[Situation], Iterator["Problem"]]
    """Yields each case of one kind of finding in the state of a host; pure."""

APPLY = Repair((RunVerb("apply"),))


def steps(*in_order: Step, restart: Restart = Restart.NOT_NEEDED, alternative: Repair | None = None) -> Repair:
    """Return a remediation by the operator with these steps."""
    return Repair(in_order, restart=restart, alternative=alternative)


def instruction(text: str, location: Location | None = None, *, restart: Restart = Restart.NOT_NEEDED) -> Repair:
    """Return a remediation with one step that the operator does, at `location` if that is a file to edit."""
    return steps(Instruction(text, location), restart=restart)


INSTALL = steps(RunVerb("install"))
UNINSTALL = steps(RunVerb("uninstall"))
APPLY_WITH_VERSION = steps(question("apply"))
"""For a host whose version of K3s is unknown, and decides what apply may write."""


def edit_of_k3s_config(*edits: Step) -> Repair:
    """Return a remediation that edits K3s' configuration, which K3s reads only when it starts."""
    return steps(*edits, restart=Restart.K3S)


def file_removal(path: PurePosixPath) -> Repair:
    """Return the remediation for a file that has to be removed."""
    return steps(rm_command(path))


def rm_command(path: PurePosixPath) -> Run:
    """Return the command that removes a file."""
    return Run(f"sudo rm {quoted(path)}")


def of_file(location: Location, *without_it: Step) -> tuple[Step, ...]:
    """Return the question whether a file is needed that K3s cannot use, with the steps if it is not."""
    removal = without_it or (moved_away(location.path),)
    answers = (
        Answer("Yes", f"K3s does not start until {location} is correct", ()),
        Answer("No", "K3s continues without its content", removal),
    )
    return (Decide(f"Is the content of {location.path} needed?", answers),)


def quoted(path: PurePosixPath) -> str:
    """Return a path for a shell."""
    import shlex

    return shlex.quote(str(path))


def is_managed(situation: Situation, path: PurePosixPath) -> bool:
    """Return whether this host should have the file at a path, so that apply writes it."""
    return any(resource.id == str(path) for resource in situation.desired)


def correction(situation: Situation, path: PurePosixPath, *edits: Step) -> Repair:
    """Return the remediation for an argument in a file: by the owner of that file, or the edits for the operator."""
    if path in situation.obsolete:
        return file_removal(path)
    return by_owner(situation, path, edit_of_k3s_config(*edits))


def by_owner(situation: Situation, path: PurePosixPath, by_hand: Repair) -> Repair:
    """Return the remediation for the file at a path: what the operator does by hand, unless apply writes it."""
    return written_by_apply(situation, str(path)) if is_managed(situation, path) else by_hand


def written_by_apply(situation: Situation, resource_id: str) -> Repair:
    """Return the remediation for a managed resource: apply, after what apply requires if it refuses the resource."""
    refusal = next((refusal for refusal in situation.plan.refusals if refusal.id == resource_id), None)
    if refusal is None:
        return APPLY
    if refusal.cause is Cause.VERSION_UNKNOWN:
        return APPLY_WITH_VERSION
    if refusal.edited:
        return steps(RunVerb("apply", ("--force",)))
    return steps(*refusal.repair.steps, *APPLY.steps)


class Problem(NamedTuple):
    """One case of a finding. A call names the fields that follow one that it omits."""

    message: str
    expected: str = ""
    found: str = ""
    location: Location | None = None
    repair: Repair = NO_REPAIR
    """The steps for this host; without any, the general remediation of the finding, at the location."""
    resource: str = ""
    """The id of the managed resource that has the problem; empty if it is not one."""
    prediction: Prediction | None = None
    """The rule, if the problem is that a component will not start."""


class Property(Value):
    """Whether a property holds for a kind of finding, and the reason; each error states it."""

    holds: bool
    reason: str = ""

    def __str__(self) -> str:
        return f"{'Yes' if self.holds else 'No'}. {self.reason}".strip()


def yes(reason: str) -> Property:
    """Return a property that holds."""
    return Property(holds=True, reason=reason)


def no(reason: str) -> Property:
    """Return a property that does not hold."""
    return Property(holds=False, reason=reason)


NO = Property(holds=False)


def misconfigured(message: str, edits: Iterable[Step], location: Location, found: str, expected: str = "") -> Problem:
    """Return a case that edits of K3s' configuration fix."""
    return Problem(message, expected, found, location, edit_of_k3s_config(*edits))


class FindingKind(NamedTuple):
    """A kind of finding."""

    id: str
    level: Level
    explanation: str
    repair: str
    """What to do in general; empty if nothing. `explain` prints it."""
    blocks_gate: Property = NO
    """Whether K3s would run unhardened or unprotected, so that the gate must block it."""
    prevents_start: Property = NO
    """Whether K3s fails by itself at its next start. The gate logs it and does not block K3s."""
    detect: Detector | None = None
    """None if a verb reports the kind."""
    traits: Trait = Trait.NONE

    def case(self, problem: Problem) -> Finding:
        """Return a case of this kind for the report. Texts are cut: each item of a long list can be a case."""
        is_general = problem.repair == NO_REPAIR and self.repair
        cut = problem._replace(
            message=_cut(problem.message),
            expected=_cut(problem.expected),
            found=_cut(problem.found),
            repair=instruction(self.repair, problem.location) if is_general else problem.repair,
        )
        return Finding(self.id, self.level, self.blocks_gate.holds, self.prevents_start.holds, *cut, self.traits)


_LONGEST_TEXT = 2000
"""Characters, more than any list that a person writes."""


def _cut(text: str) -> str:
    # First redacted, beyond the cut: a part of a secret may not be recognized.
    return text if len(text) <= _LONGEST_TEXT else f"{redacted(text[: 2 * _LONGEST_TEXT])[:_LONGEST_TEXT]}…"


KINDS: dict[str, FindingKind] = {}
"""All kinds by id, in the order of declaration."""


def finding(
    level: Level,
    *,
    repair: str,
    blocks_gate: Property = NO,
    prevents_start: Property = NO,
    traits: Trait = Trait.NONE,
) -> Callable[[Detector], Detector]:
    """Declare a detector as a kind of finding."""

    def declare(detect: Detector) -> Detector:
        name, explanation = detect.__name__.replace("_", "-"), detect.__doc__ or ""
        register(name, level, explanation, repair, blocks_gate, prevents_start, detect=detect, traits=traits)
        return detect

    return declare


def error(
    *, repair: str, blocks_gate: Property, prevents_start: Property, traits: Trait = Trait.NONE
) -> Callable[[Detector], Detector]:
    """Declare a detector as a kind of finding that makes the host not compliant."""
    return finding(Level.ERROR, repair=repair, blocks_gate=blocks_gate, prevents_start=prevents_start, traits=traits)


def k3s_exits(why: str, *, repair: str) -> Callable[[Detector], Detector]:
    """Declare a detector as a kind of error at which K3s exits, so that the gate has nothing to block."""
    return error(repair=repair, blocks_gate=no("K3s exits, so nothing runs unhardened."), prevents_start=yes(why))


warning = partial(finding, Level.WARNING)
note = partial(finding, Level.NOTE)


def register(  # noqa: PLR0913, PLR0917 - the fields of FindingKind
    name: str,
    level: Level,
    explanation: str,
    repair: str,
    blocks_gate: Property = NO,
    prevents_start: Property = NO,
    *,
    detect: Detector | None = None,
    traits: Trait = Trait.NONE,
) -> FindingKind:
    """Declare a kind of finding; without a detector a verb reports it."""
    KINDS[name] = FindingKind(name, level, explanation, repair, blocks_gate, prevents_start, detect, traits)
    return KINDS[name]
