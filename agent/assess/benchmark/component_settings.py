"""Controls of the settings of components, from section 1.2 to 4.3 of the benchmarks, and the audit policy of 3.2.

The kubelet's settings are named as arguments, although K3s v1.32 and newer sets them in the kubelet's files.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from agent.assess.benchmark.control import BenchmarkControl, benchmark_control
from agent.assess.checks.argument_checks import ArgumentCheck
from agent.assess.checks.check import AllOf, NotInK3s
from agent.assess.checks.datastore_checks import OWN_AUTHORITIES, OWN_SIGNING_KEY, EncryptionProviders, EtcdSetting
from agent.base.value import replace
from agent.harden.guide.criteria import (
    AtLeast,
    Boolean,
    Criterion,
    EachHttps,
    EachNotEmpty,
    Equals,
    LeavesGateOn,
    ListExcludes,
    ListIncludes,
    ListIncludesOneOf,
    ListSubsetOf,
    Loopback,
    ModernTls,
    NotEmpty,
    NotGiven,
    RunsController,
)
from agent.harden.guide.k3s_options import (
    POD_MAX_PIDS,
    PROTECT_KERNEL_DEFAULTS,
    SECCOMP_DEFAULT,
    SECRETS_ENCRYPTION,
    OptionRow,
    newest,
    oldest,
)
from agent.k3s.cis.versions import Benchmark, up_to
from agent.k3s.go_values import suites_with_long_names
from agent.k3s.roles_and_versions import ON_SERVERS, SERVERS, WITH_POD_SECURITY_POLICY, Applies, Component


def of_the_guide(
    component: Component, row: OptionRow, *, earlier: Mapping[Benchmark, Criterion] | None = None
) -> BenchmarkControl:
    """Return the control of the component argument that a row of the guide sets, for the row's roles.

    Its ID, texts and criterion are those of the row. It applies to all versions, also if the guide does not set the
    argument there. `earlier` has the criteria of benchmarks whose requirement differs from the guide's.
    """

    def check(criterion: Criterion) -> ArgumentCheck:
        return ArgumentCheck(component, row.name or row.key, criterion, unset_passes=row.unset_complies)

    return benchmark_control(
        row.id,
        check(row.meets),
        applies=Applies(row.applies.roles),
        earlier={benchmark: check(criterion) for benchmark, criterion in (earlier or {}).items()},
        guide=row,
    )


def tls_version(identifier: str, component: Component, applies: Applies) -> BenchmarkControl:
    """Return the control of the oldest version of TLS that a component accepts."""
    check = ArgumentCheck(component, "tls-min-version", ModernTls(), unset_passes=True)
    return benchmark_control(identifier, check, applies=applies)


def without_plugin(plugin: str, argument: str = "disable-admission-plugins") -> ArgumentCheck:
    """Return the check that a list of the API server does not have an admission plugin."""
    return ArgumentCheck(Component.API_SERVER, argument, ListExcludes((plugin,)), unset_passes=True)


_row = partial(benchmark_control, applies=ON_SERVERS)
_api_server_guide = partial(of_the_guide, Component.API_SERVER)
_api_server = partial(ArgumentCheck, Component.API_SERVER)


def _files(*names: str) -> AllOf:
    return AllOf(tuple(_api_server(name, NotEmpty()) for name in names))


def _includes(plugin: str, setting: str = "") -> ArgumentCheck:
    return _api_server("enable-admission-plugins", ListIncludes((plugin,)), setting=setting)


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
    return _api_server("tls-cipher-suites", ListSubsetOf(names))


API_SERVER: tuple[BenchmarkControl, ...] = (
    # Authentication
    _row("apiserver-anonymous-auth", _api_server("anonymous-auth", Boolean(expected=False))),
    _row("apiserver-token-auth-file", _api_server("token-auth-file", NotGiven(), unset_passes=True)),
    # Connections to kubelets
    _row("apiserver-kubelet-https", _api_server("kubelet-https", Boolean(expected=True), unset_passes=True)),
    _row("apiserver-kubelet-client-certificate", _files("kubelet-client-certificate", "kubelet-client-key")),
    _row("apiserver-kubelet-certificate-authority", _api_server("kubelet-certificate-authority", NotEmpty())),
    # Authorization
    _row(
        "apiserver-authorization-not-always-allow",
        # Without the argument the API server itself allows everything.
        _api_server("authorization-mode", ListExcludes(("AlwaysAllow",))),
    ),
    _row("apiserver-authorization-node", _api_server("authorization-mode", ListIncludes(("Node",)))),
    _row("apiserver-authorization-rbac", _api_server("authorization-mode", ListIncludes(("RBAC",)))),
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
        _api_server("enable-admission-plugins", ListIncludesOneOf(("SecurityContextDeny", "PodSecurityPolicy"))),
        # The API server of v1.25 and newer rejects PodSecurityPolicy at startup.
        applies=Applies(SERVERS, WITH_POD_SECURITY_POLICY),
        caution=(
            "create PodSecurityPolicies such as those of policy.yaml, because the plugin admits no pod without a policy"
        ),
        guide=_POD_SECURITY_POLICY,
    ),
    _row("apiserver-service-account-plugin", without_plugin("ServiceAccount")),
    _row("apiserver-namespace-lifecycle", without_plugin("NamespaceLifecycle")),
    _row(_NODE_RESTRICTION.id, _includes("NodeRestriction"), guide=_NODE_RESTRICTION),
    # Serving
    _row("apiserver-secure-port", _api_server("secure-port", AtLeast(1), unset_passes=True)),
    _row("apiserver-profiling", _api_server("profiling", Boolean(expected=False))),
    # Audit log
    _api_server_guide(newest("audit-log-path")),
    _api_server_guide(newest("audit-log-maxage")),
    _api_server_guide(newest("audit-log-maxbackup")),
    _api_server_guide(newest("audit-log-maxsize")),
    # Requests
    _api_server_guide(newest("request-timeout")),
    _api_server_guide(newest("service-account-lookup")),
    # Keys and certificates
    _row(
        "apiserver-service-account-key-file",
        AllOf((_api_server("service-account-key-file", EachNotEmpty()), OWN_SIGNING_KEY)),
    ),
    _row("apiserver-etcd-client-certificate", _files("etcd-certfile", "etcd-keyfile")),
    _row("apiserver-serving-certificate", _files("tls-cert-file", "tls-private-key-file")),
    _row("apiserver-client-ca-file", _api_server("client-ca-file", NotEmpty())),
    _row("apiserver-etcd-ca-file", _api_server("etcd-cafile", NotEmpty())),
    # Encryption of Secrets
    _row(SECRETS_ENCRYPTION.id, _api_server("encryption-provider-config", NotEmpty()), guide=SECRETS_ENCRYPTION),
    _row(
        "apiserver-encryption-providers", EncryptionProviders(("aescbc", "kms", "secretbox")), guide=SECRETS_ENCRYPTION
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
    _api_server_guide(newest("service-account-extend-token-expiration")),
    _api_server_guide(newest("audit-policy-file")),
)
"""By topic."""


_manager = partial(ArgumentCheck, Component.CONTROLLER_MANAGER)
_scheduler = partial(ArgumentCheck, Component.SCHEDULER)
_GATE = "RotateKubeletServerCertificate"

_GARBAGE = of_the_guide(Component.CONTROLLER_MANAGER, newest("terminated-pod-gc-threshold"))
_COLLECTS = RunsController(("pod-garbage-collector-controller", "podgc"))
"""The threshold has no effect without this controller."""

CONTROLLER_MANAGER_AND_SCHEDULER: tuple[BenchmarkControl, ...] = (
    replace(_GARBAGE, check=AllOf((_GARBAGE.check, _manager("controllers", _COLLECTS, unset_passes=True)))),
    _row("controller-manager-profiling", _manager("profiling", Boolean(expected=False))),
    _row(
        "controller-manager-service-account-credentials",
        _manager("use-service-account-credentials", Boolean(expected=True)),
    ),
    _row("controller-manager-service-account-key", _manager("service-account-private-key-file", NotEmpty())),
    _row("controller-manager-root-ca", _manager("root-ca-file", NotEmpty())),
    _row(
        "controller-manager-rotate-kubelet-server-certificate",
        _manager("feature-gates", LeavesGateOn(_GATE), unset_passes=True),
    ),
    _row("controller-manager-bind-address", _manager("bind-address", Loopback())),
    _row("scheduler-profiling", _scheduler("profiling", Boolean(expected=False))),
    _row("scheduler-bind-address", _scheduler("bind-address", Loopback())),
)
"""In the benchmarks' order, which is the same in all of them."""


