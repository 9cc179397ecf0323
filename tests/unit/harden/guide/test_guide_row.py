"""All rows of the guide: their properties, the comparison with the guide in both directions, and their criteria."""

from __future__ import annotations

import re
from itertools import combinations, product
from pathlib import PurePosixPath

import pytest

from agent.base import package_data
from agent.harden.guide import guide_row, k3s_options
from agent.harden.guide.controls import CONTROLS, DEFAULT_SERVICE_ACCOUNTS
from agent.harden.guide.criteria import (
    AbsolutePath,
    AtLeast,
    Boolean,
    Criterion,
    Duration,
    LeavesGateOn,
    ListExcludes,
    ListIncludes,
    ListSubsetOf,
    Loopback,
    NotEmpty,
)
from agent.harden.guide.guide_files import DIRECTORIES, FILES, POD_SECURITY_POLICIES
from agent.harden.guide.guide_row import GuideControl
from agent.harden.guide.k3s_options import ON_REQUEST, OPTIONS, newest, oldest
from agent.harden.guide.sysctls import SYSCTLS
from agent.k3s.config_merge import ConfigText, merge_configuration
from agent.k3s.roles_and_versions import DEFAULT_DATA_DIR, K3S_CONFIG_FILE, NEWEST_KNOWN, OLDEST_COVERED, Role, Version
from tests.data import guide
from tests.tools import docs_controls

each_control = pytest.mark.parametrize("control", CONTROLS, ids=lambda row: f"{row.id} {row.applies.versions}")


def test_controls_contain_each_row_once() -> None:
    """`explain` shows everything that the program changes on a host."""
    rows: list[GuideControl] = [*SYSCTLS, *DIRECTORIES, *FILES, *OPTIONS, DEFAULT_SERVICE_ACCOUNTS]
    assert len(CONTROLS) == len(rows)
    assert set(map(id, CONTROLS)) == set(map(id, rows))


def test_controls_are_in_the_order_of_the_guide() -> None:
    places = [guide_row.IN_ORDER.index(control.origin.heading) for control in CONTROLS]
    assert places == sorted(places)


def test_at_most_one_control_of_an_id_applies_to_a_host() -> None:
    same = [(control, other) for control, other in combinations(CONTROLS, 2) if control.id == other.id]
    assert {control.id for control, _ in same} == {"enable-admission-plugins", "terminated-pod-gc-threshold"}
    versions = [Version(1, minor, 0) for minor in range(OLDEST_COVERED.minor, NEWEST_KNOWN.minor + 1)]
    assert not [
        (control.id, role, version)
        for (control, other), role, version in product(same, Role, versions)
        if control.applies.to(role, version) and other.applies.to(role, version)
    ]


@each_control
def test_each_control_has_complete_texts(control: GuideControl) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9._/-]*", control.id)
    assert 10 <= len(control.title) <= 70
    assert len(control.why) >= 80
    assert len(control.risk) >= 20
    for text in (control.why, control.risk, control.by_hand, control.deviation):
        assert "  " not in text
        assert not re.search(r"[{}<>\n]", text)
    for text in filter(None, (control.why, control.risk, control.deviation)):
        assert text.endswith("."), text


def test_each_line_of_the_texts_is_that_of_a_row() -> None:
    lines = package_data.read("harden", "guide", "controls.tsv").decode().splitlines()[1:]
    assert {line.split()[0] for line in lines} == {row.id for row in (*CONTROLS, *ON_REQUEST) if row not in SYSCTLS}


def test_each_way_of_the_guide_belongs_to_a_deviation() -> None:
    assert docs_controls.AS_IN_THE_GUIDE.keys() <= {control.id for control in CONTROLS if control.deviation}


MINORS = range(OLDEST_COVERED.minor, NEWEST_KNOWN.minor + 1)
SERVER, AGENT = Role.SERVER, Role.AGENT

KUBELET_COMPARES = {**guide.SYSCTLS, "kernel.keys.root_maxkeys": "1000000", "kernel.keys.root_maxbytes": "25000000"}
STRONG_CIPHERS = (
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,"
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,"
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305"
)


def options(role: Role, minor: int) -> dict[tuple[str, str], str]:
    rows = [row for row in OPTIONS if row.applies.to(role, Version(1, minor, 0))]
    values = {(row.key, row.name): row.text(DEFAULT_DATA_DIR) for row in rows}
    assert len(values) == len(rows), "two rows set the same argument"
    return values


