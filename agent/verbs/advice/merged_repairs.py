"""The repairs of several problems as one list of steps, each once, the most urgent first. Pure."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from agent.base.repair import DAEMON_RELOAD, Decide, Edit, Instruction, Repair, Restart, RunVerb
from agent.base.report import NextStep, Urgency
from agent.base.value import Value, replace

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
    """Yield the steps by urgency; apply comes once, after all edits that need it. The restart is the last step."""
    restart = k3s.restart()
    given: set[Step] = {restart.step}
    applying = [need for need in needs if any(map(_is_apply, need.repair.steps))]
    last = completion or Completion(APPLY)
    if any(_FORCED in need.repair.steps for need in applying):
        last = last._replace(command=_FORCED)
    times = [need.urgency for need in applying] + [Urgency.BLOCKS_GATE] * (completion is not None)
    when = min(times, default=Urgency.NONE)
    joined = [replace(need, urgency=when) if times and _applies(need.repair) else need for need in _asked_once(needs)]
    for urgency in Urgency:
        inside = [need for need in joined if need.urgency is urgency]
        edits, questions = _edits(inside)
        yield from _once(_from_the_last_line(edits), given)
        if not k3s.is_tree and any(map(_changes_units, inside)):
            yield NextStep(DAEMON_RELOAD, "make systemd read the changed units")
        is_last = bool(times) and urgency is when
        yield from _once([_DIFF] * (is_last and last.shows_first), given)
        yield from _once(questions, given)
        if is_last:
            given.add(_DIFF.step)
            if not any(_ends_with(last.command, question.step) for question in questions):
                yield NextStep(last.command, last.purpose)
    if k3s.is_installed and not k3s.is_tree and any(_needs(restart.step, need.repair) for need in needs):
        yield restart


def _asked_once(needs: Iterable[Need]) -> list[Need]:
    """Return the needs without questions that an edit answers; equal questions become one with the steps of all."""
    listed = list(needs)
    steps = [step for need in listed for step in need.repair.steps]
    done = {step for step in steps if not isinstance(step, Decide)}
    asked: dict[object, Decide] = {}
    for step in steps:
        if isinstance(step, Decide):
            asked[_wording(step)] = _joined(asked[_wording(step)], step) if _wording(step) in asked else step

    def is_answered(question: Decide) -> bool:
        changes = [[step for step in answer.steps if not _is_apply(step)] for answer in question.answers]
        return any(of_answer and done.issuperset(of_answer) for of_answer in changes)

    def kept(repair: Repair) -> Repair:
        return replace(
            repair,
            steps=tuple(
                asked[_wording(step)] if isinstance(step, Decide) else step
                for step in repair.steps
                if not (isinstance(step, Decide) and is_answered(asked[_wording(step)]))
            ),
        )

    return [replace(need, repair=kept(need.repair)) for need in listed]


def _wording(question: Decide) -> object:
    return question.question, tuple(answer.text for answer in question.answers)


def _joined(first: Decide, second: Decide) -> Decide:
    """Return two equal questions as one: each command comes once, after the edits of both."""
    answers = (
        one._replace(steps=tuple(sorted(dict.fromkeys((*one.steps, *other.steps)), key=_is_apply)))
        for one, other in zip(first.answers, second.answers)
    )
    return replace(first, answers=tuple(answers))


def _once(steps: Iterable[NextStep], given: set[Step]) -> Iterator[NextStep]:
    """Yield the steps that are not among those given, and add them to those."""
    for step in steps:
        if step.step not in given:
            given.add(step.step)
            yield step


def _edits(needs: Iterable[Need]) -> tuple[list[NextStep], list[NextStep]]:
    """Return what comes before apply, and the questions with apply in an answer.

    The reload of units has its own place. What to find out before a repair comes before its steps.
    """
    edits: dict[Step, NextStep] = {}
    questions: dict[Step, NextStep] = {}
    for need in needs:
        repair = need.repair
        steps = [step for step in repair.steps if not _is_apply(step) and step != DAEMON_RELOAD]
        before = [Instruction(repair.risk)] * bool(repair.risk and steps)
        for step in (*before, *steps):
            among = questions if _asks_for_apply(step) else edits
            among[step] = NextStep(step, _purpose(step, need.problem))
    return [*edits.values()], [*questions.values()]


def _purpose(step: Step, problem: str) -> str:
    if isinstance(step, Instruction):
        return ""
    return _PURPOSES.get(step.verb, problem) if isinstance(step, RunVerb) else problem


def _from_the_last_line(steps: Sequence[NextStep]) -> Iterator[NextStep]:
    """Yield the edits of each file from its last line to its first, so that none moves the line of the next one.

    Of one line the longest text comes first. A text that it changes has no other edit: the next run shows what is left.
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
    changed: list[Edit] = []
    for step in listed:
        edit = step.step
        if isinstance(edit, Edit):
            if any(_changes_text_of(edit, earlier) for earlier in changed):
                continue
            changed.append(edit)
        yield step


def _last_line_first(step: NextStep) -> tuple[int, int]:
    edit = step.step
    return (-(edit.location.line or sys.maxsize), -len(edit.old)) if isinstance(edit, Edit) else (0, 0)


def _changes_text_of(edit: Edit, earlier: Edit) -> bool:
    """Return whether the text that an edit replaces is gone after an earlier one."""
    return edit.location == earlier.location and edit.old in earlier.old and edit.old not in earlier.new


def _changes_units(need: Need) -> bool:
    return need.repair.needs_daemon_reload or DAEMON_RELOAD in need.repair.steps


def _applies(repair: Repair) -> bool:
    return any(_is_apply(step) or _asks_for_apply(step) for step in repair.steps)


def _asks_for_apply(step: Step) -> bool:
    """Return whether a step is a question that has an answer with apply."""
    return isinstance(step, Decide) and any(map(_is_apply, (done for answer in step.answers for done in answer.steps)))


def _ends_with(command: Step, question: Step) -> bool:
    """Return whether a command is the last step of each answer to a question."""
    return isinstance(question, Decide) and all(
        answer.steps[-1:] in ((command,), (_FORCED,)) for answer in question.answers
    )


def _needs(restart: Step, repair: Repair) -> bool:
    """Return whether a remediation takes effect only after a restart of K3s."""
    return repair.restart is not Restart.NOT_NEEDED or restart in repair.steps


def _is_apply(step: Step) -> bool:
    return step in (APPLY, _FORCED)
