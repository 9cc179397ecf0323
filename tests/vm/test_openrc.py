"""The gate under OpenRC: K3s starts only on a hardened host, and starts as soon as the host is hardened."""

from __future__ import annotations

import pytest

from tests.vm.node import HARDENED_KERNEL, JOIN
from tests.vm.openrc import GATE_FILES, OpenrcNode
from tests.vm.readme import block

pytestmark = pytest.mark.vm

WAITS = GATE_FILES[1]


@pytest.fixture
def node(openrc_node: OpenrcNode) -> OpenrcNode:
    """A booted server with OpenRC, program and gate, on which K3s has not started so far."""
    return openrc_node


def _wait_until_refused(node: OpenrcNode, service: str = "k3s") -> None:
    node.wait_until(f"test -e /run/k3s-harden/ungated.{service}")


def test_at_boot_k3s_starts_on_a_hardened_host(node: OpenrcNode) -> None:
    """The gate hardens the host before K3s exists, and other services start without it."""
    node.reboot()
    node.wait_for_starts(1)
    (start,) = node.starts()
    assert start.kernel == HARDENED_KERNEL
    assert node.service("k3s", "status", check=False).strip().endswith("started")
    assert WAITS not in node.supervised()


def test_k3s_waits_for_the_repair_of_its_host_and_starts_with_it(node: OpenrcNode) -> None:
    """The boot does not wait for K3s. The reason is in the log of the service."""
    node.break_host()
    node.reboot()
    _wait_until_refused(node)
    assert node.starts() == []
    assert WAITS in node.supervised()
    assert node.BAD_DROPIN in node.log()
    assert "k3s is not started" in node.log()
    assert "the gate blocks K3s: see the reason and the fix: k3s-harden check" in node.harden("install").out

    node.repair_host()
    node.harden("apply")
    node.wait_for_starts(1)
    assert WAITS not in node.supervised()


def test_the_gate_runs_again_after_a_crash_a_restart_and_a_kill_of_what_waits(node: OpenrcNode) -> None:
    """supervise-daemon starts again what it has started before, which is the gate."""
    node.service("k3s", "start")
    node.wait_for_starts(1)
    node.break_host()
    node.kill_supervised()
    _wait_until_refused(node)
    node.run("rm /run/k3s-harden/ungated.k3s")
    node.kill_supervised()
    _wait_until_refused(node)
    node.run("rm /run/k3s-harden/ungated.k3s")
    node.service("k3s", "restart")
    _wait_until_refused(node)
    assert len(node.starts()) == 1

    node.repair_host()
    node.harden("apply")
    node.wait_for_starts(2)


def test_a_k3s_that_its_operator_stops_stays_stopped(node: OpenrcNode) -> None:
    """Also in the pause between two attempts, and after the repair."""
    node.break_host()
    node.service("k3s", "start")
    _wait_until_refused(node)
    node.service("k3s", "stop")
    node.repair_host()
    node.harden("apply")
    assert node.service("k3s", "status", check=False).strip().endswith("stopped")
    assert node.starts() == []


def test_root_bypasses_the_gate_for_one_start(node: OpenrcNode) -> None:
    """The start passes without its gate at once, `check` reports it, and a later crash does not pass."""
    node.break_host()
    node.service("k3s", "start")
    _wait_until_refused(node)
    assert "is being started" in node.harden("bypass").out
    node.wait_for_starts(1)
    assert "started without its gate" in node.harden("check", check=False).out
    node.kill_supervised()
    node.wait_until(f"pgrep -f '^/bin/sh {WAITS}'")
    assert len(node.starts()) == 1


def test_root_bypasses_the_gate_for_each_start_in_a_time(node: OpenrcNode) -> None:
    """Each restart after a crash passes until the time is over, and `check` reports it."""
    node.break_host()
    node.harden("bypass", "--for", "2h")
    node.service("k3s", "start")
    node.wait_for_starts(1)
    for number in (2, 3):
        node.kill_supervised()
        node.wait_for_starts(number)
    assert "each start" in node.harden("check", check=False).out
    node.run("sed -i 's/^[0-9]*/1/' /run/k3s-harden/bypass.k3s; rm /run/k3s-harden/ungated.k3s")
    node.kill_supervised()
    _wait_until_refused(node)
    assert len(node.starts()) == 3


def test_cron_mails_only_changes(node: OpenrcNode) -> None:
    """The scripts of the page print nothing if nothing has changed."""
    node.harden("apply")
    node.run("mkdir -p /etc/periodic/daily /etc/periodic/15min")
    node.run(block("docs/howto/openrc.md", "## What differs from systemd").replace("sudo ", ""))
    first, second = (node.run("/etc/periodic/daily/k3s-harden") for _ in range(2))
    assert first.out.startswith("stored this assessment")
    assert (second.out, second.err) == ("", "")
    node.run("rm /etc/rancher/k3s/config.yaml.d/90-k3s-harden.yaml")
    assert "FAIL" in node.run("/etc/periodic/daily/k3s-harden").out


def test_the_gate_covers_agents_named_services_and_what_the_installer_of_k3s_writes_again(node: OpenrcNode) -> None:
    """An upgrade replaces the script of the service. A file of the runlevel hides that of the service."""
    node.run("rc-update del k3s default; rm /etc/init.d/k3s")
    node.put("/etc/conf.d/k3s-agent.default", "")
    node.install_k3s("agent", **JOIN)
    node.install_k3s("server", INSTALL_K3S_NAME="east")
    node.install_k3s("agent", **JOIN, INSTALL_K3S_VERSION="v1.35.1+k3s1")
    node.break_host()
    for service in ("k3s-agent", "k3s-east"):
        node.service(service, "start")
        assert WAITS in node.supervised(service)


def test_other_services_do_not_pass_the_gate(node: OpenrcNode) -> None:
    """Even if the program of the gate is missing."""
    script = '#!/sbin/openrc-run\ncommand=/bin/sleep\ncommand_args="1d"\ncommand_background=yes\npidfile=/run/other\n'
    node.put("/etc/init.d/k3sother", script, "0755")
    node.run(("rm", GATE_FILES[1]))
    node.service("k3sother", "start")
    assert node.run("cat /proc/$(cat /run/other)/cmdline").out.startswith("/bin/sleep")


def test_uninstall_removes_the_gate(node: OpenrcNode) -> None:
    """K3s then starts without it."""
    node.break_host()
    node.harden("uninstall")
    assert node.run(f"ls -d {' '.join(GATE_FILES)} /usr/local/lib/k3s-harden", check=False).out == ""
    node.service("k3s", "start")
    assert WAITS not in node.supervised()
