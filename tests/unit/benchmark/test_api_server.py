"""Rows of the API server: numbers in the benchmarks, and values that pass or fail."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from agent.benchmark.api_server import API_SERVER
from agent.benchmark.versions import Benchmark
from agent.checks.arguments import ArgumentCheck
from agent.checks.check import AllOf
from agent.checks.datastore import EncryptionProviders
from agent.guide.criteria import Excludes, Includes, IncludesOneOf
from agent.guide.k3s_options import OPTIONS
from agent.model import NEWEST_KNOWN, OLDEST_COVERED, Component, Role, Version
from agent.settings.schema import setting_rows
from tests.unit.benchmark.texts import fix

if TYPE_CHECKING:
    from agent.benchmark.control import BenchmarkControl

RECORDED = Path(__file__).parents[2] / "data" / "benchmark" / "sections-1.2-3.2.tsv"
"""One line for each control: the requirement of the title, then number and letter of `numbered` for each benchmark.

The first word is the argument. A name after it is a plugin or mode that its list must contain, or with "-" must not.
Up to 1.9 the numbers and letters are those of kube-bench's k3s-cis-*, from 1.10 on those of K3s' self-assessments. From
1.10 to 2.0 these omit section 3: there 3.2.1 is as in kube-bench's cis-1.10 to cis-1.12. 3.2.2, which is manual, is not
among these rows.
"""

ADMISSION = "enable-admission-plugins"
OLDEST, NEWEST = Benchmark.CIS_1_23, Benchmark.CIS_2_1


class Line(NamedTuple):
    """A recorded control: the words of its requirement, and its number and letter in each benchmark with it."""

    asks: tuple[str, ...]
    numbers: dict[Benchmark, tuple[str, str]]


def recorded() -> list[Line]:
    header, *lines = (line.split("\t") for line in RECORDED.read_text(encoding="utf-8").splitlines())
    benchmarks = [Benchmark(name) for name in header[1:]]
    return [
        Line(
            tuple(asks.split()),
            {benchmark: (word[:-1], word[-1]) for benchmark, word in zip(benchmarks, words) if word != "-"},
        )
        for asks, *words in lines
    ]


def numbers(row: BenchmarkControl) -> dict[Benchmark, tuple[str, str]]:
    return {benchmark: (number.text, number.assessed.value) for benchmark, number in row.numbers.items()}


def flags(row: BenchmarkControl, benchmark: Benchmark = NEWEST) -> tuple[ArgumentCheck, ...]:
    """Return the arguments that a row tests; none for a row that tests something else."""
    check = row.check_of(benchmark)
    parts = check.checks if isinstance(check, AllOf) else (check,)
    return tuple(part for part in parts if isinstance(part, ArgumentCheck))


def by_id(identifier: str) -> BenchmarkControl:
    (row,) = [row for row in API_SERVER if row.id == identifier]
    return row


def met(row: BenchmarkControl, given: dict[str, str], benchmark: Benchmark = NEWEST) -> bool:
    """Return whether arguments of the API server meet all tests of a row, by value or by default."""
    return all(
        flag.criterion.accepts(given[flag.name]) if flag.name in given else flag.unset_passes
        for flag in flags(row, benchmark)
    )


def test_ids_are_unique() -> None:
    """Waivers, baselines and fingerprints name a control by its ID."""
    assert len({row.id for row in API_SERVER}) == len(API_SERVER)


@pytest.mark.parametrize("line", recorded(), ids=lambda line: " ".join(line.asks))
def test_every_recorded_control_has_one_row_that_tests_its_requirement(line: Line) -> None:
    """The row has the number and letter of all benchmarks, and tests the argument in their titles."""
    (row,) = [row for row in API_SERVER if numbers(row) == line.numbers]
    if line.asks == ("encryption-providers",):
        assert isinstance(row.check, EncryptionProviders)
        return
    criteria = [flag.criterion for flag in flags(row)]
    argument, *others = line.asks
    names = [
        name for criterion in criteria if isinstance(criterion, (Includes, IncludesOneOf)) for name in criterion.names
    ]
    names += [f"-{name}" for criterion in criteria if isinstance(criterion, Excludes) for name in criterion.names]
    if names:
        assert {flag.name for flag in flags(row)} == {argument}
        assert set(others) <= set(names)
    else:
        assert [flag.name for flag in flags(row)] == list(line.asks)


@pytest.mark.parametrize("benchmark", Benchmark)
def test_a_benchmark_has_each_number_once_and_no_other(benchmark: Benchmark) -> None:
    """No number of these sections is repeated, missing or added."""
    ours = [row.numbers[benchmark].text for row in API_SERVER if benchmark in row.numbers]
    theirs = [line.numbers[benchmark][0] for line in recorded() if benchmark in line.numbers]
    assert sorted(ours) == sorted(theirs)
    counted = sum(number.startswith("1.2.") for number in ours)
    assert set(ours) == {f"1.2.{number}" for number in range(1, counted + 1)} | {"3.2.1"}


def test_earlier_has_only_benchmarks_with_another_check() -> None:
    """Each benchmark in `earlier` has the control, and its check differs from `check`."""
    for row in API_SERVER:
        assert row.earlier.keys() <= row.numbers.keys()
        assert row.check not in row.earlier.values()


def test_all_rows_test_the_api_server_and_apply_to_servers() -> None:
    """An agent has no API server. An old pair of plugins applies only to versions that have it."""
    for row in API_SERVER:
        assert {flag.component for flag in flags(row)} <= {Component.API_SERVER}
        assert not row.applies.to(Role.AGENT, NEWEST_KNOWN)
        assert row.applies.to(Role.SERVER, Version(1, 24, 0))
        assert row.applies.to(Role.SERVER, NEWEST_KNOWN) == (row.id != "apiserver-security-context-deny")


def test_rows_of_the_guide_have_its_ids() -> None:
    """explain, waivers and reports use one ID. apply fixes two more rows under the ID of another control."""
    own = {row.id for row in API_SERVER if row.guide is not None and row.guide.id == row.id}
    assert own == {
        "audit-log-maxage",
        "audit-log-maxbackup",
        "audit-log-maxsize",
        "audit-log-path",
        "audit-policy-file",
        "enable-admission-plugins",
        "request-timeout",
        "secrets-encryption",
        "service-account-extend-token-expiration",
        "service-account-lookup",
    }
    others = {row.id: row.guide.id for row in API_SERVER if row.guide is not None and row.guide.id != row.id}
    assert others == {
        "apiserver-encryption-providers": "secrets-encryption",
        "apiserver-security-context-deny": "enable-admission-plugins",
    }


def test_an_id_of_the_guide_belongs_to_its_row() -> None:
    """Otherwise explain and the report would describe different controls."""
    ids = {row.id for row in OPTIONS}
    assert [row.id for row in API_SERVER if row.id in ids and row.guide is None] == []


@pytest.mark.parametrize("minor", range(OLDEST_COVERED.minor, NEWEST_KNOWN.minor + 1))
def test_the_values_of_the_guide_meet_their_rows(minor: int) -> None:
    """After apply, no control fails whose owner is apply, in any version."""
    version = Version(1, minor, 0)
    given = {
        row.name: row.value
        for row in OPTIONS
        if row.key == "kube-apiserver-arg" and row.applies.to(Role.SERVER, version)
    }
    given["encryption-provider-config"] = "/var/lib/rancher/k3s/server/cred/encryption-config.json"
    given = {name: value.replace("{data_dir}", "/var/lib/rancher/k3s") for name, value in given.items()}
    for row in API_SERVER:
        if (
            row.guide is not None
            and row.applies.to(Role.SERVER, version)
            and row.guide.applies.to(Role.SERVER, version)
        ):
            assert met(row, given), row.id


def test_the_newest_row_of_the_guide_is_linked() -> None:
    """PodSecurityPolicy is only in the row for old versions, and is required there."""
    newest, oldest = by_id("enable-admission-plugins").guide, by_id("apiserver-security-context-deny").guide
    assert newest is not None
    assert oldest is not None
    assert newest.applies.to(Role.SERVER, NEWEST_KNOWN)
    assert str(oldest.applies) == "servers only, v1.24 and older"


def test_settings_that_enable_a_plugin_exist() -> None:
    """The remediation names these settings."""
    assert {row.id: row.setting for row in API_SERVER if row.setting} == {
        "apiserver-always-pull-images": "always-pull-images",
        "apiserver-event-rate-limit": "event-rate-limit",
        "apiserver-external-ips-denied": "deny-service-external-ips",
    }
    known = {setting.key for setting in setting_rows()}
    for row in API_SERVER:
        if row.setting:
            assert row.setting in known


K3S_SETS = {
    "anonymous-auth": "false",
    "authorization-mode": "Node,RBAC",
    "client-ca-file": "/var/lib/rancher/k3s/server/tls/client-ca.crt",
    "enable-admission-plugins": "NodeRestriction",
    "etcd-cafile": "/var/lib/rancher/k3s/server/tls/etcd/server-ca.crt",
    "etcd-certfile": "/var/lib/rancher/k3s/server/tls/etcd/client.crt",
    "etcd-keyfile": "/var/lib/rancher/k3s/server/tls/etcd/client.key",
    "kubelet-certificate-authority": "/var/lib/rancher/k3s/server/tls/server-ca.crt",
    "kubelet-client-certificate": "/var/lib/rancher/k3s/server/tls/client-kube-apiserver.crt",
    "kubelet-client-key": "/var/lib/rancher/k3s/server/tls/client-kube-apiserver.key",
    "profiling": "false",
    "secure-port": "6444",
    "service-account-key-file": "/var/lib/rancher/k3s/server/tls/service.key",
    "tls-cert-file": "/var/lib/rancher/k3s/server/tls/serving-kube-apiserver.crt",
    "tls-cipher-suites": (
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,"
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,"
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305"
    ),
    "tls-private-key-file": "/var/lib/rancher/k3s/server/tls/serving-kube-apiserver.key",
}
"""Arguments that an unconfigured K3s with embedded etcd passes to its API server, if a row tests them."""


LEFT_TO_OPERATORS = {
    "apiserver-always-pull-images",
    "apiserver-event-rate-limit",
    "apiserver-external-ips-denied",
    "apiserver-security-context-deny",
    "audit-log-maxage",
    "audit-log-maxbackup",
    "audit-log-maxsize",
    "audit-log-path",
    "audit-policy-file",
    "secrets-encryption",
    "service-account-extend-token-expiration",
}


@pytest.mark.parametrize("benchmark", Benchmark)
def test_only_choices_of_the_operator_fail_on_an_unconfigured_k3s(benchmark: Benchmark) -> None:
    """K3s' own arguments meet all other rows, with the cipher suites and plugins of each benchmark."""
    failing = {row.id for row in API_SERVER if benchmark in row.numbers and not met(row, K3S_SETS, benchmark)}
    assert failing == {identifier for identifier in LEFT_TO_OPERATORS if benchmark in by_id(identifier).numbers}