def guide_options(family: str) -> dict[tuple[str, str], str]:
    values = {("kube-apiserver-arg", name): value for name, value in guide.API_SERVER.items()}
    values["kube-apiserver-arg", "enable-admission-plugins"] = guide.ADMISSION_PLUGINS[family]
    values |= {("kube-controller-manager-arg", name): value for name, value in guide.CONTROLLER_MANAGER.items()}
    values |= {("kubelet-arg", name): value for name, value in guide.KUBELET.items()}
    values["secrets-encryption", ""] = str(guide.SECRETS_ENCRYPTION).lower()
    if guide.PROTECT_KERNEL_DEFAULTS[family] is not None:
        values["protect-kernel-defaults", ""] = str(guide.PROTECT_KERNEL_DEFAULTS[family]).lower()
    return values


def test_sysctls_are_those_that_kubelet_compares_and_the_written_ones_those_of_the_guide() -> None:
    """Two keys are verified but not written."""
    assert {row.key: row.value for row in SYSCTLS} == KUBELET_COMPARES
    assert [row.key for row in SYSCTLS if row.written and not row.origin.beyond] == list(guide.SYSCTLS)
    assert all(row.deviation for row in SYSCTLS if row.origin.beyond)
    assert all(row.origin.beyond for row in SYSCTLS if not row.written)


def test_no_sysctl_is_of_a_network_namespace() -> None:
    """The gate's unit has one of its own (PrivateNetwork=yes), so it would set the value only there."""
    assert not [row.key for row in SYSCTLS if row.key.startswith("net.")]


def test_directories_are_those_of_the_guide_and_their_parent() -> None:
    """The deviation is server/, whose mode the guide's mkdir does not set."""
    modes = {str(DEFAULT_DATA_DIR / row.path): row.mode for row in DIRECTORIES}
    assert modes == {**guide.DIRECTORIES, "/var/lib/rancher/k3s/server": 0o700}
    assert all(row.deviation for row in DIRECTORIES)


def test_files_are_those_of_the_guide_and_two_instead_of_ranchers_cluster() -> None:
    """The deviation is psa.yaml and a K3s drop-in."""
    paths = {str(DEFAULT_DATA_DIR / row.path) for row in FILES}
    assert paths == {
        guide.SYSCTL_FILE,
        guide.POLICY_FILE,
        guide.AUDIT_FILE,
        "/var/lib/rancher/k3s/server/psa.yaml",
        "/etc/rancher/k3s/config.yaml.d/90-k3s-harden.yaml",
    }


@pytest.mark.parametrize("minor", [minor for minor in MINORS if minor < 29])
def test_server_options_are_those_of_the_guide_except_for_listed_deviations(minor: int) -> None:
    expected = guide_options(guide.OLDER if minor <= 24 else guide.NEWER)
    expected["protect-kernel-defaults", ""] = "true"  # deviation: on every version
    if minor >= 25:  # deviation: as in Rancher's template
        expected["kube-apiserver-arg", "admission-control-config-file"] = "/var/lib/rancher/k3s/server/psa.yaml"
    if minor >= 27:  # deviation: for versions that the guide does not cover, the K3s project's guide applies
        del expected["kube-apiserver-arg", "request-timeout"]
        del expected["kube-apiserver-arg", "service-account-lookup"]
        del expected["kubelet-arg", "make-iptables-util-chains"]
        expected["kubelet-arg", "streaming-connection-idle-timeout"] = "5m"
        expected["kubelet-arg", "tls-cipher-suites"] = STRONG_CIPHERS
    assert options(SERVER, minor) == expected


@pytest.mark.parametrize("minor", range(29, NEWEST_KNOWN.minor + 1))
def test_the_options_from_1_29_on_are_those_of_k3s_own_guide_but_for_the_plugins(minor: int) -> None:
    """Its API server exits: the plugin EventRateLimit has no entry in its admission configuration."""
    config = merge_configuration([ConfigText(K3S_CONFIG_FILE, guide.OWN_GUIDE_OF_K3S.encode())])
    expected = {}
    for key in config.values:
        for item in config.items(key):
            name, separator, value = item.text.partition("=")
            expected[key, name if separator else ""] = value or item.text
    expected["kube-apiserver-arg", "enable-admission-plugins"] = guide.ADMISSION_PLUGINS[guide.NEWER]
    assert options(SERVER, minor) == expected


