"""Patterns of glob(3) and fnmatch(3) in the C locale, which sysctl.d files use for keys. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

LONGEST_PATTERN = 1024
BRACE_STEPS = 200
"""Limits of a pattern's length and of its brace alternatives. A pattern beyond them matches nothing here.

systemd and procps have no limits: they expand `{a,b}{a,b}…` for hours.
"""


def is_glob(name: str) -> bool:
    """Return whether the text is a pattern."""
    return "*" in name or "?" in name or "[" in name


def braces_expanded(pattern: str) -> list[str]:
    """Return the patterns that glob(3) makes of `{a,b}` with GLOB_BRACE.

    Unlike glob(3), this expands complete braces inside incomplete ones. No key contains a brace, so neither matches.
    """
    return _expanded(pattern)[0]


def has_too_many_alternatives(pattern: str) -> bool:
    """Return whether braces_expanded returns only some of the patterns."""
    return bool(_expanded(pattern)[1])


def _expanded(pattern: str) -> tuple[list[str], list[str]]:
    """Return expanded patterns, and patterns that are left after BRACE_STEPS steps."""
    expanded: list[str] = []
    left = [pattern] if len(pattern) <= LONGEST_PATTERN else []
    for _ in range(BRACE_STEPS):
        if not left:
            break
        text = left.pop()
        found = re.finditer(r"\\.|\{((?:\\.|[^{}\\])*)\}", text, re.DOTALL)
        braces = next((match for match in found if match[1] is not None), None)
        if braces is None:
            expanded.append(text)
            continue
        before, after = text[: braces.start()], text[braces.end() :]
        left += [before + alternative + after for alternative in re.split(r"(?<!\\),", braces[1])]
    return expanded, left


def globbed(pattern: str, name: str) -> str | None:
    """Return the path that glob(3) gives for the key `name`, with the pattern's empty and `.` parts. None: no match."""
    literal = re.match(r"[^*?\[\\/.]*", pattern)
    if len(pattern) > LONGEST_PATTERN or (literal and not name.startswith(literal[0])):
        return None
    left = name.split("/")[::-1]
    path: list[str] = []
    # A slash separates parts even if it is escaped.
    for part in re.sub(r"\\(.)", lambda escape: "/" if escape[1] == "/" else escape[0], pattern).split("/"):
        if part in {"", "."}:
            path.append(part)
        elif left and expression(part).fullmatch(left[-1]):
            path.append(left.pop())
        else:
            return None
    return "/".join(path) if not left and path[-1] not in {"", "."} else None


@lru_cache(maxsize=2048)
def expression(pattern: str, *, across_slashes: bool = False) -> re.Pattern[str]:
    """Return a pattern as a regular expression: for one part of a path, as in glob(3), or for a whole path."""
    any_character = "." if across_slashes else "[^/]"
    out = ["(?!\\.)" if pattern[:1] in {"*", "?", "["} and not across_slashes else ""]
    position = 0
    while position < len(pattern):
        char = pattern[position]
        position += 1
        if char == "*":
            if out[-1] != f"{any_character}*":
                out.append(f"{any_character}*")
        elif char == "?":
            out.append(any_character)
        elif char == "[" and (bracket := _bracket(pattern, position)) is not None:
            characters, position = bracket
            out.append(characters)
        elif char == "\\":
            out.append(re.escape(pattern[position]) if position < len(pattern) else "(?!)")
            position += 1
        else:
            out.append(re.escape(char))
    return re.compile("".join(out), re.DOTALL)


_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": r"\x21-\x7e",
    "lower": "a-z",
    "print": r"\x20-\x7e",
    "punct": r"\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e",
    "space": r" \t\n\v\f\r",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}

_BRACKET_ITEM = (
    r"(?s)\[:(?P<cls>\w+):\]"
    r"|(?:\\(?P<escaped>.)|(?P<char>[^\\]))"
    r"(?:-(?!\])(?:\\(?P<high_escaped>.)|(?P<high>[^\\])))?"
)
"""Compiled at the first bracket expression: few files have one."""


def _bracket(pattern: str, start: int) -> tuple[str, int] | None:
    """Return the bracket expression after its `[` at `start`, and the position after it. None if it has no end."""
    if pattern.find("]", start + 1) < 0:
        return None
    negated = pattern[start : start + 1] in {"!", "^"}
    first = position = start + negated
    body = []
    item = re.compile(_BRACKET_ITEM)
    while pattern[position : position + 1] != "]" or position == first:
        match = item.match(pattern, position)
        if match is None:
            return None
        position = match.end()
        if match["cls"] is not None:
            body.append(_CLASSES.get(match["cls"], ""))
            continue
        low = match["escaped"] or match["char"]
        high = match["high_escaped"] or match["high"] or low
        if low <= high:
            body.append(f"\\x{ord(low):02x}-\\x{ord(high):02x}")
    chars = "".join(body)
    if negated:
        return f"[^/{chars}]", position + 1
    return f"[{chars}]" if chars else "(?!)", position + 1
