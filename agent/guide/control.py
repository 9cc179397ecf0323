"""What every row of the guide carries beside its value: origin, reason, risk, and the way to do it by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from agent.model import Applies


class Origin(NamedTuple):
    """Where a row comes from: the guide's heading (in English), and the CIS numbers that the guide gives there.

    The numbers are for the reader alone. They move between benchmark versions, so nothing is keyed by them.
    `beyond` says, for a row that the guide does not have, which other source asks for it.
    """

    heading: str
    cis: tuple[str, ...] = ()
    beyond: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Control:
    """One fact of the guide that a host can meet or miss, as `explain` and docs/reference/guide-controls.md have it.

    `id` is stable, lower case and unique among rows whose `applies` overlap. `risk` is what meeting it can break,
    `by_hand` how to meet it without this program, `deviation` why it differs from the guide, if it does. A row is equal
    to itself alone.
    """

    id: str
    title: str
    why: str
    origin: Origin
    risk: str
    by_hand: str
    deviation: str = ""
    applies: Applies = Applies()