@pytest.mark.parametrize("role", Role)
def test_a_version_older_than_the_guide_gets_the_rows_of_the_oldest_covered_version(role: Role) -> None:
    """Only the gate hardens it."""
    assert options(role, OLDEST_COVERED.minor - 1) == options(role, OLDEST_COVERED.minor)


@pytest.mark.parametrize("minor", MINORS)
def test_agents_get_all_options_that_agents_support(minor: int) -> None:
    """k3s-agent rejects options of servers and exits."""
    agent_keys = {"kubelet-arg", "protect-kernel-defaults"}
    expected = {where: value for where, value in options(SERVER, minor).items() if where[0] in agent_keys}
    assert options(AGENT, minor) == expected


def test_an_option_that_is_not_in_the_guide_has_a_deviation() -> None:
    silent = [(row.id, str(row.applies.versions)) for row in OPTIONS if not row.deviation]
    assert sorted(silent) == [
        *((f"audit-{name}", "all versions") for name in ("log-maxage", "log-maxbackup", "log-maxsize", "log-path")),
        ("audit-policy-file", "all versions"),
        ("enable-admission-plugins", "v1.24 and older"),
        ("secrets-encryption", "all versions"),
        ("terminated-pod-gc-threshold", "v1.28 and older"),
    ]


def test_values_follow_the_data_directory() -> None:
    rows = [row for row in OPTIONS if row.text(DEFAULT_DATA_DIR) != row.text(PurePosixPath("/srv/k3s"))]
    assert {row.id for row in rows} == {"audit-policy-file", "audit-log-path", "admission-control-config-file"}
    assert all(row.text(PurePosixPath("/srv/k3s")).startswith("/srv/k3s/server/") for row in rows)


@pytest.mark.parametrize("row", OPTIONS, ids=lambda row: f"{row.id} {row.applies.versions}")
def test_the_value_of_a_row_meets_its_criterion(row: k3s_options.OptionRow) -> None:
    """A value that apply sets is also compliant if the operator sets it."""
    assert row.meets.accepts(row.text(DEFAULT_DATA_DIR))


def test_cis_numbers_are_those_of_the_guide() -> None:
    expected = {(name, ""): numbers for name, numbers in guide.CIS.items()}
    expected |= {("enable-admission-plugins", family): cis for family, cis in guide.ADMISSION_PLUGINS_CIS.items()}
    expected["audit-policy", ""] = guide.CIS["audit-policy-file"]
    expected["pod-security-policies", ""] = tuple(sorted(sum(guide.POD_SECURITY_POLICY_CIS.values(), ())))
    expected["default-service-accounts", ""] = (guide.SERVICE_ACCOUNT_CIS,)
    found = {
        (row.id, str(row.applies.versions) if row.id == "enable-admission-plugins" else ""): row.origin.cis
        for row in CONTROLS
        if row.origin.cis
    }
    assert found == expected
    assert POD_SECURITY_POLICIES.origin.cis
    assert DEFAULT_SERVICE_ACCOUNTS.origin.cis


def test_headings_are_those_of_the_guide() -> None:
    assert guide_row.IN_ORDER == guide.HEADINGS
    assert {row.origin.heading for row in CONTROLS} == set(guide.HEADINGS)


ON, OFF = Boolean(expected=True), Boolean(expected=False)
PLUGINS = ListIncludes(("NodeRestriction", "PodSecurityPolicy"))
GATE = "RotateKubeletServerCertificate"


