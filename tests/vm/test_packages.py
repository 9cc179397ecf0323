"""The packages and the single file, on a booted Debian without pip and network."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.release.distributions import DISTRIBUTIONS
from tests.release.rpm_root import make_stubs
from tests.vm.conftest import Packages
from tests.vm.node import GATE, HARDENED_KERNEL, SERVER, Node, put_package

pytestmark = pytest.mark.vm

_OURS = (
    "find / /var/lib -xdev -name '*k3s-harden*' -not -path '/root/*' -not -path '/var/lib/dpkg/*'"
    " -not -path '/var/log/*' | sort --unique"
)

_DROPIN = ["/etc/rancher/k3s/config.yaml.d/90-k3s-harden.yaml"]

_RPM = "rpm --dbpath /root/rpm"
_FEDORA = next(distribution for distribution in DISTRIBUTIONS if distribution.name.startswith("Fedora"))


def _version(node: Node) -> str:
    return node.run("dpkg-query --show --showformat='${Version}' k3s-harden").out


@pytest.mark.deb
def test_the_deb_is_installed_upgraded_and_purged_beside_a_running_k3s(bare: Node, packages: Packages) -> None:
    """It starts no unit, its gate runs at the next start, a downgrade is rejected, and a purge keeps the way back."""
    bare.install_k3s()
    older, newest = (package.name.split("_")[1] for package in (packages.older_deb, packages.deb))
    put_package(bare, packages.older_deb)
    assert _version(bare) == older
    assert (bare.is_up(), bare.starts()) == (False, [])
    bare.systemctl("start", SERVER)
    assert (bare.gate_runs(), bare.starts()[0].kernel) == (1, HARDENED_KERNEL)
    process = bare.unit(SERVER)["MainPID"]

    put_package(bare, packages.deb)
    refused = bare.run(f"dpkg --install /root/{packages.older_deb.name}", check=False)
    assert (refused.code != 0, f"cannot downgrade from {newest} to {older}" in refused.err) == (True, True)
    assert (_version(bare), bare.unit(SERVER)["MainPID"]) == (newest, process)
    bare.systemctl("restart", SERVER)
    assert (bare.gate_runs(), len(bare.starts())) == (2, 2)

    process = bare.unit(SERVER)["MainPID"]
    bare.run("dpkg --remove k3s-harden")
    assert bare.unit(SERVER)["MainPID"] == process
    assert bare.unit(GATE)["LoadState"] == "not-found"
    bare.systemctl("restart", SERVER)
    assert len(bare.starts()) == 3
    assert bare.run("test -d /var/lib/k3s-harden", check=False).code == 0
    assert "kept /var/lib/k3s-harden and" in bare.run("dpkg --purge k3s-harden").err
    # The drop-in is part of K3s' configuration; only `revert` removes it.
    assert bare.run(_OURS).out.split() == [*_DROPIN, "/var/lib/k3s-harden"]


def test_the_rpm_is_installed_upgraded_and_removed_beside_a_running_k3s(
    bare: Node, packages: Packages, tmp_path: Path
) -> None:
    """It starts no unit, its gate runs at the next start, a downgrade is rejected, and K3s runs after the removal.

    rpm itself runs on Debian, with packages without content that have the names and versions of Fedora's. SELinux is
    not covered.
    """
    make_stubs(tmp_path, _FEDORA)
    for package in (packages.older_rpm, packages.rpm, *tmp_path.glob("*.rpm")):
        bare.put(f"/root/{package.name}", package.read_bytes())
    bare.run(f"{_RPM} --install {' '.join(f'/root/{stub.name}' for stub in tmp_path.glob('*.rpm'))}")
    bare.install_k3s()
    bare.run(f"{_RPM} --install /root/{packages.older_rpm.name}")
    assert bare.run(f"{_RPM} --verify k3s-harden").out == ""
    assert (bare.is_up(), bare.starts()) == (False, [])
    bare.systemctl("start", SERVER)
    assert (bare.gate_runs(), bare.starts()[0].kernel) == (1, HARDENED_KERNEL)
    process = bare.unit(SERVER)["MainPID"]

    bare.run(f"{_RPM} --upgrade /root/{packages.rpm.name}")
    refused = bare.run(f"{_RPM} --upgrade /root/{packages.older_rpm.name}", check=False)
    assert (refused.code != 0, "is already installed" in refused.err) == (True, True)
    assert f"{bare.run(f'{_RPM} --query k3s-harden').out.strip()}.rpm" == packages.rpm.name
    assert bare.run(f"{_RPM} --verify k3s-harden").out == ""
    assert bare.run("find /usr/lib/k3s-harden/agent -name 'model.*.pyc'").out
    assert bare.unit(SERVER)["MainPID"] == process
    bare.systemctl("restart", SERVER)
    assert (bare.gate_runs(), len(bare.starts())) == (2, 2)
    assert bare.harden("check").code == 0

    process = bare.unit(SERVER)["MainPID"]
    bare.run(f"{_RPM} --erase k3s-harden")
    assert bare.unit(SERVER)["MainPID"] == process
    assert bare.unit(GATE)["LoadState"] == "not-found"
    bare.systemctl("restart", SERVER)
    assert len(bare.starts()) == 3
    assert set(bare.run(_OURS).out.split()) == {
        "/etc/rancher/k3s/config.yaml.d/90-k3s-harden.yaml",
        "/var/lib/k3s-harden",
    }


@pytest.mark.emulated
def test_the_single_file_requires_only_python(bare: Node, packages: Packages) -> None:
    """Without pip, network, HOME and executable /tmp, it hardens the host, and installs and removes the gate."""
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
