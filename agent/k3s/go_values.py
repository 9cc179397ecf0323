"""Values as Go's packages parse them: booleans, integers and durations. Pure."""

from __future__ import annotations

import re

from agent.yaml_reader import go_integer

TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
"""The spellings that strconv.ParseBool accepts."""

_LONGEST_NUMBER = 10
"""Characters. A longer number exceeds the limits of these arguments, which are Go's int or int32."""


def integer(text: str) -> int | None:
    """Parse a number as pflag does. None for text that pflag rejects, and for a number beyond the limits."""
    return go_integer(text) if len(text) <= _LONGEST_NUMBER else None


def is_duration(text: str) -> bool:
    """Return whether time.ParseDuration accepts the text, signs excluded."""
    pattern = r"(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|\u00b5s|\u03bcs|ms|s|m|h))+"
    return re.fullmatch(pattern, text, re.ASCII) is not None
