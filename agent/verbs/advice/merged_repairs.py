"""The repairs of several problems as one list of steps, each once, the most urgent first. Pure."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from agent.base.repair import DAEMON_RELOAD, Decide, Edit, Instruction, Repair, Restart, RunVerb
from agent.base.report import NextStep, Urgency
from agent.base.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import PurePosixPath

    from agent.base.repair import Step
    from agent.verbs.advice.installed_k3s import InstalledK3s

APPLY = RunVerb("apply")
FORCE = "--force"
_FORCED = RunVerb("apply", (FORCE,))
_DIFF = NextStep(RunVerb("diff"), "see what apply will change")
_PURPOSES = {
    "diff": _DIFF.purpose,
    "check": "check this host as root",
    "install": "install the gate",
    "uninstall": "remove the gate",
}
"""Purpose of a command, by its verb."""


class Need(Value):
    """A remediation that somebody has to carry out."""

    urgency: Urgency
    problem: str
    repair: Repair


class Completion(NamedTuple):
    """The command that completes a partial run: it also fixes the differences that no need names."""

    command: RunVerb
    changes: int = 0
    """The number of changes that it makes, 0 if it is not known."""
    shows_first: bool = False
    """Whether diff comes before it."""

    @property
    def purpose(self) -> str:
        """Return why the command is run."""
        if self.command == _FORCED:
            return "replace the edited files, and keep backups of them"
        if FORCE in self.command.options:
            return f"{self.command.verb} edited files, too, and keep backups of them"
        if self.command.verb != APPLY.verb:
            return f"run {self.command.verb} again"
        many = f", which makes {self.changes} change{'' if self.changes == 1 else 's'}" if self.changes else ""
        return f"apply the hardening{many}"


def in_order(needs: Sequence[Need], k3s: InstalledK3s, completion: Completion | None = None) -> Iterator[NextStep]:
    """Yield the steps by urgency; in each class edits come first, then apply, once. The restart is the last step."""
    restart = k3s.restart()
    given: set[Step] = {restart.step}
    for urgency in Urgency:
        inside = [need for need in needs if need.urgency is urgency]
        earlier = frozenset(given)
        yield from _once(_from_the_last_line(_edits(inside)), given)
        if not k3s.is_tree and any(map(_changes_units, inside)):
            yield NextStep(DAEMON_RELOAD, "make systemd read the changed units")
        applying = [need.repair.steps for need in inside if any(map(_is_apply, need.repair.steps))]
        if not applying and not (completion and urgency is Urgency.BLOCKS_GATE):
            continue
        last = completion or Completion(APPLY)
        if any(_FORCED in steps for steps in applying):
            last = last._replace(command=_FORCED)
        # It has to run again after an edit.
        if last.command not in given or not all(earlier.issuperset(steps[:-1]) for steps in applying):
            yield from _completed(last, needs, given)
    if k3s.is_installed and not k3s.is_tree and any(_needs(restart.step, need.repair) for need in needs):
        yield restart


def _completed(last: Completion, needs: Iterable[Need], given: set[Step]) -> Iterator[NextStep]:
    """Yield the command, after the questions of which it is an answer, and after diff."""
    yield from _once(_edits(need for need in needs if _asks_for(last.command, need.repair)), given)
    if last.shows_first:
        yield from _once([_DIFF], given)
    given |= {_DIFF.step, last.command, APPLY}
    yield NextStep(last.command, last.purpose)


def _once(steps: Iterable[NextStep], given: set[Step]) -> Iterator[NextStep]:
    """Yield the steps that are not among those given, and add them to those."""
    for step in steps:
        if step.step not in given:
            given.add(step.step)
            yield step


def _edits(needs: Iterable[Need]) -> Iterable[NextStep]:
    """Return what comes before apply: each step once, without the reload of units, which has its own place."""
    steps = {
        step: NextStep(step, _purpose(step, need.problem))
        for need in needs
        for step in need.repair.steps
        if not _is_apply(step) and step != DAEMON_RELOAD
    }
    return steps.values()


def _purpose(step: Step, problem: str) -> str:
    if isinstance(step, Instruction):
        return ""
    return _PURPOSES.get(step.verb, problem) if isinstance(step, RunVerb) else problem


def _from_the_last_line(steps: Iterable[NextStep]) -> Iterator[NextStep]:
    """Yield the edits of each file from its last line to its first, so that none moves the line of the next one.

    Of one line the longest text comes first. What an edit removes is not changed before.
    """
    listed = list(steps)
    places: dict[PurePosixPath, list[int]] = {}
    for at, step in enumerate(listed):
        if isinstance(step.step, Edit):
            places.setdefault(step.step.location.path, []).append(at)
    for same in places.values():
        edits = sorted((listed[at] for at in same), key=_last_line_first)
        for at, step in zip(same, edits):
            listed[at] = step
    removed = [step.step for step in listed if isinstance(step.step, Edit) and step.step.old and not step.step.new]
    for step in listed:
        edit = step.step
        if not (isinstance(edit, Edit) and any(_includes(removal, edit) for removal in removed)):
            yield step


def _last_line_first(step: NextStep) -> tuple[int, int]:
    edit = step.step
    return (-(edit.location.line or sys.maxsize), -len(edit.old)) if isinstance(edit, Edit) else (0, 0)


def _includes(removal: Edit, edit: Edit) -> bool:
    return removal is not edit and removal.location == edit.location and bool(edit.old) and edit.old in removal.old


def _changes_units(need: Need) -> bool:
    return need.repair.needs_daemon_reload or DAEMON_RELOAD in need.repair.steps


def _asks_for(command: RunVerb, repair: Repair) -> bool:
    """Return whether a question of a repair has an answer with a command."""
    return any(command in answer.steps for step in repair.steps if isinstance(step, Decide) for answer in step.answers)


def _needs(restart: Step, repair: Repair) -> bool:
    """Return whether a remediation takes effect only after a restart of K3s."""
    return repair.restart is not Restart.NOT_NEEDED or restart in repair.steps


def _is_apply(step: Step) -> bool:
    return step in (APPLY, _FORCED)
