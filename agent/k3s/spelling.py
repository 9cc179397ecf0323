"""The names that were probably meant by misspelt ones. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_CUTOFF = 0.8

MOST_COMPARED = 20
"""Misspelt names. A comparison can take 50 ms, and a program generated the names if there are more."""


class Spelling:
    """The known names of one kind, and how many misspelt names can still be compared with them."""

    __slots__ = ("_cutoff", "_known", "_left")

    def __init__(self, known: Iterable[str], cutoff: float = _CUTOFF) -> None:
        self._known = known
        self._cutoff = cutoff
        self._left = MOST_COMPARED

    def meant(self, name: str) -> str:
        """Return the known name that is most similar.

        Empty if none is similar enough, or if the limit is reached.
        """
        if not self._left:
            return ""
        from difflib import get_close_matches

        self._left -= 1
        self._known = tuple(self._known)
        return next(iter(get_close_matches(name, self._known, n=1, cutoff=self._cutoff)), "")
