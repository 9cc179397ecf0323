"""Values of kernel parameters. test_sysctl_order_agrees.py in tests/system compares integer() with the kernel."""

from __future__ import annotations

from agent.base.linux.sysctl_order import accepted, same_value


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
