"""Controls of the arguments of the kubelet (section 4.2) and of kube-proxy (section 4.3).

The kubelet's settings are named as arguments, although K3s v1.32 and newer sets them in the kubelet's files.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from agent.benchmark.control import BenchmarkControl, in_k3s_config, numbered, removed
from agent.benchmark.guide_options import of_the_guide
from agent.benchmark.versions import Benchmark, up_to
from agent.checks.arguments import ArgumentCheck
from agent.checks.check import AllOf
from agent.checks.manual import NotInK3s
from agent.guide.criteria import AtLeast, Boolean, Equals, LeavesGateOn, ListExcludes, ListSubsetOf, Loopback, NotEmpty
from agent.guide.k3s_options import POD_MAX_PIDS, PROTECT_KERNEL_DEFAULTS, SECCOMP_DEFAULT, newest
from agent.k3s.go_values import suites_with_long_names
from agent.model import Component

if TYPE_CHECKING:
    from agent.guide.criteria import Criterion
    from agent.model import Remediation

_K3S = "k3s-io/k3s pkg/daemons/agent/agent_linux.go"
_DEFAULTS = "kubernetes/kubernetes pkg/kubelet/apis/config/v1beta1/defaults.go"

_row = partial(BenchmarkControl, source=_K3S)
_guide = partial(of_the_guide, Component.KUBELET)
_removed = partial(removed, Component.KUBELET, elsewhere=", and from your own drop-ins of the kubelet")


def _argument(name: str, criterion: Criterion, *, unset_passes: bool = False) -> ArgumentCheck:
    return ArgumentCheck(Component.KUBELET, name, criterion, unset_passes)


def _added(argument: str) -> Remediation:
    return in_k3s_config(f"add `{argument}` to the list `{Component.KUBELET.config_key}`")


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
    _row(
        "kubelet-anonymous-auth",
        "The kubelet rejects anonymous requests",
        _argument("anonymous-auth", Boolean(expected=False)),
        "Through the kubelet a client can run commands in any container of the node and read all logs. By default"
        " it also accepts clients without credentials, as the user system:anonymous.",
        numbers=numbered("4.2.1A 4.2.1A 4.2.1A 4.2.1A 4.2.1A 4.2.1A 4.2.1A 4.2.1A 4.2.1A 4.2.1A"),
        remediation=_removed("anonymous-auth", default="K3s sets it to false"),
    ),
    _row(
        "kubelet-authorization-mode",
        "The kubelet authorizes requests",
        _argument("authorization-mode", ListExcludes(("AlwaysAllow",))),
        "With AlwaysAllow, which is the default, the kubelet allows every request of an authenticated client,"
        " including a pod with a token. With Webhook the API server decides by RBAC.",
        numbers=numbered("4.2.2A 4.2.2A 4.2.2A 4.2.2A 4.2.2A 4.2.2A 4.2.2A 4.2.2A 4.2.2A 4.2.2A"),
        remediation=_removed("authorization-mode", default="K3s sets it to Webhook"),
    ),
    _row(
        "kubelet-client-ca",
        "The kubelet verifies clients' certificates",
        _argument("client-ca-file", NotEmpty()),
        "The API server presents a certificate to the kubelet. Without the authority that signed it, the kubelet"
        " cannot authenticate the API server.",
        numbers=numbered("4.2.3A 4.2.3A 4.2.3A 4.2.3A 4.2.3A 4.2.3A 4.2.3A 4.2.3A 4.2.3A 4.2.3A"),
        remediation=_removed("client-ca-file", default="K3s sets it to a file that it manages"),
    ),
    _row(
        "kubelet-read-only-port",
        "The kubelet has no port without authentication",
        # Without a --config file the kubelet opens port 10255 by default (cmd/kubelet/app/options/options.go).
        _argument("read-only-port", Equals("0")),
        "The read-only port reveals the pods of the node with their environment, and metrics, to everyone who can"
        " reach it.",
        numbers=numbered("4.2.4u 4.2.4A 4.2.4A 4.2.4A 4.2.4A 4.2.4A 4.2.4A 4.2.4A 4.2.4A 4.2.4M"),
        remediation=_removed("read-only-port", default="K3s sets it to 0, which closes the port"),
    ),
    _guide(
        newest("streaming-connection-idle-timeout"),
        "4.2.5u 4.2.5u 4.2.5u 4.2.5u 4.2.5u 4.2.5M 4.2.5M 4.2.5M 4.2.5M 4.2.5M",
        source=_DEFAULTS,
    ),
    _guide(PROTECT_KERNEL_DEFAULTS, "4.2.6S 4.2.6A - - - - - - - -", source=_K3S),
    _guide(
        newest("make-iptables-util-chains"),
        "4.2.7S 4.2.7A 4.2.6A 4.2.6A 4.2.6A 4.2.6A 4.2.6A 4.2.6A 4.2.6A 4.2.6A",
        source=_DEFAULTS,
    ),
    _row(
        "kubelet-hostname-override",
        "The kubelet uses the host's name",
        NotInK3s(
            "K3s always passes the node's name with --hostname-override, and creates the kubelet's certificate for the"
            " same name."
        ),
        "If the name differs from the one in the node's certificate, TLS between the kubelet and the API server"
        " fails, and logs are hard to correlate.",
        numbers=numbered("4.2.8S 4.2.8S 4.2.7S 4.2.7S 4.2.7S 4.2.7S 4.2.7S 4.2.7S 4.2.7S 4.2.7S"),
    ),
    BenchmarkControl(
        "kubelet-event-qps",
        "The kubelet records enough events for an investigation",
        _argument("event-qps", AtLeast(0, example=50), unset_passes=True),
        "The kubelet drops events above this rate per second, and with them evidence of what happened on the node."
        " The default is 5 up to v1.26, and 50 from v1.27 on. 0 means 5 up to v1.36, and no limit from v1.37 on,"
        " with which a failing node can flood the datastore. So 0, which cis-1.23 and cis-1.24 require, changes"
        " nothing on the versions that they cover, and must be removed before an upgrade to v1.27 or newer.",
        numbers=numbered("4.2.9M 4.2.9u 4.2.8u 4.2.8u 4.2.8u 4.2.8M 4.2.8M 4.2.8M 4.2.8M 4.2.8M"),
        level=2,
        earlier=dict.fromkeys(up_to(Benchmark.CIS_1_24), _argument("event-qps", Equals("0"))),
        remediation=_added("event-qps=50"),
        # (kubernetes/kubernetes #117119, CHANGELOG-1.37 and CHANGELOG-1.27)
        source=_DEFAULTS,
    ),
    _row(
        "kubelet-serving-certificate",
        "The kubelet serves with a certificate of the cluster",
        AllOf((_argument("tls-cert-file", NotEmpty()), _argument("tls-private-key-file", NotEmpty()))),
        "Without them the kubelet uses a self-signed certificate, and the API server cannot distinguish it from an"
        " impostor.",
        numbers=numbered("4.2.10u 4.2.10A 4.2.9A 4.2.9A 4.2.9A 4.2.9A 4.2.9A 4.2.9A 4.2.9A 4.2.9M"),
        remediation=_removed(
            "tls-cert-file", "tls-private-key-file", default="K3s sets them to files that it creates and renews"
        ),
    ),
    BenchmarkControl(
        "kubelet-rotate-certificates",
        "The renewal of the kubelet's client certificate is not disabled",
        _argument("rotate-certificates", Boolean(expected=True), unset_passes=True),
        "A node whose certificate has expired loses its connection to the cluster. K3s renews all certificates of"
        " the node that are about to expire when it starts.",
        numbers=numbered("4.2.11S 4.2.11A 4.2.10A 4.2.10A 4.2.10A 4.2.10A 4.2.10A 4.2.10A 4.2.10A 4.2.10A"),
        remediation=_removed("rotate-certificates", default="K3s renews the certificate itself"),
        source="k3s-io/k3s pkg/agent/config/config.go",
    ),
    BenchmarkControl(
        "kubelet-rotate-server-certificate",
        "The renewal of the kubelet's serving certificate is not disabled",
        _argument("feature-gates", LeavesGateOn("RotateKubeletServerCertificate"), unset_passes=True),
        "With the gate disabled the kubelet does not request a new serving certificate before the old one expires."
        " K3s leaves the gate enabled, and creates and renews the certificate itself when it starts.",
        numbers=numbered("4.2.12S 4.2.12A 4.2.11A 4.2.11A 4.2.11A 4.2.11A 4.2.11A 4.2.11A 4.2.11A 4.2.11M"),
        remediation=_removed(
            "feature-gates",
            default="the gate RotateKubeletServerCertificate is enabled by default (other gates can stay in the list)",
        ),
        source="k3s-io/k3s pkg/agent/config/config.go",
    ),
    _guide(
        _CIPHERS,
        "4.2.13M 4.2.13u 4.2.12u 4.2.12u 4.2.12u 4.2.12M 4.2.12M 4.2.12M 4.2.12M 4.2.12M",
        earlier=dict.fromkeys(up_to(Benchmark.CIS_1_11), _STRONG_UNTIL_1_11),
        source=_DEFAULTS,
    ),
    BenchmarkControl(
        "kubelet-pod-max-pids",
        POD_MAX_PIDS.title,
        _argument("pod-max-pids", POD_MAX_PIDS.meets),
        "All pods share the host's process IDs. One pod that forks without limit takes all of them, and then"
        " neither other pods nor the host can start a process.",
        numbers=numbered("- - 4.2.13u 4.2.13u 4.2.13u 4.2.13M 4.2.13M 4.2.13M 4.2.13M 4.2.13M"),
        caution="find out how many processes your largest pod has, and choose a larger number",
        remediation=_added(f"pod-max-pids={POD_MAX_PIDS.value}"),
        setting="pod-max-pids",
        source=_DEFAULTS,
    ),
    BenchmarkControl(
        "kubelet-seccomp-default",
        SECCOMP_DEFAULT.title,
        _argument("seccomp-default", SECCOMP_DEFAULT.meets),
        "By default a pod without a seccomp profile in its security context can make every system call. The"
        " runtime's profile denies system calls that few programs need and many attacks use.",
        numbers=numbered("- - - - - - 4.2.14M 4.2.14M 4.2.14M 4.2.14M"),
        caution=(
            "test your workloads with 'seccompProfile: type: RuntimeDefault' in their security context, because"
            " programs that need a rare system call fail with it"
        ),
        remediation=_added("seccomp-default=true"),
        setting="seccomp-default",
        source=_DEFAULTS,
    ),
    BenchmarkControl(
        "kube-proxy-metrics-bind-address",
        "kube-proxy serves its metrics only to the host",
        ArgumentCheck(Component.KUBE_PROXY, "metrics-bind-address", Loopback(), unset_passes=True),
        "The port requires no credentials, and reveals the cluster's Services and kube-proxy's configuration.",
        numbers=numbered("- - - - 4.3.1A 4.3.1A 4.3.1A 4.3.1A 4.3.1A 4.3.1M"),
        caution="run the program that collects the metrics in the host's network",
        remediation=removed(
            Component.KUBE_PROXY, "metrics-bind-address", default="the default of kube-proxy is 127.0.0.1:10249"
        ),
        source="kubernetes/kubernetes pkg/proxy/apis/config/v1alpha1/defaults.go",
    ),
)
"""In the benchmarks' order."""
