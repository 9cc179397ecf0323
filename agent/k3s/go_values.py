"""Values as Go's packages parse them: booleans, integers and durations of flags."""

from __future__ import annotations

import re

TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
"""The spellings that strconv.ParseBool accepts."""

_LONGEST_NUMBER = 10
"""Characters. A longer number exceeds the limits of these flags, which are Go's int or int32."""


def integer(text: str) -> int | None:
    """Parse a number as pflag does: strconv.ParseInt with base 0, so the prefix decides the base.

    None for text that pflag rejects, and for a number beyond the limits of these flags.
    """
    found = re.fullmatch(r"([+-]?)(?:(0[xX])([0-9a-fA-F]+)|(0[bB])([01]+)|(0[oO]?)([0-7]+)|([0-9]+))", text, re.ASCII)
    if found is None or len(text) > _LONGEST_NUMBER:
        return None
    sign, _, hexadecimal, _, binary, _, octal, decimal = found.groups()
    if decimal is not None:
        if decimal.startswith("0") and decimal != "0":
            return None
        number = int(decimal)
    else:
        number = int(hexadecimal, 16) if hexadecimal else int(binary, 2) if binary else int(octal, 8)
    return -number if sign == "-" else number


def is_duration(text: str) -> bool:
    """Return whether time.ParseDuration accepts the text, signs excluded."""
    pattern = r"(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|\u00b5s|\u03bcs|ms|s|m|h))+"
    return re.fullmatch(pattern, text, re.ASCII) is not None
