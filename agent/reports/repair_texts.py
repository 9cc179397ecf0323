"""Remediations and next steps as text; every output format uses it. Commands are complete for the caller of the run."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from agent.base.model import Location
from agent.base.repair import (
    DAEMON_RELOAD,
    Answer,
    Decide,
    Edit,
    Patch,
    Repair,
    Restart,
    Run,
    RunVerb,
    Set,
    undone,
)
from agent.base.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from rich.console import Console

    from agent.base import repair as base
    from agent.base.report import NextStep

PROGRAM = "k3s-harden"

_HOSTLESS_VERBS = frozenset({"explain", "render"})
"""Verbs that read no host: they need neither root nor the options of the current run."""

_SUDO = "sudo "
_INDENT = 5


class Caller(Value):
    """How the current run was called; commands for the reader are called in the same way."""

    program: str = PROGRAM
    """The shell words that call this program."""
    needs_sudo: bool = True
    """Whether this program needs sudo to work on the host."""
    is_root: bool = False
    root: str = ""
    """The root directory of a host tree; empty for this machine."""
    outside: Callable[[str], str] | None = None
    """Returns a command of the host tree as one for this machine, if it must run here; otherwise an empty text."""
    options: tuple[str, ...] = ()
    """The host options of the run, such as `--root /mnt`, quoted for a shell."""
    accepted: Callable[[str], Collection[str]] | None = None
    """Returns the options of a verb that may be repeated; None: each verb has all of them."""

    def command(self, step: base.Step | None) -> str:
        """Return a step as a command line to paste; empty if it is none."""
        if isinstance(step, RunVerb):
            return self._own(step)
        if isinstance(step, Patch):
            return _of_patch(step)
        return self._other(step) if isinstance(step, Run) else ""

    def _own(self, step: RunVerb) -> str:
        if step.verb in _HOSTLESS_VERBS:
            reader = (f"| {step.piped_to}",) if step.piped_to else ()
            return " ".join((self.program, step.verb, *step.options, *reader))
        accepted = self.accepted(step.verb) if self.accepted and self.options else None
        given = {option.partition(" ")[0] for option in step.options}
        options = (
            option
            for option, name in ((option, option.partition(" ")[0]) for option in self.options)
            if name not in given and (accepted is None or name in accepted)
        )
        return f"{_SUDO * self.needs_sudo}{' '.join((self.program, step.verb, *step.options, *options))}"

    def _other(self, step: Run) -> str:
        if not step.line.startswith(_SUDO):
            return step.line
        line = step.line[len(_SUDO) :]
        if self.root and not step.is_of_machine:
            from shlex import quote

            # Without it, the command changes this machine in the place of the host tree.
            here = self.outside(line) if self.outside is not None else ""
            line = here or f"chroot {quote(self.root)} {line}"
        return line if self.is_root else _SUDO + line


CALLER: ContextVar[Callable[[], Caller]] = ContextVar("caller", default=Caller)
"""Returns how the run was called whose result is printed. The default is for texts of no run, such as the reference."""


@contextmanager
def called_by(caller: Callable[[], Caller]) -> Iterator[None]:
    """Make texts for another caller."""
    token = CALLER.set(caller)
    try:
        yield
    finally:
        CALLER.reset(token)


def command(step: base.Step | None) -> str:
    """Return a step as a complete command line for the caller; empty if it is none."""
    return CALLER.get()().command(step)


class Step(Value):
    """A step as text."""

    text: str
    is_command: bool = False
    """Whether it can be pasted into a shell."""


START = "start K3s"
_RESTARTS = {Restart.NOT_NEEDED: (), Restart.K3S: (Step("restart K3s"),), Restart.START: (Step(START),)}


def in_order(repair: Repair) -> tuple[base.Step, ...]:
    """Return the steps, and that after which systemd has read changed units, without a restart and the alternative."""
    return (*repair.steps, DAEMON_RELOAD) if repair.needs_daemon_reload else repair.steps


def _restarts(repair: Repair) -> tuple[Step, ...]:
    """Return the steps after which the others take effect."""
    reload = map(described, in_order(repair)[len(repair.steps) :])
    return (*reload, *_RESTARTS[repair.restart])


def text(repair: Repair) -> str:
    """Return the steps on one line; a single command has no other words, so that it can be pasted."""
    listed = steps(repair)
    if len(listed) == 1 and listed[0].is_command and repair.alternative is None:
        return listed[0].text
    return _prose(repair)


def labelled(fix: str) -> str:
    """Return the text of a fix after its label; empty if there is none."""
    return f"fix: {fix}" if fix else ""


def steps(repair: Repair) -> tuple[Step, ...]:
    """Return the steps, the restart included, without those of the alternative."""
    risk = (Step(repair.risk),) if repair.risk else ()
    return (*risk, *map(described, repair.steps), *_restarts(repair))


def numbered_steps(repair: Repair) -> list[tuple[str, Step]]:
    """Return each step with its number, if there are several; the alternative follows a line `or`."""
    own = steps(repair)
    listed = [(f"{number}. " if len(own) > 1 else "", step) for number, step in enumerate(own, 1)]
    return [*listed, ("", Step("or")), *numbered_steps(repair.alternative)] if repair.alternative else listed


def _prose(repair: Repair) -> str:
    own = "; then ".join(filter(None, (repair.risk, *(_quoted(described(step)) for step in repair.steps))))
    line = "; ".join(filter(None, (own, *map(_quoted, _restarts(repair)))))
    return line if repair.alternative is None else f"{line}; or {_prose(repair.alternative)}"


def _quoted(step: Step) -> str:
    return f"run `{step.text}`" if step.is_command else step.text


def described(step: base.Step) -> Step:
    """Return a step as text."""
    if isinstance(step, (RunVerb, Run)):
        line, where = command(step), step.where if isinstance(step, Run) else ""
        return Step(f"{where}, run `{line}`" if where else line, is_command=not where)
    if isinstance(step, Edit):
        return Step(_of_edit(step))
    if isinstance(step, Set):
        setting = f"set `{step.key}: {step.value}`" if step.value else f"remove `{step.key}`"
        return Step(f"{setting} {at(step.location)}")
    if isinstance(step, Patch):
        fields = ", ".join(f"`{path}: {value}`" for path, value in step.fields)
        return Step(f"set {fields} in the {step.target}" + (f", and in the {step.owner}" if step.owner else ""))
    if isinstance(step, Decide):
        return Step(f"{step.question} {' '.join(map(_of_answer, step.answers))}")
    return Step(step.text if step.location is None else f"{step.text} {at(step.location)}")


def _of_patch(patch: Patch) -> str:
    """Return the command that patches a workload; empty for other objects."""
    import json
    import re
    from shlex import quote

    kind, _, path = patch.target.partition(" ")
    namespace, _, name = path.partition("/")
    if " " in path or not name:
        return ""
    body: dict[str, Any] = {}
    for field, value in patch.fields:
        node = body
        steps = [*re.finditer(r"([^.\[\]]+)(?:\[([^\]]*)\])?", field)]
        for step in steps:
            key, inner = step.groups()
            if step is steps[-1]:
                node = node.setdefault(key, {}) if inner else node
                node[inner or key] = json.loads(value)
            elif inner is None:
                node = node.setdefault(key, {})
            else:
                items = node.setdefault(key, [])
                found = [item for item in items if item["name"] == inner] or [{"name": inner}]
                items += found if found[0] not in items else []
                node = found[0]
    words = ("kubectl", "patch", kind.lower(), name, "--namespace", namespace, "--patch", json.dumps(body))
    return " ".join(map(quote, words))


def _of_edit(edit: Edit) -> str:
    if not edit.old:
        place = f"below {edit.location}" if edit.location.line else f"to the end of {edit.location}"
        return f"add `{edit.new}` {place}"
    change = f"replace `{edit.old}` by `{edit.new}`" if edit.new else f"remove `{edit.old}`"
    return f"{change} {at(edit.location)}"


def _of_answer(answer: Answer) -> str:
    steps = "; then ".join(_quoted(described(step)) for step in answer.steps)
    return f"{answer.text} ({answer.consequence}): {steps or 'nothing to do'}."


def at(location: Location) -> str:
    """Return a location after its preposition: `at /etc/x:3` or `in /etc/x`."""
    return f"{'at' if location.line else 'in'} {location}"


def step_lines(steps: Iterable[NextStep]) -> Iterator[str]:
    """Yield one plain line for each step, with the command at its end."""
    for number, step in enumerate(steps, 1):
        yield f"next {number}: {': '.join(filter(None, _texts(step)))}"


def print_next_steps(console: Console, steps: Iterable[NextStep]) -> None:
    """Print a numbered list; each command has its own line, so that it can be pasted."""
    from rich.text import Text

    from agent.reports.layout import joined, print_command, print_line, styled

    for number, step in enumerate(steps, 1):
        if number == 1:
            print_line(console, Text())
            print_line(console, Text("Next steps", "bold"))
        text, command = _texts(step)
        print_line(console, joined(Text(f"{number:3}. "), styled(f"{text}:" if command else text)), hanging=_INDENT)
        if command:
            print_command(console, command, _INDENT, "bold")


def _texts(step: NextStep) -> tuple[str, str]:
    text = described(step.step)
    return (step.purpose, text.text) if text.is_command else (text.text, "")


_LINES = frozenset({"line", "undo", "piped_to", "is_of_machine"})
"""Fields that are a part of `command` or of the step that takes it back; the text of an instruction is `text`."""


def repair_object(repair: Repair) -> dict[str, object]:
    """Return a repair for JSON. Without steps, nothing has to be done."""
    return {
        "text": text(repair),
        "owner": str(repair.owner),
        "restart": repair.restart.value,
        "risk": repair.risk,
        "steps": list(map(step_object, in_order(repair))),
        "alternative": repair.alternative and repair_object(repair.alternative),
    }


def next_step_object(step: NextStep) -> dict[str, object]:
    """Return a next step for JSON: the text of a command is its purpose."""
    shown = step_object(step.step)
    return {**shown, "text": step.purpose or shown["text"]}


def step_object(step: base.Step) -> dict[str, object]:
    """Return a step for JSON, with the step that takes it back."""
    undo = undone(step)
    return {**_shown(step), "undo": undo and {**_shown(undo), "undo": None}}


def _shown(step: base.Step) -> dict[str, object]:
    return {**_fields(step), "text": described(step).text, "command": command(step)}


def _fields(step: base.Step) -> dict[str, object]:
    """Return the kind of a step and the fields that only this kind has."""
    fields = {name: _as_json(getattr(step, name)) for name in step._fields if name not in _LINES}
    return {"kind": "run-verb" if isinstance(step, RunVerb) else type(step).__name__.lower(), **fields}


def _as_json(value: object) -> object:
    if isinstance(value, Location):
        return location_object(value)
    if isinstance(value, Answer):
        return {**value._asdict(), "steps": list(map(step_object, value.steps))}
    return list(map(_as_json, value)) if isinstance(value, tuple) else value


def location_object(location: Location | None) -> dict[str, object] | None:
    """Return a location for JSON."""
    return location and {"path": str(location.path), "line": location.line or None}
