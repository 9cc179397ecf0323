"""A server and an agent on one host: the gate of each service hardens the host for its role."""

from __future__ import annotations

import pytest

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
    for service in ("k3s", "k3s-agent"):
        assert both.run("gate", *VERSION, "--service", service).code == 0
    before = both.entries()
    for service in ("k3s", "k3s-agent", "k3s"):
        seen = both.seen("gate", *VERSION, "--service", service)
        assert (seen.code, seen.with_status("changed")) == (0, set()), service
    assert both.entries() == before


OLD, NEW = "/etc/old.yaml", "/etc/rancher/k3s/config.yaml"


@pytest.fixture
def two_servers(host: HostTree) -> HostTree:
    """Return a host with two servers, the first of which by name is a left-over, and the second is enabled."""
    host.options = ()
    host.unit("server", "--config", OLD, name="k3s-old")
    host.write(OLD, "kube-apiserver-arg: [anonymous-auth=true]\n")
    host.unit("server")
    host.write("/etc/systemd/system/multi-user.target.wants/k3s.service")
    return host


def test_a_left_over_service_does_not_decide(two_servers: HostTree) -> None:
    seen = two_servers.seen("apply", *VERSION)
    assert seen.code == 0
    assert seen.only("service-not-assessed").message.startswith("k3s-old.service starts K3s, too")
    assert two_servers[f"{NEW}.d/90-k3s-harden.yaml"].exists()
    assert not two_servers[f"{OLD}.d"].exists()


@pytest.mark.parametrize("wanted_by", ["multi-user.target.wants", "site.service.requires"])
def test_a_service_that_another_unit_wants_could_start(two_servers: HostTree, wanted_by: str) -> None:
    """With several that could start, every verb requires one of them by name, and chooses none silently."""
    two_servers.write(f"/etc/systemd/system/{wanted_by}/k3s-old.service")
    for verb in ("apply", "check", "diff", "assess"):
        refused = two_servers.run(verb, *VERSION)
        assert refused.code == 2, refused
        assert "k3s-old.service and k3s.service" in refused.stderr
        assert "pass --unit NAME.service" in refused.stderr
    seen = two_servers.seen("check", *VERSION, "--unit", "k3s-old.service")
    assert seen.facts["configuration"][0] == OLD
    assert seen.only("secure-default-replaced").location == f"{OLD}:1"
    assert "--unit k3s-old.service" in two_servers.run("check", *VERSION, "--unit", "k3s-old.service").stdout


def test_two_services_of_which_none_is_enabled_are_not_chosen_silently(two_servers: HostTree) -> None:
    """As in an image that is being built."""
    two_servers["/etc/systemd/system/multi-user.target.wants/k3s.service"].unlink()
    assert two_servers.run("check", *VERSION).code == 2
    assert two_servers.seen("check", *VERSION, "--unit", "k3s.service").facts["configuration"][0] == NEW


def test_a_service_that_does_not_exist_is_an_error(two_servers: HostTree) -> None:
    refused = two_servers.run("check", *VERSION, "--unit", "k3s-east.service")
    assert refused.code == 2
    assert "use one of k3s-old.service, k3s.service" in refused.stderr