@pytest.mark.parametrize(
    ("meets", "accepted", "refused"),
    [
        (ON, ["true", "True", "TRUE", "t", "T", "1"], ["false", "0", "yes", "on", "", "tRue", " true"]),
        (OFF, ["false", "False", "FALSE", "f", "F", "0"], ["true", "1", "no", "off", ""]),
        (
            AtLeast(30),
            ["30", "31", "365", "036", "0x1e", "0o36", "0b11110", "+30"],
            ["29", "0", "-30", "30.0", "", "thirty", "30d", "0030", "09", "0x", "1e2", "0x-1f", "٣٠", "9" * 5000],
        ),
        (AtLeast(1), ["1", "12500", "9" * 10], ["0", "-1", "-0", ""]),
        (
            Duration("300s"),
            ["300s", "5m", "1h30m", "1m0s", ".5h"],
            ["0", "0s", "0h0m", "1ns", "100ms", "0.5s", "300", "-5m", "", "5 m"],
        ),
        (AbsolutePath("an audit policy"), ["/etc/audit.yaml", "/a"], ["-", "", "audit.yaml", "/", "/etc/"]),
        (
            PLUGINS,
            ["NodeRestriction,PodSecurityPolicy", "A,PodSecurityPolicy,NodeRestriction,B"],
            ["NodeRestriction", "", "NodeRestrictionX,PodSecurityPolicy", "nodeRestriction,PodSecurityPolicy"],
        ),
        (ListSubsetOf(("A", "B")), ["A", "B", "B,A", "A,A"], ["", "C", "A,C", "a", "A,"]),
        (
            # 127.0.0.0/8, and ::1, which K3s uses on a node with only IPv6. ::1:1024 is an address of its own.
            Loopback(),
            ["127.0.0.1", "127.0.0.1:10249", "127.8.0.255", "::1", "[::1]", "[::1]:10249"],
            [
                *("", "0.0.0.0", "0.0.0.0:10249", "::", "[::]:10249", "10.127.0.1", "127.0.0.1.5"),  # noqa: S104 - refused
                *("127.0.0.1,10.0.0.1", "127.0.0.256", "127.0.0.1\n", "localhost", "::1:1024"),
            ],
        ),
        (
            # The last value counts. The component exits at a value that is no boolean.
            LeavesGateOn(GATE),
            [
                *("", f"{GATE}=true", f"{GATE}=1", "KubeletInUserNamespace=true", "AllAlpha=false", "AllBeta=true"),
                *(f"AllBeta=false,{GATE}=true", f"{GATE}=false,{GATE}=true", f" {GATE} = true ,"),
            ],
            [
                *(f"{GATE}=false", f"{GATE}=False", f"{GATE}=0", f"KubeletInUserNamespace=true,{GATE}=false"),
                *(f" {GATE} = false", f"{GATE}=true,{GATE}=f", "AllBeta=false", f"{GATE}=no", GATE),
            ],
        ),
    ],
    ids=str,
)
def test_equivalent_values_are_accepted(meets: Criterion, accepted: list[str], refused: list[str]) -> None:
    """Every spelling that K3s' components accept, and no weaker value."""
    assert [value for value in accepted if not meets.accepts(value)] == []
    assert [value for value in refused if meets.accepts(value)] == []


def test_a_plugin_that_is_enabled_by_default_can_be_omitted() -> None:
    """K3s' `NodeRestriction` is compliant: the API server enables ServiceAccount by default."""
    assert newest("enable-admission-plugins").meets.accepts("NodeRestriction")
    assert not newest("enable-admission-plugins").meets.accepts("ServiceAccount")
    assert not oldest("enable-admission-plugins").meets.accepts("NodeRestriction")


@pytest.mark.parametrize(
    ("criterion", "text", "predicate"),
    [
        (Loopback(), "127.0.0.1 or ::1", "is 127.0.0.1 or ::1"),
        (LeavesGateOn(GATE), f"without {GATE}=false", f"does not contain {GATE}=false"),
    ],
)
def test_criteria_describe_the_value(criterion: Criterion, text: str, predicate: str) -> None:
    assert (str(criterion), criterion.predicate) == (text, predicate)


@pytest.mark.parametrize(
    ("criterion", "value", "suggestion"),
    [
        (Boolean(expected=False), "true", "false"),
        (AtLeast(1, example=4096), "0", "4096"),
        (ListIncludes(("A", "B")), "C,A", "C,A,B"),
        (ListExcludes(("A",)), "A,B,B", "B"),
        (ListSubsetOf(("A", "B")), "B,C", "B"),
        (ListSubsetOf(("A", "B")), "C", "A,B"),
        (LeavesGateOn(GATE), f"X=true,{GATE}=false", "X=true"),
        (NotEmpty(), "", ""),
    ],
)
def test_a_suggestion_keeps_the_allowed_part_of_a_value(criterion: Criterion, value: str, suggestion: str) -> None:
    """The suggestion is empty if the site has to choose a value."""
    assert criterion.suggestion(value) == suggestion
    assert not suggestion or criterion.accepts(suggestion)
