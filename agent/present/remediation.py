"""Remediations as text."""

from __future__ import annotations

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


def text(remediation: Remediation, options: str = "") -> str:
    """Return the steps on one line; a single command stands alone so that it can be pasted.

    `options` are the host options of the current run, such as `--root /mnt`, which the verbs of k3s-harden repeat.
    """
    if len(remediation.steps) == 1 and remediation.restart is Restart.NOT_NEEDED and remediation.alternative is None:
        (step,) = remediation.steps
        if not isinstance(step, Instruction):
            return _command(step, options)
    return _prose(remediation, options)


def at(location: Location) -> str:
    """Return a location after its preposition: `at /etc/x:3` or `in /etc/x`."""
    return f"{'at' if location.line else 'in'} {location}"


def _prose(remediation: Remediation, options: str) -> str:
    steps = "; then ".join(_step(step, options) for step in remediation.steps)
    line = "; ".join(filter(None, (steps, *_RESTARTS[remediation.restart])))
    if remediation.alternative is None:
        return line
    return f"{line}; or {_prose(remediation.alternative, options)}"


def _step(step: OwnCommand | ShellCommand | Instruction, options: str) -> str:
    if not isinstance(step, Instruction):
        return f"run `{_command(step, options)}`"
    return step.text if step.location is None else f"{step.text} {at(step.location)}"


def _command(step: OwnCommand | ShellCommand, options: str) -> str:
    if not isinstance(step, OwnCommand):
        return step.line
    own = " ".join(("k3s-harden", step.verb, *step.options))
    if step.verb in _HOSTLESS_VERBS:
        return own
    return f"sudo {own} {options}".rstrip()
