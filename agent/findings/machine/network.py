"""Findings about the network that K3s finds on this host: routes, ports, firewalls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.repair import Instruction, Restart, Run
from agent.findings.machine.reason import may_fail, stops_k3s
from agent.findings.registry import Problem, steps
from agent.harden.node.machine.network_facts import ONLINE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.harden.situation import Situation

_ADDRESS_OPTIONS = ("node-ip", "flannel-iface", "vpn-auth", "vpn-auth-file")
"""Options with which K3s does not look for the interface of the default route (k3s, pkg/cli/agent/agent.go)."""


@stops_k3s(
    'no default routes found in "/proc/net/route" or "/proc/net/ipv6_route"',
    on_trees=False,
    source="seen with the API server: pkg/util/net.go, GetHostnameAndIPs; #1144, #6265",
    repair="add a default route, or set `node-ip`",
)
def default_route_missing(situation: Situation) -> Iterator[Problem]:
    """There is no default route and no `node-ip`, so K3s cannot determine the address of the node.

    From v1.37.2 on, K3s waits 60 seconds for a route before it exits (k3s-io/k3s #14527). While systemd answers that
    the network is not complete, nothing is reported: K3s starts after it.
    """
    network, config = situation.machine.network, situation.facts.merged_config
    if network.has_default_route is not False or not network.is_up:
        return
    if not any(found is not None and found.text for found in map(config.scalar, _ADDRESS_OPTIONS)):
        message = "this host has no default route, and K3s' configuration has no `node-ip`"
        expected = f"a default route when {ONLINE} is reached, or `node-ip`"
        fix = steps(
            Run("sudo ip link add dummy0 type dummy", "sudo ip link delete dummy0"),
            Run("sudo ip link set dummy0 up"),
            Run("sudo ip addr add 203.0.113.254/31 dev dummy0"),
            Run("sudo ip route add default via 203.0.113.255 dev dummy0 metric 1000"),
            restart=Restart.K3S,
        )
        yield Problem(message, expected, "no default route", repair=fix)


@stops_k3s(
    "listen tcp :6443: bind: address already in use",
    on_trees=False,
    source="seen with two components: pkg/daemons/control; #5973 (6444), #60 (10250), #1011 (6443)",
    repair="stop the other program, or configure another port",
)
def port_in_use(situation: Situation) -> Iterator[Problem]:
    """Another program listens on a TCP port that K3s needs.

    Ports follow K3s' configuration. A program in the control group of K3s' service does not count.
    """
    for conflict in situation.machine.network.conflicts:
        port, owner = conflict.port, conflict.owner
        change = f", or set {port.change} in K3s' configuration" if port.change else ""
        message = f"port {port.number}, on which {port.user} listens, is in use"
        fix = steps(Run(f"sudo ss -ltnp 'sport = :{port.number}'"), Instruction(f"stop the program{change}"))
        yield Problem(message, f"{port.number}/tcp free", f"process {owner.pid} ({owner.name})", repair=fix)


@may_fail(
    "dial tcp 10.43.0.1:443: connect: no route to host, in pods",
    on_trees=True,
    source="from source: documentation of K3s, Requirements; #24, #344, #7013",
    repair="make the firewall trust the networks of pods and services",
)
def firewall_blocks_pods(situation: Situation) -> Iterator[Problem]:
    """A firewall is enabled whose rules do not mention the networks of pods and services. K3s starts; its pods fail."""
    firewall = situation.machine.network.firewall
    if firewall is None:
        return
    if firewall.name == "firewalld":
        commands = [
            f"sudo firewall-cmd --permanent --zone=trusted --add-source={network}" for network in firewall.untrusted
        ]
        commands += ["sudo firewall-cmd --permanent --add-port=6443/tcp", "sudo firewall-cmd --reload"]
    else:
        commands = [f"sudo ufw allow from {network} to any" for network in firewall.untrusted]
        commands += ["sudo ufw allow 6443/tcp"]
    message = f"{firewall.name} is enabled and does not trust the networks of pods and services"
    fix = steps(*map(Run, commands))
    yield Problem(message, f"a rule for {' and '.join(firewall.untrusted)}", "no rule", repair=fix)
