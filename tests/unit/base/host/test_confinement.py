"""The system calls of a confined process: the filter is run here as the kernel runs it (bpf(4), seccomp(2))."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from agent.base.host.confinement import READ, RESTRICTED, filter_of

AGENT = Path(__file__).parents[4] / "agent"
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    # The system calls of aarch64 are those of the generic header, which each architecture's package has.
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
ARCHITECTURES = {"x86_64": 62 | 0xC0000000, "aarch64": 183 | 0xC0000000}
"""linux/elf-em.h, 64 bits, little endian."""
FOREIGN = {"i386": 3 | 0x40000000, "arm": 40 | 0x40000000, "unknown": 0}
REFUSED, PERMITTED = 0x00050001, 0x7FFF0000
SET_LOCK, UNIX = 6, 1


def verdict(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """Return what the filter answers for a system call."""
    found = ARCHITECTURES[machine] if architecture is None else architecture
    data = struct.pack("=IIQ6Q", number, found, 0, *(arguments + 6 * (0,))[:6])
    rows = list(struct.iter_unpack("=HBBI", filter_of(machine)))
    place, accumulator = 0, 0
    while True:
        code, is_so, is_not, value = rows[place]
        place += 1
        if code == 0x06:
            return int(value)
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        else:
            place += is_so if (accumulator == value if code == 0x15 else accumulator >= value) else is_not


def numbers(machine: str) -> dict[str, int]:
    """Return the system calls of an architecture by its header."""
    text = HEADERS[machine].read_text(encoding="utf-8")
    return {
        name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)$", text, re.MULTILINE)
    }


@pytest.mark.parametrize("machine", HEADERS)
def test_only_the_restricted_system_calls_are_refused(machine: str) -> None:
    """Each with no arguments, whose command would be F_DUPFD and whose family none."""
    if not HEADERS[machine].exists():
        pytest.skip("needs missing headers: apt-get install -y linux-libc-dev")
    calls = numbers(machine)
    refused = {name for name, number in calls.items() if verdict(machine, number) == REFUSED}
    assert refused == {name for name, *_ in RESTRICTED} - {"fcntl"}
    assert verdict(machine, calls["fcntl"], 3, SET_LOCK) == REFUSED
    assert verdict(machine, calls["socket"], UNIX) == REFUSED
    for families in (2, 10):
        assert verdict(machine, calls["socket"], families) == PERMITTED
    # The kernel ignores the upper half of these arguments.
    assert verdict(machine, calls["fcntl"], 3, SET_LOCK | 1 << 32) == REFUSED


@pytest.mark.parametrize("machine", HEADERS)
def test_system_calls_of_another_architecture_are_refused(machine: str) -> None:
    for architecture in (*FOREIGN.values(), *({*ARCHITECTURES.values()} - {ARCHITECTURES[machine]})):
        assert verdict(machine, 0, architecture=architecture) == REFUSED
    x32 = 0x40000000
    assert {verdict(machine, x32 + number) for number in (0, 73, 514, 0x3FFFFFFF)} == {REFUSED}


OTHERS = {
    "run": {
        *(".containerenv", "dbus", "k3s", "lock", "user"),
        *(f"k3s-harden{name}.lock" for name in ("", "-starts", "-upgrade")),
    },
    "sys": {"module"},
}
"""What is only written, has no content, or is no part of an assessment."""


@pytest.mark.parametrize("top", OTHERS)
def test_what_an_assessment_reads_is_readable_in_a_pod(top: str) -> None:
    """It is each path in these directories that the program contains."""
    pattern = rf'[":]/{top}/([\w.@-]+)'
    found = {name for path in AGENT.rglob("*.py") for name in re.findall(pattern, path.read_text(encoding="utf-8"))}
    assert found - OTHERS[top] == set(READ[top])
