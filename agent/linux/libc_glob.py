"""Patterns as glob(3) and fnmatch(3) of the C library take them, in the C locale: sysctl files name keys by them."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise


def is_glob(name: str) -> bool:
    """Whether the text is a pattern, and not a name alone."""
    return "*" in name or "?" in name or "[" in name


LONGEST_PATTERN = 4096
_BRACE_STEPS = 1000
"""The longest pattern, and the most alternatives of braces, that are looked at; what is beyond matches nothing here.

Both programs would go on, and with `{a,b}{a,b}…` not end: nobody must be able to stop a check that way.
"""


def braces_expanded(pattern: str) -> list[str]:
    """The patterns that glob(3) makes of `{a,b}` with GLOB_BRACE; braces that are not closed stand for themselves."""
    expanded: list[str] = []
    left = [pattern] if len(pattern) <= LONGEST_PATTERN else []
    for _ in range(_BRACE_STEPS):
        if not left:
            break
        text = left.pop()
        begin = _first_brace(text)
        if begin is None:
            expanded.append(text)
            continue
        bounds = [begin]
        while text[bounds[-1]] != "}" and (end := _alternative_end(text, bounds[-1] + 1)) is not None:
            bounds.append(end)
        if text[bounds[-1]] != "}":
            expanded.append(text)
            continue
        rest = text[bounds[-1] + 1 :]
        left += [text[:begin] + text[low + 1 : high] + rest for low, high in pairwise(bounds)]
    return expanded


def _first_brace(text: str) -> int | None:
    match = re.match(r"(?:\\.|[^{\\])*\{", text, re.DOTALL)
    return match.end() - 1 if match else None


def _alternative_end(text: str, start: int) -> int | None:
    depth = 0
    position = start
    while position < len(text):
        char = text[position]
        if (char == "}" and depth == 0) or (char == "," and depth == 0):
            return position
        depth += (char == "{") - (char == "}")
        position += 2 if char == "\\" else 1
    return None


def globbed(pattern: str, name: str) -> str | None:
    """The path that glob(3) gives for the key `name`, with the pattern's own empty and `.` parts; None for no match."""
    literal = re.match(r"[^*?\[\\/.]*", pattern)
    if len(pattern) > LONGEST_PATTERN or (literal and not name.startswith(literal[0])):
        return None
    left = name.split("/")[::-1]
    path: list[str] = []
    # A slash separates parts, escaped or not.
    for part in re.sub(r"\\(.)", lambda escape: "/" if escape[1] == "/" else escape[0], pattern).split("/"):
        if part in {"", "."}:
            path.append(part)
        elif left and expression(part).fullmatch(left[-1]):
            path.append(left.pop())
        else:
            return None
    return "/".join(path) if not left and path[-1] not in {"", "."} else None


@lru_cache(maxsize=256)
def expression(pattern: str, *, across_slashes: bool = False) -> re.Pattern[str]:
    """fnmatch(3) in the C locale as a regular expression: for one part of a path, as in glob(3), or for all of it."""
    one = "." if across_slashes else "[^/]"
    out = ["(?!\\.)" if pattern[:1] in {"*", "?", "["} and not across_slashes else ""]
    position = 0
    while position < len(pattern):
        char = pattern[position]
        position += 1
        if char == "*":
            if out[-1] != f"{one}*":
                out.append(f"{one}*")
        elif char == "?":
            out.append(one)
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
    r"|(?:\[(?P<delim>[.=])(?P<symbol>.)(?P=delim)\]|\\(?P<escaped>.)|(?P<char>[^\\]))"
    r"(?:-(?!\])(?:\\(?P<high_escaped>.)|(?P<high>[^\\])))?"
)
"""Compiled when the first bracket is met: few files have one, and this module is part of every start."""


def _bracket(pattern: str, start: int) -> tuple[str, int] | None:
    """The bracket expression whose `[` is before `start`, and the position behind it; None if it has no end."""
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
        low = match["symbol"] or match["escaped"] or match["char"]
        high = match["high_escaped"] or match["high"] or low
        if low <= high:
            body.append(f"\\x{ord(low):02x}-\\x{ord(high):02x}")
    chars = "".join(body)
    if negated:
        return f"[^/{chars}]", position + 1
    return f"[{chars}]" if chars else "(?!)", position + 1
