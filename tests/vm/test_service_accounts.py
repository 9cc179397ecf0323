"""The service-accounts timer in booted guests: a real kubectl and a stand-in for the API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.vm.node import AGENT, DATA_DIR, JOIN, SERVER, Node

pytestmark = pytest.mark.vm

ACCOUNTS = "k3s-harden-service-accounts.service"
TIMER = "k3s-harden-service-accounts.timer"
_OBJECTS = f"{DATA_DIR}/stand-in-objects.json"

# The same timer with intervals of seconds instead of minutes.
_QUICK = "sed -i -E 's/=15min/=5s/; s/=30s/=1s/; s/^RandomizedDelaySec=.*/AccuracySec=100ms/' {file}"


def _accounts(node: Node) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(node.read(_OBJECTS))
    return found


def _all_patched(node: Node) -> bool:
    return {account["automountServiceAccountToken"] for account in _accounts(node).values()} == {False}


def _quicken(node: Node) -> None:
    file = f"/etc/systemd/system/{TIMER}"
    node.run(f"cp /usr/lib/systemd/system/{TIMER} {file} && {_QUICK.format(file=file)}")
    node.systemctl("daemon-reload")


def _run(node: Node) -> str:
    # If a run of the timer is in progress, systemctl waits for that run.
    node.systemctl("stop", TIMER)
    node.systemctl("start", ACCOUNTS, check=False)
    return node.unit(ACCOUNTS)["Result"]


def test_the_timer_repeats_a_run_that_was_too_early(node: Node) -> None:
    """The first start of K3s activates the timer even if the gate blocks K3s; a later run succeeds."""
    _quicken(node)
    node.break_host()
    node.systemctl("start", SERVER, check=False)
    node.wait_until(f"journalctl -b -o cat -u {ACCOUNTS} | grep -q 'skipped'")
    node.repair_host()
    node.harden("apply")
    node.wait_until_up()
    node.wait_until(f"journalctl -b -o cat -u {ACCOUNTS} | grep -q '^Finished'")
    assert _all_patched(node)
    k3s, accounts = node.unit(SERVER), node.unit(ACCOUNTS)
    assert int(k3s["ActiveEnterTimestampMonotonic"]) < int(accounts["ExecMainStartTimestampMonotonic"])


def test_new_namespaces_are_patched_and_a_failure_does_not_stop_the_others(node: Node) -> None:
    node.systemctl("start", SERVER)
    assert _run(node) == "success"
    objects = _accounts(node) | {"read-only": {}, "shop": {}, "young": None}
    node.put(_OBJECTS, json.dumps(objects), "0600")
    assert _run(node) == "exit-code"
    after = _accounts(node)
    assert after["shop"]["automountServiceAccountToken"] is False
    assert (after["read-only"], after["young"]) == ({}, None)
    assert "read-only/default" in node.journal(ACCOUNTS)


def test_a_kubeconfig_in_the_home_of_root_is_used(node: Node) -> None:
    """With `write-kubeconfig`, K3s creates its usual kubeconfig as a symlink to that file."""
    node.systemctl("start", SERVER)
    node.run("mv /etc/rancher/k3s/k3s.yaml /root/config && ln -s /root/config /etc/rancher/k3s/k3s.yaml")
    assert _run(node) == "success"


def test_the_service_waits_for_the_api_and_k3s_does_not_wait_for_it(node: Node) -> None:
    """Started while K3s is stopped, it waits for the API server. K3s starts meanwhile, and the run succeeds."""
    node.systemctl("start", SERVER)
    node.systemctl("stop", SERVER, TIMER)
    node.systemctl("start", "--no-block", ACCOUNTS)
    node.wait_until(f"test $(systemctl show --property=ActiveState --value {ACCOUNTS}) = activating")
    node.systemctl("start", SERVER)
    node.wait_until(f"test $(systemctl show --property=ActiveState --value {ACCOUNTS}) = inactive")
    assert node.unit(ACCOUNTS)["Result"] == "success"
    assert int(node.unit(ACCOUNTS)["TimeoutStartUSec"].removesuffix("min")) <= 10


def test_agents_do_not_start_the_timer(node: Node) -> None:
    """Neither the start of an agent nor a boot activates the timer."""
    node.remove_k3s()
    node.install_k3s("agent", **JOIN)
    node.systemctl("start", AGENT)
    assert node.is_up(AGENT)
    assert node.unit(TIMER)["ActiveState"] == "inactive"
    assert TIMER not in node.run("systemctl list-timers --all --no-legend").out
