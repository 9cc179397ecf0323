"""Repairs and steps for JSON; docs/reference/repair.schema.json describes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.model import Location
from agent.base.repair import Answer, Decide, Edit, Instruction, Patch, Repair, Run, RunVerb, Set, undone
from agent.reports.repair_texts import described, in_order, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.base.repair import Step
    from agent.base.report import NextStep


_KINDS: Mapping[type[Step], str] = {
    RunVerb: "run-verb",
    Run: "run",
    Edit: "edit",
    Set: "set",
    Patch: "patch",
    Decide: "decide",
    Instruction: "instruction",
}
_LINES = frozenset({"line", "undo", "undo_line", "piped_to"})
"""Fields that are a part of `command` or of the step that takes it back; the text of an instruction is `text`."""


def repair_object(repair: Repair) -> dict[str, object]:
    """Return a repair for JSON. Without steps, nothing has to be done."""
    return {
        "text": text(repair),
        "owner": str(repair.owner),
        "restart": repair.restart.value,
        "steps": list(map(step_object, in_order(repair))),
        "alternative": repair.alternative and repair_object(repair.alternative),
    }


def next_step_object(step: NextStep) -> dict[str, object]:
    """Return a next step for JSON: the text of a command is its purpose."""
    shown = step_object(step.step)
    return {**shown, "text": step.purpose or shown["text"]}


def step_object(step: Step) -> dict[str, object]:
    """Return a step for JSON, with the step that takes it back."""
    undo = undone(step)
    return {**_shown(step), "undo": undo and {**_shown(undo), "undo": None}}


def _shown(step: Step) -> dict[str, object]:
    shown = described(step)
    return {**_fields(step), "text": shown.text, "command": shown.text if shown.is_command else ""}


def _fields(step: Step) -> dict[str, object]:
    """Return the kind of a step and the fields that only this kind has."""
    fields = {name: _as_json(getattr(step, name)) for name in step._fields if name not in _LINES}
    return {"kind": _KINDS[type(step)], **fields}


def _as_json(value: object) -> object:
    if isinstance(value, Location):
        return location_object(value)
    if isinstance(value, Answer):
        return {**value._asdict(), "steps": list(map(step_object, value.steps))}
    return list(map(_as_json, value)) if isinstance(value, tuple) else value


def location_object(location: Location | None) -> dict[str, object] | None:
    """Return a location for JSON."""
    return location and {"path": str(location.path), "line": location.line or None}
