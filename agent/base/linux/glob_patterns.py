"""Patterns of glob(3) and fnmatch(3) with `*`, `?` and `[...]`, which sysctl.d files use for keys. Pure."""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache

LONGEST_PATTERN = 1024
"""Limit of a pattern's length. A longer pattern matches nothing here."""


def is_glob(name: str) -> bool:
    """Return whether the text is a pattern."""
    return "*" in name or "?" in name or "[" in name


def is_supported(pattern: str) -> bool:
    """Return whether this module can match a pattern: it has no braces, backslashes or character classes."""
    return not any(unsupported in pattern for unsupported in ("{", "\\", "[:"))


def globbed(pattern: str, name: str) -> str | None:
    """Return the path that glob(3) gives for the key `name`, with the pattern's empty and `.` parts. None: no match."""
    literal = re.match(r"[^*?\[/.]*", pattern)
    if len(pattern) > LONGEST_PATTERN or (literal and not name.startswith(literal[0])):
        return None
    left = name.split("/")[::-1]
    path: list[str] = []
    for part in pattern.split("/"):
        if part in {"", "."}:
            path.append(part)
        elif left and expression(part).fullmatch(left[-1]):
            path.append(left.pop())
        else:
            return None
    return "/".join(path) if not left and path[-1] not in {"", "."} else None


@lru_cache(maxsize=2048)
def expression(pattern: str, *, is_path: bool = False) -> re.Pattern[str]:
    """Return a pattern as a regular expression: for one part of a path, as in glob(3), or for a whole path."""
    no_dot = r"(?!\.)" if pattern[:1] in {"*", "?", "["} and not is_path else ""
    try:
        return re.compile(no_dot + translate(re.sub(r"\[\^", "[!", pattern)))
    except re.error:  # a range such as [z-a], up to Python 3.10
        return re.compile("(?!)")
