"""The arguments of tests/k8s/components.py compared with those that K3s logs, except the declared differences."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.k8s import components
from tests.k8s.components import DIFFERENCES, Host
from tests.k8s.configuration import Configuration

RECORDED = Path(__file__).parents[1] / "data/benchmark/argument-lines.tsv"
HOST = Host(
    data_dir=Path("/var/lib/rancher/k3s"), node_name="server-0", node_ip="10.10.10.100", datastore=components.ETCD
)
BY_OPERATOR = frozenset(
    {
        "admission-control-config-file",
        "audit-log-maxage",
        "audit-log-maxbackup",
        "audit-log-maxsize",
        "audit-log-path",
        "audit-policy-file",
        "event-qps",
        "make-iptables-util-chains",
        "service-account-extend-token-expiration",
        "streaming-connection-idle-timeout",
        "terminated-pod-gc-threshold",
    }
)
"""Arguments that the recorded hosts had in their configuration."""


def recorded(component: str) -> dict[str, str]:
    lines = RECORDED.read_text(encoding="utf-8").splitlines()
    last = [line for line in lines if f"\tRunning {component} " in line][-1]
    return dict(re.findall(r"--([a-z0-9-]+)=(\S*)", last))


@pytest.mark.parametrize(
    "component", ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"]
)
def test_arguments_are_those_of_k3s(component: str) -> None:
    """Names and values equal the recorded line, without the operator's arguments and the declared differences."""
    configuration = Configuration({"secrets-encryption": ("true",)})
    passed = dict(text[2:].split("=", 1) for text in components.arguments(component, configuration, HOST))
    expected = {name: value for name, value in recorded(component).items() if name not in BY_OPERATOR}
    if component == components.KUBELET:
        del expected["tls-cipher-suites"]
    left_out = DIFFERENCES.get(component, {})
    assert set(left_out) <= set(expected)
    assert {name: value for name, value in passed.items() if name not in left_out} == {
        name: value for name, value in expected.items() if name not in left_out
    }
