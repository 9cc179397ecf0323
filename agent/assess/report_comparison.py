"""Comparison of two JSON reports of `assess`: what is newly open, what is fixed, and whose evidence changed. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.assess.baseline import EarlierVerdict
from agent.assess.checks.answer import ControlStatus
from agent.base.errors import ExitCode
from agent.base.model import StrEnum

if TYPE_CHECKING:
    from agent.assess.baseline import Baseline

_ABSENT = EarlierVerdict("", "", ControlStatus.NOT_APPLICABLE, "not in the report", ())


class ChangeKind(StrEnum):
    """What happened to a control."""

    NEW = "new"
    """It is open, and was not."""
    FIXED = "fixed"
    """It was open, and is not."""
    CHANGED = "changed"
    """It has another status, value or evidence, and is open as before, or not open as before."""


class ComparedControl(NamedTuple):
    """A control that differs."""

    id: str
    kind: ChangeKind
    before: EarlierVerdict
    after: EarlierVerdict

    @property
    def added(self) -> list[str]:
        """The evidence that only the newer report has."""
        return [text for text in self.after.evidence if text not in self.before.evidence]

    @property
    def removed(self) -> list[str]:
        """The evidence that only the older report has."""
        return [text for text in self.before.evidence if text not in self.after.evidence]


class Comparison(NamedTuple):
    """Two reports."""

    old: Baseline
    new: Baseline

    @property
    def controls(self) -> list[ComparedControl]:
        """The controls that differ: first the new ones, then the fixed ones."""
        found = [
            ComparedControl(name, _kind(before, after), before, after)
            for name in dict.fromkeys((*self.new.verdicts, *self.old.verdicts))
            if (before := self.old.verdicts.get(name, _ABSENT)) != (after := self.new.verdicts.get(name, _ABSENT))
        ]
        return sorted(found, key=lambda control: [*ChangeKind].index(control.kind))

    @property
    def exit_code(self) -> ExitCode:
        """3 if a control is newly open."""
        is_worse = any(control.kind is ChangeKind.NEW for control in self.controls)
        return ExitCode.NOT_COMPLIANT if is_worse else ExitCode.COMPLIANT


def _kind(before: EarlierVerdict, after: EarlierVerdict) -> ChangeKind:
    if before.status.is_open == after.status.is_open:
        return ChangeKind.CHANGED
    return ChangeKind.NEW if after.status.is_open else ChangeKind.FIXED
