"""Configuration files of the scheduler: each problem with a similar valid file."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from agent.base.model import Component
from agent.k3s.components.files.file_rules import FileContext
from agent.k3s.components.files.named_files import rejected_content

PATH = PurePosixPath("/etc/own.yaml")
FILE = """\
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection: {kubeconfig: /var/lib/rancher/k3s/server/cred/scheduler.kubeconfig}
"""


def stops(text: str) -> bool:
    return bool(list(rejected_content(Component.SCHEDULER, "config", text.encode(), PATH, FileContext(minor=37))))


def profile(text: str) -> str:
    return f"{FILE}profiles:\n- schedulerName: a\n  {text}\n"


@pytest.mark.parametrize(
    ("stopping", "near"),
    [
        (FILE.partition("clientConnection")[0], FILE),
        (FILE.replace("{kubeconfig", "{burst: -1, kubeconfig"), FILE.replace("{kubeconfig", "{burst: 0, kubeconfig")),
        *(
            (f"{FILE}{stopping}\n", f"{FILE}{near}\n")
            for stopping, near in (
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
        (profile("plugins: {scores: {}}"), profile("plugins: {score: {}}")),
        (profile("pluginConfig: [{name: A}, {name: A}]"), profile("pluginConfig: [{name: A}, {name: B}]")),
    ],
)
def test_a_file_that_stops_the_scheduler_is_predicted_and_a_similar_one_is_not(stopping: str, near: str) -> None:
    """Each pair was tried with the scheduler of 1.37.2."""
    assert stops(stopping)
    assert not stops(near)
