"""Facts about the operating system."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.base.host import Host
from agent.base.report import Fact
from agent.harden.node.platform import system_facts
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
