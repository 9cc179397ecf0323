"""Combinations of arguments at which the kubelet exits, each with a similar one that it accepts."""

from __future__ import annotations

import pytest

from agent.base.model import Component
from agent.k3s.components.prediction import rejected_arguments
from tests.arguments import effective

CPUS = "cpu-manager-policy=static,kube-reserved=cpu=500m,cpu-manager-policy-options=full-pcpus-only={}"
OPTION = "cpu-manager-policy=static,kube-reserved=cpu=500m,cpu-manager-policy-options={}=true"
MEMORY = "memory-manager-policy=Static,kube-reserved=memory=1Gi,eviction-hard=memory.available<512Mi"
NODES = "topology-manager-policy=best-effort,topology-manager-policy-options=max-allowable-numa-nodes={}"


def stops(arguments: str) -> bool:
    """Return whether the kubelet exits at arguments that are separated by commas."""
    return any(True for _ in rejected_arguments(effective(Component.KUBELET, *arguments.split(",")), 37))


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (CPUS.format("maybe"), CPUS.format("true")),
        (NODES.format("4"), NODES.format("8")),
        (OPTION.format("align-by-socket"), OPTION.format("distribute-cpus-across-numa")),
        (OPTION.format("distribute-cpus-across-cores"), OPTION.format("strict-cpu-reservation")),
        (
            f"{OPTION.format('distribute-cpus-across-numa')},feature-gates=CPUManagerPolicyBetaOptions=false",
            f"{OPTION.format('align-by-socket')},feature-gates=CPUManagerPolicyAlphaOptions=true",
        ),
        ("tls-cert-file=/etc/a", "tls-cert-file=/etc/a,tls-private-key-file=/etc/b"),
        ("tls-private-key-file=/etc/a", "tls-private-key-file=/data/agent/serving-kubelet.key"),
        ("memory-manager-policy=Static", f"{MEMORY},reserved-memory=0:memory=1536Mi"),
        ("container-log-max-size=50m", "container-log-max-size=50M"),
        ("container-log-max-size=1.5Mi", "container-log-max-size=1.5M"),
        ("container-log-max-size=1000m", "container-log-max-size=1e3"),
    ],
)
def test_a_combination_that_stops_the_kubelet_is_predicted_and_a_similar_one_is_not(arguments: str, near: str) -> None:
    """Seen at 1.37.2."""
    assert stops(arguments)
    assert not stops(near)


def files_stop(text: str, minor: int = 37) -> bool:
    """Return whether a file with these fields stops the kubelet."""
    arguments = effective(Component.KUBELET, files=(text,), minor=minor)
    assert not arguments.problems
    return bool(list(rejected_arguments(arguments, minor)))


RESERVED = "memoryManagerPolicy: Static\nsystemReserved: {memory: 2Gi}\nevictionHard: {memory.available: 512Mi}\n"
TAINTS = "registerWithTaints: [{key: a, effect: NoSchedule}, {key: a, effect: NoSchedule}]"
ALLOWLIST = "preloadedImagesVerificationAllowlist: [a.com/*]"


@pytest.mark.parametrize(
    ("stopping", "near"),
    [
        ("cpuManagerPolicy: static", "cpuManagerPolicy: static\nreservedSystemCPUs: '0'"),
        ("cgroupsPerQOS: false\nenforceNodeAllocatable: []", "cgroupsPerQOS: false\nenforceNodeAllocatable: [none]"),
        (TAINTS.replace("NoSchedule", "Never"), TAINTS),
        (ALLOWLIST, f"{ALLOWLIST}\nimagePullCredentialsVerificationPolicy: NeverVerifyAllowlistedImages"),
        (
            "shutdownGracePeriod: 30s\nshutdownGracePeriodByPodPriority: [{priority: 0}]",
            "shutdownGracePeriod: 0s\nshutdownGracePeriodByPodPriority: [{priority: 0}]",
        ),
        ("tracing: {endpoint: 'http://localhost:4317'}", "tracing: {endpoint: 'localhost:4317'}"),
        (RESERVED, f"{RESERVED}reservedMemory: [{{limits: {{memory: 2.5Gi}}}}]"),
    ],
)
def test_fields_that_stop_the_kubelet_are_predicted_and_similar_ones_are_not(stopping: str, near: str) -> None:
    """Seen at 1.37.2."""
    assert files_stop(stopping)
    assert not files_stop(near)


def test_an_empty_list_in_a_later_file_of_the_kubelet_restores_the_default() -> None:
    """The kubelet drops the list when it merges its files. Seen at 1.37.2."""
    texts = ("enforceNodeAllocatable: [pods, kube-reserved]", "enforceNodeAllocatable: []")
    for files, stops in ((texts[:1], True), (texts, False)):
        assert bool(list(rejected_arguments(effective(Component.KUBELET, files=files), 37))) is stops
