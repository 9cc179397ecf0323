"""The name that was probably meant by a misspelt one. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_CUTOFF = 0.8


def similar(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most similar; empty if none is similar enough."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, list(known), n=1, cutoff=_CUTOFF)), "")
