"""By hand, in a booted guest: an administrator with sudo and a terminal, on a host that has no gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.vm.node import HARDENED_KERNEL

if TYPE_CHECKING:
    from tests.vm.conftest import Packages
    from tests.vm.node import Node

pytestmark = pytest.mark.vm


def _kernel(node: Node) -> dict[str, str]:
    return {key: node.read(f"/proc/sys/{key}").strip() for key in HARDENED_KERNEL}


def test_sudo_hardens_and_it_lasts(bare: Node, packages: Packages) -> None:
    """`diff` needs no root, `apply` says that it does, `sudo` on a terminal hardens, and a reboot keeps it."""
    bare.put("/usr/local/bin/k3s-harden", packages.single_file.read_bytes(), "0755")
    assert bare.run("k3s-harden diff --role server", user="admin", check=False).code == 3
    refused = bare.run("k3s-harden apply --role server", user="admin", check=False)
    assert (refused.code, "sudo k3s-harden apply" in refused.err) == (1, True)
    assert _kernel(bare) != HARDENED_KERNEL

    on_a_terminal = (
        "/usr/bin/script",
        "--quiet",
        "--return",
        "--command",
        "sudo k3s-harden apply --role server",
        "/dev/null",
    )
    bare.run(on_a_terminal, user="admin")
    assert _kernel(bare) == HARDENED_KERNEL
    bare.reboot()
    assert _kernel(bare) == HARDENED_KERNEL
    assert bare.run("sudo k3s-harden check --role server", user="admin").code == 0
