"""Combinations of arguments at which the kubelet exits, each with a similar one that it accepts."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from agent.k3s.components.prediction import problems
from agent.k3s.config import ConfigText, merge
from agent.model import Component

CPUS = "cpu-manager-policy=static,kube-reserved=cpu=500m,cpu-manager-policy-options=full-pcpus-only={}"
NODES = "topology-manager-policy=best-effort,topology-manager-policy-options=max-allowable-numa-nodes={}"


def stops(arguments: str) -> bool:
    """Return whether the kubelet exits at arguments that are separated by commas."""
    text = "kubelet-arg:\n" + "".join(f"- '{one}'\n" for one in arguments.split(","))
    config = merge([ConfigText(PurePosixPath("/config.yaml"), text.encode())])
    return any(True for _ in problems(Component.KUBELET, config.component_arguments("kubelet-arg"), 37))


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (CPUS.format("maybe"), CPUS.format("true")),
        (NODES.format("4"), NODES.format("8")),
        ("tls-cert-file=/etc/a", "tls-cert-file=/etc/a,tls-private-key-file=/etc/b"),
        ("tls-private-key-file=/etc/a", "tls-private-key-file=/data/agent/serving-kubelet.key"),
    ],
)
def test_a_combination_that_stops_the_kubelet_is_predicted_and_a_similar_one_is_not(arguments: str, near: str) -> None:
    """Seen at 1.37.2."""
    assert stops(arguments)
    assert not stops(near)
