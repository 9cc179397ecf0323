"""Stages: what they change on a host, how each report shows them, and what is rejected; waivers."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from agent.assess.benchmark.catalogue import all_controls
from agent.base.model import Location
from agent.harden.desired.resources import admission_configuration, network_policies, policy_manifest
from agent.harden.guide.controls import CONTROLS
from agent.harden.node.facts import assumed_facts
from agent.harden.settings.known_controls import require_known
from agent.harden.settings.loading import SettingsError
from agent.harden.settings.stages import stages_of
from agent.harden.settings.waivers import SiteWaiver, Waivers, WaiverScope
from agent.k3s.allow_rule import AllowedPods, AllowedPort, AllowRule
from agent.k3s.roles_and_versions import Role, Version
from tests.unit.harden.settings.test_loading import PATH, loaded

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


HERE = WaiverScope(Role.SERVER, "db-1.example.org", "2027-01-01")


def waiver(
    control: str = "pki-certificate-permissions", line: int = 3, *, expires: str = "", role: Role | None = None
) -> SiteWaiver:
    return SiteWaiver(control, "it is so", expires, role, "", Location(PATH, line))


@pytest.mark.parametrize(
    ("candidate", "covers"),
    [
        (waiver("audit-policy"), True),
        (waiver("audit-policy", expires="2027-01-01"), True),
        (waiver("audit-policy", expires="2026-12-31"), False),
        (waiver("audit-policy", role=Role.AGENT), False),
        (waiver("3.2.1"), False),
    ],
)
def test_a_waiver_covers_a_control_by_its_id(candidate: SiteWaiver, *, covers: bool) -> None:
    """The waiver must apply to this host today. A CIS number does not cover an edited file."""
    waivers = Waivers((waiver("kernel.panic"), candidate), HERE)
    assert waivers.covering("audit-policy", "audit-policy-file") == (candidate if covers else None)


def test_kernel_parameters_maps_keys_to_the_first_waiver_that_applies() -> None:
    expired, first = waiver("kernel.panic", expires="2026-12-31"), waiver("kernel.panic", line=5)
    waivers = (expired, first, waiver("kernel.panic", line=7), waiver("vm.panic_on_oom", role=Role.AGENT), waiver())
    assert Waivers(waivers, HERE).kernel_parameters == {"kernel.panic": first}


def test_expired_skips_controls_that_another_waiver_covers() -> None:
    expired, other_role = (
        waiver("kernel.panic", expires="2026-12-31"),
        waiver("kernel.panic", expires="2026-12-31", role=Role.AGENT),
    )
    ids = {"kernel.panic", "vm.panic_on_oom"}
    assert Waivers((expired, other_role, waiver(expires="2026-12-31")), HERE).expired(ids) == (expired,)
    assert Waivers((expired, waiver("kernel.panic")), HERE).expired(ids) == ()
    assert Waivers((waiver("kernel.panic", expires="2027-01-01"),), HERE).expired(ids) == ()


def test_each_id_and_number_of_each_benchmark_is_known() -> None:
    """A waiver can be for a benchmark that another version of K3s has."""
    names = [control.id for control in CONTROLS]
    for row in all_controls():
        names.append(row.id)
        names += [number.text for number in row.numbers.values()]
        names += [f"{benchmark}/{number.text}" for benchmark, number in row.numbers.items()]
    require_known(map(waiver, names))


def test_all_unknown_controls_of_a_file_are_reported_with_their_lines() -> None:
    with pytest.raises(SettingsError) as refused:
        require_known([waiver("1.2.9"), waiver("vm.overcomit_memory", 3), waiver("cis-9.9/1.2.9", 5), waiver("???", 7)])
    assert [str(problem.location) for problem in refused.value.problems] == [f"{PATH}:{line}" for line in (3, 5, 7)]
    first, _, last = (problem.problem for problem in refused.value.problems)
    assert first == "`waivers`: unknown control `vm.overcomit_memory`; did you mean `vm.overcommit_memory`?"
    assert last == "`waivers`: unknown control `???`; `k3s-harden explain` lists all controls"
