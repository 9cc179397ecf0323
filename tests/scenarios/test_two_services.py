"""A server and an agent on one host: the gate of each service is for that service's role."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.scenarios.host_tree import HostTree


@pytest.fixture
def both(host: HostTree) -> HostTree:
    """Each with a configuration and a data directory of its own, as two instances of K3s need."""
    host.options = ()
    host.unit("server")
    host.unit("agent", "--config", "/etc/rancher/agent.yaml", "--data-dir", "/var/lib/rancher/agent")
    host.write("/etc/rancher/agent.yaml", "kubelet-arg: [max-pods=50]\n")
    return host


VERSION = ("--k3s-version", "1.34")


@pytest.mark.parametrize(("service", "role"), [("k3s", "server"), ("k3s-agent", "agent")])
def test_each_gate_knows_its_role(both: HostTree, service: str, role: str) -> None:
    """From the service that it is for; a run by hand cannot know and requires --role."""
    seen = both.seen("gate", *VERSION, "--service", service)
    assert (seen.code, seen.facts["role"][0]) == (0, role)
    refused = both.run("gate", *VERSION)
    assert (refused.code, "role" in refused.stderr) == (2, True), refused


def test_the_gates_do_not_undo_each_other(both: HostTree) -> None:
    """After one round of both, neither has anything to change."""
    for service in ("k3s", "k3s-agent"):
        assert both.run("gate", *VERSION, "--service", service).code == 0
    before = both.entries()
    for service in ("k3s", "k3s-agent", "k3s"):
        seen = both.seen("gate", *VERSION, "--service", service)
        assert (seen.code, seen.with_status("changed")) == (0, set()), service
    assert both.entries() == before
