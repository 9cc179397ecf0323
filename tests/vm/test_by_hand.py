"""The README's commands for manual use and for systemd, run in a booted guest by an administrator with sudo."""

from __future__ import annotations

import pytest

from tests.vm.conftest import Packages
from tests.vm.node import HARDENED_KERNEL, Node
from tests.vm.readme import commands

pytestmark = [pytest.mark.vm, pytest.mark.own_kernel]

_HOME = "/home/admin"


def _kernel(node: Node) -> dict[str, str]:
    return {key: node.read(f"/proc/sys/{key}").strip() for key in HARDENED_KERNEL}


def test_the_commands_of_the_readme_harden_the_host_and_install_the_gate(bare: Node, packages: Packages) -> None:
    """`diff` requires no root, `apply` and `install` do; after a reboot K3s starts after its gate.

    `apply` without sudo fails and prints the command with sudo.
    """
    bare.put(f"{_HOME}/{packages.single_file.name}", packages.single_file.read_bytes())
    *_, diff, apply = commands("By hand").splitlines()
    install = commands("By hand", 1).splitlines()[-1]
    as_admin = f"cd {_HOME}; "
    bare.run(as_admin + install, user="admin")
    assert bare.run(as_admin + diff, user="admin", check=False).code == 3
    refused = bare.run(as_admin + apply.removeprefix("sudo "), user="admin", check=False)
    assert (refused.code, "sudo k3s-harden apply" in refused.err) == (1, True)
    assert _kernel(bare) != HARDENED_KERNEL

    on_a_terminal = ("/usr/bin/script", "--quiet", "--return", "--command", apply, "/dev/null")
    bare.run(on_a_terminal, user="admin")
    assert _kernel(bare) == HARDENED_KERNEL

    bare.run(as_admin + commands("At each start of K3s"), user="admin")
    bare.install_k3s()
    bare.reboot()
    bare.wait_until_up()
    assert _kernel(bare) == HARDENED_KERNEL
    bare.assert_started_after_the_gate()
    assert bare.run("sudo k3s-harden check", user="admin").code == 0