def _etcd_file(key: str, name: str) -> EtcdSetting:
    return EtcdSetting(key, Equals(f"{{data_dir}}/server/tls/etcd/{name}"))


def _pair(section: str, name: str) -> AllOf:
    return AllOf((_etcd_file(f"{section}.cert-file", f"{name}.crt"), _etcd_file(f"{section}.key-file", f"{name}.key")))


_LISTENERS = EtcdSetting("listen-client-urls", EachHttps(), unset_passes=True)
"""A client of a listener without TLS needs no certificate."""

ETCD: tuple[BenchmarkControl, ...] = (
    _row("etcd-server-certificate", AllOf((*_pair("client-transport-security", "server-client").checks, _LISTENERS))),
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
                _etcd_file("client-transport-security.trusted-ca-file", "server-ca.crt"),
                _etcd_file("peer-transport-security.trusted-ca-file", "peer-ca.crt"),
                OWN_AUTHORITIES,
            )
        ),
    ),
)
"""In the benchmarks' order. They apply to servers whose K3s runs etcd."""


_kubelet_guide = partial(of_the_guide, Component.KUBELET)
_kubelet = partial(ArgumentCheck, Component.KUBELET)

_CIPHERS = newest("tls-cipher-suites")
_STRONG_UNTIL_1_11 = ListSubsetOf(
    (
        *suites_with_long_names(_CIPHERS.value.split(",")),
        "TLS_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_RSA_WITH_AES_256_GCM_SHA384",
    )
)
"""Includes two without forward secrecy, which the benchmarks accept up to 1.11."""

