"""K3s' options: their roles, redacted secrets, and values at which K3s exits, each with one that it accepts."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from agent.k3s.config_merge import ConfigText, merge_configuration
from agent.k3s.option_values import invalid_options
from agent.k3s.options import (
    AGENT_KEYS,
    ALIASES,
    CHECKED_KEYS,
    MOST_COMPARED,
    SECRET_KEYS,
    SERVER_ONLY_KEYS,
    SWITCHES,
    VARIABLES,
    Spelling,
)
from agent.k3s.redaction import is_secret, redacted

ALL_KEYS = AGENT_KEYS | SERVER_ONLY_KEYS


def test_every_table_names_options_that_exist() -> None:
    assert {*ALIASES.values(), *SWITCHES, *VARIABLES.values(), *SECRET_KEYS} <= ALL_KEYS


def test_secret_keys_are_exactly_the_options_with_a_secret_value() -> None:
    """An option that names a file with a secret, or that switches encryption, is not a secret itself."""
    not_secret = {"token-file", "agent-token-file", "secrets-encryption", "etcd-s3-config-secret", "vpn-auth-file"}
    assert {key for key in ALL_KEYS if is_secret(key)} == SECRET_KEYS
    assert not any(is_secret(key) for key in not_secret)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("token=K10abc::server:def password=x", "token=(not shown) password=(not shown)"),
        ('{"text": "token=K10abc::server:def"}', '{"text": "token=(not shown)"}'),
        ("password=x, agent-token=x", "password=(not shown), agent-token=(not shown)"),
        ("password=x\nnext", "password=(not shown)\nnext"),
    ],
)
def test_what_is_redacted_already_stays(text: str, expected: str) -> None:
    once = redacted(text)
    assert once == redacted(once) == expected


PATH = PurePosixPath("/etc/rancher/k3s/config.yaml")


def keys(text: str, *, is_server: bool = True) -> list[str]:
    return [
        value.key
        for value in invalid_options(merge_configuration([ConfigText(PATH, text.encode())]), is_server=is_server)
    ]


@pytest.mark.parametrize(
    ("stops", "near"),
    [
        ("secrets-encryption: maybe", "secrets-encryption: t"),
        ("selinux: tRUE", "selinux: yes"),
        ("selinux: [true, on1]", "selinux:"),
        ("https-listen-port: abc", "https-listen-port: 0x192b"),
        ("v: high", "v: 4"),
        ("etcd-s3-timeout: 5", "etcd-s3-timeout: 5m"),
        ("cluster-cidr: 10.42.0.0", "cluster-cidr: ['10.42.0.0/16', 'fd00:42::/56']"),
        ("service-cidr: 10.43.0.0/30", "service-cidr: 10.43.0.0/16,fd00:43::/112"),
        ("cluster-dns: dns", "cluster-dns: 10.43.0.10"),
        ("node-ip: node", "node-ip: [10.0.0.1, 'fd00::1']"),
        ("advertise-address: node", "advertise-address: 10.0.0.1"),
        ("service-node-port-range: 32767-30000", "service-node-port-range: 30000-32767"),
        ("egress-selector-mode: node", "egress-selector-mode: disabled"),
        ("flannel-backend: ipsec", "flannel-backend: wireguard-native"),
        ("flannel-backend: foo", "flannel-backend: foo\nflannel-conf: /etc/flannel.json"),
        ("disable-etcd: true", "disable-etcd: true\nserver: https://a:6443"),
        ("cluster-reset-restore-path: /a", "cluster-reset-restore-path: /a\ncluster-reset: true"),
    ],
)
def test_a_value_that_stops_k3s_is_reported_and_a_similar_one_is_not(stops: str, near: str) -> None:
    """The rules are in the source of K3s; no K3s was run."""
    assert keys(stops) == [stops.partition(":")[0]]
    assert keys(near) == []
    assert {stops.partition(":")[0]} <= CHECKED_KEYS


def test_an_agent_has_no_options_of_a_server() -> None:
    """The agent exits at the option itself, which another finding reports."""
    assert keys("cluster-cidr: foo\nsecrets-encryption: maybe", is_server=False) == []
    assert keys("selinux: maybe", is_server=False) == ["selinux"]


def test_an_option_that_some_versions_do_not_have_is_not_checked() -> None:
    """K3s removes an unknown option of a server before it parses the values."""
    assert keys("docker: maybe\nkine-tls: maybe") == []


def test_only_a_limited_number_of_names_is_compared() -> None:
    """A generated file can have thousands of unknown names."""
    spelling = Spelling(("tls-san",))
    assert {spelling.meant("tls-sans") for _ in range(MOST_COMPARED)} == {"tls-san"}
    assert spelling.meant("tls-sans") == ""
