"""A remediation as text; every output format uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.model import Instruction, OwnCommand, Remediation, Restart
from agent.value import Value, replace

if TYPE_CHECKING:
    from agent import model
    from agent.model import Location
    from agent.report import Item

_HOSTLESS_VERBS = frozenset({"explain", "render"})
"""Verbs that read no host: they need neither root nor the options of the current run."""


class Step(Value):
    """A step as text."""

    text: str
    is_command: bool = False
    """Whether it can be pasted into a shell."""


_RESTARTS = {
    Restart.NOT_NEEDED: (),
    Restart.K3S: (Step("restart K3s"),),
    Restart.DAEMON_RELOAD_AND_K3S: (Step("sudo systemctl daemon-reload", is_command=True), Step("restart K3s")),
}


def text(remediation: Remediation) -> str:
    """Return the steps on one line; a single command has no other words, so that it can be pasted."""
    listed = steps(remediation)
    if len(listed) == 1 and listed[0].is_command and remediation.alternative is None:
        return listed[0].text
    return _prose(remediation)


def labelled(fix: str) -> str:
    """Return the text of a fix after its label; empty if there is none."""
    return f"fix: {fix}" if fix else ""


def steps(remediation: Remediation) -> tuple[Step, ...]:
    """Return the steps, the restart included, without those of the alternative."""
    return (*map(_step, remediation.steps), *_RESTARTS[remediation.restart])


def lines(remediation: Remediation) -> list[str]:
    """Return one line for each step, numbered if there are several; the alternative follows a line `or`."""
    own = [step.text for step in steps(remediation)]
    if len(own) > 1:
        own = [f"{number}. {line}" for number, line in enumerate(own, 1)]
    return [*own, "or", *lines(remediation.alternative)] if remediation.alternative else own


def with_options(remediation: Remediation, options: tuple[str, ...]) -> Remediation:
    """Return the remediation with the host options of a run, such as `--root /mnt`, added to our own commands."""

    def extended(step: model.Step) -> model.Step:
        if not isinstance(step, OwnCommand) or step.verb in _HOSTLESS_VERBS:
            return step
        return OwnCommand(step.verb, (*step.options, *options))

    return remediation.mapped(extended)


def with_comparison(item: Item, options: tuple[str, ...]) -> Item:
    """Return the item with the command that shows its difference, if there is one, in its detail."""
    if item.shown_by is None:
        return item
    command = text(with_options(Remediation((item.shown_by,)), options))
    return replace(item, detail=f"{item.detail}; `{command}` shows the difference")


def _prose(remediation: Remediation) -> str:
    own = "; then ".join(_quoted(_step(step)) for step in remediation.steps)
    line = "; ".join(filter(None, (own, *map(_quoted, _RESTARTS[remediation.restart]))))
    return line if remediation.alternative is None else f"{line}; or {_prose(remediation.alternative)}"


def _quoted(step: Step) -> str:
    return f"run `{step.text}`" if step.is_command else step.text


def _step(step: model.Step) -> Step:
    if isinstance(step, Instruction):
        return Step(step.text if step.location is None else f"{step.text} {at(step.location)}")
    if not isinstance(step, OwnCommand):
        return Step(step.line, is_command=True)
    own = " ".join(("k3s-harden", step.verb, *step.options))
    return Step(own if step.verb in _HOSTLESS_VERBS else f"sudo {own}", is_command=True)


def at(location: Location) -> str:
    """Return a location after its preposition: `at /etc/x:3` or `in /etc/x`."""
    return f"{'at' if location.line else 'in'} {location}"
