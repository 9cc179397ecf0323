"""Effective arguments of components: K3s, the operator, the drop-in, and the kubelet's files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.base.errors import HostError
from agent.base.model import Location
from agent.base.value import replace
from agent.harden.node.arguments import effective
from agent.harden.node.arguments.effective import KubeletFile, KubeletFiles
from agent.harden.node.datastore import Datastore
from agent.harden.node.facts import HostFacts
from agent.k3s.components.effective_arguments import EffectiveArgument, EffectiveArguments, Given, GivenBy
from agent.k3s.components.tables import is_combined
from agent.k3s.default_arguments import KUBELET_DEFAULTS_FILE
from agent.k3s.roles_and_versions import DEFAULT_DATA_DIR, K3S_CONFIG_FILE, Component, Version
from tests.arguments import facts
from tests.arguments import kubelet_file as conf

API_SERVER, KUBELET = Component.API_SERVER, Component.KUBELET
OWN = DEFAULT_DATA_DIR / KUBELET_DEFAULTS_FILE
RECORDED = Path(__file__).parents[4] / "data/benchmark/00-k3s-defaults.conf"
ANONYMOUS = "authentication.anonymous.enabled: {}"
"""The anonymous-auth setting in the kubelet's file."""
FIELD = "authentication.anonymous.enabled"


def effective_arguments(
    component: Component, seen: HostFacts, kubelet: KubeletFiles | None = None
) -> EffectiveArguments:
    return effective.effective_arguments(component, seen, kubelet or KubeletFiles())


def value_of(arguments: EffectiveArguments, name: str) -> str | None:
    argument = arguments.get(name)
    return argument.value if argument else None


def own_file() -> KubeletFile:
    return KubeletFile(OWN, RECORDED.read_bytes())


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("enable-admission-plugins=EventRateLimit", "EventRateLimit"),
        ("enable-admission-plugins+=EventRateLimit", "NodeRestriction,EventRateLimit"),
        ("enable-admission-plugins-=EventRateLimit", "EventRateLimit,NodeRestriction"),
        ("anonymous-auth+=true", "true"),
        ("anonymous-auth-=true", "false"),
        ("--anonymous-auth", "true"),
    ],
)
def test_plus_and_minus_keep_the_default(argument: str, value: str) -> None:
    """A list contains both, in order. Of a single value the last one is effective, which is the default for `-=`."""
    name = argument.partition("=")[0].strip("-+")
    assert value_of(effective_arguments(API_SERVER, facts(f"kube-apiserver-arg: ['{argument}']\n")), name) == value


def test_the_last_value_of_each_feature_gate_is_effective() -> None:
    seen = facts("kube-controller-manager-arg: ['feature-gates=A=true,B=true', 'feature-gates=kube:A=false']\n")
    assert value_of(effective_arguments(Component.CONTROLLER_MANAGER, seen), "feature-gates") == "A=false,B=true"


@pytest.mark.parametrize(
    ("seen", "has_it"),
    [
        (replace(facts(), datastore=Datastore.ETCD), True),
        (replace(facts(), datastore=Datastore.SQLITE), False),
        (replace(facts("cluster-init: true\n"), datastore=Datastore.SQLITE), True),
        (replace(facts(), datastore=Datastore.NONE), False),
        (replace(facts(), datastore=Datastore.NONE, joins_a_cluster=True), True),
        (facts("cluster-init: true\n"), True),
    ],
)
def test_the_api_server_has_the_etcd_files_if_k3s_runs_etcd(seen: HostFacts, *, has_it: bool) -> None:
    arguments = effective_arguments(API_SERVER, seen)
    assert (arguments.get("etcd-cafile") is not None) is has_it
    assert arguments.why_unknown("etcd-cafile") is None


@pytest.mark.parametrize(
    ("file", "argument"), [("authentication-config", "anonymous-auth"), ("authorization-config", "authorization-mode")]
)
def test_a_file_that_replaces_an_argument_is_unknown(file: str, argument: str) -> None:
    arguments = effective_arguments(API_SERVER, facts(f"kube-apiserver-arg: ['{file}=/etc/a.yaml']\n"))
    assert arguments.get(argument) is None
    why = arguments.why_unknown(argument)
    assert why is not None
    assert (why.observation, why.location) == (f"--{file}=/etc/a.yaml", Location(K3S_CONFIG_FILE, 1))
    assert "/etc/a.yaml" in str(why.steps)
    both = effective_arguments(API_SERVER, facts(f"kube-apiserver-arg: ['{file}=/etc/a.yaml', '{argument}=x']\n"))
    assert value_of(both, argument) == "x"
    assert both.why_unknown(argument) is None


