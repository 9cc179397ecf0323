"""Controls of etcd's configuration (section 2), which K3s writes at each start."""

from __future__ import annotations

from functools import partial

from agent.benchmark.control import BenchmarkControl, numbered
from agent.checks.check import AllOf
from agent.checks.datastore import EtcdSetting
from agent.guide.criteria import Boolean, Equals
from agent.model import ON_SERVERS, Instruction, OwnCommand, Remediation

_REMEDIATION = Remediation(
    (
        Instruction("restart K3s, which writes etcd's configuration at each start"),
        OwnCommand("assess"),
        Instruction("find out what changes the file, or where this build of K3s is from, if the value is still wrong"),
    )
)

_row = partial(BenchmarkControl, applies=ON_SERVERS, remediation=_REMEDIATION, source="k3s-io/k3s pkg/etcd/etcd.go")


def _file(key: str, name: str) -> EtcdSetting:
    return EtcdSetting(key, Equals(f"{{data_dir}}/server/tls/etcd/{name}"))


def _pair(section: str, name: str) -> AllOf:
    return AllOf((_file(f"{section}.cert-file", f"{name}.crt"), _file(f"{section}.key-file", f"{name}.key")))


ETCD: tuple[BenchmarkControl, ...] = (
    _row(
        "etcd-server-certificate",
        "etcd serves clients with K3s' certificate and key",
        _pair("client-transport-security", "server-client"),
        "Without them etcd serves in plain text, and everyone on the network path can read the cluster's Secrets.",
        numbers=numbered("2.1A 2.1u 2.1u 2.1u 2.1u 2.1M 2.1M 2.1M 2.1M 2.1A"),
    ),
    _row(
        "etcd-client-cert-auth",
        "etcd requires client certificates",
        EtcdSetting("client-transport-security.client-cert-auth", Boolean(expected=True)),
        "Otherwise everyone who can reach the port can read and change the whole cluster, without the API server"
        " and RBAC.",
        numbers=numbered("2.2A 2.2u 2.2u 2.2u 2.2u 2.2M 2.2M 2.2M 2.2M 2.2A"),
    ),
    _row(
        "etcd-auto-tls",
        "etcd does not use a self-signed certificate for clients",
        EtcdSetting("client-transport-security.auto-tls", Boolean(expected=False), unset_passes=True),
        "A client cannot verify a self-signed certificate, so it cannot distinguish etcd from an impostor.",
        numbers=numbered("2.3A 2.3u 2.3u 2.3u 2.3u 2.3M 2.3M 2.3M 2.3M 2.3A"),
    ),
    _row(
        "etcd-peer-certificate",
        "etcd connects to peers with K3s' certificate and key",
        _pair("peer-transport-security", "peer-server-client"),
        "Without them the members of etcd replicate the cluster's data in plain text.",
        numbers=numbered("2.4A 2.4u 2.4u 2.4u 2.4u 2.4M 2.4M 2.4M 2.4M 2.4A"),
    ),
    _row(
        "etcd-peer-client-cert-auth",
        "etcd requires peer certificates",
        EtcdSetting("peer-transport-security.client-cert-auth", Boolean(expected=True)),
        "Otherwise everyone who can reach the port can impersonate a member of etcd, and read and change all data.",
        numbers=numbered("2.5A 2.5u 2.5u 2.5u 2.5u 2.5M 2.5M 2.5M 2.5M 2.5A"),
    ),
    _row(
        "etcd-peer-auto-tls",
        "etcd does not use a self-signed certificate for peers",
        EtcdSetting("peer-transport-security.auto-tls", Boolean(expected=False), unset_passes=True),
        "A peer cannot verify a self-signed certificate, so it cannot distinguish a member from an impostor.",
        numbers=numbered("2.6A 2.6u 2.6u 2.6u 2.6u 2.6M 2.6M 2.6M 2.6M 2.6A"),
    ),
    _row(
        "etcd-unique-ca",
        "etcd has separate certificate authorities",
        AllOf(
            (
                _file("client-transport-security.trusted-ca-file", "server-ca.crt"),
                _file("peer-transport-security.trusted-ca-file", "peer-ca.crt"),
            )
        ),
        "If etcd trusts an authority that also signs for the cluster, every client certificate of the cluster"
        " gives access to etcd, where RBAC does not apply.",
        numbers=numbered("2.7u 2.7u 2.7u 2.7u 2.7u 2.7M 2.7M 2.7M 2.7M 2.7M"),
        level=2,
    ),
)
"""In the benchmarks' order. They apply to servers whose K3s runs etcd."""