@pytest.mark.parametrize("name", K3S_SETS)
def test_a_missing_default_of_k3s_passes_only_if_that_of_kubernetes_is_compliant(name: str) -> None:
    """Of the arguments that K3s sets, only the port has a compliant default of the API server."""
    given = {other: value for other, value in K3S_SETS.items() if other != name}
    broken = {row.id for row in API_SERVER if met(row, K3S_SETS) and not met(row, given)}
    assert bool(broken) == (name != "secure-port")


FILE = "/etc/ssl/some.pem"

EXAMPLES: tuple[tuple[str, str, list[str], list[str], bool], ...] = (
    ("apiserver-anonymous-auth", "anonymous-auth", ["false", "False", "0"], ["true", "1", "", "no"], False),
    ("apiserver-token-auth-file", "token-auth-file", [], [FILE, ""], True),
    ("apiserver-kubelet-https", "kubelet-https", ["true"], ["false"], True),
    ("apiserver-kubelet-client-certificate", "kubelet-client-certificate", [FILE], [""], False),
    ("apiserver-kubelet-client-certificate", "kubelet-client-key", [FILE], [""], False),
    ("apiserver-kubelet-certificate-authority", "kubelet-certificate-authority", [FILE], [""], False),
    (
        "apiserver-authorization-not-always-allow",
        "authorization-mode",
        ["Node,RBAC", "RBAC", "AlwaysDeny"],
        ["AlwaysAllow", "Node,RBAC,AlwaysAllow"],
        False,
    ),
    (
        "apiserver-authorization-node",
        "authorization-mode",
        ["Node", "RBAC,Node"],
        ["RBAC", "", "NodeX", "node,RBAC"],
        False,
    ),
    ("apiserver-authorization-rbac", "authorization-mode", ["RBAC", "Node,RBAC"], ["Node", "", "ABAC", "rbac"], False),
    (
        "apiserver-external-ips-not-denied",
        ADMISSION,
        ["NodeRestriction", ""],
        ["DenyServiceExternalIPs", "NodeRestriction,DenyServiceExternalIPs"],
        True,
    ),
    (
        "apiserver-external-ips-denied",
        ADMISSION,
        ["DenyServiceExternalIPs", "NodeRestriction,DenyServiceExternalIPs"],
        ["NodeRestriction", ""],
        False,
    ),
    (
        "apiserver-event-rate-limit",
        ADMISSION,
        ["NodeRestriction,EventRateLimit"],
        ["NodeRestriction", "", "EventRateLimits"],
        False,
    ),
    ("apiserver-always-admit", ADMISSION, ["NodeRestriction"], ["AlwaysAdmit", "NodeRestriction,AlwaysAdmit"], True),
    (
        "apiserver-always-pull-images",
        ADMISSION,
        ["AlwaysPullImages,NodeRestriction"],
        ["NodeRestriction", ""],
        False,
    ),
    (
        "apiserver-security-context-deny",
        ADMISSION,
        ["SecurityContextDeny", "NodeRestriction,PodSecurityPolicy", "PodSecurityPolicy,SecurityContextDeny"],
        ["NodeRestriction", "", "PodSecurity"],
        False,
    ),
    (
        "apiserver-service-account-plugin",
        "disable-admission-plugins",
        ["DefaultStorageClass", ""],
        ["ServiceAccount", "DefaultStorageClass,ServiceAccount"],
        True,
    ),
    (
        "apiserver-namespace-lifecycle",
        "disable-admission-plugins",
        ["DefaultStorageClass", ""],
        ["NamespaceLifecycle", "NamespaceLifecycle,ServiceAccount"],
        True,
    ),
    (
        "enable-admission-plugins",
        ADMISSION,
        ["NodeRestriction", "EventRateLimit,NodeRestriction"],
        ["EventRateLimit", "", "noderestriction"],
        False,
    ),
    ("apiserver-secure-port", "secure-port", ["6444", "1"], ["0", "", "-1"], True),
    ("apiserver-profiling", "profiling", ["false", "f"], ["true", "T", ""], False),
    ("audit-log-path", "audit-log-path", ["/var/log/audit.log"], ["", "-", "audit.log"], False),
    ("audit-log-maxage", "audit-log-maxage", ["30", "365"], ["29", "0", "", "30d"], False),
    ("audit-log-maxbackup", "audit-log-maxbackup", ["10", "11"], ["9", "0", ""], False),
    ("audit-log-maxsize", "audit-log-maxsize", ["100", "1000"], ["99", "0", "", "100M"], False),
    ("request-timeout", "request-timeout", ["300s", "1m0s", "60s"], ["0", "0s", "", "300"], True),
    ("service-account-lookup", "service-account-lookup", ["true"], ["false", "0", ""], True),
    ("apiserver-service-account-key-file", "service-account-key-file", [FILE], [""], False),
    ("apiserver-etcd-client-certificate", "etcd-certfile", [FILE], [""], False),
    ("apiserver-etcd-client-certificate", "etcd-keyfile", [FILE], [""], False),
    ("apiserver-serving-certificate", "tls-cert-file", [FILE], [""], False),
    ("apiserver-serving-certificate", "tls-private-key-file", [FILE], [""], False),
    ("apiserver-client-ca-file", "client-ca-file", [FILE], [""], False),
    ("apiserver-etcd-ca-file", "etcd-cafile", [FILE], [""], False),
    ("secrets-encryption", "encryption-provider-config", [FILE], [""], False),
    (
        "apiserver-cipher-suites",
        "tls-cipher-suites",
        ["TLS_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"],
        ["", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "TLS_AES_128_GCM_SHA256,TLS_RSA_WITH_AES_128_GCM_SHA256"],
        False,
    ),
    ("service-account-extend-token-expiration", "service-account-extend-token-expiration", ["false"], ["true"], False),
    ("audit-policy-file", "audit-policy-file", ["/etc/audit.yaml"], ["", "audit.yaml"], False),
)
"""A row's ID, an argument, values that pass, values that fail, and whether it can be absent."""


