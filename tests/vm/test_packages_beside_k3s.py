"""The Debian package with a blocked K3s, with a moved data directory, and with a service of another name."""

from __future__ import annotations

import pytest

from tests.vm.conftest import Packages
from tests.vm.node import GATE, HARDENED_KERNEL, SERVER, Node, put_package

pytestmark = pytest.mark.vm

NAMED = "k3s-east.service"
TIMERS = ("k3s-harden-check.timer", "k3s-harden-service-accounts.timer")

_IN_ETC = "cd /etc/systemd/system && find . -path '*k3s-harden*' -o -name 'zzz-k3s-harden.conf'"
_OBSERVES = "/var/lib/k3s-harden/gate-observes"
_DATA_DIR = "/srv/k3s"
_MOUNT = f"[Mount]\nWhat=data\nWhere={_DATA_DIR}\nType=tmpfs\nOptions=mode=0755\n"


@pytest.mark.deb
def test_installing_on_a_running_cluster_observes_until_the_first_apply(bare: Node, packages: Packages) -> None:
    """The gate then blocks, also without a journal. An upgrade keeps a blocked K3s, which starts after the repair."""
    bare.install_k3s()
    bare.systemctl("start", SERVER)
    process = bare.unit(SERVER)["MainPID"]
    put_package(bare, packages.deb)
    assert (bare.unit(SERVER)["MainPID"], bare.gate_runs()) == (process, 0)
    assert {bare.unit(timer)["ActiveState"] for timer in TIMERS} == {"inactive"}

    for found in ("gate-observes", "gate-observes-too-long"):
        bare.reboot()
        bare.wait_until_up()
        policy = "test -e /var/lib/rancher/k3s/server/manifests/policy.yaml"
        assert (bare.gate_runs(), bare.run(policy, check=False).code) == (1, 1)
        assert f"{found}:" in bare.harden("check", check=False).out
        assert f"{found}:" in bare.journal(GATE)
        bare.run(f"date -u -d '30 days ago' +%F >{_OBSERVES}")
    assert len(bare.starts()) == 3
    assert bare.harden("apply", check=False).code == 3  # the stand-in of K3s has no API server
    bare.harden("apply", "--accept-impact")
    assert "gate-observes" not in bare.harden("check", check=False).out

    bare.run("rm -r /var/lib/k3s-harden/journal")
    bare.break_host()
    bare.systemctl("restart", SERVER, check=False)
    assert not bare.is_up()
    bare.run(f"date -u +%F >{_OBSERVES}")
    assert bare.harden("install", check=False).code == 3
    bare.harden("install", "--enforce")
    bare.systemctl("restart", SERVER, check=False)
    assert not bare.is_up()
    bare.run(f"dpkg --install /root/{packages.deb.name}")
    assert not bare.is_up()
    bare.repair_host()
    bare.harden("apply")
    bare.wait_until_up()
    assert bare.starts()[-1].kernel == HARDENED_KERNEL
    assert {bare.unit(timer)["ActiveState"] for timer in TIMERS} == {"active"}


@pytest.mark.deb
def test_the_gate_of_the_package_waits_for_the_mount_of_another_data_directory(node: Node) -> None:
    """`install` adds the mount, which `check` requires; `uninstall` removes it and no file of the package."""
    node.put("/etc/systemd/system/srv-k3s.mount", _MOUNT)
    node.put("/etc/rancher/k3s/config.yaml", f"data-dir: {_DATA_DIR}\n")
    assert "gate-before-mount" in node.harden("check", check=False).out
    node.harden("install")
    assert "gate-before-mount" not in node.harden("check", check=False).out
    # systemd shows the unit below /lib where it was built for a separate /usr.
    assert node.unit(GATE)["FragmentPath"].removeprefix("/usr") == "/lib/systemd/system/k3s-harden@.service"
    node.systemctl("start", SERVER)
    node.run(f"mountpoint --quiet {_DATA_DIR} && test -e {_DATA_DIR}/server/audit.yaml")
    assert node.gate_runs() == 1

    assert "remove the package" in node.harden("uninstall").out
    assert node.run(_IN_ETC).out == ""
    assert node.run("dpkg --verify k3s-harden").out == ""
    assert _DATA_DIR not in node.unit(GATE)["RequiresMountsFor"]
    node.systemctl("restart", SERVER)
    assert (node.gate_runs(), len(node.starts())) == (2, 2)


@pytest.mark.deb
def test_removal_releases_every_k3s_and_keeps_the_journal(bare: Node, packages: Packages) -> None:
    """A K3s service of another name is released too. The package, installed again, reverts its earlier changes."""
    put_package(bare, packages.deb)
    kernel = {key: bare.read(f"/proc/sys/{key}").strip() for key in HARDENED_KERNEL}
    bare.harden("install", "--role", "server", "--unit", NAMED)
    assert bare.run(_IN_ETC).out.split() == [f"./{NAMED}.d/zzz-k3s-harden.conf"]
    bare.install_k3s(INSTALL_K3S_NAME="east")
    bare.systemctl("start", NAMED)
    assert bare.gate_runs(NAMED) == 1
    bare.run("dpkg --remove k3s-harden")
    assert {(found["LoadState"], found["ActiveState"]) for found in map(bare.unit, TIMERS)} == {
        ("not-found", "inactive")
    }
    bare.systemctl("restart", NAMED)
    assert (bare.is_up(NAMED), len(bare.starts())) == (True, 2)

    put_package(bare, packages.deb)
    bare.harden("revert", check=False)  # partially: K3s has written into its directories
    assert {key: bare.read(f"/proc/sys/{key}").strip() for key in HARDENED_KERNEL} == kernel
