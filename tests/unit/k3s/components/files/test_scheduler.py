"""Configuration files of the scheduler: each problem with a similar valid file."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from agent.k3s.components.files.file_rules import FileContext, rejected_by
from agent.k3s.components.files.scheduler_files import SCHEDULER_CONFIGURATION

PATH = PurePosixPath("/etc/own.yaml")
FILE = """\
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection: {kubeconfig: /var/lib/rancher/k3s/server/cred/scheduler.kubeconfig}
"""
CONSTRAINT = "{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}"
POINT = "{utilization: 0, score: 0}"
ADDED = (
    "addedAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: "
    "[{matchExpressions: [{key: a, operator: In, values: [b]}]}]}}"
)


def stops(text: str, minor: int = 37, master: str = "") -> bool:
    context = FileContext(minor=minor, arguments={"master": master})
    return bool(list(rejected_by(SCHEDULER_CONFIGURATION, text.encode(), PATH, context)))


def profile(text: str) -> str:
    return f"{FILE}profiles:\n- schedulerName: a\n  {text}\n"


def plugins(text: str) -> str:
    return profile(f"plugins: {{{text}}}")


def arguments(plugin: str, text: str) -> str:
    return profile(f"pluginConfig: [{{name: {plugin}, args: {text}}}]")


def enabled(point: str, *names: str, disabled: str = "") -> str:
    """Return a file in which a profile enables plugins for a point."""
    lists = ", ".join(f"{{name: {name}}}" for name in names)
    return plugins(f"{point}: {{enabled: [{lists}], disabled: [{disabled}]}}")


EVERY = "{name: '*'}"


@pytest.mark.parametrize(
    ("stopping", "near"),
    [
        (FILE.partition("clientConnection")[0], FILE),
        (FILE.replace("{kubeconfig", "{burst: -1, kubeconfig"), FILE.replace("{kubeconfig", "{burst: 0, kubeconfig")),
        *(
            (f"{FILE}{stopping}\n", f"{FILE}{near}\n")
            for stopping, near in (
                ("profiles: [{}, {}]", "profiles: [{}]"),
                ("profiles: [{schedulerName: ''}]", "profiles: []"),
                (
                    "profiles: [{schedulerName: a}, {schedulerName: a}]",
                    "profiles: [{schedulerName: a}, {schedulerName: b}]",
                ),
                ("podInitialBackoffSeconds: 0", "podInitialBackoffSeconds: 10\npodMaxBackoffSeconds: 10"),
                ("podInitialBackoffSeconds: 11\npodMaxBackoffSeconds: 10", "podInitialBackoffSeconds: 10"),
                ("parallelism: 0", "parallelism: 1"),
                ("parallelism: x", "parallelism: 5.0"),
                ("leaderElection: {leaseDuration: 15}", "leaderElection: {leaseDuration: 15s}"),
                ("foo: bar", ""),
                ("percentageOfNodesToScore: -1", "percentageOfNodesToScore: 100"),
            )
        ),
        (FILE.replace("/v1", "/v1beta3"), FILE),
        ("", FILE),
        (profile("percentageOfNodesToScore: 101"), profile("percentageOfNodesToScore: 0")),
        (plugins("scores: {}"), plugins("score: {}")),
        (enabled("score", "Own"), enabled("score", disabled="{name: Own}")),
        (enabled("multiPoint", "EBSLimits"), enabled("multiPoint", "ImageLocality")),
        (enabled("bind", "ImageLocality"), enabled("score", "ImageLocality")),
        (enabled("score", "ImageLocality", "ImageLocality"), enabled("score", "ImageLocality", "NodeAffinity")),
        (enabled("multiPoint", "ImageLocality", "ImageLocality"), enabled("multiPoint", "ImageLocality")),
        (
            enabled("multiPoint", "ImageLocality", "ImageLocality"),
            plugins(
                "multiPoint: {enabled: [{name: ImageLocality}, {name: ImageLocality}]},"
                " score: {enabled: [{name: ImageLocality}], disabled: [{name: '*'}]}"
            ),
        ),
        (enabled("bind", disabled=EVERY), enabled("bind", "DefaultBinder", disabled=EVERY)),
        (enabled("queueSort", disabled="{name: PrioritySort}"), enabled("queueSort", disabled="{name: Own}")),
        (
            enabled("multiPoint", "DefaultBinder", disabled=EVERY),
            enabled("multiPoint", "DefaultBinder", "PrioritySort", disabled=EVERY),
        ),
        (
            enabled("multiPoint", disabled="{name: DefaultBinder}"),
            plugins("multiPoint: {disabled: [{name: DefaultBinder}]}, bind: {enabled: [{name: DefaultBinder}]}"),
        ),
        (
            enabled("queueSort", "PrioritySort") + "- schedulerName: b\n",
            enabled("score", "ImageLocality") + "- schedulerName: b\n",
        ),
        (profile("pluginConfig: [{name: A}, {name: A}]"), profile("pluginConfig: [{name: A}, {name: B}]")),
        (arguments("InterPodAffinity", "{hardPodAffinity: 1}"), arguments("Own", "{hardPodAffinity: 1}")),
    ],
)
def test_a_file_that_stops_the_scheduler_is_predicted_and_a_similar_one_is_not(stopping: str, near: str) -> None:
    """Each pair was tried with the scheduler of 1.37.2."""
    assert stops(stopping)
    assert not stops(near)


FIT, SPREAD, BALANCE = "NodeResourcesFit", "PodTopologySpread", "NodeResourcesBalancedAllocation"


@pytest.mark.parametrize(
    ("plugin", "stopping", "near"),
    [
        ("InterPodAffinity", "kind: NodeAffinityArgs", "kind: InterPodAffinityArgs"),
        ("InterPodAffinity", "hardPodAffinityWeight: 101", "hardPodAffinityWeight: 100"),
        (FIT, "scoringStrategy: {type: Most}", "scoringStrategy: {type: MostAllocated}"),
        (
            FIT,
            "scoringStrategy: {type: MostAllocated, resources: [{weight: 101}]}",
            "scoringStrategy: {type: MostAllocated, resources: [{weight: 0}]}",
        ),
        (FIT, "ignoredResourceGroups: [a.com/b]", "ignoredResources: [a.com/b]"),
        (FIT, "ignoredResourceGroups: [a.com/b]", "ignoredResourceGroups: null"),
        (SPREAD, f"defaultConstraints: [{CONSTRAINT}]", f"defaultConstraints: [{CONSTRAINT}], defaultingType: List"),
        *(
            (SPREAD, f"defaultConstraints: [{wrong}], defaultingType: List", "defaultingType: List")
            for wrong in (
                CONSTRAINT.replace("1", "0"),
                CONSTRAINT.replace("zone", "a b"),
                CONSTRAINT.replace("ScheduleAnyway", "Anyway"),
                CONSTRAINT.replace("}", ", labelSelector: {}}"),
            )
        ),
        (BALANCE, "resources: [{name: cpu, weight: 2}]", "resources: [{name: cpu}]"),
        (BALANCE, "resources: [{name: cpu}, {name: cpu}]", "resources: [{name: cpu}, {name: memory}]"),
        ("VolumeBinding", "bindTimeoutSeconds: -1", "bindTimeoutSeconds: 0"),
        ("NodeAffinity", ADDED.replace("In", "Is"), ADDED.replace("In, values: [b]", "Exists")),
        ("NodeAffinity", ADDED.replace("key", "keys"), "addedAffinity: {}"),
        ("DynamicResources", "filterTimeout: -1s", "filterTimeout: 0s"),
    ],
)
def test_arguments_that_stop_a_plugin_are_predicted_and_similar_ones_are_not(
    plugin: str, stopping: str, near: str
) -> None:
    """Each pair was tried with the scheduler of 1.37.2. The arguments of an unknown plugin can be any."""
    assert stops(arguments(plugin, f"{{{stopping}}}"))
    assert not stops(arguments(plugin, f"{{{near}}}"))
    assert not stops(arguments("Own", f"{{{stopping}}}"))


def test_a_file_with_an_address_as_argument_needs_no_kubeconfig() -> None:
    """With a file, the scheduler ignores its argument kubeconfig, and not master."""
    assert not stops(FILE.partition("clientConnection")[0], master="https://a")


def test_plugins_are_checked_if_the_version_is_described() -> None:
    """A newer version can have more plugins and points. Some plugins are newer than 1.34."""
    assert stops(enabled("score", "Own"), 34)
    assert not stops(enabled("score", "Own"), 0)
    assert not stops(enabled("multiPoint", "GangScheduling"), 37)
    assert stops(enabled("multiPoint", "GangScheduling"), 34)
    assert not stops(plugins("placementScore: {}"), 37)
    assert stops(plugins("placementScore: {}"), 34)


def test_a_strategy_and_its_ratio_belong_together_since_1_37() -> None:
    """1.34.4 panics without a ratio, and accepts one for another type."""
    ratio = f"requestedToCapacityRatio: {{shape: [{POINT}]}}"
    for text, older in (("{type: RequestedToCapacityRatio}", True), (f"{{type: MostAllocated, {ratio}}}", False)):
        file = arguments("NodeResourcesFit", f"{{scoringStrategy: {text}}}")
        assert stops(file, 37)
        assert stops(file, 34) is older
    near = arguments("NodeResourcesFit", f"{{scoringStrategy: {{type: RequestedToCapacityRatio, {ratio}}}}}")
    assert not stops(near, 37)


def test_the_arguments_of_a_disabled_plugin_are_not_checked() -> None:
    """Only those of NodeResourcesFit: the plugin checks them, and not the validation of the file."""
    wrong = "pluginConfig: [{name: NodeResourcesFit, args: {scoringStrategy: {type: Most}}}]"
    off = "plugins: {multiPoint: {disabled: [{name: NodeResourcesFit}]}}"
    assert stops(profile(wrong))
    assert not stops(profile(f"{wrong}\n  {off}"))
