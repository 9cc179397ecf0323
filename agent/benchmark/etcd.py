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
        id="etcd-server-certificate",
        title="etcd serves clients with K3s' certificate and key",
        numbers=numbered("2.1A 2.1u 2.1u 2.1u 2.1u 2.1M 2.1M 2.1M 2.1M 2.1A"),
        check=_pair("client-transport-security", "server-client"),
        why="Without them etcd serves in plain text, and everyone on the network path can read the cluster's Secrets.",
    ),
    _row(
        id="etcd-client-cert-auth",
        title="etcd requires client certificates",
        numbers=numbered("2.2A 2.2u 2.2u 2.2u 2.2u 2.2M 2.2M 2.2M 2.2M 2.2A"),
        check=EtcdSetting("client-transport-security.client-cert-auth", Boolean(expected=True)),
        why=(
            "Otherwise everyone who can reach the port can read and change the whole cluster, without the API server"
            " and RBAC."
        ),
    ),
    _row(
        id="etcd-auto-tls",
        title="etcd does not use a self-signed certificate for clients",
        numbers=numbered("2.3A 2.3u 2.3u 2.3u 2.3u 2.3M 2.3M 2.3M 2.3M 2.3A"),
        check=EtcdSetting("client-transport-security.auto-tls", Boolean(expected=False), unset_passes=True),
        why="A client cannot verify a self-signed certificate, so it cannot distinguish etcd from an impostor.",
    ),
    _row(
        id="etcd-peer-certificate",
        title="etcd connects to peers with K3s' certificate and key",
        numbers=numbered("2.4A 2.4u 2.4u 2.4u 2.4u 2.4M 2.4M 2.4M 2.4M 2.4A"),
        check=_pair("peer-transport-security", "peer-server-client"),
        why="Without them the members of etcd replicate the cluster's data in plain text.",
    ),
    _row(
        id="etcd-peer-client-cert-auth",
        title="etcd requires peer certificates",
        numbers=numbered("2.5A 2.5u 2.5u 2.5u 2.5u 2.5M 2.5M 2.5M 2.5M 2.5A"),
        check=EtcdSetting("peer-transport-security.client-cert-auth", Boolean(expected=True)),
        why="Otherwise everyone who can reach the port can impersonate a member of etcd, and read and change all data.",
    ),
    _row(
        id="etcd-peer-auto-tls",
        title="etcd does not use a self-signed certificate for peers",
        numbers=numbered("2.6A 2.6u 2.6u 2.6u 2.6u 2.6M 2.6M 2.6M 2.6M 2.6A"),
        check=EtcdSetting("peer-transport-security.auto-tls", Boolean(expected=False), unset_passes=True),
        why="A peer cannot verify a self-signed certificate, so it cannot distinguish a member from an impostor.",
    ),
    _row(
        id="etcd-unique-ca",
        title="etcd has separate certificate authorities",
        numbers=numbered("2.7u 2.7u 2.7u 2.7u 2.7u 2.7M 2.7M 2.7M 2.7M 2.7M"),
        level=2,
        check=AllOf(
            (
                _file("client-transport-security.trusted-ca-file", "server-ca.crt"),
                _file("peer-transport-security.trusted-ca-file", "peer-ca.crt"),
            )
        ),
        why=(
            "If etcd trusts an authority that also signs for the cluster, every client certificate of the cluster"
            " gives access to etcd, where RBAC does not apply."
        ),
    ),
)
"""In the benchmarks' order. They apply to servers whose K3s runs etcd."""
