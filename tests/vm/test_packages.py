"""Debian's package and the program in one file, on a booted Debian that has neither pip nor a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.vm.node import GATE, HARDENED_KERNEL, SERVER, put_package

if TYPE_CHECKING:
    from pathlib import Path

    from tests.vm.conftest import Packages
    from tests.vm.node import Node

pytestmark = pytest.mark.vm

_OURS = "find / -xdev -name '*k3s-harden*' -not -path '/root/*' -not -path '/var/lib/dpkg/*' -not -path '/var/log/*'"

# Takes the package apart and puts it together with another version.
_OTHER_VERSION = """\
dpkg-deb --raw-extract /root/{package} /root/other
sed -i 's/^Version: .*/Version: {version}/' /root/other/DEBIAN/control
dpkg-deb --build --uniform-compression -Znone /root/other /root/other.deb >/dev/null
"""


def _version(node: Node) -> str:
    return node.run("dpkg-query --show --showformat='${Version}' k3s-harden").out


def _other_version(node: Node, package: Path, version: str) -> None:
    node.put(f"/root/{package.name}", package.read_bytes())
    node.run(_OTHER_VERSION.format(package=package.name, version=version))


def test_install_starts_nothing_and_remove_and_purge_leave_nothing(bare: Node, packages: Packages) -> None:
    """Installed, the gate is in force and K3s not started. Removed, K3s runs on without it; purged, nothing is left."""
    bare.install_k3s()
    put_package(bare, packages.deb)
    assert not bare.is_up()
    assert bare.starts() == []
    bare.systemctl("start", SERVER)
    assert (bare.gate_runs(), bare.starts()[0].kernel) == (1, HARDENED_KERNEL)
    process = bare.unit(SERVER)["MainPID"]

    bare.run("dpkg --remove k3s-harden")
    assert bare.unit(SERVER)["MainPID"] == process
    assert bare.unit(GATE)["LoadState"] == "not-found"
    bare.systemctl("restart", SERVER)
    assert len(bare.starts()) == 2
    assert bare.run("test -d /var/lib/k3s-harden", check=False).code == 0

    bare.run("dpkg --purge k3s-harden")
    # What hardens K3s is K3s' configuration from now on; `revert` would have taken it away.
    assert bare.run(_OURS).out.split() == ["/etc/rancher/k3s/config.yaml.d/90-k3s-harden.yaml"]


def test_upgrade_keeps_k3s_running_and_a_downgrade_is_refused(bare: Node, packages: Packages) -> None:
    """An upgrade touches no running K3s, and its gate covers the next start; a downgrade changes nothing."""
    bare.install_k3s()
    newest = packages.deb.name.split("_")[1]
    _other_version(bare, packages.deb, "0.0.1-1")
    bare.run("dpkg --install /root/other.deb")
    assert _version(bare) == "0.0.1-1"
    bare.systemctl("start", SERVER)
    process = bare.unit(SERVER)["MainPID"]
    bare.run(f"dpkg --install /root/{packages.deb.name}")
    assert (_version(bare), bare.unit(SERVER)["MainPID"]) == (newest, process)

    refused = bare.run("dpkg --install /root/other.deb", check=False)
    assert refused.code != 0
    assert f"cannot go back from {newest} to 0.0.1-1" in refused.err
    assert _version(bare) == newest
    bare.systemctl("restart", SERVER)
    assert (len(bare.starts()), bare.gate_runs()) == (2, 2)


def test_the_single_file_needs_nothing_but_python(bare: Node, packages: Packages) -> None:
    """No pip, network, HOME or executable /tmp; it hardens, installs the gate, which runs it, and takes it away."""
    assert bare.run("python3 -m pip --version", check=False).code != 0
    assert bare.run("ip -brief link | grep -v ^lo", check=False).out == ""
    bare.run("mountpoint --quiet /tmp || mount -t tmpfs tmp /tmp; mount -o remount,noexec /tmp")
    bare.put("/usr/local/bin/k3s-harden", packages.single_file.read_bytes(), "0755")
    bare.run("env -i /usr/local/bin/k3s-harden apply --role server")
    bare.run("env -i /usr/local/bin/k3s-harden install --role server")
    bare.install_k3s(INSTALL_K3S_SKIP_START="false")
    assert (bare.gate_runs(), bare.starts()[0].kernel) == (1, HARDENED_KERNEL)
    assert "/usr/local/bin/k3s-harden" in bare.unit(GATE)["ExecStart"]
    assert bare.harden("check").code == 0

    timers = ("k3s-harden-check.timer", "k3s-harden-service-accounts.timer")
    assert {bare.unit(timer)["ActiveState"] for timer in timers} == {"active"}
    bare.run("env -i /usr/local/bin/k3s-harden uninstall")
    assert {(found["LoadState"], found["ActiveState"]) for found in map(bare.unit, timers)} == {
        ("not-found", "inactive")
    }
    bare.systemctl("restart", SERVER)
    assert (bare.gate_runs(), len(bare.starts())) == (1, 2)
