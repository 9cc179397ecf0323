"""Test nodes: they see nothing of other tests, and leave nothing on this machine, however they end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import control_groups
from tests.k8s.namespaces import REQUIRED, Namespaces
from tests.machine import CHECKOUT, START, RealKernel, read_kernel

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("machine")]

_OWNER = """
import sys, time
from pathlib import Path
from tests.k8s.namespaces import REQUIRED, Namespaces
with Namespaces(Path(sys.argv[1]), real_kernel=True) as node:
    node.set_kernel(dict(REQUIRED, **{"kernel.panic": "9"}))
    node.start("sleep", "1000", log=Path(sys.argv[1]) / "log")
    groups = " ".join(sorted({line.split(":")[2] for line in Path(f"/proc/{node.number}/cgroup").read_text().split()}))
    print(node.number, groups, flush=True)
    time.sleep(1000)
"""


def groups() -> list[Path]:
    """Return the control groups of all nodes on this machine."""
    found: list[Path] = []
    for hierarchy in control_groups.hierarchies():
        found += (hierarchy.mounted / hierarchy.own.lstrip("/")).glob("k3s-harden-test-*")
    return found


def until(reached: Callable[[], bool]) -> None:
    """Wait until something is true. Fails after a minute."""
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_killed_run_leaves_nothing(tmp_path: Path) -> None:
    """After SIGKILL of its owner, no process, control group or mount is left, and the kernel values are restored."""
    with RealKernel():
        before = {key: read_kernel(key) for key in REQUIRED}
    command = (sys.executable, "-c", _OWNER, str(tmp_path))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT) as owner:
        assert owner.stdout is not None
        number, *own = owner.stdout.readline().split()
        assert read_kernel("kernel.panic") == "9"
        mine = [path for path in groups() if any(path.name in group for group in own)]
        assert mine
        owner.send_signal(signal.SIGKILL)
    until(lambda: not Path(f"/proc/{number}").exists())
    until(lambda: not any(path.exists() for path in mine))
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    with RealKernel():
        assert {key: read_kernel(key) for key in REQUIRED} == before


def test_node_does_not_see_the_values_of_this_kernel(tmp_path: Path) -> None:
    """A node starts with the same values while another test has changed those of this kernel."""
    with RealKernel():
        Path("/proc/sys/kernel/panic").write_text("9\n", encoding="ascii")
        with Namespaces(tmp_path) as node:
            assert node.kernel_values() == START


def test_node_ends_after_its_lifetime(tmp_path: Path) -> None:
    """The node of a test run that hangs ends after `lifetime` seconds."""
    with Namespaces(tmp_path, lifetime=1) as node:
        until(lambda: not Path(f"/proc/{node.number}").exists())
