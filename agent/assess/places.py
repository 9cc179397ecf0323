"""Places as reports name them: a path, or path:line. Pure."""

from __future__ import annotations

import re

_LINE = re.compile(r"[1-9][0-9]{0,8}")


def split_place(where: str) -> tuple[str, int]:
    """The path of a place and its line, which counts from 1; 0 where the place is no line.

    What is no path at all, such as the source of a default of K3s', comes back as it is.
    """
    path, colon, line = where.rpartition(":")
    return (path, int(line)) if colon and _LINE.fullmatch(line) else (where, 0)
