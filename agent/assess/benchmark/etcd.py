"""Controls of etcd's configuration (section 2), which K3s writes at each start."""

from __future__ import annotations

from functools import partial

from agent.assess.benchmark.control import BenchmarkControl, benchmark_control
from agent.assess.checks.check import AllOf
from agent.assess.checks.datastore_checks import OWN_AUTHORITIES, EtcdSetting
from agent.harden.guide.criteria import Boolean, EachHttps, Equals
from agent.k3s.roles_and_versions import ON_SERVERS

_row = partial(benchmark_control, applies=ON_SERVERS)


def _file(key: str, name: str) -> EtcdSetting:
    return EtcdSetting(key, Equals(f"{{data_dir}}/server/tls/etcd/{name}"))


def _pair(section: str, name: str) -> AllOf:
    return AllOf((_file(f"{section}.cert-file", f"{name}.crt"), _file(f"{section}.key-file", f"{name}.key")))


_LISTENERS = EtcdSetting("listen-client-urls", EachHttps(), unset_passes=True)
"""A client of a listener without TLS needs no certificate."""

ETCD: tuple[BenchmarkControl, ...] = (
    _row(
        "etcd-server-certificate",
        AllOf((*_pair("client-transport-security", "server-client").checks, _LISTENERS)),
    ),
    _row(
        "etcd-client-cert-auth",
        AllOf((EtcdSetting("client-transport-security.client-cert-auth", Boolean(expected=True)), _LISTENERS)),
    ),
    _row(
        "etcd-auto-tls", EtcdSetting("client-transport-security.auto-tls", Boolean(expected=False), unset_passes=True)
    ),
    _row("etcd-peer-certificate", _pair("peer-transport-security", "peer-server-client")),
    _row("etcd-peer-client-cert-auth", EtcdSetting("peer-transport-security.client-cert-auth", Boolean(expected=True))),
    _row(
        "etcd-peer-auto-tls",
        EtcdSetting("peer-transport-security.auto-tls", Boolean(expected=False), unset_passes=True),
    ),
    _row(
        "etcd-unique-ca",
        AllOf(
            (
                _file("client-transport-security.trusted-ca-file", "server-ca.crt"),
                _file("peer-transport-security.trusted-ca-file", "peer-ca.crt"),
                OWN_AUTHORITIES,
            )
        ),
    ),
)
"""In the benchmarks' order. They apply to servers whose K3s runs etcd."""
