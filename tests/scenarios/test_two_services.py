"""A server and an agent on one host: the gate of each service hardens the host for its role."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.scenarios.host_tree import HostTree


@pytest.fixture
def both(host: HostTree) -> HostTree:
    """Return a host with both services; each has its own configuration and data directory."""
    host.options = ()
    host.unit("server")
    host.unit("agent", "--config", "/etc/rancher/agent.yaml", "--data-dir", "/var/lib/rancher/agent")
    host.write("/etc/rancher/agent.yaml", "kubelet-arg: [max-pods=50]\n")
    return host


VERSION = ("--k3s-version", "1.34")


@pytest.mark.parametrize(("service", "role"), [("k3s", "server"), ("k3s-agent", "agent")])
def test_each_gate_uses_the_role_of_its_service(both: HostTree, service: str, role: str) -> None:
    """The gate detects the role from the service in --service; without it, --role is required."""
    seen = both.seen("gate", *VERSION, "--service", service)
    assert (seen.code, seen.facts["role"][0]) == (0, role)
    refused = both.run("gate", *VERSION)
    assert (refused.code, "role" in refused.stderr) == (2, True), refused


def test_the_gates_do_not_undo_each_other(both: HostTree) -> None:
    """After each gate ran once, neither makes changes."""
    for service in ("k3s", "k3s-agent"):
        assert both.run("gate", *VERSION, "--service", service).code == 0
    before = both.entries()
    for service in ("k3s", "k3s-agent", "k3s"):
        seen = both.seen("gate", *VERSION, "--service", service)
        assert (seen.code, seen.with_status("changed")) == (0, set()), service
    assert both.entries() == before