@pytest.mark.parametrize(
    ("identifier", "name", "passing", "failing", "unset_passes"),
    EXAMPLES,
    ids=[f"{identifier}-{name}" for identifier, name, *_ in EXAMPLES],
)
def test_a_row_accepts_compliant_values_in_each_spelling(
    identifier: str, name: str, passing: list[str], failing: list[str], *, unset_passes: bool
) -> None:
    """Weaker values are rejected."""
    row = by_id(identifier)
    others = {flag.name: FILE for flag in flags(row) if flag.name != name}
    assert [value for value in passing if not met(row, {**others, name: value})] == []
    assert [value for value in failing if met(row, {**others, name: value})] == []
    assert met(row, others) == unset_passes


def test_every_argument_of_every_row_has_examples() -> None:
    """Without an example, a row is not tested."""
    assert {(identifier, name) for identifier, name, *_ in EXAMPLES} == {
        (row.id, flag.name) for row in API_SERVER for flag in flags(row)
    }


@pytest.mark.parametrize(
    ("suite", "first_that_refuses"),
    [
        ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", None),
        ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", None),
        ("TLS_RSA_WITH_AES_256_GCM_SHA384", Benchmark.CIS_1_12),
        ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", Benchmark.CIS_1_12),
        ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", Benchmark.CIS_1_12),
        ("TLS_RSA_WITH_AES_128_CBC_SHA", Benchmark.CIS_1_10),
        ("TLS_RSA_WITH_3DES_EDE_CBC_SHA", Benchmark.CIS_1_10),
        ("TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", Benchmark.CIS_1_10),
        ("TLS_ECDHE_RSA_WITH_RC4_128_SHA", OLDEST),
        ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", OLDEST),
        ("TLS_RSA_WITH_RC4_128_SHA", OLDEST),
    ],
)
def test_newer_benchmarks_reject_more_cipher_suites(suite: str, first_that_refuses: Benchmark | None) -> None:
    """1.10 rejects 3DES and RSA with CBC; 1.12 rejects CBC and RSA key exchange."""
    row = by_id("apiserver-cipher-suites")
    refusing = [benchmark for benchmark in Benchmark if not met(row, {"tls-cipher-suites": suite}, benchmark)]
    every = list(Benchmark)
    assert refusing == (every[every.index(first_that_refuses) :] if first_that_refuses else [])


