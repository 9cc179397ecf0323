"""Values as Go's packages parse them: booleans, integers, durations and names of TLS cipher suites. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent.base.yaml_reader.plain_scalars import go_integer

if TYPE_CHECKING:
    from collections.abc import Iterable

TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
"""The spellings that strconv.ParseBool accepts."""

_LONGEST_NUMBER = 10
"""Characters. A longer number exceeds the limits of these arguments, which are Go's int or int32."""


def pflag_integer(text: str) -> int | None:
    """Parse a number as pflag does. None for text that pflag rejects, and for a number beyond the limits."""
    return go_integer(text) if len(text) <= _LONGEST_NUMBER else None


def is_duration(text: str) -> bool:
    """Return whether time.ParseDuration accepts the text, signs excluded."""
    pattern = r"(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|\u00b5s|\u03bcs|ms|s|m|h))+"
    return re.fullmatch(pattern, text, re.ASCII) is not None


def suites_with_long_names(suites: Iterable[str]) -> tuple[str, ...]:
    """Return the suites and the alternative names of those that have one.

    Go has a short and a long name for the ChaCha20 suites of TLS 1.2. All components of Kubernetes accept both
    (kubernetes, staging/src/k8s.io/component-base/cli/flag/ciphersuites_flag.go).
    """
    short = tuple(suites)
    return (*short, *(f"{name}_SHA256" for name in short if name.endswith("_CHACHA20_POLY1305")))
