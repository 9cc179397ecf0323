"""Which components of Kubernetes K3s runs on this host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.k3s.roles_and_versions import Component, Role

if TYPE_CHECKING:
    from agent.harden.node.facts import HostFacts

_SWITCHES = {
    Component.API_SERVER: "disable-apiserver",
    Component.CONTROLLER_MANAGER: "disable-controller-manager",
    Component.SCHEDULER: "disable-scheduler",
    Component.KUBELET: "disable-agent",
    Component.KUBE_PROXY: "disable-kube-proxy",
}
_ON_SERVERS = (Component.API_SERVER, Component.CONTROLLER_MANAGER, Component.SCHEDULER)


def not_run(component: Component, facts: HostFacts) -> str:
    """Return why K3s does not run this component on this host, as a sentence; empty if it does, or may."""
    if facts.role is Role.AGENT:
        return f"an agent runs no {component}" if component in _ON_SERVERS else ""
    for key in dict.fromkeys((_SWITCHES[component], *(() if component in _ON_SERVERS else ("disable-agent",)))):
        found = facts.merged_config.scalar(key)
        if found is not None and facts.merged_config.boolean(key):
            return f"`{key}` at {found.location} disables {component} here"
    return ""