def test_weak_encryption_providers_are_not_accepted() -> None:
    """identity is clear text, and the benchmarks reject aesgcm, whose key must be rotated often."""
    check = by_id("apiserver-encryption-providers").check
    assert isinstance(check, EncryptionProviders)
    assert set(check.providers) == {"aescbc", "kms", "secretbox"}


def test_no_benchmark_requires_a_plugin_to_be_enabled_and_disabled() -> None:
    """The benchmarks disagree about DenyServiceExternalIPs: each has one of the two rows."""
    on, off = by_id("apiserver-external-ips-denied"), by_id("apiserver-external-ips-not-denied")
    assert set(on.numbers) | set(off.numbers) == set(Benchmark)
    assert not set(on.numbers) & set(off.numbers)


def test_only_plugins_have_level_2() -> None:
    """Three plugins are in the CIS profile for high security."""
    assert {row.id for row in API_SERVER if row.level != 1} == {
        "apiserver-namespace-lifecycle",
        "apiserver-service-account-plugin",
        "enable-admission-plugins",
    }


def test_only_rows_whose_fix_cannot_be_derived_have_their_own_text() -> None:
    """These are plugins, which are added to a list, and encryption, which needs more than an argument."""
    assert {row.id for row in API_SERVER if fix(row)} == {
        "apiserver-always-pull-images",
        "apiserver-encryption-providers",
        "apiserver-event-rate-limit",
        "apiserver-external-ips-denied",
        "apiserver-security-context-deny",
        "enable-admission-plugins",
        "secrets-encryption",
    }


def test_a_fix_for_a_plugin_keeps_the_plugin_of_k3s() -> None:
    """The argument replaces NodeRestriction, so a text without it would break another control."""
    for row in API_SERVER:
        if any(flag.name == ADMISSION and not flag.unset_passes for flag in flags(row)):
            assert "NodeRestriction" in fix(row), row.id


def test_the_texts_of_a_report_are_whole_sentences() -> None:
    """Rationale and fix are shown without context."""
    for row in API_SERVER:
        for text in (row.why,):
            assert text.endswith((".", ".)")), (row.id, text)
            assert "  " not in text, (row.id, text)
            assert ".." not in text, (row.id, text)
        assert not row.title.endswith("."), row.id
        assert row.guide or not fix(row).endswith("."), row.id
