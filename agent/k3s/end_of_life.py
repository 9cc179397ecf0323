"""The end of life of each minor version of Kubernetes, after which there are no security fixes."""

from __future__ import annotations

from functools import cache

from agent.base import package_data


@cache
def _last_days() -> dict[int, str]:
    return {int(minor): day for minor, day in package_data.rows("k3s", "end_of_life.tsv")}


def ended_on(minor: int, today: str) -> str:
    """Return the last day of support, if it is before this day (YYYY-MM-DD); empty for other versions."""
    day = _last_days().get(minor, "")
    return day if day < today else ""
