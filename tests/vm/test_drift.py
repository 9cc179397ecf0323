"""The daily drift check in a booted guest: its timer, its sandbox and its journal."""

from __future__ import annotations

import time

import pytest

from tests.vm.node import SERVER, Node

pytestmark = pytest.mark.vm

CHECK = "k3s-harden-check.service"
TIMER = "k3s-harden-check.timer"
_METRICS = "/var/lib/k3s-harden/metrics/k3s-harden.prom"
_FIGHT = "/etc/sysctl.d/99-fight.conf"


def test_drift_reports_changes_and_repairs_only_with_the_setting(node: Node) -> None:
    """The first check and a check without a change report no change. A change is reported with control, value and line.

    The host is not changed unless `drift.repair` is set.
    """
    node.systemctl("start", SERVER)
    assert node.unit(TIMER)["ActiveState"] == "active"
    for _ in range(2):
        node.systemctl("start", CHECK)
    assert "→" not in node.journal(CHECK)
    assert 'k3s_harden_controls{status="PASS"}' in node.read(_METRICS)
    assert node.run("stat -c %a /var/lib/k3s-harden/assessment.json").out.strip() == "600"

    time.sleep(2)  # a report has whole seconds: a file that is written later than the check must also look later
    node.put(_FIGHT, "vm.overcommit_memory = 2\n")
    node.run(f"sysctl --load {_FIGHT}")
    node.systemctl("start", CHECK)
    (line,) = (line for line in node.journal(CHECK).splitlines() if line.startswith("PASS → FAIL vm.overcommit_memory"))
    assert f"{_FIGHT}:1" in line
    assert 'id="vm.overcommit_memory"' in node.read(_METRICS)
    assert node.read("/proc/sys/vm/overcommit_memory").strip() == "2"

    node.put("/etc/k3s-harden/config.yaml", "drift:\n  repair: true\n")
    node.run(("/bin/rm", _FIGHT))
    node.systemctl("start", CHECK)
    assert node.read("/proc/sys/vm/overcommit_memory").strip() == "1"
    assert "FAIL → PASS vm.overcommit_memory" in node.journal(CHECK)
    assert node.is_up()
    node.run(f"systemd-analyze security --no-pager --threshold=20 {CHECK}")  # an exposure of 2 or less of 10
