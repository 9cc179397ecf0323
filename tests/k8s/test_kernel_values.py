"""The kubelet with the real kernel values of this machine.

All other tests use private copies of these values. These tests lock, write and restore the real ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.k8s import binaries as programs
from tests.k8s.binaries import Binaries
from tests.k8s.namespaces import REQUIRED
from tests.k8s.node import Node
from tests.k8s.outcome import Trials
from tests.machine import read_kernel

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("machine")]

CONFIG = "/etc/rancher/k3s/config.yaml"
WRONG = {
    "kernel.keys.root_maxbytes": "25000001",
    "kernel.keys.root_maxkeys": "1000001",
    "kernel.panic": "9",
    "kernel.panic_on_oops": "0",
    "vm.overcommit_memory": "0",
    "vm.panic_on_oom": "1",
}


@pytest.fixture(scope="module")
def real_trials(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trials]:
    """Trials that write the kernel values of this machine."""
    if programs.real_k3s():
        pytest.skip("starts single components, which K3s cannot do: run it without K3S=")
    with Trials(tmp_path_factory.mktemp("trials"), binaries, real_kernel=True) as trials:
        yield trials


def test_hardened_node_becomes_ready(new_node: Callable[..., Node]) -> None:
    """`apply` sets the values of this kernel and everything that K3s reads, and the node becomes Ready."""
    node = new_node(real_kernel=True)
    assert node.harden("apply").returncode == 0
    assert {key: read_kernel(key) for key in REQUIRED} == REQUIRED
    node.start_server()
    node.wait_until_ready()
    assert node.check_problems() == []


def test_server_exits_if_a_value_is_wrong(new_node: Callable[..., Node]) -> None:
    """If a value changes after `apply`, K3s exits, not only its kubelet, and logs the key."""
    node = new_node(real_kernel=True)
    assert node.harden("apply").returncode == 0
    node.set_kernel({"kernel.panic": "0"})
    assert node.harden("check").returncode == 3
    node.start_server()
    node.until_exit()
    assert "invalid kernel flag: kernel/panic, expected value: 10, actual value: 0" in node.component_log("kubelet")


@pytest.mark.parametrize("key", REQUIRED)
def test_every_wrong_value_stops_the_kubelet(real_trials: Trials, key: str) -> None:
    """The kubelet compares all six keys, and accepts only the exact value."""
    files = {CONFIG: "protect-kernel-defaults: true\n"}
    outcome = real_trials.outcome("kubelet", files, kernel={key: WRONG[key]})
    assert outcome.exited
    stated = f"{key.replace('.', '/')}, expected value: {REQUIRED[key]}, actual value: {WRONG[key]}"
    assert f"invalid kernel flag: {stated}" in outcome.output


def test_kubelet_starts_with_right_values(real_trials: Trials) -> None:
    outcome = real_trials.outcome("kubelet", {CONFIG: "protect-kernel-defaults: true\n"})
    assert outcome.ready, outcome.last_words


def test_kubelet_overwrites_wrong_values_without_protection(real_trials: Trials) -> None:
    """Without protect-kernel-defaults, the kubelet starts and sets the values itself."""
    outcome = real_trials.outcome("kubelet", {}, kernel=WRONG)
    assert outcome.ready, outcome.last_words
    assert {key: read_kernel(key) for key in REQUIRED} == REQUIRED
