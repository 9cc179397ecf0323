"""What the benchmarks ask of the API server's arguments (their section 1.2, and the audit policy of 3.2)."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from agent.benchmark.control import BenchmarkControl, in_k3s_config, numbered
from agent.benchmark.guide_options import of_the_guide
from agent.benchmark.versions import Benchmark
from agent.checks.arguments import ArgumentCheck
from agent.checks.check import AllOf
from agent.checks.datastore import EncryptionProviders
from agent.guide.cipher_suites import with_long_names
from agent.guide.criteria import AtLeast, Boolean, Excludes, Includes, IncludesOneOf, NotGiven, Present, SubsetOf
from agent.guide.k3s_options import SECRETS_ENCRYPTION, newest, oldest
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

_BY_FILE = "Where 'authorization-config' names a file, K3s leaves the argument out, and the file decides."

_KEY_EXCHANGES = ("TLS_ECDHE_ECDSA_WITH", "TLS_ECDHE_RSA_WITH")
_SUITES = (
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    *with_long_names(
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
    return _argument("tls-cipher-suites", SubsetOf(names))


_AUTHENTICATION_ROWS: tuple[BenchmarkControl, ...] = (
    BenchmarkControl(
        id="apiserver-anonymous-auth",
        title="The API server refuses anonymous requests",
        numbers=numbered("1.2.1M 1.2.1A 1.2.1A 1.2.1A 1.2.1A 1.2.1A 1.2.1A 1.2.1A 1.2.1A 1.2.1M"),
        applies=ON_SERVERS,
        check=_argument("anonymous-auth", Boolean(expected=False)),
        why=(
            "By its own default the API server takes a request without credentials as one of the user"
            " system:anonymous; a single role too many for that user opens the cluster to anyone who can reach the"
            " port. Where 'authentication-config' names a file, K3s leaves the argument out, and the file decides."
        ),
        source=_K3S,
    ),
    BenchmarkControl(
        id="apiserver-token-auth-file",
        title="The API server reads no file of tokens",
        numbers=numbered("1.2.2A 1.2.2A 1.2.2A 1.2.2A 1.2.2A 1.2.2A 1.2.2A 1.2.2A 1.2.2A 1.2.2A"),
        applies=ON_SERVERS,
        check=_argument("token-auth-file", NotGiven(), unset_passes=True),
        why=(
            "The tokens are there in clear text and never expire, and a stolen one works until somebody edits the file"
            " and restarts the API server."
        ),
        source=_AUTHENTICATION,
    ),
)

_KUBELET_ROWS: tuple[BenchmarkControl, ...] = (
    BenchmarkControl(
        id="apiserver-kubelet-https",
        title="The API server speaks TLS to kubelets",
        numbers=numbered("1.2.4S 1.2.4S - - - - - - - -"),
        applies=ON_SERVERS,
        check=_argument("kubelet-https", Boolean(expected=True), unset_passes=True),
        why="The connection carries the commands that are run in pods, and their logs and terminals in return.",
        source="kubernetes/kubernetes cmd/kube-apiserver/app/options/options.go",
    ),
    BenchmarkControl(
        id="apiserver-kubelet-client-certificate",
        title="The API server shows kubelets a client certificate",
        numbers=numbered("1.2.5A 1.2.5A 1.2.4A 1.2.4A 1.2.4A 1.2.4A 1.2.4A 1.2.4A 1.2.4A 1.2.4A"),
        applies=ON_SERVERS,
        check=AllOf((_argument("kubelet-client-certificate", Present()), _argument("kubelet-client-key", Present()))),
        why=(
            "Without one the API server is anonymous to a kubelet: either the kubelet refuses it, so that logs and"
            " exec fail, or it lets everybody in."
        ),
        source=_K3S,
    ),
    BenchmarkControl(
        id="apiserver-kubelet-certificate-authority",
        title="The API server checks kubelets' certificates",
        numbers=numbered("1.2.6A 1.2.6A 1.2.5A 1.2.5A 1.2.5A 1.2.5A 1.2.5A 1.2.5A 1.2.5A 1.2.5A"),
        applies=ON_SERVERS,
        check=_argument("kubelet-certificate-authority", Present()),
        why=(
            "Otherwise anyone who answers at a node's address passes for its kubelet, and can read what kubectl exec"
            " and port-forward send there."
        ),
        source=_K3S,
    ),
)

_AUTHORIZATION_ROWS: tuple[BenchmarkControl, ...] = (
    BenchmarkControl(
        id="apiserver-authorization-not-always-allow",
        title="The API server does not allow everything to everybody",
        numbers=numbered("1.2.7A 1.2.7A 1.2.6A 1.2.6A 1.2.6A 1.2.6A 1.2.6A 1.2.6A 1.2.6A 1.2.6A"),
        applies=ON_SERVERS,
        # Without the argument the API server itself allows everything.
        check=_argument("authorization-mode", Excludes(("AlwaysAllow",))),
        why=f"With AlwaysAllow every account, a pod's included, may do everything: RBAC is not asked. {_BY_FILE}",
        source=_K3S,
    ),
    BenchmarkControl(
        id="apiserver-authorization-node",
        title="The API server authorizes kubelets as nodes",
        numbers=numbered("1.2.8A 1.2.8A 1.2.7A 1.2.7A 1.2.7A 1.2.7A 1.2.7A 1.2.7A 1.2.7A 1.2.7A"),
        applies=ON_SERVERS,
        check=_argument("authorization-mode", Includes(("Node",))),
        why=(
            "The Node authorizer lets a kubelet read only the Secrets and volumes of its own pods. Without it kubelets"
            f" need a role for those of the whole cluster, and one compromised node has them all. {_BY_FILE}"
        ),
        source=_K3S,
    ),
    BenchmarkControl(
        id="apiserver-authorization-rbac",
        title="The API server asks RBAC",
        numbers=numbered("1.2.9A 1.2.9A 1.2.8A 1.2.8A 1.2.8A 1.2.8A 1.2.8A 1.2.8A 1.2.8A 1.2.8A"),
        applies=ON_SERVERS,
        check=_argument("authorization-mode", Includes(("RBAC",))),
        why=(
            "Without it Roles and their bindings have no effect, and nobody can be given just the rights that their"
            f" work takes. {_BY_FILE}"
        ),
        source=_K3S,
    ),
)

_ADMISSION_ROWS: tuple[BenchmarkControl, ...] = (
    BenchmarkControl(
        id="apiserver-external-ips-not-denied",
        title="DenyServiceExternalIPs is not on",
        numbers=numbered("1.2.3A 1.2.3A 1.2.3A 1.2.3A - - - - - -"),
        applies=ON_SERVERS,
        check=_argument("enable-admission-plugins", Excludes(("DenyServiceExternalIPs",)), unset_passes=True),
        why=(
            "The plugin refuses every new Service with external IPs, so workloads that need them can no longer be"
            " deployed. The benchmarks reversed this with 1.9, which wants the plugin on."
        ),
        source=_PLUGINS,
    ),
    BenchmarkControl(
        id="apiserver-external-ips-denied",
        title="DenyServiceExternalIPs is on",
        numbers=numbered("- - - - 1.2.3u 1.2.3M 1.2.3M 1.2.3M 1.2.3M 1.2.3M"),
        applies=ON_SERVERS,
        check=_argument("enable-admission-plugins", Includes(("DenyServiceExternalIPs",))),
        why=(
            "Otherwise anyone who may create a Service can claim any address in its externalIPs, and receives the"
            " traffic that the nodes' pods send there (CVE-2020-8554)."
        ),
        caution="look for Services that use externalIPs, because new external IPs will be rejected",
        remediation=_enabled("DenyServiceExternalIPs"),
        source=_PLUGINS,
    ),
    BenchmarkControl(
        id="apiserver-event-rate-limit",
        title="EventRateLimit is on",
        numbers=numbered("1.2.10u 1.2.10u 1.2.9u 1.2.9u 1.2.9u 1.2.9M 1.2.9M 1.2.9M 1.2.9M 1.2.9M"),
        applies=ON_SERVERS,
        check=_argument("enable-admission-plugins", Includes(("EventRateLimit",))),
        why=(
            "Otherwise a pod that fails over and over, or an attacker, can fill the datastore and keep the API server"
            " busy with events."
        ),
        caution=(
            "add an entry for EventRateLimit with its limits to the file that 'admission-control-config-file' names,"
            " because the API server does not start without them"
        ),
        remediation=_enabled("EventRateLimit"),
        setting="event-rate-limit",
        source=_PLUGINS,
    ),
    BenchmarkControl(
        id="apiserver-always-admit",
        title="AlwaysAdmit is not on",
        numbers=numbered("1.2.11A 1.2.11A 1.2.10A 1.2.10A 1.2.10A 1.2.10A 1.2.10A 1.2.10A 1.2.10A 1.2.10A"),
        applies=ON_SERVERS,
        check=_argument("enable-admission-plugins", Excludes(("AlwaysAdmit",)), unset_passes=True),
        why="It admits everything without a check. It is deprecated, and nothing needs it.",
        source=_PLUGINS,
    ),
    BenchmarkControl(
        id="apiserver-always-pull-images",
        title="AlwaysPullImages is on",
        numbers=numbered("1.2.12u 1.2.12u 1.2.11u 1.2.11u 1.2.11u 1.2.11M 1.2.11M 1.2.11M 1.2.11M 1.2.11M"),
        applies=ON_SERVERS,
        check=_argument("enable-admission-plugins", Includes(("AlwaysPullImages",))),
        why=(
            "Otherwise a private image that one pod has pulled can be run by every pod of that node, with no right to"
            " pull it. The price is that no container starts while its registry is out of reach."
        ),
        remediation=_enabled("AlwaysPullImages"),
        setting="always-pull-images",
        source=_PLUGINS,
    ),
    BenchmarkControl(
        id="apiserver-security-context-deny",
        title="PodSecurityPolicy is on, or SecurityContextDeny in its place",
        numbers=numbered("1.2.13u 1.2.13u 1.2.12S 1.2.12S - - - - - -"),
        # From v1.25 on the API server does not know PodSecurityPolicy, and exits at the name.
        applies=Applies(SERVERS, WITH_POD_SECURITY_POLICY),
        check=_argument("enable-admission-plugins", IncludesOneOf(("SecurityContextDeny", "PodSecurityPolicy"))),
        why="With neither, a pod chooses its own rights: root, the host's network and files, all capabilities.",
        caution=(
            "create PodSecurityPolicies such as those of policy.yaml, because the plugin admits no pod without a policy"
        ),
        remediation=_enabled("PodSecurityPolicy"),
        guide=_POD_SECURITY_POLICY,
        source=_PLUGINS,
    ),
    BenchmarkControl(
        id="apiserver-service-account-plugin",
        title="ServiceAccount is not off",
        numbers=numbered("1.2.14A 1.2.14A 1.2.13A 1.2.13A 1.2.12A 1.2.12A 1.2.12A 1.2.12A 1.2.12A 1.2.12A"),
        level=2,
        applies=ON_SERVERS,
        check=_argument("disable-admission-plugins", Excludes(("ServiceAccount",)), unset_passes=True),
        why=(
            "The plugin gives each pod a service account of its namespace, and refuses one that does not exist."
            " Without it a pod has no identity of its own that rights could be bound to."
        ),
        source=_PLUGINS,
    ),
    BenchmarkControl(
        id="apiserver-namespace-lifecycle",
        title="NamespaceLifecycle is not off",
        numbers=numbered("1.2.15A 1.2.15A 1.2.14A 1.2.14A 1.2.13A 1.2.13A 1.2.13A 1.2.13A 1.2.13A 1.2.13A"),
        level=2,
        applies=ON_SERVERS,
        check=_argument("disable-admission-plugins", Excludes(("NamespaceLifecycle",)), unset_passes=True),
        why=(
            "Without it objects can be created in namespaces that do not exist or are being deleted, and default and"
            " kube-system can themselves be deleted."
        ),
        source=_PLUGINS,
    ),
    BenchmarkControl(
        id=_NODE_RESTRICTION.id,
        title="NodeRestriction is on",
        numbers=numbered("1.2.16A 1.2.16A 1.2.15A 1.2.15A 1.2.14A 1.2.14A 1.2.14A 1.2.14A 1.2.14A 1.2.14A"),
        level=2,
        applies=ON_SERVERS,
        check=_argument("enable-admission-plugins", Includes(("NodeRestriction",))),
        why=(
            "The plugin lets a kubelet change only its own Node and its own pods. Without it one compromised node can"
            " relabel the others and draw their pods, with the Secrets in them, to itself."
        ),
        remediation=_enabled("NodeRestriction"),
        guide=_NODE_RESTRICTION,
        source=_K3S,
    ),
)

_SERVING_ROWS: tuple[BenchmarkControl, ...] = (
    BenchmarkControl(
        id="apiserver-secure-port",
        title="The API server serves on a port with TLS",
        numbers=numbered("1.2.17A 1.2.17A 1.2.16A - - - - - - -"),
        applies=ON_SERVERS,
        check=_argument("secure-port", AtLeast(1), unset_passes=True),
        why="0 switches off the one port on which requests are encrypted, authenticated and authorized.",
        source=_K3S,
    ),
    BenchmarkControl(
        id="apiserver-profiling",
        title="The API server offers no profiling",
        numbers=numbered("1.2.18A 1.2.18A 1.2.17A 1.2.16A 1.2.15A 1.2.15A 1.2.15A 1.2.15A 1.2.15A 1.2.15A"),
        applies=ON_SERVERS,
        check=_argument("profiling", Boolean(expected=False)),
        why=(
            "Profiles show what the API server does inside, and taking one costs processor time: this helps whoever"
            " prepares an attack, and others only while they look for a fault."
        ),
        source=_K3S,
    ),
)

_AUDIT_ROWS: tuple[BenchmarkControl, ...] = (
    of_the_guide(
        newest("audit-log-path"),
        Component.API_SERVER,
        "1.2.19S 1.2.19u 1.2.18u 1.2.17u 1.2.16u 1.2.16M 1.2.16M 1.2.16M 1.2.16M 1.2.16A",
        source=_AUDIT,
    ),
    of_the_guide(
        newest("audit-log-maxage"),
        Component.API_SERVER,
        "1.2.20S 1.2.20u 1.2.19u 1.2.18u 1.2.17u 1.2.17M 1.2.17M 1.2.17M 1.2.17M 1.2.17A",
        source=_AUDIT,
    ),
    of_the_guide(
        newest("audit-log-maxbackup"),
        Component.API_SERVER,
        "1.2.21S 1.2.21u 1.2.20u 1.2.19u 1.2.18u 1.2.18M 1.2.18M 1.2.18M 1.2.18M 1.2.18A",
        source=_AUDIT,
    ),
    of_the_guide(
        newest("audit-log-maxsize"),
        Component.API_SERVER,
        "1.2.22S 1.2.22u 1.2.21u 1.2.20u 1.2.19u 1.2.19M 1.2.19M 1.2.19M 1.2.19M 1.2.19A",
        source=_AUDIT,
    ),
)

_REQUEST_ROWS: tuple[BenchmarkControl, ...] = (
    of_the_guide(
        newest("request-timeout"),
        Component.API_SERVER,
        "1.2.23S 1.2.23u 1.2.22u 1.2.21u 1.2.20u 1.2.20M 1.2.20M 1.2.20M 1.2.20M 1.2.20M",
        source=_REQUESTS,
        # The default is a limit, 60 s, and to be changed only where it is needed: to leave it is appropriate.
        unset_passes=True,
    ),
    of_the_guide(
        newest("service-account-lookup"),
        Component.API_SERVER,
        "1.2.24A 1.2.24A 1.2.23A 1.2.22A 1.2.21A 1.2.21A 1.2.21A 1.2.21A 1.2.21A 1.2.21A",
        source=_AUTHENTICATION,
        unset_passes=True,
    ),
)

_KEY_ROWS: tuple[BenchmarkControl, ...] = (
    BenchmarkControl(
        id="apiserver-service-account-key-file",
        title="Service accounts' tokens are checked with a key of their own",
        numbers=numbered("1.2.25S 1.2.25A 1.2.24A 1.2.23A 1.2.22A 1.2.22A 1.2.22A 1.2.22A 1.2.22A 1.2.22A"),
        applies=ON_SERVERS,
        check=_argument("service-account-key-file", Present()),
        why=(
            "Without it the API server checks tokens with the key of its serving certificate: one key for two"
            " purposes, neither of which can be renewed without the other."
        ),
        source=_K3S,
    ),
    BenchmarkControl(
        id="apiserver-etcd-client-certificate",
        title="The API server shows etcd a client certificate",
        numbers=numbered("1.2.26A 1.2.26A 1.2.25A 1.2.24A 1.2.23A 1.2.23A 1.2.23A 1.2.23A 1.2.23A 1.2.23A"),
        applies=ON_SERVERS,
        check=AllOf((_argument("etcd-certfile", Present()), _argument("etcd-keyfile", Present()))),
        why=(
            "An etcd that answers without a certificate answers everybody, and it holds all Secrets. This matters"
            " where K3s runs etcd, and where its datastore is reached over TLS."
        ),
        source=_K3S,
    ),
    BenchmarkControl(
        id="apiserver-serving-certificate",
        title="The API server has a certificate and key to serve with",
        numbers=numbered("1.2.27A 1.2.27A 1.2.26A 1.2.25A 1.2.24A 1.2.24A 1.2.24A 1.2.24A 1.2.24A 1.2.24A"),
        applies=ON_SERVERS,
        check=AllOf((_argument("tls-cert-file", Present()), _argument("tls-private-key-file", Present()))),
        why=(
            "Otherwise the API server signs a certificate itself, which no client can verify, and a client that does"
            " not verify it gives its token to whoever answers."
        ),
        source=_K3S,
    ),
    BenchmarkControl(
        id="apiserver-client-ca-file",
        title="The API server checks clients' certificates",
        numbers=numbered("1.2.28A 1.2.28A 1.2.27A 1.2.26A 1.2.25A 1.2.25A 1.2.25A 1.2.25A 1.2.25A 1.2.25A"),
        applies=ON_SERVERS,
        check=_argument("client-ca-file", Present()),
        why=(
            "Kubelets and the control plane prove who they are with certificates of this authority; without it they"
            " cannot, and weaker ways to authenticate take its place."
        ),
        source=_K3S,
    ),
    BenchmarkControl(
        id="apiserver-etcd-ca-file",
        title="The API server checks etcd's certificate",
        numbers=numbered("1.2.29A 1.2.29A 1.2.28A 1.2.27A 1.2.26A 1.2.26A 1.2.26A 1.2.26A 1.2.26A 1.2.26A"),
        applies=ON_SERVERS,
        check=_argument("etcd-cafile", Present()),
        why=(
            "Otherwise anyone who answers at etcd's address is sent everything that the cluster stores. This matters"
            " where K3s runs etcd, and where its datastore is reached over TLS."
        ),
        source=_K3S,
    ),
)

_ENCRYPTION_ROWS: tuple[BenchmarkControl, ...] = (
    BenchmarkControl(
        id=SECRETS_ENCRYPTION.id,
        title=SECRETS_ENCRYPTION.title,
        numbers=numbered("1.2.30u 1.2.30u 1.2.29u 1.2.28u 1.2.27u 1.2.27M 1.2.27M 1.2.27M 1.2.27M 1.2.27M"),
        applies=ON_SERVERS,
        check=_argument("encryption-provider-config", Present()),
        why=SECRETS_ENCRYPTION.why,
        remediation=Remediation((Instruction(SECRETS_ENCRYPTION.by_hand),)),
        guide=SECRETS_ENCRYPTION,
        source=_K3S,
    ),
    BenchmarkControl(
        id="apiserver-encryption-providers",
        title="What encrypts Secrets is a strong provider",
        numbers=numbered("1.2.31M 1.2.31u 1.2.30u 1.2.29u 1.2.28u 1.2.28M 1.2.28M 1.2.28M 1.2.28M 1.2.28M"),
        applies=ON_SERVERS,
        check=EncryptionProviders(("aescbc", "kms", "secretbox")),
        why=(
            "The first provider in the file encrypts what is written. Where that is identity, Secrets are stored in"
            " clear text, although there is an encryption configuration."
        ),
        remediation=Remediation(
            (Instruction(SECRETS_ENCRYPTION.by_hand),),
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
)

_LAST_ROWS: tuple[BenchmarkControl, ...] = (
    BenchmarkControl(
        id="apiserver-cipher-suites",
        title="The API server speaks strong ciphers only",
        numbers=numbered("1.2.32u 1.2.32A 1.2.31A 1.2.30A 1.2.29A 1.2.29A 1.2.29A 1.2.29A 1.2.29A 1.2.29M"),
        applies=ON_SERVERS,
        check=_suites(_SUITES),
        earlier=MappingProxyType(
            {
                **dict.fromkeys(
                    (
                        Benchmark.CIS_1_23,
                        Benchmark.CIS_1_24,
                        Benchmark.CIS_1_7,
                        Benchmark.CIS_1_8,
                        Benchmark.CIS_1_9,
                    ),
                    _suites(_SUITES_UNTIL_1_9),
                ),
                **dict.fromkeys((Benchmark.CIS_1_10, Benchmark.CIS_1_11), _suites(_SUITES_UNTIL_1_11)),
            }
        ),
        why=(
            "With a weak suite somebody who has recorded the traffic, or can intercept it, can read it: tokens,"
            " Secrets and terminals. Without forward secrecy, the loss of a key also opens all traffic of the past."
        ),
        source="k3s-io/k3s pkg/cli/server/server.go",
    ),
    of_the_guide(
        newest("service-account-extend-token-expiration"),
        Component.API_SERVER,
        "- - - - - - 1.2.30A 1.2.30A 1.2.30A 1.2.30A",
        source=_AUTHENTICATION,
    ),
    of_the_guide(
        newest("audit-policy-file"),
        Component.API_SERVER,
        "3.2.1M 3.2.1u 3.2.1u 3.2.1u 3.2.1u 3.2.1M 3.2.1M 3.2.1M 3.2.1M 3.2.1M",
        source=_AUDIT,
    ),
)

API_SERVER: tuple[BenchmarkControl, ...] = (
    *_AUTHENTICATION_ROWS,
    *_KUBELET_ROWS,
    *_AUTHORIZATION_ROWS,
    *_ADMISSION_ROWS,
    *_SERVING_ROWS,
    *_AUDIT_ROWS,
    *_REQUEST_ROWS,
    *_KEY_ROWS,
    *_ENCRYPTION_ROWS,
    *_LAST_ROWS,
)
"""By topic. What is asked of etcd's certificates matters only where the datastore is etcd, or is reached over TLS."""
