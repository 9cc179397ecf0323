"""What to do about a problem: ordered steps, which presenters print, JSON carries, and a program can follow."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Union

from agent.base.model import StrEnum
from agent.base.value import Value, replace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import PurePosixPath

    from agent.base.model import Location


class FixOwner(StrEnum):
    """The owner of a fix."""

    APPLY = "apply"
    OPERATOR = "operator"
    K3S = "k3s"
    NONE = "none"


class Restart(Enum):
    """What has to restart before a repair takes effect."""

    NOT_NEEDED = "not needed"
    K3S = "K3s"
    START = "the first start of K3s"


class Cause(Enum):
    """Why a change is not made or failed; the next steps depend on it."""

    EDITED = "content that another author wrote"
    IN_THE_WAY = "something else at its path"
    NOT_READABLE = "only root may read it"
    VERSION_UNKNOWN = "the version of K3s is unknown"
    LACKING = "another change has to succeed first"
    OTHER = "another problem, which the repair solves"


_OF_UNITS = frozenset({".conf", ".service"})
"""Suffixes of files that systemd reads when it loads units; an environment file is read at each start."""


class RunVerb(Value):
    """A verb of k3s-harden. Presenters add sudo and the options of the current run."""

    verb: str
    options: tuple[str, ...] = ()
    piped_to: str = ""
    """The command line that reads its output; empty if none does."""


class Run(Value):
    """A complete command line of another program, ready to paste. It starts with sudo if it needs root."""

    line: str
    undo: str = ""
    """The command line that takes it back; empty if none does."""
    where: str = ""
    """Where to run it, such as "on every server"; empty: on the host of the report."""
    is_of_machine: bool = False
    """Whether its paths are those of the machine that runs this program, also if the host is a tree of it."""


class Edit(Value):
    """A change of one line of a file."""

    location: Location
    """Line 0 is the end of the file, which is created if it is missing."""
    old: str = ""
    """The text in that line; empty: `new` is added below the line."""
    new: str = ""
    """The recommended text; empty: the line is removed, or of a list in one line the item `old`."""


class Set(Value):
    """A key of k3s-harden's settings with its value."""

    key: str
    """With dots between the levels, such as "audit.max-age"."""
    value: str
    """In the form of YAML; empty: the key is removed."""
    location: Location
    """The file of the settings, and the line of the key if it is set there already."""


class Patch(Value):
    """Fields of an object of the cluster."""

    target: str
    """The kind, namespace and name, such as "Deployment shop/web"."""
    fields: tuple[tuple[str, str], ...]
    """Paths such as "spec.replicas", and values in the form of JSON; "null" removes the field."""
    owner: str = ""
    """What would undo the patch, such as "Helm release shop/web"; it has to be changed in the same way."""


class Answer(NamedTuple):
    """An answer to a question, with its consequence and the steps that follow it."""

    text: str
    consequence: str
    steps: tuple[Step, ...]


class Decide(Value):
    """A question that only a person can answer."""

    question: str
    answers: tuple[Answer, ...]


class Instruction(Value):
    """A step that no command does: a sentence in the imperative, without its final period."""

    text: str
    location: Location | None = None
    """The file, or the line of it, that the step edits."""


Step = Union[RunVerb, Run, Edit, Set, Patch, Decide, Instruction]


class Repair(Value):
    """Steps that fix one problem, in order."""

    steps: tuple[Step, ...] = ()
    restart: Restart = Restart.NOT_NEEDED
    alternative: Repair | None = None
    """Another way to the same result, by hand."""
    risk: str = ""
    """What to find out first, because the steps can break it: in the imperative, without the final period."""

    @property
    def owner(self) -> FixOwner:
        """Return who carries it out: apply, K3s by its start, or a person."""
        if self.steps == (RunVerb("apply"),):
            return FixOwner.APPLY
        alone = {Restart.NOT_NEEDED: FixOwner.NONE, Restart.K3S: FixOwner.OPERATOR, Restart.START: FixOwner.K3S}
        return FixOwner.OPERATOR if self.steps else alone[self.restart]

    @property
    def needs_daemon_reload(self) -> bool:
        """Return whether systemd has to read its units again before anything restarts."""
        return any(isinstance(step, (Edit, Instruction)) and _is_of_unit(step.location) for step in self.steps)

    def mapped(self, change: Callable[[Step], Step]) -> Repair:
        """Return the repair with each step changed, including those of answers and of the alternative."""

        def changed(step: Step) -> Step:
            if not isinstance(step, Decide):
                return change(step)
            answers = (answer._replace(steps=tuple(map(changed, answer.steps))) for answer in step.answers)
            return replace(step, answers=tuple(answers))

        if not self.steps and self.alternative is None:
            return self
        alternative = self.alternative and self.alternative.mapped(change)
        return replace(self, steps=tuple(map(changed, self.steps)), alternative=alternative)


_TAKEN_BACK_BY = {
    "apply": ("revert", "--last"),
    "install": ("uninstall",),
    "service-accounts": ("service-accounts", "--undo"),
}
"""The verb and options that take back what a verb has changed."""


def undone(step: Step) -> Step | None:
    """Return the step that takes a step back; None if no step does, or if what was there before is not known."""
    if isinstance(step, RunVerb) and step.verb in _TAKEN_BACK_BY and "--undo" not in step.options:
        verb, *options = _TAKEN_BACK_BY[step.verb]
        return RunVerb(verb, tuple(options))
    if isinstance(step, Run) and step.undo:
        return replace(step, line=step.undo, undo=step.line)
    if isinstance(step, Edit):
        return _reversed(step)
    return replace(step, value="") if isinstance(step, Set) and not step.location.line else None


def _reversed(edit: Edit) -> Edit | None:
    line = edit.location.line
    moved = line + (not edit.old) - (not edit.new) if line else 0
    if not (moved or edit.new):
        return None  # what was the first line, or in an unknown line
    return replace(edit, location=edit.location._replace(line=moved), old=edit.new, new=edit.old)


def broken_link(link: str, target: str) -> Repair:
    """Return what to do about a symlink that leads nowhere."""
    return Repair((Instruction(f"mount or create {target}, or correct the symlink {link}"),))


def moved_away(path: PurePosixPath | str) -> Run:
    """Return the command that renames what is in the way at a path."""
    from shlex import quote

    name, other = quote(str(path)), quote(f"{path}.moved")
    return Run(f"sudo mv -nT {name} {other}", undo=f"sudo mv -nT {other} {name}")


DAEMON_RELOAD = Run("sudo systemctl daemon-reload", is_of_machine=True)
"""After it, systemd has read changed units."""
NO_REPAIR = Repair()
"""Nothing has to be done."""


def _is_of_unit(location: Location | None) -> bool:
    path = location.path if location else None
    return path is not None and path.suffix in _OF_UNITS and "/systemd/system/" in str(path)
