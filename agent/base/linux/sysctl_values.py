"""Values of kernel parameters as the kernel parses them. Pure."""

from __future__ import annotations

import re

_INT_MIN, _INT_MAX = -(2**31), 2**31 - 1

_RANGES = {
    "vm.overcommit_memory": (0, 2),
    "vm.panic_on_oom": (0, 2),
    "kernel.panic": (_INT_MIN, _INT_MAX),
    "kernel.panic_on_oops": (_INT_MIN, _INT_MAX),
    "kernel.keys.root_maxkeys": (0, _INT_MAX),
    "kernel.keys.root_maxbytes": (0, _INT_MAX),
}
"""Valid values of the keys that the kubelet checks (Linux: mm/util.c, mm/oom_kill.c, security/keys/sysctl.c)."""

_LONGEST_NUMBER = 20
"""Characters, sign included. proc_get_long rejects a longer number (Linux: kernel/sysctl.c)."""


def kernel_integer(value: str) -> int | None:
    """Return the number that the kernel stores for a text written to an integer key. None if it rejects the text.

    As proc_dointvec (Linux: kernel/sysctl.c): 0x is hexadecimal, a leading 0 octal, and the text after a blank is
    ignored, so `1 # comment` is 1.
    """
    if value.isdecimal() and value.isascii() and (value[0] != "0" or value == "0") and len(value) < _LONGEST_NUMBER:
        number = int(value)  # as most values are; the pattern is compiled at its first use
        return number if number <= _INT_MAX else None
    match = re.match(r"[ \t\n\v\f\r]*(-?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)(?:[ \t\n]|\Z)", value)
    if match is None or len(match[1] + match[2]) > _LONGEST_NUMBER:
        return None
    digits = match[2]
    base = 10 if digits[0] != "0" else 16 if digits[1:2] in {"x", "X"} else 8
    number = int(match[1] + digits, base)
    return number if _INT_MIN <= number <= _INT_MAX else None


def same_value(first: str, other: str) -> bool:
    """Return whether two texts give an integer key the same value (`1`, ` 01`, `0x1`, `1 # comment`)."""
    return first.strip() == other.strip() or (
        kernel_integer(first) is not None and kernel_integer(first) == kernel_integer(other)
    )


def accepted(key: str, value: str) -> bool:
    """Return whether the kernel accepts a value for a key that the kubelet checks. True for all other keys."""
    low, high = _RANGES.get(key, (None, None))
    number = kernel_integer(value)
    return low is None or high is None or (number is not None and low <= number <= high)
