"""A state of K3s in which each rule of the Kubernetes STIG that is decided here fails.

Tests compare the verdict on each state, and put the real components into it. A new rule needs a row here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from agent.base.model import StrEnum
from agent.k3s.roles_and_versions import Component

TOKENS = "/etc/tokens.csv"
"""The file of the state of V-245543."""
CLIENTS, PEERS = "client-transport-security", "peer-transport-security"
"""Sections of etcd's configuration."""


class Effect(StrEnum):
    """What a component does with a wrong value."""

    RUNS = "runs"
    EXITS = "exits"
    WAITS = "never becomes ready"  # or not for a client with a certificate


class WrongArgument(NamedTuple):
    """A value of an argument that opens rules."""

    rules: str
    """The numbers, without V-."""
    component: Component
    argument: str
    effect: Effect = Effect.RUNS


class WrongAccess(NamedTuple):
    """A mode or an owner of a file, below K3s' data directory, that opens rules."""

    rules: str
    path: str
    mode: int = 0
    """0 for another owner."""


class WrongEtcd(NamedTuple):
    """Keys of a section of etcd's configuration that open rules."""

    rules: str
    section: str
    changed: Mapping[str, object]
    """None removes the key."""
    effect: Effect = Effect.RUNS


_API, _KUBELET = Component.API_SERVER, Component.KUBELET
_MANAGER, _SCHEDULER = Component.CONTROLLER_MANAGER, Component.SCHEDULER
ARGUMENTS: tuple[WrongArgument, ...] = (
    WrongArgument("242378", _API, "tls-min-version=VersionTLS11"),
    WrongArgument("242382", _API, "authorization-mode=AlwaysAllow"),
    WrongArgument("242389", _API, "secure-port=0", Effect.EXITS),
    WrongArgument("242390", _API, "anonymous-auth=true"),
    WrongArgument("242400", _API, "runtime-config=api/alpha=true"),
    WrongArgument("242402 242465", _API, "audit-log-path="),
    WrongArgument("242418", _API, "tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    WrongArgument("242419", _API, "client-ca-file=", Effect.WAITS),
    WrongArgument("242422", _API, "tls-cert-file=", Effect.EXITS),
    WrongArgument("242429", _API, "etcd-cafile="),
    WrongArgument("242430", _API, "etcd-certfile="),
    WrongArgument("242431", _API, "etcd-keyfile="),
    WrongArgument("242436 254801", _API, "disable-admission-plugins=ValidatingAdmissionWebhook,PodSecurity"),
    WrongArgument("242438", _API, "request-timeout=0s", Effect.WAITS),
    WrongArgument("242461", _API, "audit-policy-file="),
    WrongArgument("242462", _API, "audit-log-maxsize=1"),
    WrongArgument("242463", _API, "audit-log-maxbackup=1"),
    WrongArgument("242464", _API, "audit-log-maxage=1"),
    WrongArgument("245543", _API, f"token-auth-file={TOKENS}"),
    WrongArgument("245544", _API, "kubelet-client-certificate="),
    WrongArgument("274882", _API, "encryption-provider-config="),
    WrongArgument("242376", _MANAGER, "tls-min-version=VersionTLS10"),
    WrongArgument("242381", _MANAGER, "use-service-account-credentials=false"),
    WrongArgument("242385", _MANAGER, "bind-address=0.0.0.0"),
    WrongArgument("242409", _MANAGER, "profiling=true"),
    WrongArgument("242421", _MANAGER, "root-ca-file="),
    WrongArgument("242377", _SCHEDULER, "tls-min-version=VersionTLS11"),
    WrongArgument("242384", _SCHEDULER, "bind-address=0.0.0.0"),
    WrongArgument("242387", _KUBELET, "read-only-port=10255"),
    WrongArgument("242391", _KUBELET, "anonymous-auth=true"),
    WrongArgument("242392", _KUBELET, "authorization-mode=AlwaysAllow"),
    WrongArgument("242397", _KUBELET, "pod-manifest-path=/etc/manifests"),
    WrongArgument("242420", _KUBELET, "client-ca-file="),
    WrongArgument("242424", _KUBELET, "tls-private-key-file="),
    WrongArgument("242425", _KUBELET, "tls-cert-file="),
    WrongArgument("242434", _KUBELET, "protect-kernel-defaults=false"),
    WrongArgument("245541", _KUBELET, "streaming-connection-idle-timeout=1m"),
)
_KUBELET_FILE = "agent/etc/kubelet.conf.d/00-k3s-defaults.conf"
ACCESS: tuple[WrongAccess, ...] = (
    WrongAccess("242406 242457", _KUBELET_FILE),
    WrongAccess("242407 242456", _KUBELET_FILE, 0o666),
    WrongAccess("242446", "server/cred/scheduler.kubeconfig"),
    WrongAccess("242447", "agent/kubeproxy.kubeconfig", 0o666),
    WrongAccess("242448", "agent/kubeproxy.kubeconfig"),
    WrongAccess("242449", "agent/client-ca.crt", 0o666),
    WrongAccess("242450", "agent/client-ca.crt"),
    WrongAccess("242451", "server/tls/server-ca.crt"),
    WrongAccess("242452", "agent/kubelet.kubeconfig", 0o666),
    WrongAccess("242453", "agent/kubelet.kubeconfig"),
    WrongAccess("242460", "server/cred/controller.kubeconfig", 0o666),
    WrongAccess("242466", "server/tls/client-ca.crt", 0o666),
    WrongAccess("242467", "server/tls/client-ca.key", 0o644),
)
_ANYBODY: Mapping[str, object] = {"client-cert-auth": False, "trusted-ca-file": None}
ETCD: tuple[WrongEtcd, ...] = (
    WrongEtcd("242379", CLIENTS, {"auto-tls": True}),
    WrongEtcd("242380", PEERS, {"auto-tls": True}),
    WrongEtcd("242423", CLIENTS, _ANYBODY),
    WrongEtcd("242426", PEERS, _ANYBODY),
    WrongEtcd("242427 242428", CLIENTS, {"key-file": None}, Effect.EXITS),
    WrongEtcd("242432 242433", PEERS, {"cert-file": None}, Effect.EXITS),
)
ETCD_DATA = "242459"
"""The rule about the files of etcd: its directory is open to others."""
POD_ENVIRONMENT = "242415"
"""The rule that only the API server decides: a pod has a Secret as an environment variable."""


def rules(*states: Iterable[WrongArgument | WrongAccess | WrongEtcd]) -> list[str]:
    return [f"V-{number}" for group in states for state in group for number in state.rules.split()]


def configuration(states: Iterable[WrongArgument]) -> dict[str, list[str]]:
    """Return K3s' configuration with these arguments."""
    found: dict[str, list[str]] = {}
    for state in states:
        found.setdefault(state.component.config_key, []).append(state.argument)
    return found
