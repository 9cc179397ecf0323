"""Interrupted installations in booted guests."""

from __future__ import annotations

import pytest

from tests.vm.conftest import Packages
from tests.vm.node import HARDENED_KERNEL, SERVER, Node

pytestmark = pytest.mark.vm

KILLER = """\
#!/bin/sh
[ "$1" != daemon-reload ] || { kill -KILL $PPID; exit 1; }
exec /usr/bin/systemctl.real "$@"
"""


def _kill_before_reload(node: Node, *words: str) -> None:
    node.run("mv /usr/bin/systemctl /usr/bin/systemctl.real")
    node.put("/usr/bin/systemctl", KILLER, "0755")
    assert node.harden(*words, check=False).code == 128 + 9
    node.run("mv /usr/bin/systemctl.real /usr/bin/systemctl")


def test_a_killed_install_is_reported_and_the_next_one_completes_it(bare: Node, packages: Packages) -> None:
    """install and uninstall are killed before systemd reads the units."""
    bare.install_k3s()
    bare.systemctl("start", SERVER)
    bare.put("/usr/local/bin/k3s-harden", packages.single_file.read_bytes(), "0755")
    _kill_before_reload(bare, "install", "--enforce")
    assert "gate-not-loaded" in bare.harden("check", check=False).out
    bare.harden("install", "--enforce")
    assert "gate-not-loaded" not in bare.harden("check", check=False).out
    bare.systemctl("restart", SERVER)
    assert (bare.gate_runs(), bare.starts()[-1].kernel) == (1, HARDENED_KERNEL)

    _kill_before_reload(bare, "uninstall")
    assert "gate-not-loaded" in bare.harden("check", check=False).out
    bare.systemctl("restart", SERVER)
    assert bare.gate_runs() == 2
    bare.harden("uninstall")
    bare.systemctl("restart", SERVER)
    assert (bare.gate_runs(), len(bare.starts())) == (2, 4)
