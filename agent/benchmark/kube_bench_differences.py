"""Differences between the results of kube-bench and of this program, for each control.

They apply to `kube-bench run --benchmark k3s-cis-…` with its profiles and code (kube-bench, cfg/k3s-cis-*/*.yaml,
check/check.go and check/test.go). A test compares the results of both for nodes in many states: every difference has
an entry, and every entry has a difference.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from agent.benchmark import catalogue
from agent.benchmark.control import Assessed
from agent.benchmark.versions import Benchmark, up_to

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent.benchmark.control import BenchmarkControl


class Reason(Enum):
    """Why the two differ, as sentences about kube-bench."""

    JOURNAL = (
        "It reads the line that K3s logs when it starts a component. If the journal no longer contains that line, or"
        " if the service is not named k3s or k3s-agent, it fails compliant settings, or passes settings without"
        " evidence."
    )
    FIRST_VALUE = (
        "It reads the first value of an argument that is given several times. The component uses the last value, or"
        " combines all."
    )
    FIRST_START = "It reads the first start in the journal, not the last."
    SPELLING = (
        "It compares text. Another spelling of the same value, such as 1 for true, does not pass, and an argument whose"
        " name is written with underscores is not found."
    )
    KUBELET_FILES = (
        "It does not read the kubelet's configuration files, neither the operator's nor K3s' own, which contains most"
        " settings since v1.32."
    )
    DATA_DIR = "It reads /var/lib/rancher/k3s, regardless of K3s' data directory."
    NOT_HERE = (
        "If a control does not apply, such as etcd on a node with SQLite, a disabled component, or leases before the"
        " first pod, it fails, warns or passes. k3s-harden reports NOT_APPLICABLE."
    )
    NOT_ASKED = "It leaves this control to manual review, or skips it on K3s. k3s-harden checks the host."
    CLUSTER = (
        "It queries the API server with kubectl. k3s-harden does so only with --cluster, and otherwise requires manual"
        " review."
    )
    NO_EVIDENCE = "It passes without evidence, or with evidence that it cannot parse. k3s-harden reports UNKNOWN."
    STRICTER = "It fails or warns if k3s-harden passes."
    LAXER = "It passes if k3s-harden fails."


class Difference(NamedTuple):
    """One reason why kube-bench's profiles of these benchmarks can differ; `note` describes the special case.

    STRICTER and LAXER have a note, no other reason has one.
    """

    reason: Reason
    benchmarks: tuple[Benchmark, ...]
    note: str = ""


PROFILED = tuple(benchmark for benchmark in Benchmark if benchmark.kube_bench_profile)
"""The benchmarks for which kube-bench has a profile on K3s."""

# Listed explicitly, so that a new profile of kube-bench does not change existing rows.
_CIS_1_23 = (Benchmark.CIS_1_23,)
_CIS_1_24 = (Benchmark.CIS_1_24,)
_CIS_1_9 = (Benchmark.CIS_1_9,)
_CIS_1_23_AND_1_24 = (Benchmark.CIS_1_23, Benchmark.CIS_1_24)
_CIS_1_23_TO_1_8 = up_to(Benchmark.CIS_1_8)
_CIS_1_24_TO_1_8 = up_to(Benchmark.CIS_1_8, Benchmark.CIS_1_24)
_CIS_1_24_TO_1_9 = up_to(Benchmark.CIS_1_9, Benchmark.CIS_1_24)
_CIS_1_7_TO_1_9 = (Benchmark.CIS_1_7, Benchmark.CIS_1_8, Benchmark.CIS_1_9)

# The same check reads the process list in some profiles, and K3s' journal in others.
_READ_FROM_PS = (Benchmark.CIS_1_23, Benchmark.CIS_1_7)
_READ_FROM_JOURNAL = (Benchmark.CIS_1_24, Benchmark.CIS_1_8, Benchmark.CIS_1_9)

_CONTAINERD = "It searches the command line of containerd, which never contains the argument."
_ARGUMENT_OF_API_SERVER = "It reads the API server's argument of that name, not the kubelet's."
_WORD_NEVER_PRINTED = "Its test expects the word permissions, which its audit does not print, so it never passes."
_ANY_VALUE = "It accepts any value, even an empty one."
_ANY_PATH = "It accepts any path."
_LOOPBACK = "It accepts only 127.0.0.1, not ::1."
_WRITTEN_OUT = "It requires the argument, although the component's default is compliant."
_ALL_BETA = "It ignores that AllBeta=false also disables the gate."
_EMPTY_IS_TRUE = "It reads an empty value as true. The component rejects it and exits."
_OCTAL = "It reads a number with a leading zero as decimal. The API server reads it as octal, so 030 is 24."
_ON_AND_OFF = "It ignores disable-admission-plugins. The API server exits if a plugin is enabled and disabled."
_LAST_COMMA = "It accepts a space after a comma, and a comma at the end. The component rejects both and exits."
_CLOSING_QUOTE = "It reads the quote that ends K3s' log line as a part of the last argument's value"
_LINE_START = "It expects the setting at the start of a line, where K3s does not write it."


class _Rows(NamedTuple):
    """One reason for many controls; without `benchmarks` it applies to all profiles that run the check."""

    reason: Reason
    ids: tuple[str, ...]
    benchmarks: tuple[Benchmark, ...] = ()
    note: str = ""


_ETCD_AUTO_TLS = ("etcd-auto-tls", "etcd-peer-auto-tls")
_ETCD_CONFIGURATION = (
    "etcd-server-certificate",
    "etcd-client-cert-auth",
    "etcd-peer-certificate",
    "etcd-peer-client-cert-auth",
    "etcd-unique-ca",
)
_ETCD_FILE_ARGUMENTS = ("apiserver-etcd-client-certificate", "apiserver-etcd-ca-file")
_FILE_ARGUMENTS = (
    "apiserver-kubelet-client-certificate",
    "apiserver-kubelet-certificate-authority",
    "apiserver-serving-certificate",
    "apiserver-client-ca-file",
    "apiserver-service-account-key-file",
    "secrets-encryption",
    "controller-manager-service-account-key",
    "controller-manager-root-ca",
)
_AUDIT_LOG_ARGUMENTS = ("audit-log-maxage", "audit-log-maxbackup", "audit-log-maxsize")
_ADMISSION_PLUGINS = (
    "apiserver-event-rate-limit",
    "apiserver-always-admit",
    "apiserver-security-context-deny",
    "apiserver-service-account-plugin",
    "apiserver-namespace-lifecycle",
    "enable-admission-plugins",
    "apiserver-external-ips-denied",
)
_READ_FROM_PS_BY_1_23 = ("apiserver-token-auth-file", "apiserver-external-ips-not-denied")
_BOOLEAN_ARGUMENTS = (
    "apiserver-anonymous-auth",
    "apiserver-profiling",
    "service-account-lookup",
    "controller-manager-profiling",
    "controller-manager-service-account-credentials",
    "scheduler-profiling",
    "kubelet-anonymous-auth",
    "protect-kernel-defaults",
    "make-iptables-util-chains",
    "kubelet-rotate-certificates",
)
_VALUE_ARGUMENTS = (
    "apiserver-authorization-not-always-allow",
    "apiserver-authorization-node",
    "apiserver-authorization-rbac",
    "apiserver-secure-port",
    "apiserver-cipher-suites",
    "controller-manager-rotate-kubelet-server-certificate",
    "scheduler-bind-address",
    "kubelet-authorization-mode",
    "kubelet-read-only-port",
    "kubelet-event-qps",
    "kubelet-rotate-server-certificate",
    "tls-cipher-suites",
    "kube-proxy-metrics-bind-address",
)
_PRESENCE_ARGUMENTS = (
    "audit-log-path",
    "request-timeout",
    "audit-policy-file",
    "terminated-pod-gc-threshold",
    "kubelet-pod-max-pids",
)
_KUBELET_FILE_FIELDS = (
    "streaming-connection-idle-timeout",
    "protect-kernel-defaults",
    "make-iptables-util-chains",
    "kubelet-event-qps",
    "kubelet-rotate-certificates",
    "kubelet-rotate-server-certificate",
    "tls-cipher-suites",
    "kubelet-pod-max-pids",
)
_CONTROL_PLANE_KUBECONFIGS = (
    "admin-kubeconfig-permissions",
    "admin-kubeconfig-ownership",
    "scheduler-kubeconfig-permissions",
    "scheduler-kubeconfig-ownership",
    "controller-manager-kubeconfig-permissions",
    "controller-manager-kubeconfig-ownership",
)
_NODE_FILES = (
    "kube-proxy-kubeconfig-ownership",
    "kubelet-kubeconfig-ownership",
    "kubelet-client-ca-permissions",
    "kubelet-client-ca-ownership",
)
_NODE_KUBECONFIG_PERMISSIONS = ("kube-proxy-kubeconfig-permissions", "kubelet-kubeconfig-permissions")
_CNI_FILES = ("cni-permissions", "cni-ownership")


def _stricter(note: str, ids: tuple[str, ...], benchmarks: tuple[Benchmark, ...] = ()) -> _Rows:
    return _Rows(Reason.STRICTER, ids, benchmarks, note)


def _laxer(note: str, ids: tuple[str, ...], benchmarks: tuple[Benchmark, ...] = ()) -> _Rows:
    return _Rows(Reason.LAXER, ids, benchmarks, note)


_ROWS = (
    _Rows(
        Reason.JOURNAL,
        (
            *_FILE_ARGUMENTS,
            *_AUDIT_LOG_ARGUMENTS,
            *_ADMISSION_PLUGINS,
            *_BOOLEAN_ARGUMENTS,
            *_VALUE_ARGUMENTS,
            *_PRESENCE_ARGUMENTS,
        ),
    ),
    _Rows(Reason.JOURNAL, ("apiserver-etcd-ca-file", "apiserver-encryption-providers")),
    _Rows(Reason.JOURNAL, ("apiserver-etcd-client-certificate", "streaming-connection-idle-timeout")),
    _Rows(Reason.JOURNAL, ("apiserver-token-auth-file",), _CIS_1_24_TO_1_9),
    _Rows(Reason.JOURNAL, ("apiserver-external-ips-not-denied",), _CIS_1_24_TO_1_8),
    _Rows(Reason.JOURNAL, ("apiserver-always-pull-images", "controller-manager-bind-address"), _READ_FROM_JOURNAL),
    _Rows(Reason.JOURNAL, ("kubelet-serving-certificate",), _CIS_1_23_TO_1_8),
    _Rows(Reason.JOURNAL, ("etcd-data-permissions",), _CIS_1_24_TO_1_8),
    _Rows(Reason.FIRST_VALUE, (*_AUDIT_LOG_ARGUMENTS, *_ADMISSION_PLUGINS, *_BOOLEAN_ARGUMENTS, *_VALUE_ARGUMENTS)),
    _Rows(Reason.FIRST_VALUE, ("apiserver-external-ips-not-denied",), _CIS_1_24_TO_1_8),
    _Rows(Reason.FIRST_VALUE, ("apiserver-always-pull-images", "controller-manager-bind-address"), _READ_FROM_JOURNAL),
    _Rows(Reason.FIRST_VALUE, ("streaming-connection-idle-timeout",), _CIS_1_23_TO_1_8),
    _Rows(Reason.FIRST_START, ("apiserver-etcd-client-certificate",)),
    _Rows(
        Reason.SPELLING,
        (
            *(name for name in _BOOLEAN_ARGUMENTS if name != "controller-manager-service-account-credentials"),
            *_AUDIT_LOG_ARGUMENTS,
            *_PRESENCE_ARGUMENTS,
            "apiserver-namespace-lifecycle",
            "apiserver-secure-port",
            "apiserver-service-account-plugin",
            "controller-manager-rotate-kubelet-server-certificate",
            "kube-proxy-metrics-bind-address",
            "kubelet-event-qps",
            "kubelet-read-only-port",
            "scheduler-bind-address",
            "secrets-encryption",
            "streaming-connection-idle-timeout",
            "tls-cipher-suites",
        ),
    ),
    _Rows(Reason.SPELLING, ("apiserver-token-auth-file",), _CIS_1_24_TO_1_9),
    _Rows(Reason.SPELLING, ("controller-manager-bind-address",), _READ_FROM_JOURNAL),
    _Rows(Reason.SPELLING, ("kubelet-authorization-mode",), _CIS_1_23_TO_1_8),
    _Rows(Reason.KUBELET_FILES, _KUBELET_FILE_FIELDS),
    _Rows(Reason.KUBELET_FILES, ("kubelet-read-only-port",), _CIS_1_9),
    _Rows(
        Reason.DATA_DIR,
        ("etcd-data-permissions", "pki-ownership", *_CONTROL_PLANE_KUBECONFIGS, *_ETCD_CONFIGURATION, *_NODE_FILES),
    ),
    _Rows(Reason.DATA_DIR, ("pki-certificate-permissions", "pki-key-permissions"), _CIS_1_24_TO_1_9),
    _Rows(Reason.DATA_DIR, (*_ETCD_AUTO_TLS, *_NODE_KUBECONFIG_PERMISSIONS), _CIS_1_24_TO_1_9),
    _Rows(Reason.DATA_DIR, ("kubelet-serving-certificate",), _CIS_1_9),
    _Rows(
        Reason.NOT_HERE,
        (
            *_FILE_ARGUMENTS,
            *_AUDIT_LOG_ARGUMENTS,
            *_ADMISSION_PLUGINS,
            *_BOOLEAN_ARGUMENTS,
            *_VALUE_ARGUMENTS,
            *_PRESENCE_ARGUMENTS,
            *_KUBELET_FILE_FIELDS,
        ),
    ),
    _Rows(
        Reason.NOT_HERE,
        (*_ETCD_CONFIGURATION, *_ETCD_AUTO_TLS, *_ETCD_FILE_ARGUMENTS, *_READ_FROM_PS_BY_1_23, *_CNI_FILES),
    ),
    _Rows(Reason.NOT_HERE, (*_NODE_FILES, *_NODE_KUBECONFIG_PERMISSIONS, "etcd-data-permissions")),
    _Rows(Reason.NOT_HERE, ("apiserver-always-pull-images", "apiserver-encryption-providers")),
    _Rows(Reason.NOT_HERE, ("controller-manager-bind-address", "kubelet-client-ca", "kubelet-serving-certificate")),
    _Rows(
        Reason.NOT_HERE,
        (
            "apiserver-anonymous-auth",
            "apiserver-encryption-providers",
            "audit-policy-file",
            "kubelet-event-qps",
            "tls-cipher-suites",
        ),
        _CIS_1_23,
    ),
    _Rows(
        Reason.NOT_ASKED, (*_CNI_FILES, "admin-kubeconfig-permissions", "apiserver-kubelet-https"), _CIS_1_23_AND_1_24
    ),
    _Rows(
        Reason.NOT_ASKED,
        (
            "apiserver-anonymous-auth",
            "audit-log-path",
            *_AUDIT_LOG_ARGUMENTS,
            "request-timeout",
            "apiserver-service-account-key-file",
            "apiserver-encryption-providers",
            "audit-policy-file",
            "controller-manager-rotate-kubelet-server-certificate",
            "protect-kernel-defaults",
            "make-iptables-util-chains",
            "kubelet-event-qps",
            "kubelet-rotate-certificates",
            "kubelet-rotate-server-certificate",
            "tls-cipher-suites",
        ),
        _CIS_1_23,
    ),
    _Rows(Reason.NOT_ASKED, ("kubelet-config-permissions", "kubelet-config-ownership"), PROFILED),
    _Rows(
        Reason.CLUSTER,
        ("rbac-cluster-admin", "rbac-wildcards", "default-service-accounts", "service-account-token-mounts"),
    ),
    _Rows(Reason.NO_EVIDENCE, (*_ETCD_AUTO_TLS, "apiserver-encryption-providers", "kube-proxy-metrics-bind-address")),
    _Rows(Reason.NO_EVIDENCE, ("etcd-data-permissions",), _CIS_1_24_TO_1_8),
    _Rows(Reason.NO_EVIDENCE, _ETCD_CONFIGURATION),
    _Rows(Reason.NO_EVIDENCE, ("apiserver-etcd-client-certificate",), _CIS_1_24_TO_1_9),
    _stricter(
        _WORD_NEVER_PRINTED,
        ("pki-certificate-permissions", "pki-key-permissions", "kube-proxy-kubeconfig-permissions"),
        _CIS_1_23,
    ),
    _stricter(
        "It requires exactly 644, and fails the 600 that K3s sets.", ("kubelet-kubeconfig-permissions",), _CIS_1_23
    ),
    _stricter("It requires exactly 700, and fails stricter modes.", ("etcd-data-permissions",), _CIS_1_23),
    _stricter(_CONTAINERD, ("apiserver-always-pull-images",), _READ_FROM_PS),
    _stricter(
        "Its audit keeps the start line only if it contains the word ServiceAccount, which K3s' own does not.",
        ("apiserver-service-account-plugin",),
        _CIS_1_24,
    ),
    _stricter(
        "It finds the providers only if the file is on one line without spaces, as K3s writes it.",
        ("apiserver-encryption-providers",),
        _CIS_1_24_TO_1_9,
    ),
    _stricter(_WRITTEN_OUT, ("request-timeout",)),
    _stricter(_WRITTEN_OUT, ("streaming-connection-idle-timeout",), _CIS_1_23),
    _stricter(
        "Its test uses the operator noteqx, which kube-bench does not support, so no value passes.",
        ("streaming-connection-idle-timeout",),
        _CIS_1_9,
    ),
    _stricter(f"{_CLOSING_QUOTE}.", ("kubelet-rotate-certificates", "tls-cipher-suites"), _CIS_1_9),
    _stricter(_LOOPBACK, ("scheduler-bind-address", "kube-proxy-metrics-bind-address")),
    _stricter(_LOOPBACK, ("controller-manager-bind-address",), _READ_FROM_JOURNAL),
    _stricter(_ARGUMENT_OF_API_SERVER, ("kubelet-anonymous-auth", "kubelet-authorization-mode"), _CIS_1_9),
    _stricter("It fails if a gate whose name contains this one is false.", ("kubelet-rotate-server-certificate",)),
    _stricter(
        "It reads only the log of k3s, so it finds nothing on an agent.",
        ("kubelet-read-only-port", "kubelet-serving-certificate"),
        _CIS_1_23,
    ),
    _stricter(
        "It checks the directory server/tls, not the kubeconfig.",
        ("controller-manager-kubeconfig-ownership",),
        _CIS_1_23_AND_1_24,
    ),
    _stricter(
        "It checks a certificate in server/tls, which an agent does not have.",
        ("kubelet-client-ca-permissions", "kubelet-client-ca-ownership"),
        _CIS_1_23,
    ),
    _laxer(_CONTAINERD, _READ_FROM_PS_BY_1_23, _CIS_1_23),
    _laxer(_CONTAINERD, ("controller-manager-bind-address",), _READ_FROM_PS),
    _laxer(_ANY_VALUE, (*_FILE_ARGUMENTS, *_ETCD_FILE_ARGUMENTS)),
    _laxer(_ANY_VALUE, ("kubelet-client-ca", "kubelet-serving-certificate"), _CIS_1_23_TO_1_8),
    _laxer(
        "It reads the API server's argument of that name, not the kubelet's, and passes every agent.",
        ("kubelet-client-ca", "kubelet-anonymous-auth", "kubelet-authorization-mode"),
        _CIS_1_9,
    ),
    _laxer(
        "It looks for the start of the kubelet only in the log of k3s, so it passes every agent.",
        ("kubelet-anonymous-auth",),
        (Benchmark.CIS_1_7,),
    ),
    _laxer(
        "Its test has a file name instead of a path in a document, so it passes if kubelet.kubeconfig exists.",
        ("kubelet-serving-certificate",),
        _CIS_1_9,
    ),
    _laxer(f"{_CLOSING_QUOTE}, so false passes.", ("controller-manager-service-account-credentials",)),
    _laxer("It passes 0s, which also means no limit.", ("streaming-connection-idle-timeout",), _CIS_1_23_TO_1_8),
    _laxer("It accepts any value, and with `-` the log is not written to a file.", ("audit-log-path",)),
    _laxer("It accepts any value, and does not check that the file is a policy.", ("audit-policy-file",)),
    _laxer(
        "It does not check the plugin's limits, without which the API server exits.", ("apiserver-event-rate-limit",)
    ),
    _laxer(
        _EMPTY_IS_TRUE,
        (
            "service-account-lookup",
            "protect-kernel-defaults",
            "make-iptables-util-chains",
            "kubelet-rotate-certificates",
        ),
    ),
    _laxer(_OCTAL, _AUDIT_LOG_ARGUMENTS),
    _laxer(_ON_AND_OFF, ("enable-admission-plugins", "apiserver-event-rate-limit", "apiserver-external-ips-denied")),
    _laxer(_ON_AND_OFF, ("apiserver-always-pull-images",), _READ_FROM_JOURNAL),
    _laxer(_LAST_COMMA, ("apiserver-cipher-suites", "tls-cipher-suites")),
    _laxer("It accepts any value, and 0 means no limit.", ("request-timeout",)),
    _laxer("It accepts any value, and 0 disables the collection.", ("terminated-pod-gc-threshold",)),
    _laxer("It accepts any value, and below 1 there is no limit.", ("kubelet-pod-max-pids",)),
    _laxer(_ALL_BETA, ("kubelet-rotate-server-certificate", "controller-manager-rotate-kubelet-server-certificate")),
    _laxer("It does not check the keys in directories below server/tls.", ("pki-key-permissions",), _CIS_1_24_TO_1_9),
    _laxer(
        "It does not check the certificates in server/tls/etcd.", ("pki-certificate-permissions",), _CIS_1_24_TO_1_9
    ),
    _laxer("It checks only the directory, not the files in it.", ("pki-ownership",), _CIS_1_7_TO_1_9),
    _laxer(
        "It checks the directory server/tls, not the kubeconfig.",
        ("controller-manager-kubeconfig-ownership",),
        _CIS_1_23_AND_1_24,
    ),
    _laxer(
        "It checks a certificate in server/tls, not the one that the kubelet uses.",
        ("kubelet-client-ca-permissions", "kubelet-client-ca-ownership"),
        _CIS_1_23,
    ),
    _laxer(_ANY_PATH, ("etcd-server-certificate", "etcd-peer-certificate"), _CIS_1_23),
    _laxer(_ANY_PATH, ("etcd-unique-ca",), _CIS_1_23),
    _laxer("It checks only the authority of the peers.", ("etcd-unique-ca",), _CIS_1_24_TO_1_9),
    _laxer(_LINE_START, _ETCD_AUTO_TLS, _CIS_1_23),
)


def runs(control: BenchmarkControl, benchmark: Benchmark) -> bool:
    """Return whether kube-bench's profile runs a check for the control."""
    number = control.numbers.get(benchmark)
    is_run = number is not None and number.assessed in (Assessed.AUTOMATED, Assessed.UNSCORED)
    return is_run and benchmark.kube_bench_profile is not None


def _differences(control: BenchmarkControl) -> Iterator[Difference]:
    run = tuple(benchmark for benchmark in PROFILED if runs(control, benchmark))
    found: dict[tuple[Reason, str], set[Benchmark]] = {}
    for rows in _ROWS:
        if control.id in rows.ids:
            found.setdefault((rows.reason, rows.note), set()).update(rows.benchmarks or run)
    for (reason, note), benchmarks in sorted(found.items(), key=lambda item: list(Reason).index(item[0][0])):
        yield Difference(reason, tuple(benchmark for benchmark in PROFILED if benchmark in benchmarks), note)


DIFFERENCES: Mapping[str, tuple[Difference, ...]] = {
    control.id: tuple(_differences(control)) for control in catalogue.CATALOGUE
}
"""By id, in the order of Reason. For a control without an entry the results agree."""
