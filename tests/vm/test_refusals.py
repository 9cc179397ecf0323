"""Configurations with which K3s exits: the gate reports each and does not block K3s."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.vm.node import JOIN

if TYPE_CHECKING:
    from tests.vm.node import Node

pytestmark = pytest.mark.vm

_CONFIG = "/etc/rancher/k3s/config.yaml"
_TIMED_OUT = 124
"""The exit code of timeout(1): K3s started and had to be stopped."""

_OWN_AUDIT_POLICY = f"echo 'kube-apiserver-arg+: [audit-policy-file=/etc/audit.yaml]' >{_CONFIG}.d/95-site.yaml"

# The command that breaks a hardened server, and the text that K3s logs.
_SERVER = {
    "a missing audit policy": (
        f"echo 'kube-apiserver-arg+: [audit-policy-file=/etc/none.yaml]' >{_CONFIG}.d/95-site.yaml",
        'failed to read file path "/etc/none.yaml"',
    ),
    "an audit policy without rules": (
        f"printf 'apiVersion: audit.k8s.io/v1\\nkind: Policy\\nrules: []\\n' >/etc/audit.yaml; {_OWN_AUDIT_POLICY}",
        "loaded illegal policy with 0 rules",
    ),
    "an empty audit policy": (
        f"truncate --size=0 /etc/audit.yaml; {_OWN_AUDIT_POLICY}",
        "failed decoding",
    ),
    "a missing admission configuration": (
        f"echo 'kube-apiserver-arg+: [admission-control-config-file=/etc/none.yaml]' >{_CONFIG}.d/95-site.yaml",
        "unable to read admission control configuration",
    ),
    "a removed admission plugin": (
        f"echo 'kube-apiserver-arg+: [enable-admission-plugins=PodSecurityPolicy]' >{_CONFIG}.d/95-site.yaml",
        'plugin "PodSecurityPolicy" is unknown',
    ),
    "an unknown admission plugin": (
        f"echo 'kube-apiserver-arg+: [enable-admission-plugins=NodeRestrictions]' >{_CONFIG}.d/95-site.yaml",
        'enable-admission-plugins plugin "NodeRestrictions" is unknown',
    ),
    "an extra comma after an admission plugin": (
        f"echo 'kube-apiserver-arg+: [\"disable-admission-plugins=Priority,\"]' >{_CONFIG}.d/95-site.yaml",
        'disable-admission-plugins plugin "" is unknown',
    ),
    "an admission plugin that is enabled and disabled": (
        f"echo 'kube-apiserver-arg+: [disable-admission-plugins=ServiceAccount]' >{_CONFIG}.d/95-site.YAML",
        "[ServiceAccount] in enable-admission-plugins and disable-admission-plugins overlapped",
    ),
    "a configuration that is a directory": (f"mkdir {_CONFIG}", "Is a directory"),
    "a kernel value that kubelet compares and k3s-harden does not set": (
        "sysctl -w kernel.keys.root_maxkeys=500000",
        "invalid kernel flag: kernel/keys/root_maxkeys",
    ),
    "invalid YAML": (f"echo 'token: [' >{_CONFIG}.d/95-site.yaml", "95-site.yaml"),
    "an admission plugin without its required configuration": (
        f"echo 'kube-apiserver-arg+: [enable-admission-plugins=EventRateLimit]' >{_CONFIG}.d/95-site.yaml",
        "must not be empty",
    ),
}
_UNDO = f"rm -rf {_CONFIG} {_CONFIG}.d/95-site.*; sysctl -w kernel.keys.root_maxkeys=1000000"


def _assert_predicted(node: Node, case: str, role: str, logged: str) -> None:
    refused = node.run(f"timeout 10 k3s {role}", check=False)
    assert (refused.code, logged in refused.err) == (1, True), f"K3s: {case}: {refused}"
    gate = node.harden("gate", check=False)
    predicted = "K3s does not start: " in gate.out
    assert (gate.code, predicted, "Traceback" in gate.err) == (0, True, False), f"the gate: {case}: {gate}"


def test_the_gate_reports_a_server_configuration_with_which_k3s_exits(node: Node) -> None:
    """Each cause is tested separately, on a hardened host."""
    node.harden("gate")
    for case, (command, logged) in _SERVER.items():
        node.run(command)
        _assert_predicted(node, case, "server", logged)
        node.run(_UNDO)
    assert node.harden("gate", check=False).code == 0
    assert node.run("timeout 10 k3s server", check=False).code == _TIMED_OUT


def test_the_gate_reports_an_agent_configuration_with_which_k3s_exits(node: Node) -> None:
    """The configuration of the agent contains an option of k3s server."""
    node.remove_k3s()
    node.install_k3s("agent", **JOIN)
    node.harden("gate")
    node.put(_CONFIG, "kube-apiserver-arg: [profiling=false]\n")
    _assert_predicted(node, "an option of k3s server", "agent", "flag provided but not defined: -kube-apiserver-arg")
