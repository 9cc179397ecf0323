"""What the benchmarks ask of etcd's configuration (their section 2), which K3s writes again at each start."""

from __future__ import annotations

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
_SOURCE = "k3s-io/k3s pkg/etcd/etcd.go"


def _file(key: str, name: str) -> EtcdSetting:
    return EtcdSetting(key, Equals(f"{{data_dir}}/server/tls/etcd/{name}"))


ETCD: tuple[BenchmarkControl, ...] = (
    BenchmarkControl(
        id="etcd-server-certificate",
        title="etcd serves its clients with K3s' certificate and key",
        numbers=numbered("2.1A 2.1u 2.1u 2.1u 2.1u 2.1M 2.1M 2.1M 2.1M 2.1A"),
        applies=ON_SERVERS,
        check=AllOf(
            (
                _file("client-transport-security.cert-file", "server-client.crt"),
                _file("client-transport-security.key-file", "server-client.key"),
            )
        ),
        why="Without them etcd serves in plain text, and anyone on the network path can read the cluster's secrets.",
        remediation=_REMEDIATION,
        source=_SOURCE,
    ),
    BenchmarkControl(
        id="etcd-client-cert-auth",
        title="etcd asks its clients for a certificate",
        numbers=numbered("2.2A 2.2u 2.2u 2.2u 2.2u 2.2M 2.2M 2.2M 2.2M 2.2A"),
        applies=ON_SERVERS,
        check=EtcdSetting("client-transport-security.client-cert-auth", Boolean(expected=True)),
        why=(
            "Otherwise anyone who can reach the port can read and write the whole cluster, past the API server and"
            " RBAC."
        ),
        remediation=_REMEDIATION,
        source=_SOURCE,
    ),
    BenchmarkControl(
        id="etcd-auto-tls",
        title="etcd makes up no certificate for its clients",
        numbers=numbered("2.3A 2.3u 2.3u 2.3u 2.3u 2.3M 2.3M 2.3M 2.3M 2.3A"),
        applies=ON_SERVERS,
        check=EtcdSetting("client-transport-security.auto-tls", Boolean(expected=False), unset_passes=True),
        why="A certificate that etcd signs itself proves nothing, so a client cannot tell etcd from an impostor.",
        remediation=_REMEDIATION,
        source=_SOURCE,
    ),
    BenchmarkControl(
        id="etcd-peer-certificate",
        title="etcd speaks to its peers with K3s' certificate and key",
        numbers=numbered("2.4A 2.4u 2.4u 2.4u 2.4u 2.4M 2.4M 2.4M 2.4M 2.4A"),
        applies=ON_SERVERS,
        check=AllOf(
            (
                _file("peer-transport-security.cert-file", "peer-server-client.crt"),
                _file("peer-transport-security.key-file", "peer-server-client.key"),
            )
        ),
        why="Without them the members of etcd copy the cluster's data to each other in plain text.",
        remediation=_REMEDIATION,
        source=_SOURCE,
    ),
    BenchmarkControl(
        id="etcd-peer-client-cert-auth",
        title="etcd asks its peers for a certificate",
        numbers=numbered("2.5A 2.5u 2.5u 2.5u 2.5u 2.5M 2.5M 2.5M 2.5M 2.5A"),
        applies=ON_SERVERS,
        check=EtcdSetting("peer-transport-security.client-cert-auth", Boolean(expected=True)),
        why="Otherwise anyone who can reach the port can pass for a member of etcd, and copy and change all data.",
        remediation=_REMEDIATION,
        source=_SOURCE,
    ),
    BenchmarkControl(
        id="etcd-peer-auto-tls",
        title="etcd makes up no certificate for its peers",
        numbers=numbered("2.6A 2.6u 2.6u 2.6u 2.6u 2.6M 2.6M 2.6M 2.6M 2.6A"),
        applies=ON_SERVERS,
        check=EtcdSetting("peer-transport-security.auto-tls", Boolean(expected=False), unset_passes=True),
        why="A certificate that a member signs itself proves nothing, so its peers cannot tell it from an impostor.",
        remediation=_REMEDIATION,
        source=_SOURCE,
    ),
    BenchmarkControl(
        id="etcd-unique-ca",
        title="etcd has certificate authorities of its own",
        numbers=numbered("2.7u 2.7u 2.7u 2.7u 2.7u 2.7M 2.7M 2.7M 2.7M 2.7M"),
        level=2,
        applies=ON_SERVERS,
        check=AllOf(
            (
                _file("client-transport-security.trusted-ca-file", "server-ca.crt"),
                _file("peer-transport-security.trusted-ca-file", "peer-ca.crt"),
            )
        ),
        why=(
            "If etcd trusts an authority that also signs for the cluster, every client certificate of the cluster"
            " opens etcd, where RBAC does not apply."
        ),
        remediation=_REMEDIATION,
        source=_SOURCE,
    ),
)
"""In the benchmarks' order. They are for servers whose K3s runs etcd; with another datastore nothing can be asked."""
