"""Reboots, damage, power cuts, cloning, mounts and umasks in booted guests."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable

import pytest

from tests.vm.guest import Saved
from tests.vm.node import DATA_DIR, GATE, HARDENED_KERNEL, HARDENED_MODES, KUBELET_CONF, SERVER, GuestNode, Node

pytestmark = pytest.mark.vm

CUTS = 10 if os.environ.get("GUESTS") == "all" else 4
_VERSIONS = ("v1.24.17+k3s1", "v1.34.1+k3s1")
_WATCHED = "/etc/sysctl.d /etc/rancher/k3s/config.yaml.d /var/lib/rancher/k3s/server/manifests"
_MANAGED = (
    KUBELET_CONF,
    "/etc/rancher/k3s/config.yaml.d/90-k3s-harden.yaml",
    f"{DATA_DIR}/server/audit.yaml",
    f"{DATA_DIR}/server/psa.yaml",
    f"{DATA_DIR}/server/manifests/policy.yaml",
)
_SUMS = f"sha256sum {' '.join(_MANAGED)} 2>/dev/null"

# Records the managed files in each boot before the gate repairs them.
_INSPECTION = f"""\
[Unit]
Before={GATE}
After=local-fs.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c '{_SUMS} >/var/lib/inspection; true'
[Install]
WantedBy=multi-user.target
"""


def _assert_hardened(node: Node) -> None:
    """K3s runs in this boot and was started with a hardened kernel, hardened files and modes."""
    node.wait_until_up()
    start = node.starts()[-1]
    assert (start.boot, start.kernel) == (node.boot_id(), HARDENED_KERNEL)
    assert {path: start.modes.get(path) for path in HARDENED_MODES} == HARDENED_MODES


@pytest.mark.own_kernel
def test_6_k3s_starts_on_a_hardened_host_after_reboots_with_damage(node: Node) -> None:
    """90-kubelet.conf deleted, /etc of the image restored, a 99-*.conf that overrides: K3s starts on a hardened host.

    The gate corrects the overridden kernel value, and `check` names the file and line that sets it at each boot.
    """
    node.run("cp -a /etc /etc-of-the-image")
    node.systemctl("start", SERVER)

    node.run(f"rm {KUBELET_CONF}")
    node.reboot()
    _assert_hardened(node)

    node.run("mv /etc /etc-of-before && mv /etc-of-the-image /etc")
    node.reboot()
    _assert_hardened(node)
    assert node.harden("check").code == 0

    node.put("/etc/sysctl.d/99-fight.conf", "# tuned by hand\nvm.overcommit_memory = 2\n")
    node.reboot()
    _assert_hardened(node)
    checked = node.harden("check", check=False)
    assert checked.code == 3
    assert "/etc/sysctl.d/99-fight.conf:2" in checked.out


@pytest.mark.own_kernel
def test_6_power_cuts_during_apply_leave_no_partial_file(node: Node) -> None:
    """After each cut every managed file is absent or complete, of one version or the other, and K3s starts.

    Between the cuts K3s changes from one minor version to the other and back, so that files are created, replaced and
    removed. No temporary file is left in a directory that K3s or systemd-sysctl reads.
    """
    node.put("/etc/systemd/system/inspection.service", _INSPECTION)
    node.systemctl("enable", "inspection.service")
    complete: dict[str, set[str]] = {path: set() for path in _MANAGED}
    seconds = 0.0
    for version in (*_VERSIONS, _VERSIONS[0]):
        node.play_version(version)
        began = time.monotonic()
        node.harden("apply")
        seconds = time.monotonic() - began
        for path, digest in _digests(node.run(_SUMS, check=False).out).items():
            complete[path].add(digest)
    node.run("sync")

    moments = random.Random(CUTS)  # noqa: S311 - moments, not secrets
    for cut in range(CUTS):
        version = _VERSIONS[(cut + 1) % 2]
        node.play_version(version)
        node.run("sync; nohup k3s-harden apply >/dev/null 2>&1 &")
        time.sleep(moments.uniform(0.5, 1.1) * seconds)
        node.cut_power()
        node.start_boot()
        node.wait_until_up()
        found = _digests(node.read("/var/lib/inspection"))
        assert {path for path, digest in found.items() if digest not in complete[path]} == set(), f"cut {cut}"
        start = node.starts()[-1]
        assert (start.boot, start.version, start.kernel) == (node.boot_id(), version, HARDENED_KERNEL), f"cut {cut}"
        left = node.run(f"find {_WATCHED} -type f").out.split()
        assert set(left) <= {*_MANAGED, "/etc/sysctl.d/README.sysctl"}, f"cut {cut}"


def _digests(sums: str) -> dict[str, str]:
    return {path: digest for digest, path in (line.split() for line in sums.splitlines())}


@pytest.mark.own_kernel
def test_6_a_clone_of_a_hardened_disk_runs_its_gate(node: Node, new_node: Callable[..., Node]) -> None:
    node.systemctl("start", SERVER)
    before = node.starts()[-1].boot
    node.run("truncate --size=0 /etc/machine-id; echo clone >/etc/hostname")
    node.shut_down()
    assert isinstance(node, GuestNode)
    clone = new_node("clone", Saved(node.disk, node.disk))
    clone.boot()
    _assert_hardened(clone)
    assert clone.boot_id() != before
    assert clone.run("hostname").out.strip() == "clone"
    assert clone.harden("check").code == 0


def test_6_the_gate_waits_for_the_mount_of_the_data_directory(node: Node) -> None:
    """It writes nothing below the mount point before the mount."""
    node.run("mkdir -p /var/lib/rancher && echo 'disk /var/lib/rancher tmpfs size=32m,mode=0755 0 0' >>/etc/fstab")
    node.reboot()
    _assert_hardened(node)
    assert "var-lib-rancher.mount" in node.unit(GATE)["After"].split()
    node.run("mkdir /beneath && mount --bind /var/lib /beneath")
    assert node.run("ls -A /beneath/rancher").out == ""


def test_6_a_read_only_etc_blocks_k3s_only_if_it_is_incomplete(node: Node) -> None:
    """The gate reports the reason if files in /etc are missing; K3s starts if /etc is complete."""
    node.run("mount --bind /etc /etc && mount -o remount,ro,bind /etc")
    assert node.systemctl("start", SERVER, check=False).code == 1
    assert "read-only" in node.status(GATE).lower()
    assert not node.is_up()
    node.run("umount /etc")
    node.harden("apply")
    node.wait_until_up()

    node.run("mount --bind /etc /etc && mount -o remount,ro,bind /etc")
    node.systemctl("restart", SERVER)
    assert len(node.starts()) == 2


def test_6_modes_do_not_depend_on_a_strict_umask(node: Node) -> None:
    """Every file and directory has the expected mode, and ordinary users still have access to public directories."""
    node.run("umask 077; k3s-harden apply")
    node.systemctl("start", SERVER)
    _assert_hardened(node)
    modes = node.run("stat -c %a /var/lib/rancher /var/lib/rancher/k3s /etc/rancher /etc/rancher/k3s").out.split()
    assert modes == ["755"] * 4
    assert node.run(("cat", KUBELET_CONF), user="admin").code == 0
