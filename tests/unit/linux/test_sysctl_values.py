"""Values of kernel parameters. test_sysctl_order_agrees.py in tests/system compares integer() with the kernel."""

from __future__ import annotations

import pytest

from agent.linux.sysctl_values import accepted, kernel_integer, same_value


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *[("0", 0), ("10", 10), ("010", 8), ("0x1F", 31), ("-1", -1), ("-0x10", -16), (" \v7", 7), ("7\tx", 7)],
        *[("2147483647", 2**31 - 1), ("-2147483648", -(2**31)), ("0" * 19 + "7", 7), ("1 # c", 1), ("1\n", 1)],
        *((text, None) for text in ("", " ", "08", "0x", "+1", "- 1", "1a", "1\r", "one", "١", "1_0")),
        *((text, None) for text in ("2147483648", "-2147483649", "0" * 20 + "7")),
    ],
)
def test_integer_parses_as_the_kernel_does(text: str, number: int | None) -> None:
    """The texts are octal, hexadecimal, with blanks, or rejected, as in proc_dointvec."""
    assert kernel_integer(text) == number


def test_values_are_equal_if_the_kernel_parses_the_same_number() -> None:
    assert all(same_value("1", other) for other in (" 1 ", "01", "0x1", "1 # keep", "1\n"))
    assert not any(same_value("10", other) for other in ("010", "0x10", "1", "", "10a", "-10"))
    assert same_value("core ", "core")
    assert not same_value("core", "cor")


def test_values_outside_of_a_keys_range_are_rejected() -> None:
    """vm.overcommit_memory has three modes and a quota is not negative; other keys have no known range."""
    assert all(accepted("vm.overcommit_memory", text) for text in ("0", "2"))
    assert not any(accepted("vm.overcommit_memory", text) for text in ("3", "-1", ""))
    assert accepted("kernel.panic", "-1")
    assert not accepted("kernel.keys.root_maxkeys", "-1")
    assert accepted("kernel.core_pattern", "|/bin/false")
