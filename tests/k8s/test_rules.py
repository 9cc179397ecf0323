"""Each row of rules.tsv, tried on the real component with a value that meets it and with one that does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
import yaml

from agent.k3s.components.effective_arguments import FEATURE_GATES
from agent.k3s.components.rules import rejected_by_rule
from agent.k3s.roles_and_versions import Component, Version
from tests.k8s import binaries as programs
from tests.k8s.outcome import Trials
from tests.k8s.rule_examples import REPEATED, Example, Settings, examples, feature_gates, is_accepted, is_field, parsed

pytestmark = [pytest.mark.k8s, pytest.mark.xdist_group("rules")]

MINOR = Version.parse(programs.chosen()).minor
CONFIG = "/etc/rancher/k3s/config.yaml"
KUBELET_FILE = "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/50-own.conf"


def arguments_in(settings: Settings) -> dict[str, Sequence[str]]:
    """Return the arguments in settings, with the feature gates as one argument."""
    gates = feature_gates(settings)
    found = {name: text.split(REPEATED) for name, text in settings.items() if not is_field(name) and name.islower()}
    return {**found, **({FEATURE_GATES: [gates]} if gates else {})}


def kubelet_file(settings: Settings) -> str:
    """Return the fields in settings as a file of the kubelet; empty if there are none."""
    content: dict[str, object] = {}
    for name, text in settings.items():
        if is_field(name):
            *parents, last = name.split(".")
            inner = content
            for parent in parents:
                inner = inner.setdefault(parent, {})  # type: ignore[assignment]
            inner[last] = yaml.safe_load(text)
    head = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
    return yaml.safe_dump({**head, **content}) if content else ""


NEVER_READY = "request-timeout"
"""With a value that does not meet its row, the API server runs and never becomes ready."""
EXITS = [example for example in examples(MINOR) if example.subject != NEVER_READY]


@pytest.mark.parametrize("example", EXITS, ids=str)
def test_a_component_exits_at_arguments_that_do_not_meet_a_row(trials: Trials, example: Example) -> None:
    component = example.component
    assert any(True for _ in rejected_by_rule(example.rule, parsed(component, example.breaks, MINOR)))
    outcome = trials.rejection(component.value, arguments_in(example.breaks), kubelet_file(example.breaks))
    assert outcome.exited, f"{example.breaks}: it runs; {outcome.last_words}"


OF_ONE_VALUE = (
    "alone",
    "at least",
    "at least or 0",
    "between",
    "between or 0",
    "includes",
    "matches",
    "more than",
    "one of",
)
"""Relations of one value. What the others accept is the default, or names files."""
NOT_STARTED = {
    Component.API_SERVER: ("oidc-issuer-url", "request-timeout", "storage-initialization-timeout"),
    Component.KUBELET: (
        "max-open-files",
        "oom-score-adj",
        "qos-reserved",
        "runtime-request-timeout",
        "userNamespaces.idsPerPod",
    ),
    Component.KUBE_PROXY: ("ipvs-sync-period", "oom-score-adj", "proxy-mode"),
}
"""Arguments whose smallest values the component accepts and cannot work with here."""


def groups(component: Component) -> Iterator[Settings]:
    """Yield settings that meet the rows of a component, many rows at once: as many as no row rejects together."""
    excluded = set(NOT_STARTED.get(component, ()))
    left = [
        example.meets
        for example in examples(MINOR)
        if example.component is component
        and example.rule.relation in OF_ONE_VALUE
        and example.meets
        and excluded.isdisjoint(example.meets)
    ]
    while left:
        group: Settings = {}
        others = []
        for settings in left:
            has_conflict = any(group.get(name, text) != text for name, text in settings.items())
            if has_conflict or not is_accepted(component, {**group, **settings}, MINOR):
                others.append(settings)
            else:
                group = {**group, **settings}
        yield group
        left = others


@pytest.mark.parametrize("component", Component)
def test_a_component_runs_with_values_that_meet_the_rows(trials: Trials, component: Component) -> None:
    """The table rejects none of them; those that exclude each other are tried one after the other."""
    for settings in groups(component):
        words = [f"{name}={value}" for name, values in arguments_in(settings).items() for value in values]
        files: dict[str, str | None] = {CONFIG: yaml.safe_dump({component.config_key: words})}
        if file := kubelet_file(settings):
            files[KUBELET_FILE] = file
        outcome = trials.outcome(component.value, files, seconds=8)
        assert not outcome.exited, f"{settings}: {outcome.last_words}"
