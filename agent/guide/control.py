"""The fields that all rows of the guide share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.value import Row, Value

if TYPE_CHECKING:
    from agent.model import Applies


class Origin(Value):
    """The part of the guide that a row is taken from."""

    heading: str
    """The guide's heading, in English."""
    cis: tuple[str, ...] = ()
    """The CIS numbers in the guide. Numbers change between benchmark versions, so no code uses them as keys."""
    beyond: str = ""
    """Another source that requires the row, if the guide does not."""


class GuideControl(Row):
    """A requirement of the guide, as `explain` and docs/reference/guide-controls.md show it.

    No field has a default, so that subclasses can add fields.
    """

    id: str
    """Stable, in lower case, and unique on each host: rows with the same id apply to different versions."""
    title: str
    why: str
    origin: Origin
    risk: str
    """What compliance can break."""
    by_hand: str
    """How to comply without this program."""
    deviation: str
    """Why the row differs from the guide; empty if it does not."""
    applies: Applies
    """The roles and versions that the row is for."""