@pytest.mark.parametrize(
    ("file", "argument", "value", "before", "since"),
    [
        ("authentication-config", "anonymous-auth", "false", "v1.32.4+k3s1", "v1.32.5+k3s1"),
        ("authentication-config", "anonymous-auth", "false", "v1.33.0+k3s1", "v1.33.1+k3s1"),
        ("authorization-config", "authorization-mode", "Node,RBAC", "v1.32.3+k3s1", "v1.32.4+k3s1"),
        ("authorization-config", "authorization-mode", "Node,RBAC", "v1.29.9+k3s1", "v1.33.0+k3s1"),
    ],
)
def test_older_k3s_sets_the_argument_beside_the_file(
    file: str, argument: str, value: str, before: str, since: str
) -> None:
    """K3s omits its own argument only since v1.32.4 and v1.32.5 (k3s-io/k3s #12042, #12345)."""
    config = facts(f"kube-apiserver-arg: ['{file}=/etc/a.yaml']\n")
    assert value_of(effective_arguments(API_SERVER, replace(config, version=Version.parse(before))), argument) == value
    assert effective_arguments(API_SERVER, replace(config, version=Version.parse(since))).get(argument) is None
    assert value_of(effective_arguments(API_SERVER, replace(facts(), version=Version.parse(since))), argument) == value


@pytest.mark.parametrize(
    ("config", "port", "address"),
    [
        ("", "6444", "127.0.0.1"),
        ("https-listen-port: 7443\n", "7444", "127.0.0.1"),
        ("https-listen-port: x\nservice-cidr: 10.43.0.0/16,fd00::/112\n", "6444", "127.0.0.1"),
        ("service-cidr: fd00::/112\n", "6444", "::1"),
        ("node-ip: fd00::1\n", "6444", "::1"),
    ],
)
def test_ports_and_addresses_follow_the_k3s_options(config: str, port: str, address: str) -> None:
    """The API server uses the port after the supervisor; a cluster with only IPv6 uses ::1."""
    assert value_of(effective_arguments(API_SERVER, facts(config)), "secure-port") == port
    assert value_of(effective_arguments(Component.SCHEDULER, facts(config)), "bind-address") == address


@pytest.mark.parametrize("version", ["v1.28.5+k3s1", "v1.34.1+k3s1"])
def test_a_missing_defaults_file_is_derived_from_the_version(version: str) -> None:
    arguments = effective_arguments(KUBELET, facts(version=version))
    for name, value in {
        "anonymous-auth": "false",
        "authorization-mode": "Webhook",
        "client-ca-file": "/var/lib/rancher/k3s/agent/client-ca.crt",
        "read-only-port": "0",
        "protect-kernel-defaults": None,
    }.items():
        assert value_of(arguments, name) == value
        assert arguments.why_unknown(name) is None


def test_the_defaults_file_has_its_lines() -> None:
    argument = effective_arguments(KUBELET, facts(), KubeletFiles((own_file(),))).get("anonymous-auth")
    given = Given("false", GivenBy.K3S, Location(OWN, 8), "", ANONYMOUS.format("false"), FIELD)
    assert argument == EffectiveArgument("anonymous-auth", "false", (given,))


def test_later_files_and_arguments_take_precedence() -> None:
    files = (own_file(), conf("authentication: {anonymous: {enabled: true}}\nreadOnlyPort: 10255\n"))
    arguments = effective_arguments(KUBELET, facts(), KubeletFiles(files))
    anonymous = arguments.get("anonymous-auth")
    assert anonymous is not None
    assert anonymous.given == (
        Given("true", GivenBy.KUBELET_FILE, Location(files[1].path, 3), "", ANONYMOUS.format("true"), FIELD),
    )
    assert [item.value for item in anonymous.overridden] == ["false"]
    assert value_of(arguments, "read-only-port") == "0"  # K3s passes it as an argument
    stronger = effective_arguments(KUBELET, facts("kubelet-arg: [anonymous-auth=false]\n"), KubeletFiles(files))
    argument = stronger.get("anonymous-auth")
    assert argument is not None
    assert argument.value == "false"
    assert [item.value for item in argument.overridden] == ["false", "true"]


def test_null_removes_an_earlier_value() -> None:
    files = (own_file(), conf("tlsCertFile: null\nauthentication:\n"))
    arguments = effective_arguments(KUBELET, facts(), KubeletFiles(files))
    assert arguments.get("tls-cert-file") is None
    assert arguments.get("client-ca-file") is None
    assert value_of(arguments, "tls-private-key-file") == "/var/lib/rancher/k3s/agent/serving-kubelet.key"


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("authentication:\n", "anonymous-auth", "false"),
        ("authentication: {anonymous: null}\n", "anonymous-auth", "false"),
        ("authentication: {anonymous: {enabled: null}}\n", "anonymous-auth", "false"),
        ("authentication: {webhook: null}\n", "authentication-token-webhook", "true"),
        ("authorization: null\n", "authorization-mode", "Webhook"),
        ("authorization: {mode: null}\n", "authorization-mode", "Webhook"),
    ],
)
def test_null_restores_the_default_of_the_files(text: str, name: str, value: str) -> None:
    """The defaults of the arguments, which count without a file, are less secure."""
    open_ = conf("authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}\nauthorization: {mode: A}\n")
    assert value_of(effective_arguments(KUBELET, facts(), KubeletFiles((own_file(), open_))), name) != value
    arguments = effective_arguments(KUBELET, facts(), KubeletFiles((own_file(), open_, conf(text))))
    assert value_of(arguments, name) == value


