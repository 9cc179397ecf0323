"""Interrupted installations, and upgrades from a gate without a template unit, in booted guests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.vm.node import HARDENED_KERNEL, SERVER
from tests.vm.suite import SINGLE_FILE_SUITES

if TYPE_CHECKING:
    from tests.vm.conftest import Packages
    from tests.vm.node import Node

pytestmark = pytest.mark.vm

NAMED = "k3s-east.service"
EARLIER_UNITS = Path(__file__).parents[1] / "data/earlier_units"
PACKAGED = "/usr/lib/systemd/system"
PROGRAM = "/usr/bin/k3s-harden"
KILLER = """\
#!/bin/sh
[ "$1" != daemon-reload ] || { kill -KILL $PPID; exit 1; }
exec /usr/bin/systemctl.real "$@"
"""
PROGRAM_OF_AN_EARLIER_RELEASE = """\
#!/bin/sh
[ "$*" = gate ] || { echo "unknown option: $*" >&2; exit 2; }
"""


def _put_single_file(node: Node, packages: Packages, path: str = PROGRAM) -> None:
    node.put(path, packages.single_file.read_bytes(), "0755")


def _put_earlier_units(node: Node, directory: str) -> None:
    for file in EARLIER_UNITS.rglob("*"):
        if file.is_file():
            node.put(f"{directory}/{file.relative_to(EARLIER_UNITS)}", file.read_bytes())


def _kill_before_reload(node: Node, verb: str) -> None:
    node.run("mv /usr/bin/systemctl /usr/bin/systemctl.real")
    node.put("/usr/bin/systemctl", KILLER, "0755")
    assert node.harden(verb, check=False).code == 128 + 9
    node.run("mv /usr/bin/systemctl.real /usr/bin/systemctl")


def test_a_killed_install_is_reported_and_the_next_one_completes_it(bare: Node, packages: Packages) -> None:
    """install and uninstall are killed before systemd reads the units."""
    bare.install_k3s()
    bare.systemctl("start", SERVER)
    _put_single_file(bare, packages, "/usr/local/bin/k3s-harden")
    _kill_before_reload(bare, "install")
    assert "gate-not-loaded" in bare.harden("check", check=False).out
    bare.harden("install")
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


def test_the_gate_of_an_earlier_release_works_until_it_is_replaced(bare: Node, packages: Packages) -> None:
    """The earlier units run the new program. The new gate takes over, and later starts, a K3s that they blocked."""
    bare.install_k3s()
    _put_single_file(bare, packages)
    _put_earlier_units(bare, "/etc/systemd/system")
    bare.systemctl("daemon-reload")
    bare.systemctl("start", SERVER)
    assert bare.starts()[-1].kernel == HARDENED_KERNEL
    assert "gate-outdated" in bare.harden("check", check=False).out
    bare.break_host()
    assert bare.systemctl("restart", SERVER, check=False).code == 1
    assert not bare.is_up()

    bare.run("touch /run/k3s-harden/waiting.k3s")  # as the earlier program does
    bare.harden("install")
    assert "gate-outdated" not in bare.harden("check", check=False).out
    bare.wait_until("test -e /run/k3s-harden/blocked.k3s")
    bare.repair_host()
    bare.harden("apply")
    bare.wait_until_up()
    assert len(bare.starts()) == 2
    assert bare.run("ls /etc/systemd/system | grep waiting", check=False).out == ""


def test_the_new_gate_runs_an_earlier_program(bare: Node, packages: Packages) -> None:
    """The earlier program rejects unknown options, and its exit code determines whether K3s starts."""
    bare.install_k3s()
    _put_single_file(bare, packages)
    bare.harden("install")
    bare.put(PROGRAM, PROGRAM_OF_AN_EARLIER_RELEASE, "0755")
    bare.systemctl("start", SERVER)
    assert (bare.gate_runs(), len(bare.starts())) == (1, 1)
    bare.put(PROGRAM, "#!/bin/sh\nexit 3\n", "0755")
    assert bare.systemctl("restart", SERVER, check=False).code == 1
    assert len(bare.starts()) == 1


def test_a_package_upgrade_from_an_earlier_release(bare: Node, packages: Packages) -> None:
    """It does not restart K3s. It replaces an earlier drop-in in /etc, with which that service would stay blocked."""
    if bare.suite in SINGLE_FILE_SUITES:
        pytest.skip("the package cannot be installed there")
    bare.put(f"/root/{packages.older_deb.name}", packages.older_deb.read_bytes())
    bare.run(f"dpkg-deb --raw-extract /root/{packages.older_deb.name} /root/earlier")
    bare.run(f"cd /root/earlier{PACKAGED} && rm -r k3s-harden.service k3s-harden@.service k3s*.service.d")
    _put_earlier_units(bare, f"/root/earlier{PACKAGED}")
    bare.run("dpkg-deb --build /root/earlier /root/earlier.deb && dpkg --install /root/earlier.deb")
    for file in (EARLIER_UNITS / "k3s.service.d").iterdir():
        bare.put(f"/etc/systemd/system/{NAMED}.d/{file.name}", file.read_bytes())
    bare.install_k3s(INSTALL_K3S_NAME="east")
    bare.systemctl("start", NAMED)
    assert bare.starts()[-1].kernel == HARDENED_KERNEL
    process = bare.unit(NAMED)["MainPID"]

    bare.put(f"/root/{packages.deb.name}", packages.deb.read_bytes())
    bare.run(f"dpkg --install /root/{packages.deb.name}")
    assert bare.unit(NAMED)["MainPID"] == process
    assert "gate-outdated" not in bare.harden("check", check=False).out
    bare.systemctl("restart", NAMED)
    assert (bare.gate_runs(NAMED), len(bare.starts())) == (1, 2)
