"""Controls of the API server's arguments (section 1.2, and the audit policy of 3.2)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from agent.benchmark.control import BenchmarkControl, in_k3s_config, numbered
from agent.benchmark.guide_options import of_the_guide
from agent.benchmark.versions import Benchmark, up_to
from agent.checks.arguments import ArgumentCheck
from agent.checks.check import AllOf
from agent.checks.datastore import EncryptionProviders
from agent.guide.criteria import (
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
from agent.guide.k3s_options import SECRETS_ENCRYPTION, newest, oldest
from agent.k3s.go_values import suites_with_long_names
from agent.model import ON_SERVERS, SERVERS, WITH_POD_SECURITY_POLICY, Applies, Component, Instruction, Remediation

if TYPE_CHECKING:
    from agent.guide.criteria import Criterion

_LIST = Component.API_SERVER.config_key

_K3S = "k3s-io/k3s pkg/daemons/control/server.go"
_PLUGINS = "kubernetes/kubernetes pkg/kubeapiserver/options/plugins.go"
_AUTHENTICATION = "kubernetes/kubernetes pkg/kubeapiserver/options/authentication.go"
_REQUESTS = "kubernetes/kubernetes staging/src/k8s.io/apiserver/pkg/server/options/server_run_options.go"
_AUDIT = "kubernetes/kubernetes staging/src/k8s.io/apiserver/pkg/server/options/audit.go"
_ENCRYPTION = "k3s-io/k3s pkg/daemons/control/deps/deps.go"

_row = partial(BenchmarkControl, applies=ON_SERVERS, source=_K3S)
_guide = partial(of_the_guide, Component.API_SERVER)


def _argument(name: str, criterion: Criterion, *, unset_passes: bool = False) -> ArgumentCheck:
    return ArgumentCheck(Component.API_SERVER, name, criterion, unset_passes)


def _enabled(plugin: str) -> Remediation:
    value = ",".join(dict.fromkeys(("NodeRestriction", plugin)))
    return in_k3s_config(
        f"set `enable-admission-plugins={value}` in the list `{_LIST}` (one argument with all plugins that you use: it"
        " replaces the default of K3s, NodeRestriction)"
    )


_POD_SECURITY_POLICY = oldest("enable-admission-plugins")
_NODE_RESTRICTION = newest("enable-admission-plugins")

_BY_FILE = "If 'authorization-config' names a file, K3s does not set the argument, and the file decides."

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
    _row(
        "apiserver-anonymous-auth",
        "The API server rejects anonymous requests",
        _argument("anonymous-auth", Boolean(expected=False)),
        "By default the API server treats a request without credentials as the user system:anonymous. One wrong"
        " role for that user opens the cluster to everyone who can reach the port. If 'authentication-config'"
        " names a file, K3s does not set the argument, and the file decides.",
        numbers=numbered("1.2.1M 1.2.1A 1.2.1A 1.2.1A 1.2.1A 1.2.1A 1.2.1A 1.2.1A 1.2.1A 1.2.1M"),
    ),
    _row(
        "apiserver-token-auth-file",
        "The API server does not use a token file",
        _argument("token-auth-file", NotGiven(), unset_passes=True),
        "The file contains the tokens in clear text, and they do not expire. A stolen token is valid until the"
        " file is edited and the API server restarts.",
        numbers=numbered("1.2.2A 1.2.2A 1.2.2A 1.2.2A 1.2.2A 1.2.2A 1.2.2A 1.2.2A 1.2.2A 1.2.2A"),
        source=_AUTHENTICATION,
    ),
    # Connections to kubelets
    _row(
        "apiserver-kubelet-https",
        "The API server connects to kubelets with TLS",
        _argument("kubelet-https", Boolean(expected=True), unset_passes=True),
        "The connection transports commands for pods, and their logs and terminals.",
        numbers=numbered("1.2.4S 1.2.4S - - - - - - - -"),
        source="kubernetes/kubernetes cmd/kube-apiserver/app/options/options.go",
    ),
    _row(
        "apiserver-kubelet-client-certificate",
        "The API server presents a client certificate to kubelets",
        AllOf((_argument("kubelet-client-certificate", NotEmpty()), _argument("kubelet-client-key", NotEmpty()))),
        "Without it the API server is anonymous to a kubelet. Either the kubelet rejects it, so that logs and exec"
        " fail, or it accepts every client.",
        numbers=numbered("1.2.5A 1.2.5A 1.2.4A 1.2.4A 1.2.4A 1.2.4A 1.2.4A 1.2.4A 1.2.4A 1.2.4A"),
    ),
    _row(
        "apiserver-kubelet-certificate-authority",
        "The API server verifies kubelets' certificates",
        _argument("kubelet-certificate-authority", NotEmpty()),
        "Otherwise everyone who answers at a node's address can impersonate its kubelet, and read the data of"
        " kubectl exec and port-forward.",
        numbers=numbered("1.2.6A 1.2.6A 1.2.5A 1.2.5A 1.2.5A 1.2.5A 1.2.5A 1.2.5A 1.2.5A 1.2.5A"),
    ),
    # Authorization
    _row(
        "apiserver-authorization-not-always-allow",
        "The API server does not allow every request",
        # Without the argument the API server itself allows everything.
        _argument("authorization-mode", ListExcludes(("AlwaysAllow",))),
        f"With AlwaysAllow every account, including a pod's, may do everything, and RBAC has no effect. {_BY_FILE}",
        numbers=numbered("1.2.7A 1.2.7A 1.2.6A 1.2.6A 1.2.6A 1.2.6A 1.2.6A 1.2.6A 1.2.6A 1.2.6A"),
    ),
    _row(
        "apiserver-authorization-node",
        "The API server authorizes kubelets as nodes",
        _argument("authorization-mode", ListIncludes(("Node",))),
        "The Node authorizer lets a kubelet read only the Secrets and volumes of its own pods. Without it kubelets"
        " need a role for those of the whole cluster, so that one compromised node can read all of them."
        f" {_BY_FILE}",
        numbers=numbered("1.2.8A 1.2.8A 1.2.7A 1.2.7A 1.2.7A 1.2.7A 1.2.7A 1.2.7A 1.2.7A 1.2.7A"),
    ),
    _row(
        "apiserver-authorization-rbac",
        "The API server authorizes requests with RBAC",
        _argument("authorization-mode", ListIncludes(("RBAC",))),
        "Without it Roles and their bindings have no effect, and users cannot be limited to the rights that they"
        f" need. {_BY_FILE}",
        numbers=numbered("1.2.9A 1.2.9A 1.2.8A 1.2.8A 1.2.8A 1.2.8A 1.2.8A 1.2.8A 1.2.8A 1.2.8A"),
    ),
    # Admission
    _row(
        "apiserver-external-ips-not-denied",
        "DenyServiceExternalIPs is not enabled",
        _argument("enable-admission-plugins", ListExcludes(("DenyServiceExternalIPs",)), unset_passes=True),
        "The plugin rejects every new Service with external IPs, so that workloads with such Services cannot be"
        " deployed. Since 1.9 the benchmarks require the plugin instead.",
        numbers=numbered("1.2.3A 1.2.3A 1.2.3A 1.2.3A - - - - - -"),
        source=_PLUGINS,
    ),
    _row(
        "apiserver-external-ips-denied",
        "DenyServiceExternalIPs is enabled",
        _argument("enable-admission-plugins", ListIncludes(("DenyServiceExternalIPs",))),
        "Otherwise everyone who may create a Service can claim any address in its externalIPs, and receive the"
        " traffic of pods to that address (CVE-2020-8554).",
        numbers=numbered("- - - - 1.2.3u 1.2.3M 1.2.3M 1.2.3M 1.2.3M 1.2.3M"),
        caution="look for Services that use externalIPs, because new external IPs will be rejected",
        remediation=_enabled("DenyServiceExternalIPs"),
        setting="deny-service-external-ips",
        source=_PLUGINS,
    ),
    _row(
        "apiserver-event-rate-limit",
        "EventRateLimit is enabled",
        _argument("enable-admission-plugins", ListIncludes(("EventRateLimit",))),
        "Otherwise a pod that fails repeatedly, or an attacker, can fill the datastore and overload the API server"
        " with events.",
        numbers=numbered("1.2.10u 1.2.10u 1.2.9u 1.2.9u 1.2.9u 1.2.9M 1.2.9M 1.2.9M 1.2.9M 1.2.9M"),
        needed_by_hand=(
            "add an entry for EventRateLimit with its limits to the file that 'admission-control-config-file' names,"
            " because the API server does not start without them"
        ),
        remediation=_enabled("EventRateLimit"),
        setting="event-rate-limit",
        source=_PLUGINS,
    ),
    _row(
        "apiserver-always-admit",
        "AlwaysAdmit is not enabled",
        _argument("enable-admission-plugins", ListExcludes(("AlwaysAdmit",)), unset_passes=True),
        "It admits everything without a check. It is deprecated and not needed.",
        numbers=numbered("1.2.11A 1.2.11A 1.2.10A 1.2.10A 1.2.10A 1.2.10A 1.2.10A 1.2.10A 1.2.10A 1.2.10A"),
        source=_PLUGINS,
    ),
    _row(
        "apiserver-always-pull-images",
        "AlwaysPullImages is enabled",
        _argument("enable-admission-plugins", ListIncludes(("AlwaysPullImages",))),
        "Otherwise every pod of a node can run a private image that another pod has pulled, without the right to"
        " pull it. With the plugin no container starts while its registry is not reachable.",
        numbers=numbered("1.2.12u 1.2.12u 1.2.11u 1.2.11u 1.2.11u 1.2.11M 1.2.11M 1.2.11M 1.2.11M 1.2.11M"),
        caution="make sure that a registry serves each image, because containers do not start without it",
        remediation=_enabled("AlwaysPullImages"),
        setting="always-pull-images",
        source=_PLUGINS,
    ),
    BenchmarkControl(
        "apiserver-security-context-deny",
        "PodSecurityPolicy or SecurityContextDeny is enabled",
        _argument("enable-admission-plugins", ListIncludesOneOf(("SecurityContextDeny", "PodSecurityPolicy"))),
        "Without either, a pod can request any rights: root, the host's network and files, all capabilities.",
        numbers=numbered("1.2.13u 1.2.13u 1.2.12S 1.2.12S - - - - - -"),
        # The API server of v1.25 and newer rejects PodSecurityPolicy at startup.
        applies=Applies(SERVERS, WITH_POD_SECURITY_POLICY),
        caution=(
            "create PodSecurityPolicies such as those of policy.yaml, because the plugin admits no pod without a policy"
        ),
        remediation=_enabled("PodSecurityPolicy"),
        guide=_POD_SECURITY_POLICY,
        source=_PLUGINS,
    ),
    _row(
        "apiserver-service-account-plugin",
        "ServiceAccount is not disabled",
        _argument("disable-admission-plugins", ListExcludes(("ServiceAccount",)), unset_passes=True),
        "The plugin assigns each pod a service account of its namespace, and rejects a missing one. Without it a"
        " pod has no identity that rights can be bound to.",
        numbers=numbered("1.2.14A 1.2.14A 1.2.13A 1.2.13A 1.2.12A 1.2.12A 1.2.12A 1.2.12A 1.2.12A 1.2.12A"),
        level=2,
        source=_PLUGINS,
    ),
    _row(
        "apiserver-namespace-lifecycle",
        "NamespaceLifecycle is not disabled",
        _argument("disable-admission-plugins", ListExcludes(("NamespaceLifecycle",)), unset_passes=True),
        "Without it objects can be created in namespaces that are missing or being deleted, and the namespaces"
        " default and kube-system can be deleted.",
        numbers=numbered("1.2.15A 1.2.15A 1.2.14A 1.2.14A 1.2.13A 1.2.13A 1.2.13A 1.2.13A 1.2.13A 1.2.13A"),
        level=2,
        source=_PLUGINS,
    ),
    _row(
        _NODE_RESTRICTION.id,
        "NodeRestriction is enabled",
        _argument("enable-admission-plugins", ListIncludes(("NodeRestriction",))),
        "The plugin limits a kubelet to its own Node and its own pods. Without it one compromised node can relabel"
        " other nodes, and attract their pods with their Secrets.",
        numbers=numbered("1.2.16A 1.2.16A 1.2.15A 1.2.15A 1.2.14A 1.2.14A 1.2.14A 1.2.14A 1.2.14A 1.2.14A"),
        level=2,
        remediation=_enabled("NodeRestriction"),
        guide=_NODE_RESTRICTION,
    ),
    # Serving
    _row(
        "apiserver-secure-port",
        "The API server serves on a TLS port",
        _argument("secure-port", AtLeast(1), unset_passes=True),
        "0 disables the only port on which requests are encrypted, authenticated and authorized.",
        numbers=numbered("1.2.17A 1.2.17A 1.2.16A - - - - - - -"),
    ),
    _row(
        "apiserver-profiling",
        "The API server does not serve profiling data",
        _argument("profiling", Boolean(expected=False)),
        "Profiles reveal internals of the API server, and creating one takes processor time. They are only needed"
        " for debugging.",
        numbers=numbered("1.2.18A 1.2.18A 1.2.17A 1.2.16A 1.2.15A 1.2.15A 1.2.15A 1.2.15A 1.2.15A 1.2.15A"),
    ),
    # Audit log
    _guide(
        newest("audit-log-path"),
        "1.2.19S 1.2.19u 1.2.18u 1.2.17u 1.2.16u 1.2.16M 1.2.16M 1.2.16M 1.2.16M 1.2.16A",
        source=_AUDIT,
    ),
    _guide(
        newest("audit-log-maxage"),
        "1.2.20S 1.2.20u 1.2.19u 1.2.18u 1.2.17u 1.2.17M 1.2.17M 1.2.17M 1.2.17M 1.2.17A",
        source=_AUDIT,
    ),
    _guide(
        newest("audit-log-maxbackup"),
        "1.2.21S 1.2.21u 1.2.20u 1.2.19u 1.2.18u 1.2.18M 1.2.18M 1.2.18M 1.2.18M 1.2.18A",
        source=_AUDIT,
    ),
    _guide(
        newest("audit-log-maxsize"),
        "1.2.22S 1.2.22u 1.2.21u 1.2.20u 1.2.19u 1.2.19M 1.2.19M 1.2.19M 1.2.19M 1.2.19A",
        source=_AUDIT,
    ),
    # Requests
    _guide(
        newest("request-timeout"),
        "1.2.23S 1.2.23u 1.2.22u 1.2.21u 1.2.20u 1.2.20M 1.2.20M 1.2.20M 1.2.20M 1.2.20M",
        source=_REQUESTS,
    ),
    _guide(
        newest("service-account-lookup"),
        "1.2.24A 1.2.24A 1.2.23A 1.2.22A 1.2.21A 1.2.21A 1.2.21A 1.2.21A 1.2.21A 1.2.21A",
        source=_AUTHENTICATION,
    ),
    # Keys and certificates
    _row(
        "apiserver-service-account-key-file",
        "Service account tokens are verified with a separate key",
        _argument("service-account-key-file", EachNotEmpty()),
        "Without it the API server verifies tokens with the key of its serving certificate, so that neither can be"
        " renewed without the other.",
        numbers=numbered("1.2.25S 1.2.25A 1.2.24A 1.2.23A 1.2.22A 1.2.22A 1.2.22A 1.2.22A 1.2.22A 1.2.22A"),
    ),
    _row(
        "apiserver-etcd-client-certificate",
        "The API server presents a client certificate to etcd",
        AllOf((_argument("etcd-certfile", NotEmpty()), _argument("etcd-keyfile", NotEmpty()))),
        "An etcd that accepts clients without a certificate accepts everyone, and it contains all Secrets. This"
        " applies if K3s runs etcd, and if its datastore uses TLS.",
        numbers=numbered("1.2.26A 1.2.26A 1.2.25A 1.2.24A 1.2.23A 1.2.23A 1.2.23A 1.2.23A 1.2.23A 1.2.23A"),
    ),
    _row(
        "apiserver-serving-certificate",
        "The API server has a serving certificate and key",
        AllOf((_argument("tls-cert-file", NotEmpty()), _argument("tls-private-key-file", NotEmpty()))),
        "Otherwise the API server uses a self-signed certificate, which no client can verify. A client that does"
        " not verify it sends its token to every impostor.",
        numbers=numbered("1.2.27A 1.2.27A 1.2.26A 1.2.25A 1.2.24A 1.2.24A 1.2.24A 1.2.24A 1.2.24A 1.2.24A"),
    ),
    _row(
        "apiserver-client-ca-file",
        "The API server verifies clients' certificates",
        _argument("client-ca-file", NotEmpty()),
        "Kubelets and the control plane authenticate with certificates of this authority. Without it they need"
        " weaker authentication.",
        numbers=numbered("1.2.28A 1.2.28A 1.2.27A 1.2.26A 1.2.25A 1.2.25A 1.2.25A 1.2.25A 1.2.25A 1.2.25A"),
    ),
    _row(
        "apiserver-etcd-ca-file",
        "The API server verifies etcd's certificate",
        _argument("etcd-cafile", NotEmpty()),
        "Otherwise everyone who answers at etcd's address receives all data that the cluster stores. This applies"
        " if K3s runs etcd, and if its datastore uses TLS.",
        numbers=numbered("1.2.29A 1.2.29A 1.2.28A 1.2.27A 1.2.26A 1.2.26A 1.2.26A 1.2.26A 1.2.26A 1.2.26A"),
    ),
    # Encryption of Secrets
    _row(
        SECRETS_ENCRYPTION.id,
        SECRETS_ENCRYPTION.title,
        _argument("encryption-provider-config", NotEmpty()),
        SECRETS_ENCRYPTION.why,
        numbers=numbered("1.2.30u 1.2.30u 1.2.29u 1.2.28u 1.2.27u 1.2.27M 1.2.27M 1.2.27M 1.2.27M 1.2.27M"),
        remediation=Remediation((Instruction(SECRETS_ENCRYPTION.by_hand.removesuffix(".")),)),
        guide=SECRETS_ENCRYPTION,
    ),
    _row(
        "apiserver-encryption-providers",
        "Secrets are encrypted with a strong provider",
        EncryptionProviders(("aescbc", "kms", "secretbox")),
        "The first provider in the file encrypts new data. If it is identity, Secrets are stored in clear text"
        " despite the encryption configuration.",
        numbers=numbered("1.2.31M 1.2.31u 1.2.30u 1.2.29u 1.2.28u 1.2.28M 1.2.28M 1.2.28M 1.2.28M 1.2.28M"),
        # One text for one cause: the other control has all steps.
        remediation=Remediation(
            (Instruction(f"turn on {SECRETS_ENCRYPTION.id} as its control describes"),),
            alternative=Remediation(
                (
                    Instruction(
                        "if `k3s secrets-encrypt disable` put identity first, run `k3s secrets-encrypt enable` on one"
                        " server"
                    ),
                    Instruction("restart K3s on every server"),
                    Instruction(
                        "run `k3s secrets-encrypt reencrypt --force --skip` on one server to encrypt existing Secrets"
                    ),
                )
            ),
        ),
        guide=SECRETS_ENCRYPTION,
        source=_ENCRYPTION,
    ),
    # Ciphers and additions of newer benchmarks
    _row(
        "apiserver-cipher-suites",
        "The API server uses only strong ciphers",
        _suites(_SUITES),
        "With a weak cipher suite an attacker who records or intercepts the traffic can read tokens, Secrets and"
        " terminals. Without forward secrecy, a stolen key also decrypts all earlier traffic.",
        numbers=numbered("1.2.32u 1.2.32A 1.2.31A 1.2.30A 1.2.29A 1.2.29A 1.2.29A 1.2.29A 1.2.29A 1.2.29M"),
        earlier={
            **dict.fromkeys(up_to(Benchmark.CIS_1_11), _suites(_SUITES_UNTIL_1_11)),
            **dict.fromkeys(up_to(Benchmark.CIS_1_9), _suites(_SUITES_UNTIL_1_9)),
        },
        source="k3s-io/k3s pkg/cli/server/server.go",
    ),
    _guide(
        newest("service-account-extend-token-expiration"),
        "- - - - - - 1.2.30A 1.2.30A 1.2.30A 1.2.30A",
        source=_AUTHENTICATION,
    ),
    _guide(
        newest("audit-policy-file"),
        "3.2.1M 3.2.1u 3.2.1u 3.2.1u 3.2.1u 3.2.1M 3.2.1M 3.2.1M 3.2.1M 3.2.1M",
        source=_AUDIT,
    ),
)
"""By topic."""