KUBELET: tuple[BenchmarkControl, ...] = (
    benchmark_control("kubelet-anonymous-auth", _kubelet("anonymous-auth", Boolean(expected=False))),
    benchmark_control("kubelet-authorization-mode", _kubelet("authorization-mode", ListExcludes(("AlwaysAllow",)))),
    benchmark_control("kubelet-client-ca", _kubelet("client-ca-file", NotEmpty())),
    # Without a --config file the kubelet opens port 10255 by default (cmd/kubelet/app/options/options.go).
    benchmark_control("kubelet-read-only-port", _kubelet("read-only-port", Equals("0"))),
    _kubelet_guide(newest("streaming-connection-idle-timeout")),
    _kubelet_guide(PROTECT_KERNEL_DEFAULTS),
    _kubelet_guide(newest("make-iptables-util-chains")),
    benchmark_control(
        "kubelet-hostname-override",
        NotInK3s(
            "K3s always passes the node's name with --hostname-override, and creates the kubelet's certificate for the"
            " same name."
        ),
    ),
    # kubernetes/kubernetes #117119, CHANGELOG-1.37 and CHANGELOG-1.27
    benchmark_control(
        "kubelet-event-qps",
        _kubelet("event-qps", AtLeast(0, example=50), unset_passes=True),
        earlier=dict.fromkeys(up_to(Benchmark.CIS_1_24), _kubelet("event-qps", Equals("0"))),
    ),
    benchmark_control(
        "kubelet-serving-certificate",
        AllOf((_kubelet("tls-cert-file", NotEmpty()), _kubelet("tls-private-key-file", NotEmpty()))),
    ),
    benchmark_control(
        "kubelet-rotate-certificates", _kubelet("rotate-certificates", Boolean(expected=True), unset_passes=True)
    ),
    benchmark_control(
        "kubelet-rotate-server-certificate",
        _kubelet("feature-gates", LeavesGateOn("RotateKubeletServerCertificate"), unset_passes=True),
    ),
    _kubelet_guide(_CIPHERS, earlier=dict.fromkeys(up_to(Benchmark.CIS_1_11), _STRONG_UNTIL_1_11)),
    benchmark_control(
        "kubelet-pod-max-pids",
        _kubelet("pod-max-pids", POD_MAX_PIDS.meets, setting="pod-max-pids"),
        caution="find out how many processes your largest pod has, and choose a larger number",
    ),
    benchmark_control(
        "kubelet-seccomp-default",
        _kubelet("seccomp-default", SECCOMP_DEFAULT.meets, setting="seccomp-default"),
        caution=(
            "test your workloads with 'seccompProfile: type: RuntimeDefault' in their security context, because"
            " programs that need a rare system call fail with it"
        ),
    ),
    benchmark_control(
        "kube-proxy-metrics-bind-address",
        ArgumentCheck(Component.KUBE_PROXY, "metrics-bind-address", Loopback(), unset_passes=True),
        caution="run the program that collects the metrics in the host's network",
    ),
)
"""In the benchmarks' order."""
