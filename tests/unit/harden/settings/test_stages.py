"""Stages: what they change on a host, how each report shows them, and what is rejected."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from agent.harden.desired.resources import admission_configuration, network_policies, policy_manifest
from agent.harden.node.facts import assumed_facts
from agent.harden.settings.loading import SettingsError
from agent.harden.settings.stages import stages_of
from agent.k3s.allow_rule import AllowedPods, AllowedPort, AllowRule
from agent.k3s.roles_and_versions import Role, Version
from tests.unit.harden.settings.test_loading import loaded

VERSION = Version(1, 34, 0)
FACTS = assumed_facts(Role.SERVER, VERSION)
UNTIL = "stages:\n  until: 2027-03-31\n"


@pytest.mark.parametrize(
    ("stage", "enforced"), [("warn", "privileged"), ("baseline", "baseline"), ("restricted", "restricted")]
)
def test_pod_security_enforces_the_stage_and_warns_by_the_restricted_standard(stage: str, enforced: str) -> None:
    settings = loaded(f"{UNTIL}  pod-security: {stage}\n")
    plugin = yaml.safe_load(admission_configuration(settings, FACTS))["plugins"][0]["configuration"]
    levels = {name: level for name, level in plugin["defaults"].items() if not name.endswith("version")}
    assert levels == {"enforce": enforced, "audit": "restricted", "warn": "restricted"}


@pytest.mark.parametrize("off", ["off", "'off'", "false"])
def test_postponed_network_policies_leave_a_manifest_of_comments(off: str) -> None:
    """K3s then removes what it created from the file."""
    settings = loaded(f"{UNTIL}  network-policies: {off}\n")
    lines = policy_manifest(settings, FACTS).decode().splitlines()
    assert lines
    assert all(line.startswith("#") for line in lines)


def test_a_part_that_is_postponed_needs_a_last_day() -> None:
    with pytest.raises(SettingsError) as caught:
        loaded("role: server\nstages:\n  network-policies: off\n")
    assert (caught.value.location.line, "`stages.until` is missing" in caught.value.problem) == (3, True)
    assert not stages_of(loaded("stages: {pod-security: restricted, network-policies: on}"), Role.SERVER, VERSION)


@pytest.mark.parametrize(
    ("role", "minor", "settings"),
    [
        (Role.SERVER, 34, ["stages.pod-security", "stages.network-policies", "stages.service-accounts"]),
        (Role.SERVER, 24, ["stages.network-policies", "stages.service-accounts"]),
        (Role.AGENT, 34, []),
    ],
)
def test_a_stage_counts_only_where_its_part_applies(role: Role, minor: int, settings: list[str]) -> None:
    everything = loaded(f"{UNTIL}  pod-security: warn\n  network-policies: off\n  service-accounts: off\n")
    assert [stage.setting for stage in stages_of(everything, role, Version(1, minor, 0))] == settings


def test_the_baseline_standard_leaves_open_what_only_restricted_forbids() -> None:
    (stage,) = stages_of(loaded(f"{UNTIL}  pod-security: baseline\n"), Role.SERVER, VERSION)
    assert {"pods-added-capabilities", "pods-seccomp"} <= set(stage.controls)
    assert {"pods-privileged", "pod-policy-mechanism"}.isdisjoint(stage.controls)


PEERS = st.builds(AllowedPods, st.just("shop"), st.sampled_from([(), (("app", "null"),)]))
RULES = st.builds(
    AllowRule,
    st.sampled_from(["default", "kube-system", "shop-1"]),
    st.lists(st.tuples(st.sampled_from(["app", "a.b/c"]), st.sampled_from(["web", "1", "true", ""])), max_size=1).map(
        tuple
    ),
    st.sets(st.builds(AllowedPort, st.integers(1, 65535), st.sampled_from(["TCP", "UDP"])), max_size=3).map(
        lambda ports: tuple(sorted(ports))
    ),
    st.one_of(
        st.just(()),
        st.just(("10.0.0.0/8", "fd00::/8")),
        st.builds(lambda *pods: pods, PEERS),
        st.builds(lambda *pods: (*pods, "10.0.0.0/8"), PEERS, st.just(AllowedPods("other"))),
    ),
)


@given(st.lists(RULES, max_size=4, unique=True))
def test_a_proposed_rule_can_be_pasted_into_the_settings(rules: list[AllowRule]) -> None:
    """The text that impact proposes is read back as the same rule, and its policy is in policy.yaml."""
    text = "network-policies:\n  allow:\n" + "".join(f"    - {rule}\n" for rule in rules)
    settings = loaded(text)
    assert set(settings.network_policy_allow) == set(rules)
    written = list(yaml.safe_load_all(network_policies(settings)))
    assert all(rule.policy in written for rule in rules)


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("{namespace: default}", "`from` is missing"),
        ("{from: anywhere}", "`namespace` is missing"),
        ("{namespace: Default, from: anywhere}", "`namespace` must be a lower-case RFC 1123 label"),
        ("{namespace: a, from: anyone}", "`from` must be anywhere, a mapping"),
        ("{namespace: a, from: {addresses: [10.0.0.1/8]}}", "each address must be a range such as 10.0.0.0/8"),
        ("{namespace: a, from: {addresses: []}}", "`addresses` must be a list of CIDR ranges"),
        ("{namespace: a, from: {namespace: b, port: 1}}", "unknown key `port`"),
        ("{namespace: a, ports: [http], from: anywhere}", "each port must be a number such as 8080 or 53/UDP"),
        ("{namespace: a, ports: [65536], from: anywhere}", "each port must be a number"),
        ("{namespace: a, pods: {app: 1}, from: anywhere}", "the value of the label app must be a string"),
        ('{namespace: a, pods: {"a b": x}, from: anywhere}', "`pods` has an invalid label: a b"),
        ("{namespace: a, namespace: b, from: anywhere}", "`namespace` is set twice"),
    ],
)
def test_an_invalid_rule_is_an_error_with_its_line(rule: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        loaded(f"network-policies:\n  allow:\n    - {rule}\n")
    assert caught.value.location.line == 3
    assert problem in caught.value.problem


@pytest.mark.parametrize("account", ["shop", "shop/other", "Shop/default", "/default"])
def test_only_default_accounts_can_be_exempt(account: str) -> None:
    with pytest.raises(SettingsError, match="must be the default account of a namespace"):
        loaded(f"service-accounts:\n  exempt: [{account}]\n")
