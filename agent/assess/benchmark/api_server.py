"""Controls of the API server's arguments (section 1.2, and the audit policy of 3.2)."""

from __future__ import annotations

from functools import partial

from agent.assess.benchmark.argument_rows import of_the_guide, without_plugin
from agent.assess.benchmark.control import BenchmarkControl, benchmark_control
from agent.assess.checks.argument_checks import ArgumentCheck
from agent.assess.checks.check import AllOf
from agent.assess.checks.datastore_checks import OWN_SIGNING_KEY, EncryptionProviders
from agent.harden.guide.criteria import (
    AtLeast,
    Boolean,
    EachNotEmpty,
    ListExcludes,
    ListIncludes,
    ListIncludesOneOf,
    ListSubsetOf,
    NotEmpty,
    NotGiven,
)
from agent.harden.guide.k3s_options import SECRETS_ENCRYPTION, newest, oldest
from agent.k3s.cis.versions import Benchmark, up_to
from agent.k3s.go_values import suites_with_long_names
from agent.k3s.roles_and_versions import ON_SERVERS, SERVERS, WITH_POD_SECURITY_POLICY, Applies, Component

_row = partial(benchmark_control, applies=ON_SERVERS)
_guide = partial(of_the_guide, Component.API_SERVER)
_argument = partial(ArgumentCheck, Component.API_SERVER)


def _files(*names: str) -> AllOf:
    return AllOf(tuple(_argument(name, NotEmpty()) for name in names))


def _includes(plugin: str, setting: str = "") -> ArgumentCheck:
    return _argument("enable-admission-plugins", ListIncludes((plugin,)), setting=setting)


_POD_SECURITY_POLICY = oldest("enable-admission-plugins")
_NODE_RESTRICTION = newest("enable-admission-plugins")

_KEY_EXCHANGES = ("TLS_ECDHE_ECDSA_WITH", "TLS_ECDHE_RSA_WITH")
_SUITES = (
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    *suites_with_long_names(
        f"{exchange}_{cipher}"
        for exchange in _KEY_EXCHANGES
        for cipher in ("AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305")
    ),
)
_SUITES_UNTIL_1_11 = (
    *_SUITES,
    *(f"{exchange}_{cipher}" for exchange in _KEY_EXCHANGES for cipher in ("AES_128_CBC_SHA", "AES_256_CBC_SHA")),
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
)
_SUITES_UNTIL_1_9 = (
    *_SUITES_UNTIL_1_11,
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
)


def _suites(names: tuple[str, ...]) -> ArgumentCheck:
    return _argument("tls-cipher-suites", ListSubsetOf(names))


API_SERVER: tuple[BenchmarkControl, ...] = (
    # Authentication
    _row("apiserver-anonymous-auth", _argument("anonymous-auth", Boolean(expected=False))),
    _row("apiserver-token-auth-file", _argument("token-auth-file", NotGiven(), unset_passes=True)),
    # Connections to kubelets
    _row("apiserver-kubelet-https", _argument("kubelet-https", Boolean(expected=True), unset_passes=True)),
    _row("apiserver-kubelet-client-certificate", _files("kubelet-client-certificate", "kubelet-client-key")),
    _row("apiserver-kubelet-certificate-authority", _argument("kubelet-certificate-authority", NotEmpty())),
    # Authorization
    _row(
        "apiserver-authorization-not-always-allow",
        # Without the argument the API server itself allows everything.
        _argument("authorization-mode", ListExcludes(("AlwaysAllow",))),
    ),
    _row("apiserver-authorization-node", _argument("authorization-mode", ListIncludes(("Node",)))),
    _row("apiserver-authorization-rbac", _argument("authorization-mode", ListIncludes(("RBAC",)))),
    # Admission
    _row("apiserver-external-ips-not-denied", without_plugin("DenyServiceExternalIPs", "enable-admission-plugins")),
    _row(
        "apiserver-external-ips-denied",
        _includes("DenyServiceExternalIPs", "deny-service-external-ips"),
        caution="look for Services that use externalIPs, because new external IPs will be rejected",
    ),
    _row("apiserver-event-rate-limit", _includes("EventRateLimit", "event-rate-limit")),
    _row("apiserver-always-admit", without_plugin("AlwaysAdmit", "enable-admission-plugins")),
    _row(
        "apiserver-always-pull-images",
        _includes("AlwaysPullImages", "always-pull-images"),
        caution="make sure that a registry serves each image, because containers do not start without it",
    ),
    benchmark_control(
        "apiserver-security-context-deny",
        _argument("enable-admission-plugins", ListIncludesOneOf(("SecurityContextDeny", "PodSecurityPolicy"))),
        # The API server of v1.25 and newer rejects PodSecurityPolicy at startup.
        applies=Applies(SERVERS, WITH_POD_SECURITY_POLICY),
        caution=(
            "create PodSecurityPolicies such as those of policy.yaml, because the plugin admits no pod without a policy"
        ),
        guide=_POD_SECURITY_POLICY,
    ),
    _row("apiserver-service-account-plugin", without_plugin("ServiceAccount")),
    _row("apiserver-namespace-lifecycle", without_plugin("NamespaceLifecycle")),
    _row(
        _NODE_RESTRICTION.id,
        _includes("NodeRestriction"),
        guide=_NODE_RESTRICTION,
    ),
    # Serving
    _row("apiserver-secure-port", _argument("secure-port", AtLeast(1), unset_passes=True)),
    _row("apiserver-profiling", _argument("profiling", Boolean(expected=False))),
    # Audit log
    _guide(newest("audit-log-path")),
    _guide(newest("audit-log-maxage")),
    _guide(newest("audit-log-maxbackup")),
    _guide(newest("audit-log-maxsize")),
    # Requests
    _guide(newest("request-timeout")),
    _guide(newest("service-account-lookup")),
    # Keys and certificates
    _row(
        "apiserver-service-account-key-file",
        AllOf((_argument("service-account-key-file", EachNotEmpty()), OWN_SIGNING_KEY)),
    ),
    _row("apiserver-etcd-client-certificate", _files("etcd-certfile", "etcd-keyfile")),
    _row("apiserver-serving-certificate", _files("tls-cert-file", "tls-private-key-file")),
    _row("apiserver-client-ca-file", _argument("client-ca-file", NotEmpty())),
    _row("apiserver-etcd-ca-file", _argument("etcd-cafile", NotEmpty())),
    # Encryption of Secrets
    _row(
        SECRETS_ENCRYPTION.id,
        _argument("encryption-provider-config", NotEmpty()),
        guide=SECRETS_ENCRYPTION,
    ),
    _row(
        "apiserver-encryption-providers",
        EncryptionProviders(("aescbc", "kms", "secretbox")),
        guide=SECRETS_ENCRYPTION,
    ),
    # Ciphers and additions of newer benchmarks
    _row(
        "apiserver-cipher-suites",
        _suites(_SUITES),
        earlier={
            **dict.fromkeys(up_to(Benchmark.CIS_1_11), _suites(_SUITES_UNTIL_1_11)),
            **dict.fromkeys(up_to(Benchmark.CIS_1_9), _suites(_SUITES_UNTIL_1_9)),
        },
    ),
    _guide(newest("service-account-extend-token-expiration")),
    _guide(newest("audit-policy-file")),
)
"""By topic."""
