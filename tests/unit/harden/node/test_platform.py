"""The platform of a host: facts about its operating system, and the files of sysctl.d within their limits."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from agent.base.errors import HardenError
from agent.base.host import Host
from agent.base.linux.sysctl_order import MOST_BYTES, MOST_PATTERNS
from agent.base.report import Fact
from agent.harden.node.platform import read_sysctl_files, system_facts
from tests.fake import fake_host
from tests.k3s_tree import put


def test_distribution_and_kernel_have_their_sources(tmp_path: Path) -> None:
    put(tmp_path, "etc/os-release", '# x\nNAME=Debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')
    put(tmp_path, "proc/sys/kernel/osrelease", "6.1.0-18-amd64\n")
    assert system_facts(Host.tree_at(str(tmp_path))) == (
        Fact("operating system", "Debian GNU/Linux 12 (bookworm)", "/etc/os-release"),
        Fact("kernel", "6.1.0-18-amd64", "/proc/sys/kernel/osrelease"),
    )


@pytest.mark.parametrize("text", ["", "PRETTY_NAME=\n", "no assignment\n"])
def test_the_file_of_the_vendor_is_the_second_choice(tmp_path: Path, text: str) -> None:
    """os-release(5) defines the order. A missing fact is absent."""
    put(tmp_path, "etc/os-release", text)
    assert system_facts(Host.tree_at(str(tmp_path))) == ()
    put(tmp_path, "usr/lib/os-release", "NAME='Alpine Linux'\n")
    assert system_facts(Host.tree_at(str(tmp_path))) == (
        Fact("operating system", "Alpine Linux", "/usr/lib/os-release"),
    )


OWN = PurePosixPath("/etc/sysctl.d/10-own.conf")


def _distinct(line: str, number: int) -> bytes:
    return "".join(line.format(count) for count in range(number)).encode()


@pytest.mark.parametrize(
    ("data", "limit"),
    [
        (b"#" * (MOST_BYTES + 1), "1048576"),
        (_distinct("*.{}panic = 1\n", MOST_PATTERNS + 1), "lines with patterns"),
        (_distinct("kernel/[p]{}* = 1\r", MOST_PATTERNS + 1), "lines with patterns"),
        (_distinct("-net.?{}\0", MOST_PATTERNS + 1), "lines with patterns"),
        (b"vm.{x,over*} = 1\n", "a pattern with a brace"),
        (b"vm.o\\ver* = 1\n", "a backslash"),
        (b"vm.[[:alpha:]]* = 1\n", "a character class"),
        (b"kernel." + b"*a" * 1000 + b" = 1\n", "bytes in a pattern"),
    ],
)
def test_a_file_above_a_limit_is_reported(tmp_path: Path, data: bytes, limit: str) -> None:
    (tmp_path / "etc/sysctl.d").mkdir(parents=True)
    (tmp_path / "etc/sysctl.d/10-own.conf").write_bytes(data)
    (tmp_path / "etc/sysctl.d/20-next.conf").write_text("kernel.panic = 1\n")
    unreadable: list[HardenError] = []
    files = {file.path: file for file in read_sysctl_files(fake_host(tmp_path), unreadable)}
    assert (files[OWN].data, files[OWN].is_readable) == (None, False)
    assert limit in unreadable[0].message
    assert unreadable[0].message.startswith(f"cannot read {OWN}: ")


def test_comments_are_not_patterns(tmp_path: Path) -> None:
    (tmp_path / "etc/sysctl.d").mkdir(parents=True)
    data = b"# ***** {a} *****\n; *\nkernel.core_pattern = *{a,b}\n" * (MOST_PATTERNS + 1)
    (tmp_path / "etc/sysctl.d/10-own.conf").write_bytes(data)
    unreadable: list[HardenError] = []
    assert [file.data for file in read_sysctl_files(fake_host(tmp_path), unreadable)] == [data]
    assert unreadable == []
