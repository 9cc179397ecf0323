"""The Debian package beside a K3s that waits, or that `install` guards under another name, in booted guests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.vm.node import HARDENED_KERNEL, SERVER, put_package

if TYPE_CHECKING:
    from tests.vm.conftest import Packages
    from tests.vm.node import Node

pytestmark = pytest.mark.vm

NAMED = "k3s-east.service"
TIMER = "k3s-harden-service-accounts.timer"


def test_installing_touches_no_running_k3s_and_a_waiting_one_outlasts_an_upgrade(
    bare: Node, packages: Packages
) -> None:
    """A running K3s meets the gate at its next start; one that the gate kept down is started by the repair alone."""
    bare.install_k3s()
    bare.systemctl("start", SERVER)
    process = bare.unit(SERVER)["MainPID"]
    put_package(bare, packages.deb)
    assert (bare.unit(SERVER)["MainPID"], bare.gate_runs()) == (process, 0)
    assert bare.unit(TIMER)["ActiveState"] == "inactive"

    bare.break_host()
    bare.systemctl("restart", SERVER, check=False)
    assert not bare.is_up()
    bare.run(f"dpkg --install /root/{packages.deb.name}")
    assert not bare.is_up()
    bare.repair_host()
    bare.harden("apply")
    bare.wait_until_up()
    assert bare.starts()[-1].kernel == HARDENED_KERNEL


def test_removal_frees_every_k3s_and_keeps_the_way_back(bare: Node, packages: Packages) -> None:
    """Also one that `install` guards under another name. The package, installed anew, reverts what it had hardened."""
    put_package(bare, packages.deb)
    kernel = {key: bare.read(f"/proc/sys/{key}").strip() for key in HARDENED_KERNEL}
    bare.harden("install", "--role", "server", "--unit", NAMED)
    bare.install_k3s(INSTALL_K3S_NAME="east")
    bare.systemctl("start", NAMED)
    assert bare.gate_runs() == 1
    bare.run("dpkg --remove k3s-harden")
    bare.systemctl("restart", NAMED)
    assert (bare.is_up(NAMED), len(bare.starts())) == (True, 2)

    put_package(bare, packages.deb)
    bare.harden("revert", check=False)  # partly: K3s has written into its directories
    assert {key: bare.read(f"/proc/sys/{key}").strip() for key in HARDENED_KERNEL} == kernel
