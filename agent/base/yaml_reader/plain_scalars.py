"""Values of plain scalars, as gopkg.in/yaml.v2 resolves them. Pure."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    ScalarValue = Union[str, int, float, bool, None]
    """The value of a scalar. A bool is also an int in Python, so test for bool first."""

_BOOLEANS = {
    word: value
    for value, words in ((True, "y yes true on"), (False, "n no false off"))
    for lower in words.split()
    for word in (lower, lower.capitalize(), lower.upper())
}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_FLOATS = {
    f"{sign}.{word}": float(f"{sign}{word}")
    for sign, words in (("", "inf Inf INF nan NaN NAN"), ("+", "inf Inf INF"), ("-", "inf Inf INF"))
    for word in words.split()
}
_FLOAT = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
_IN_NUMBERS = frozenset("+-.0123456789abcdefxoABCDEFXO")
"""The characters of all numbers."""
_LONGEST_NUMBER = 400
"""Digits: more than any finite float has before its point, and few enough to convert fast."""


def resolve(text: str) -> ScalarValue:
    """Return the value of a plain scalar (go-yaml v2.4.0, as in K3s: resolve.go)."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if text in _FLOATS:
        return _FLOATS[text]
    number = _number(text) if text[0] in "+-.0123456789" else None
    return text if number is None else number


def _number(text: str) -> int | float | None:
    plain = text if text[0] == "." else text.replace("_", "")
    if len(plain) > _LONGEST_NUMBER or not _IN_NUMBERS.issuperset(plain):
        return None
    integer = go_integer(plain)
    # int64, or uint64 without a sign: Go has no larger integers.
    if integer is not None and -(2**63) <= integer < (2**63 if plain[0] in "+-" else 2**64):
        return integer
    if not re.fullmatch(_FLOAT, plain):
        return None
    number = float(plain)
    # Go's ParseFloat fails where Python's overflows.
    return None if number in (float("inf"), float("-inf")) else number


def go_integer(text: str) -> int | None:
    """Parse an integer as Go's strconv.ParseInt does with base 0: the prefix decides the base. None if it fails."""
    for base in (0, 8):  # with base 0, Python accepts only the prefix 0o for octal numbers
        with suppress(ValueError):
            return int(text, base)
    return None
