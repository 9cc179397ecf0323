"""Facts in docs/explanation/k3s-facts.md, tested with the real components."""

from __future__ import annotations

import subprocess

import pytest

from agent.harden.desired.resources import admission_configuration
from agent.harden.node.facts import assumed_facts
from agent.harden.settings.schema import Settings
from agent.k3s.roles_and_versions import Role, Version
from tests.k8s.binaries import Binaries
from tests.k8s.outcome import Trials

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("trials")]

CONFIG = "/etc/rancher/k3s/config.yaml"
DROPIN = f"{CONFIG}.d/90-k3s-harden.yaml"
PSA = "/etc/k3s-harden/psa.yaml"
READ = f"kube-apiserver-arg: [admission-control-config-file={PSA}]\n"


def psa(version: str) -> str:
    return admission_configuration(Settings(), assumed_facts(Role.SERVER, Version.parse(version))).decode()


@pytest.mark.parametrize("version", ["1.25", "1.37"])
def test_exact_names_are_accepted_as_exemptions(trials: Trials, version: str) -> None:
    """The API server starts with psa.yaml of the oldest and of the newest K3s version."""
    outcome = trials.outcome("kube-apiserver", {CONFIG: READ, PSA: psa(version)})
    assert outcome.ready, outcome.last_words


@pytest.mark.parametrize(("value", "starts"), [("''", False), ("['']", False), ("", True)])
def test_an_empty_item_stops_the_api_server(trials: Trials, value: str, *, starts: bool) -> None:
    """An empty item remains in a list that the drop-in of k3s-harden extends; a key without a value has no items."""
    files = {CONFIG: f"kube-apiserver-arg: {value}\n", DROPIN: "kube-apiserver-arg+: [profiling=false]\n"}
    outcome = trials.outcome("kube-apiserver", files)
    assert outcome.ready is starts, outcome.last_words
    assert starts or "bad flag syntax: --=true" in outcome.last_words


@pytest.mark.parametrize("value", ["0", "50"])
def test_the_kubelet_accepts_any_event_rate(trials: Trials, value: str) -> None:
    """The meaning of 0 depends on the version."""
    assert trials.outcome("kubelet", {CONFIG: f"kubelet-arg: [event-qps={value}]\n"}).ready


def test_the_kubelet_states_what_an_event_rate_of_0_means(binaries: Binaries) -> None:
    """Its help states that 0 means no limit from 1.37 on."""
    done = subprocess.run([binaries.path("kubelet"), "--help"], capture_output=True, check=True, text=True)
    (line,) = (line for line in done.stdout.splitlines() if line.lstrip().startswith("--event-qps "))
    minor = int(binaries.version.split(".")[1])
    assert ("If 0 there is no limit" in line) is (minor >= 37)
    assert "default 50" in line
