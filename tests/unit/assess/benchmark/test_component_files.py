"""Rows of files and etcd: numbers, letters and modes in the benchmarks."""

from __future__ import annotations

import pytest

from agent.assess.benchmark.component_files import COMPONENT_FILES
from agent.assess.benchmark.component_settings import ETCD
from agent.assess.benchmark.control import BenchmarkControl
from agent.assess.checks.check import Check, NotInK3s
from agent.assess.checks.datastore_checks import OWN_AUTHORITIES, EtcdSetting
from agent.assess.checks.file_modes import Ownership, Permissions
from agent.assess.checks.host_paths import HostPaths
from agent.harden.guide.criteria import Equals
from agent.k3s.roles_and_versions import BOTH_ROLES, SERVERS
from tests.unit.assess.benchmark.rows import parts

ROWS = COMPONENT_FILES + ETCD

ETCD_CONFIGURATION = {
    "client-transport-security.cert-file": "/srv/k3s/server/tls/etcd/server-client.crt",
    "client-transport-security.key-file": "/srv/k3s/server/tls/etcd/server-client.key",
    "client-transport-security.client-cert-auth": "true",
    "client-transport-security.trusted-ca-file": "/srv/k3s/server/tls/etcd/server-ca.crt",
    "peer-transport-security.cert-file": "/srv/k3s/server/tls/etcd/peer-server-client.crt",
    "peer-transport-security.key-file": "/srv/k3s/server/tls/etcd/peer-server-client.key",
    "peer-transport-security.client-cert-auth": "true",
    "peer-transport-security.trusted-ca-file": "/srv/k3s/server/tls/etcd/peer-ca.crt",
}
"""TLS settings that K3s with the data directory /srv/k3s writes for etcd; auto-tls is not set."""


def fixed(check: Permissions | Ownership) -> tuple[str, ...]:
    return () if isinstance(check.paths, HostPaths) else check.paths


def files_of(check: Check) -> list[object]:
    return list(dict.fromkeys(part.paths for part in parts(check) if isinstance(part, (Permissions, Ownership))))


def asked(rows: tuple[BenchmarkControl, ...]) -> list[tuple[BenchmarkControl, Check]]:
    return [(row, part) for row in rows for check in (row.check, *row.earlier.values()) for part in parts(check)]


def test_files_of_the_server_directory_apply_to_servers() -> None:
    """Both roles have a kubelet, with its files below agent/."""
    for row, part in asked(ROWS):
        if isinstance(part, (Permissions, Ownership)):
            of_server = any(path.startswith("server/") for path in fixed(part))
            assert row.applies.roles == (SERVERS if of_server else BOTH_ROLES), row.id
    assert {row.applies.roles for row in ETCD} == {SERVERS}
    of_kubelet = {row.applies.roles for row in COMPONENT_FILES if row.id.startswith(("kubelet-", "kube-proxy-"))}
    assert of_kubelet == {BOTH_ROLES}


def test_permissions_and_ownership_are_tested_on_the_same_files() -> None:
    rows = {row.id: row for row in ROWS if not row.id.startswith(("pki-", "etcd-data-"))}
    names = [name.removesuffix("-ownership") for name in rows if name.endswith("-ownership")]
    pairs = [(rows[f"{name}-permissions"], rows[f"{name}-ownership"]) for name in names]
    for permissions, ownership in pairs:
        if isinstance(permissions.check, NotInK3s):
            assert ownership.check == permissions.check
        else:
            assert files_of(permissions.check)
            assert files_of(ownership.check) == files_of(permissions.check)


def test_etcd_as_k3s_configures_it_meets_every_row() -> None:
    """This is true for any data directory, and if auto-tls is not set."""
    for row, part in asked(ETCD):
        if part is OWN_AUTHORITIES:
            continue
        assert isinstance(part, EtcdSetting)
        if part.key in ETCD_CONFIGURATION:
            assert accepts(part, ETCD_CONFIGURATION[part.key]), row.id
        else:
            assert part.unset_passes, row.id


@pytest.mark.parametrize(
    ("key", "value", "broken"),
    [
        ("client-transport-security.cert-file", "/srv/own.crt", "etcd-server-certificate"),
        ("client-transport-security.key-file", "/srv/own.key", "etcd-server-certificate"),
        ("client-transport-security.client-cert-auth", "false", "etcd-client-cert-auth"),
        ("client-transport-security.auto-tls", "true", "etcd-auto-tls"),
        ("peer-transport-security.cert-file", "/srv/own.crt", "etcd-peer-certificate"),
        ("peer-transport-security.key-file", "/srv/own.key", "etcd-peer-certificate"),
        ("peer-transport-security.client-cert-auth", "false", "etcd-peer-client-cert-auth"),
        ("peer-transport-security.auto-tls", "true", "etcd-peer-auto-tls"),
        ("client-transport-security.trusted-ca-file", "/srv/k3s/server/tls/client-ca.crt", "etcd-unique-ca"),
        ("peer-transport-security.trusted-ca-file", "/srv/k3s/server/tls/server-ca.crt", "etcd-unique-ca"),
    ],
)
def test_a_changed_key_of_etcd_fails_only_its_row(key: str, value: str, broken: str) -> None:
    configuration = ETCD_CONFIGURATION | {key: value}
    failing = {
        row.id
        for row, part in asked(ETCD)
        if isinstance(part, EtcdSetting) and part.key in configuration and not accepts(part, configuration[part.key])
    }
    assert failing == {broken}


@pytest.mark.parametrize("key", ETCD_CONFIGURATION)
def test_a_missing_key_of_etcd_fails(key: str) -> None:
    """Its default is no TLS and no client certificate."""
    settings = [part for _, part in asked(ETCD) if isinstance(part, EtcdSetting) and part.key == key]
    assert [setting.unset_passes for setting in settings] == [False]


def accepts(setting: EtcdSetting, value: str) -> bool:
    """Return whether the criterion accepts it on a host with the data directory /srv/k3s."""
    criterion = setting.criterion
    if isinstance(criterion, Equals):
        criterion = Equals(criterion.text.format(data_dir="/srv/k3s"))
    return criterion.accepts(value)