def test_lists_are_replaced_and_feature_gates_merged() -> None:
    files = (
        conf("featureGates: {A: true, B: true}\ntlsCipherSuites: [V, W]\n"),
        conf("featureGates: {B: false}\ntlsCipherSuites: [Z]\n"),
    )
    seen = facts("kubelet-arg: ['feature-gates=C=true']\n")
    arguments = effective_arguments(KUBELET, seen, KubeletFiles(files))
    assert value_of(arguments, "feature-gates") == "A=true,B=false,C=true"
    assert value_of(arguments, "tls-cipher-suites") == "Z"


@pytest.mark.parametrize("version", ["v1.28.5+k3s1", "v1.34.1+k3s1"])
@pytest.mark.parametrize("option", ["true", "false"])
def test_the_k3s_option_sets_protect_kernel_defaults(version: str, option: str) -> None:
    """The value has the location of the option in every version. The file of K3s has the value of the last start."""
    seen = facts(f"protect-kernel-defaults: {option}\n", version=version)
    files = (own_file(),) if version == "v1.34.1+k3s1" else ()
    argument = effective_arguments(KUBELET, seen, KubeletFiles(files)).get("protect-kernel-defaults")
    assert argument is not None
    name = "protect-kernel-defaults"
    assert argument.given == (
        Given(option, GivenBy.OPERATOR, Location(K3S_CONFIG_FILE, 1), "", f"{name}: {option}", name),
    )
    # K3s passes both, and the argument of the kubelet is effective.
    both = facts(f"{name}: {option}\nkubelet-arg: [{name}=false]\n", version=version)
    assert value_of(effective_arguments(KUBELET, both), name) == "false"


def test_a_configuration_that_cannot_be_read_is_unknown_about_all_arguments() -> None:
    error = HostError("cannot read /etc/rancher/k3s/config.yaml: Permission denied")
    unreadable = replace(facts(), configuration=replace(facts().configuration, unreadable=(error,)))
    assert "Permission denied" in str(effective_arguments(API_SERVER, unreadable).why_unknown("anything"))


def test_an_invalid_kubelet_file_is_unknown_about_its_fields() -> None:
    broken = KubeletFile(OWN.with_name("50-broken.conf"), b"kind: [")
    arguments = effective_arguments(
        KUBELET, facts("kubelet-arg: [event-qps=5, feature-gates=A=true]\n"), KubeletFiles((own_file(), broken))
    )
    for name in ("anonymous-auth", "feature-gates"):  # the kubelet merges the gates of files and of the argument
        assert "50-broken.conf" in str(arguments.why_unknown(name))
    assert arguments.why_unknown("event-qps") is None
    assert arguments.why_unknown("read-only-port") is None


@pytest.mark.parametrize(
    ("component", "name", "is_open"),
    [
        (API_SERVER, "tls-cipher-suites", True),
        (API_SERVER, "profiling", False),
        (API_SERVER, "service-account-key-file", False),
        (Component.CONTROLLER_MANAGER, "service-account-private-key-file", False),
    ],
)
def test_an_unknown_version_makes_version_dependent_arguments_unknown(
    component: Component, name: str, *, is_open: bool
) -> None:
    """An argument whose path changed between versions is known."""
    seen = replace(facts(), version_is_known=False)
    assert bool(effective_arguments(component, seen).why_unknown(name)) is is_open


def test_a_minor_version_makes_arguments_that_patch_releases_changed_unknown() -> None:
    """`1.24` can be v1.24.0 or v1.24.17. Values of the operator are known in both."""
    why = effective_arguments(API_SERVER, facts(version="1.24")).why_unknown("tls-cipher-suites")
    assert why is not None
    assert "v1.24.1+k3s1" in str(why.steps)
    assert not effective_arguments(API_SERVER, facts(version="1.27")).why_unknown("tls-cipher-suites")
    said = facts("kube-apiserver-arg: [tls-cipher-suites=X]\n", version="1.24")
    assert not effective_arguments(API_SERVER, said).why_unknown("tls-cipher-suites")
    assert effective_arguments(KUBELET, facts(version="1.32")).why_unknown("read-only-port")


@given(
    st.lists(
        st.sampled_from(["profiling=true", "profiling+=x", "profiling-=y", "tls-cipher-suites-=a,b", "=", "-", ""])
    ),
    st.sampled_from(list(Component)),
)
def test_each_value_is_effective_or_overridden(arguments: list[str], component: Component) -> None:
    seen = facts(json.dumps({component.config_key: arguments}))
    found = effective_arguments(component, seen).found
    for name, values in seen.merged_config.component_arguments(component.config_key).items():
        argument = found[name]
        kept = [given.value for given in (*argument.given, *argument.overridden) if given.by is GivenBy.OPERATOR]
        assert sorted(kept) == sorted(value.text for value in values)
        if not is_combined(component, name):
            assert len(argument.given) == 1
