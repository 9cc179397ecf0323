"""Trials of one component: an exit, a start and a hang have different outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.k8s.outcome import Trials

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("trials")]

CONFIG = "/etc/rancher/k3s/config.yaml"
COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")


@pytest.mark.parametrize("component", COMPONENTS)
def test_component_starts_with_the_arguments_of_k3s(trials: Trials, component: str) -> None:
    """Without configuration, every component becomes ready."""
    outcome = trials.outcome(component, {})
    assert outcome.ready, outcome.output[-3000:]


@pytest.mark.parametrize("component", COMPONENTS)
def test_unknown_argument_stops_every_component(trials: Trials, component: str) -> None:
    """The output names the argument, and the component exits quickly."""
    outcome = trials.outcome(component, {CONFIG: f"{component}-arg: [no-such-argument=1]\n"})
    assert outcome.exited
    assert "unknown flag: --no-such-argument" in outcome.last_words


def test_component_that_neither_exits_nor_becomes_ready_hangs(trials: Trials) -> None:
    """With request-timeout=0s the API server runs but is never ready."""
    outcome = trials.outcome("kube-apiserver", {CONFIG: "kube-apiserver-arg: [request-timeout=0s]\n"}, seconds=8)
    assert not outcome.exited
    assert not outcome.ready


def test_a_trial_does_not_affect_the_next(trials: Trials) -> None:
    """Files and settings of an earlier trial do not exist in the next one."""
    broken = {CONFIG: "kubelet-arg: [node-labels=kubernetes.io/foo=bar]\n", "/etc/kubernetes/kubelet.yaml": "{}"}
    assert trials.outcome("kubelet", broken).exited
    outcome = trials.outcome("kubelet", {CONFIG: "kubelet-arg: [config=/etc/kubernetes/kubelet.yaml]\n"})
    assert "/etc/kubernetes/kubelet.yaml" in outcome.last_words
    assert outcome.exited
