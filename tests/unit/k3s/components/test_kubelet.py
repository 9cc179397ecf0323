"""Combinations of arguments at which the kubelet exits, each with a similar one that it accepts."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from agent.base.model import Component
from agent.k3s.components.files.fields_as_arguments import fields_as_arguments
from agent.k3s.components.prediction import Context, rejected_arguments
from agent.k3s.config_merge import ConfigText, merge_configuration
from tests.component_files import KUBELET

CPUS = "cpu-manager-policy=static,kube-reserved=cpu=500m,cpu-manager-policy-options=full-pcpus-only={}"
OPTION = "cpu-manager-policy=static,kube-reserved=cpu=500m,cpu-manager-policy-options={}=true"
MEMORY = "memory-manager-policy=Static,kube-reserved=memory=1Gi,eviction-hard=memory.available<512Mi"
NODES = "topology-manager-policy=best-effort,topology-manager-policy-options=max-allowable-numa-nodes={}"


def stops(arguments: str) -> bool:
    """Return whether the kubelet exits at arguments that are separated by commas."""
    text = "kubelet-arg:\n" + "".join(f"- '{argument}'\n" for argument in arguments.split(","))
    config = merge_configuration([ConfigText(PurePosixPath("/config.yaml"), text.encode())])
    return any(True for _ in rejected_arguments(Component.KUBELET, config.component_arguments("kubelet-arg"), 37))


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
        (f"{MEMORY},reserved-memory=0:memory=1Gi", f"{MEMORY},reserved-memory=0:memory=1536Mi"),
        ("memory-manager-policy=Static,reserved-memory=0:memory=1Gi", "reserved-memory=0:memory=1Gi"),
        ("reserved-memory=0:memory=0", "reserved-memory=0:memory=1"),
        ("reserved-memory=0:memory=1;0:memory=1", "reserved-memory=0:memory=1;1:memory=1"),
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
    read = fields_as_arguments(
        Component.KUBELET, ((PurePosixPath("/etc/50-own.conf"), f"{KUBELET}{text}\n".encode()),), minor
    )
    assert not read.problems
    context = Context(fields=read.others, gates=read.gates)
    return bool(list(rejected_arguments(Component.KUBELET, read.arguments, minor, context)))


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
        (
            f"{RESERVED}reservedMemory: [{{limits: {{memory: 1Gi}}}}, {{numaNode: 1, limits: {{memory: 1Gi}}}}]",
            f"{RESERVED}reservedMemory: [{{limits: {{memory: 1Gi}}}}, {{numaNode: 1, limits: {{memory: 1.5Gi}}}}]",
        ),
    ],
)
def test_fields_that_stop_the_kubelet_are_predicted_and_similar_ones_are_not(stopping: str, near: str) -> None:
    """Seen at 1.37.2."""
    assert files_stop(stopping)
    assert not files_stop(near)


def test_an_empty_list_in_a_later_file_of_the_kubelet_restores_the_default() -> None:
    """The kubelet drops the list when it merges its files. Seen at 1.37.2."""
    texts = (f"{KUBELET}enforceNodeAllocatable: [pods, kube-reserved]\n", f"{KUBELET}enforceNodeAllocatable: []\n")
    files = tuple((PurePosixPath(f"/etc/{number}.conf"), text.encode()) for number, text in enumerate(texts))
    for given, stops in ((files[:1], True), (files, False)):
        arguments = fields_as_arguments(Component.KUBELET, given, 37).arguments
        assert bool(list(rejected_arguments(Component.KUBELET, arguments, 37))) is stops
