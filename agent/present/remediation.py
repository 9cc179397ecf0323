"""A remediation as text; every output format uses it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agent.model import Instruction, OwnCommand, Restart

if TYPE_CHECKING:
    from agent.model import Location, Remediation, ShellCommand

_HOSTLESS_VERBS = frozenset({"explain", "render"})
"""Verbs that read no host: they need neither root nor the options of the current run."""

_RESTARTS = {
    Restart.NOT_NEEDED: (),
    Restart.K3S: ("restart K3s",),
    Restart.DAEMON_RELOAD_AND_K3S: ("run `sudo systemctl daemon-reload`", "restart K3s"),
}


def text(remediation: Remediation) -> str:
    """Return the steps on one line; a single command stands alone so that it can be pasted."""
    if len(remediation.steps) == 1 and remediation.restart is Restart.NOT_NEEDED and remediation.alternative is None:
        (step,) = remediation.steps
        if not isinstance(step, Instruction):
            return _command(step)
    return _prose(remediation)


def at(location: Location) -> str:
    """Return a location after its preposition: `at /etc/x:3` or `in /etc/x`."""
    return f"{'at' if location.line else 'in'} {location}"


def with_options(remediation: Remediation, options: tuple[str, ...]) -> Remediation:
    """Return the remediation with the host options of a run, such as `--root /mnt`, added to our own commands."""

    def extended(step: OwnCommand | ShellCommand | Instruction) -> OwnCommand | ShellCommand | Instruction:
        if not isinstance(step, OwnCommand) or step.verb in _HOSTLESS_VERBS:
            return step
        return OwnCommand(step.verb, (*step.options, *options))

    alternative = remediation.alternative and with_options(remediation.alternative, options)
    return replace(remediation, steps=tuple(map(extended, remediation.steps)), alternative=alternative)


def _prose(remediation: Remediation) -> str:
    steps = "; then ".join(map(_step, remediation.steps))
    line = "; ".join(filter(None, (steps, *_RESTARTS[remediation.restart])))
    if remediation.alternative is None:
        return line
    return f"{line}; or {_prose(remediation.alternative)}"


def _step(step: OwnCommand | ShellCommand | Instruction) -> str:
    if not isinstance(step, Instruction):
        return f"run `{_command(step)}`"
    return step.text if step.location is None else f"{step.text} {at(step.location)}"


def _command(step: OwnCommand | ShellCommand) -> str:
    if not isinstance(step, OwnCommand):
        return step.line
    own = " ".join(("k3s-harden", step.verb, *step.options))
    return own if step.verb in _HOSTLESS_VERBS else f"sudo {own}"
