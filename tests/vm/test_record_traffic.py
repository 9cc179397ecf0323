"""The unit that records connections, in a booted guest: its sandbox, its timer, and its end."""

from __future__ import annotations

import json
import time

import pytest

from agent.verbs.record_traffic import TIMER
from agent.verbs.traffic_records import CONNECTIONS
from tests.vm.node import SERVER, Node

pytestmark = pytest.mark.vm

UNIT = TIMER.replace("timer", "service")


def test_the_timer_records_until_the_day_and_the_removal_of_the_package_removes_the_record(node: Node) -> None:
    """The kernel shows its connections in the sandbox. The log has no line for a sample that succeeds."""
    node.systemctl("start", SERVER)
    assert node.unit(TIMER)["ActiveState"] == "inactive"
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 7 * 86_400))
    node.put("/etc/k3s-harden/config.yaml", f"traffic: {{record-until: {day}}}\n")
    assert "connections recorded" in node.run("k3s-harden record-traffic").out
    node.wait_until(f"systemctl is-active {TIMER}")
    first = json.loads(node.read(str(CONNECTIONS)))

    # The packet filter is what makes the kernel track connections.
    node.run("ip link set lo up; ip address add 10.42.0.5/32 dev lo")
    node.run("iptables -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT || nft add table ip a", check=False)
    node.run("systemd-run --unit server python3 -m http.server --bind 10.42.0.5 8080")
    node.wait_until("curl --silent --fail http://10.42.0.5:8080/")
    node.systemctl("start", UNIT)
    assert node.unit(UNIT)["Result"] == "success"
    record = json.loads(node.read(str(CONNECTIONS)))
    assert record["last"] >= first["last"]
    assert node.run(f"stat --format %a {CONNECTIONS}").out.strip() == "600"
    if node.run("test -s /proc/net/nf_conntrack", check=False).code == 0:
        assert ["10.42.0.5", "10.42.0.5", 8080, "TCP"] in [row[:4] for row in record["connections"]]
    assert node.run(f"journalctl --quiet --unit={UNIT} --output=cat").out == ""

    node.put("/etc/k3s-harden/config.yaml", "traffic: {record-until: 2026-01-01}\n")
    node.systemctl("start", UNIT)
    node.wait_until(f"! systemctl is-active {TIMER}")
    node.run(f"test -e {CONNECTIONS}")
    node.run("DEBIAN_FRONTEND=noninteractive apt-get --yes remove k3s-harden")
    assert node.run(f"test -e {CONNECTIONS}", check=False).code == 1
