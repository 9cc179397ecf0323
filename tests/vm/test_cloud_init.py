"""cloud-init in booted guests: the rendered user-data document, from a fresh Debian to a hardened K3s.

The document is `render cloud-init`'s own. A guest has no network, so that its two downloads come from the seed disk.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.vm.guest import seed_disk
from tests.vm.node import GATE, HARDENED_KERNEL, HARDENED_MODES, SERVER, STAND_IN, STAND_IN_HOME
from tests.vm.readme import commands

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.vm.conftest import Packages
    from tests.vm.node import Node

pytestmark = pytest.mark.vm

_SEED = "/run/seed"

# Runs before the user-data's own commands, at each boot.
_VENDOR_DATA = f"""\
#cloud-config
bootcmd:
  - mkdir -p {_SEED} {STAND_IN_HOME}
  - mount -o ro LABEL=cidata {_SEED}
  - cp {_SEED}/*.py {STAND_IN_HOME}
"""


def _rendered(directory: Path, program: Path) -> str:
    """The document that the README's command makes, of a program on the seed disk."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "URL": f"file://{_SEED}/{program.name}",
        "SHA256": hashlib.sha256(program.read_bytes()).hexdigest(),
    }
    subprocess.run(("/bin/sh", "-c", commands("cloud-init")), cwd=directory, env=environment, check=True)
    text = (directory / "user-data").read_text()
    assert text.count("https://get.k3s.io") == 1
    return text.replace("https://get.k3s.io", f"file://{_SEED}/install.sh")


def _seed(directory: Path, program: Path, user_data: str, vendor_data: str = _VENDOR_DATA) -> Path:
    return seed_disk(directory, user_data, vendor_data, [program, *STAND_IN.glob("*.*")])


def test_4_first_boot_second_boot_and_clean(new_node: Callable[..., Node], packages: Packages, tmp_path: Path) -> None:
    """User-data makes a hardened server, K3s after the gate; the second boot and `cloud-init clean` keep it so.

    With all of cloud-init's stages no boot has an ordering cycle, for which systemd would drop a job.
    """
    user_data = _rendered(tmp_path, packages.single_file)
    seed = _seed(tmp_path, packages.single_file, user_data)
    node = new_node("fresh")

    def assert_done(starts: int) -> None:
        status = node.run("cloud-init status --long --wait", timeout=400)
        assert "status: done" in status.out
        assert "errors: []" in status.out
        assert "ordering cycle" not in node.run("journalctl -b -o cat _PID=1").out
        node.wait_until_up()
        assert [start.kernel for start in node.starts()] == [HARDENED_KERNEL] * starts
        gate, k3s = node.unit(GATE), node.unit(SERVER)
        assert 0 < int(gate["ExecMainExitTimestampMonotonic"]) < int(k3s["ExecMainStartTimestampMonotonic"])

    node.boot(seed=seed)
    assert_done(1)
    modes = node.starts()[0].modes
    assert {path: modes.get(path) for path in HARDENED_MODES} == HARDENED_MODES
    assert node.run("cloud-init schema --system").code == 0

    node.reboot(seed=seed)
    assert_done(2)

    node.run("touch /run/k3s-harden/of-this-boot; cloud-init clean")
    assert node.run("test -e /run/k3s-harden", check=False).code != 0
    node.reboot(seed=seed)
    # The document's last step finds K3s as it was, started by this boot, and has nothing to restart.
    assert_done(3)


_FAILURES = {
    "the program's bytes are others": ("{digest}", "0" * 64, ""),
    "the gate cannot be installed": ("", "", "mkdir -p /etc/systemd/system/k3s-harden.service"),
    "the host cannot be hardened": ("", "", "mkdir -p /var/lib/rancher/k3s/server/audit.yaml"),
    "K3s cannot be downloaded": ("/install.sh", "/no-such-file", ""),
    "K3s would not start": (
        "",
        "",
        "mkdir -p /etc/rancher/k3s; echo 'kube-apiserver-arg: [audit-policy-file=/none]' >/etc/rancher/k3s/config.yaml",
    ),
}


@pytest.mark.parametrize("failure", _FAILURES)
def test_a_failure_in_any_step_is_told_and_leaves_no_k3s_running(
    new_node: Callable[..., Node], packages: Packages, tmp_path: Path, failure: str
) -> None:
    """cloud-init reports the error, and K3s does not run."""
    old, new, command = _FAILURES[failure]
    user_data = _rendered(tmp_path, packages.single_file)
    old = old.format(digest=hashlib.sha256(packages.single_file.read_bytes()).hexdigest())
    planted = user_data.replace(old, new) if old else user_data
    vendor_data = f"{_VENDOR_DATA}  - {command!r}\n" if command else _VENDOR_DATA
    assert (planted, vendor_data) != (user_data, _VENDOR_DATA)
    node = new_node("fresh")
    node.boot(seed=_seed(tmp_path, packages.single_file, planted, vendor_data))
    status = node.run("cloud-init status --long --wait", check=False, timeout=400)
    assert (status.code, "status: error" in status.out) == (1, True)
    assert node.run("pgrep --exact k3s-server", check=False).code == 1
    assert node.starts() == []
