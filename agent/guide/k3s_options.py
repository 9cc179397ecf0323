"""The K3s options and component arguments of the guide, one row each."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from agent.guide import headings
from agent.guide.control import GuideControl, Origin
from agent.guide.criteria import AbsolutePath, AtLeast, Boolean, Duration, ListIncludes, ListSubsetOf
from agent.guide.files import AUDIT_LOGS, AUDIT_POLICY, POD_SECURITY_ADMISSION
from agent.k3s.encryption_configuration import FIRST_ENABLING_LATER, release_enabling_later
from agent.k3s.go_values import suites_with_long_names
from agent.k3s.paths import DEFAULT_DATA_DIR, K3S_CONFIG_FILE
from agent.model import (
    ALL_VERSIONS,
    EVERYWHERE,
    ON_SERVERS,
    SERVERS,
    WITH_POD_SECURITY_POLICY,
    WITHOUT_POD_SECURITY_POLICY,
    Applies,
    Component,
    VersionRange,
)

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from agent.guide.criteria import Criterion


class OptionRow(GuideControl):
    """A K3s option or a component argument.

    A row applies to agents only if k3s-agent supports the option: it exits on others
    (k3s, pkg/configfilearg/parser.go).
    """

    key: str
    """The key in config.yaml."""
    name: str
    """The name of the component argument; empty for a K3s option."""
    value: str
    """The value that the guide sets; it can contain the field {data_dir}."""
    meets: Criterion
    """The values that are compliant."""
    unset_complies: bool
    """Whether the component's own default is compliant, so that the argument can be absent."""

    def text(self, data_dir: PurePosixPath) -> str:
        """Return the value with the data directory filled in."""
        return _filled(self.value, data_dir)


def _filled(value: str, data_dir: PurePosixPath) -> str:
    return value.replace("{data_dir}", str(data_dir))


_LAST_COVERED = 26
"""The newest minor version that the guide covers."""
_COVERED = VersionRange(last=_LAST_COVERED)
_PAST_THE_GUIDE = VersionRange(first=_LAST_COVERED + 1)
_LEFT_TO_DEFAULT = (
    "Set on v1.26 and older, which the guide covers. From v1.27 on, the K3s project's own guide applies, which keeps"
    " the default. The default is compliant, and K3s does not start with an argument that a later component no longer"
    " supports."
)
_BEYOND = f"Not in the guide, which covers versions up to v1.26; from {headings.K3S_GUIDE}."


def _argument(  # noqa: PLR0913 - the fields of a row, passed by name
    component: Component,
    name: str,
    value: str,
    meets: Criterion,
    *,
    title: str,
    why: str,
    origin: Origin,
    risk: str,
    applies: Applies = ON_SERVERS,
    deviation: str = "",
    unset_complies: bool = False,
) -> OptionRow:
    return OptionRow(
        id=name,
        key=component.config_key,
        name=name,
        value=value,
        meets=meets,
        unset_complies=unset_complies,
        title=title,
        why=why,
        origin=origin,
        risk=risk,
        by_hand=(
            f"Add '{name}={_filled(value, DEFAULT_DATA_DIR)}' to the list"
            f" '{component.config_key}' in {K3S_CONFIG_FILE} and restart K3s."
        ),
        deviation=deviation,
        applies=applies,
    )


_api_server = partial(_argument, Component.API_SERVER)
_kubelet = partial(_argument, Component.KUBELET)

_FULL_DISK = (
    "The log uses up to audit-log-maxsize megabytes for each of the audit-log-maxbackup files and the current one."
)

_AUDIT: tuple[OptionRow, ...] = (
    _api_server(
        "audit-policy-file",
        f"{{data_dir}}/{AUDIT_POLICY.path}",
        AbsolutePath("an audit policy"),
        title="The API server reads the audit policy",
        why="Without a policy, the API server logs no requests, even if audit-log-path is set to a file.",
        origin=Origin(headings.AUDIT, ("3.2.1",)),
        risk="K3s exits at its start if the file is missing, cannot be decoded or has no rules.",
    ),
    _api_server(
        "audit-log-path",
        f"{{data_dir}}/{AUDIT_LOGS.path}/audit.log",
        AbsolutePath("a log file"),
        title="The API server writes an audit log",
        why=(
            "The audit log is the only record of who changed what in the cluster. Without a path nothing is written,"
            " regardless of the policy. A separate file can be kept, rotated and shipped independently of K3s' log."
        ),
        origin=Origin(headings.AUDIT, ("1.2.18",)),
        risk=f"{_FULL_DISK} If the disk that also has the datastore is full, the cluster can stop.",
    ),
    _api_server(
        "audit-log-maxage",
        "30",
        AtLeast(30),
        title="Audit logs are kept for 30 days",
        why="Intrusions are often detected weeks later, and the log of that day must still exist. Unit: days.",
        origin=Origin(headings.AUDIT, ("1.2.19",)),
        risk="In a busy cluster audit-log-maxbackup is reached earlier and removes logs sooner.",
    ),
    _api_server(
        "audit-log-maxbackup",
        "10",
        AtLeast(10),
        title="Ten rotated audit logs are kept",
        why="Limits the disk space of rotated logs and keeps enough of them for analysis. Unit: files.",
        origin=Origin(headings.AUDIT, ("1.2.20",)),
        risk=_FULL_DISK,
    ),
    _api_server(
        "audit-log-maxsize",
        "100",
        AtLeast(100),
        title="An audit log is rotated at 100 MB",
        why="Frequent rotation, together with the limit on files, deletes logs too early. Unit: megabytes.",
        origin=Origin(headings.AUDIT, ("1.2.21",)),
        risk=_FULL_DISK,
    ),
)

_ADMISSION_WHY = (
    "With NodeRestriction, a kubelet can change only its own Node and its own pods, so one compromised node does not"
    " compromise others. The argument replaces K3s' default, which is NodeRestriction, so NodeRestriction must be"
    " repeated. ServiceAccount, which gives pods their identity, is enabled by default; the argument makes it explicit."
)

_ADMISSION: tuple[OptionRow, ...] = (
    _api_server(
        "enable-admission-plugins",
        "NodeRestriction,PodSecurityPolicy,ServiceAccount",
        ListIncludes(("NodeRestriction", "PodSecurityPolicy")),
        title="The admission plugins that restrict nodes and pods are enabled",
        why=f"{_ADMISSION_WHY} PodSecurityPolicy enforces the policies of policy.yaml.",
        origin=Origin(headings.TEMPLATE, ("1.2.15", "5.2", "1.2.13")),
        risk=(
            "With PodSecurityPolicy and without any policy, no pod is admitted, including CoreDNS. The API server of"
            " Kubernetes 1.25 exits because it does not have the plugin: remove it before the upgrade."
        ),
        applies=Applies(SERVERS, WITH_POD_SECURITY_POLICY),
    ),
    _api_server(
        "enable-admission-plugins",
        "NodeRestriction,ServiceAccount",
        ListIncludes(("NodeRestriction",)),
        title="The admission plugin that restricts nodes is enabled",
        why=_ADMISSION_WHY,
        origin=Origin(headings.TEMPLATE, ("1.2.15", "1.2.13")),
        risk=(
            "The API server merges two enable-admission-plugins arguments, but scanners read only the first one. Use"
            " one argument with commas."
        ),
        deviation=(
            "EventRateLimit and AlwaysPullImages, which are in the benchmark but not in the guide, are settings that"
            " are off by default. EventRateLimit is always enabled together with its configuration, without which the"
            " API server exits."
        ),
        applies=Applies(SERVERS, WITHOUT_POD_SECURITY_POLICY),
    ),
    _api_server(
        "admission-control-config-file",
        f"{{data_dir}}/{POD_SECURITY_ADMISSION.path}",
        AbsolutePath("an AdmissionConfiguration"),
        title="The API server reads the Pod Security Admission defaults",
        why="This file is the only source of the API server's defaults for namespaces without labels.",
        origin=Origin(headings.POD_SECURITY, beyond=headings.K3S_GUIDE),
        risk=(
            "K3s exits at its start if the file is missing or cannot be decoded. The last of two such arguments"
            " overrides the other."
        ),
        deviation="In the guide, Rancher sets it to its own file; see pod-security-admission.",
        applies=Applies(SERVERS, WITHOUT_POD_SECURITY_POLICY),
    ),
)

_REQUESTS: tuple[OptionRow, ...] = (
    _api_server(
        "request-timeout",
        "300s",
        Duration("300s"),
        # The default is a limit of 60 s, which CIS recommends to change only as needed.
        unset_complies=True,
        title="Requests to the API server have a timeout",
        why=(
            "A request without a timeout keeps its connection and memory; many of them block all other clients. The"
            " default is 60 s; 300 s is enough for large lists over slow links."
        ),
        origin=Origin(headings.TEMPLATE, ("1.2.22",)),
        risk="The value is longer than the default: slow requests accumulate for five minutes instead of one.",
        applies=Applies(SERVERS, _COVERED),
        deviation=_LEFT_TO_DEFAULT,
    ),
    _api_server(
        "service-account-lookup",
        "true",
        Boolean(expected=True),
        unset_complies=True,
        title="Tokens of deleted service accounts are rejected",
        why=(
            "The API server checks that the token's ServiceAccount and Secret still exist. Otherwise a token remains"
            " valid after its account is deleted. This is the default; the argument makes it explicit."
        ),
        origin=Origin(headings.TEMPLATE, ("1.2.24",)),
        risk="None: it is the default.",
        applies=Applies(SERVERS, _COVERED),
        deviation=_LEFT_TO_DEFAULT,
    ),
    _api_server(
        "service-account-extend-token-expiration",
        "false",
        Boolean(expected=False),
        title="Service account tokens expire as requested",
        why=(
            "By default the API server extends the tokens of pods from one hour to one year, for clients that never"
            " read them again. A stolen token is then valid for a year."
        ),
        origin=Origin(headings.TEMPLATE, beyond=headings.K3S_GUIDE),
        risk=(
            "A client that reads its token only at its start is rejected after an hour. Current client libraries read"
            " it again."
        ),
        applies=Applies(SERVERS, VersionRange(first=29)),
        deviation=_BEYOND,
    ),
)


def _gc_threshold(value: str, origin: Origin, versions: VersionRange, deviation: str = "") -> OptionRow:
    return _argument(
        Component.CONTROLLER_MANAGER,
        "terminated-pod-gc-threshold",
        value,
        AtLeast(1, example=int(value)),
        title="Terminated pods are deleted",
        why=(
            "The controller manager deletes the oldest terminated pods above this number. With the default of 12,500, a"
            " small cluster keeps all of them in its datastore and in every list. Unit: pods."
        ),
        origin=origin,
        risk=(
            "The logs and exit codes of terminated pods, including those of Jobs, are deleted with them. Increase the"
            " value if they are read late."
        ),
        applies=Applies(SERVERS, versions),
        deviation=deviation,
    )


_GARBAGE: tuple[OptionRow, ...] = (
    _gc_threshold("10", Origin(headings.CONTROLLER_MANAGER, ("1.3.1",)), VersionRange(last=28)),
    _gc_threshold(
        "100",
        Origin(headings.CONTROLLER_MANAGER, ("1.3.1",), beyond=headings.K3S_GUIDE),
        VersionRange(first=29),
        f"The guide's example is 10; {headings.K3S_GUIDE} has 100 from v1.29 on.",
    ),
)

ENCRYPTED_FROM_NOW_ON = (
    "run `k3s secrets-encrypt rotate-keys` on one server, which encrypts existing Secrets; when `k3s secrets-encrypt"
    " status` shows reencrypt_finished, restart K3s on every server"
)
"""The last step of enabling encryption; existing Secrets are in clear text until then.

(k3s-io/docs, docs/cli/secrets-encrypt.md)
"""

SECRETS_ENCRYPTION = OptionRow(
    id="secrets-encryption",
    key="secrets-encryption",
    name="",
    value="true",
    meets=Boolean(expected=True),
    unset_complies=False,
    title="Secrets are encrypted in the datastore",
    why=(
        "Otherwise every Secret is stored in clear text in the datastore, its snapshots and its backups. K3s creates"
        " the key and keeps it on the servers."
    ),
    origin=Origin(headings.TEMPLATE),
    risk=(
        "All servers must have the same value. With embedded etcd, a server with another value cannot join; a server"
        " that has only the control plane joins again at each start. With an external datastore it starts, and cannot"
        " read the Secrets that the others write. If it is enabled for a datastore that has data, or disabled again,"
        " Secrets can become unreadable. Therefore this program sets it only if a server starts a new cluster. Without"
        " the key the Secrets are lost, so back it up with the datastore."
    ),
    by_hand=(
        f"For a new cluster, put 'secrets-encryption: true' into {K3S_CONFIG_FILE} before the first start of K3s. For a"
        " cluster that has data, K3s supports this only from its releases of January 2026 on"
        f" ({', '.join(release_enabling_later(minor) for minor, _, _ in FIRST_ENABLING_LATER)}): upgrade an older one"
        " first. Then take a snapshot of the datastore;"
        " run `k3s secrets-encrypt enable` on one server; put that line into the configuration of every server and"
        f" restart each; and {ENCRYPTED_FROM_NOW_ON}."
    ),
    deviation="",
    applies=ON_SERVERS,
)

PROTECT_KERNEL_DEFAULTS_REQUIRED = VersionRange(last=24)
"""The versions whose benchmark has the control; no setting can disable it there."""

PROTECT_KERNEL_DEFAULTS = OptionRow(
    id="protect-kernel-defaults",
    key="protect-kernel-defaults",
    name="",
    value="true",
    meets=Boolean(expected=True),
    unset_complies=False,
    title="kubelet exits if kernel parameters are wrong",
    why=(
        "Without it, kubelet silently sets the kernel parameters that it requires, so a wrong configuration of the host"
        " is not noticed. With it, kubelet compares six of them and exits if one is wrong."
    ),
    origin=Origin(headings.PROTECT_KERNEL_DEFAULTS, ("4.2.6",)),
    risk="K3s does not start if one parameter is wrong after a boot. That is the purpose; see the kernel parameters.",
    by_hand=(
        f"Set the kernel parameters first, then put 'protect-kernel-defaults: true' into {K3S_CONFIG_FILE} and restart"
        " K3s."
    ),
    deviation=(
        "The guide and the benchmark omit it from v1.25 on. K3s still supports it, and the K3s project's own guide sets"
        " it on every version. This program does too, after it has checked the kernel parameters. A setting disables it"
        " from v1.25 on."
    ),
    applies=EVERYWHERE,
)

_STRONG_CIPHERS = (
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
)

_KUBELET_ROWS: tuple[OptionRow, ...] = (
    _kubelet(
        "make-iptables-util-chains",
        "true",
        Boolean(expected=True),
        unset_complies=True,
        title="kubelet maintains its iptables chains",
        why=(
            "kubelet then maintains its chains in the host's iptables. One of them drops packets from outside to"
            " services on the host's loopback addresses. This is the default; the argument makes it explicit."
        ),
        origin=Origin(headings.TEMPLATE, ("4.2.7",)),
        risk="None: it is the default.",
        applies=Applies(versions=_COVERED),
        deviation=_LEFT_TO_DEFAULT,
    ),
    _kubelet(
        "streaming-connection-idle-timeout",
        "5m",
        Duration("5m"),
        unset_complies=True,
        title="Idle streams to pods are closed",
        why=(
            "kubectl exec, attach and port-forward keep a stream open through kubelet. An unused stream is an access"
            " path to a pod and uses memory. The default is 4 hours; 0 means no timeout."
        ),
        origin=Origin(headings.TEMPLATE, beyond=headings.K3S_GUIDE),
        risk="An interactive session without traffic for five minutes is closed.",
        applies=Applies(versions=_PAST_THE_GUIDE),
        deviation=_BEYOND,
    ),
    _kubelet(
        "tls-cipher-suites",
        ",".join(_STRONG_CIPHERS),
        ListSubsetOf(suites_with_long_names(_STRONG_CIPHERS)),
        title="kubelet uses only strong ciphers",
        why=(
            "Go's defaults include suites in CBC mode and without forward secrecy for old clients. kubelet's clients"
            " are the API server and metrics-server, which do not need them. TLS 1.3 is not affected."
        ),
        origin=Origin(headings.TEMPLATE, beyond=headings.K3S_GUIDE),
        risk="A monitoring agent with an old TLS library can no longer connect to kubelet.",
        applies=Applies(versions=_PAST_THE_GUIDE),
        deviation=_BEYOND,
    ),
)


def _on_request(name: str, value: str, meets: Criterion, *, title: str, versions: VersionRange) -> OptionRow:
    """Return a kubelet argument of the benchmarks that is set only if a setting enables it.

    Its texts are those of the setting and of the benchmark's control.
    """
    return _kubelet(
        name,
        value,
        meets,
        title=title,
        why="",
        origin=Origin(headings.TEMPLATE, beyond="CIS Kubernetes Benchmark"),
        risk="",
        applies=Applies(versions=versions),
    )


POD_MAX_PIDS = _on_request(
    "pod-max-pids",
    "4096",
    # A number below 1, such as the default -1, means no limit.
    AtLeast(1, example=4096),
    title="The number of processes in a pod is limited",
    # The feature gate SupportPodPidsLimit is locked to true since v1.20.
    versions=ALL_VERSIONS,
)
SECCOMP_DEFAULT = _on_request(
    "seccomp-default",
    "true",
    Boolean(expected=True),
    title="Pods use the container runtime's seccomp profile",
    # Before, the kubelet exits at the argument unless the feature gate SeccompDefault is enabled
    # (kubernetes, cmd/kubelet/app/server.go in v1.24; pkg/features/kube_features.go: beta in v1.25, GA in v1.27).
    versions=VersionRange(first=25),
)

ON_REQUEST: tuple[OptionRow, ...] = (POD_MAX_PIDS, SECCOMP_DEFAULT)
"""Arguments that are not in the guide. Each is set only if its setting enables it."""

OPTIONS: tuple[OptionRow, ...] = (
    PROTECT_KERNEL_DEFAULTS,
    *_ADMISSION,
    *_AUDIT,
    *_REQUESTS,
    *_GARBAGE,
    SECRETS_ENCRYPTION,
    *_KUBELET_ROWS,
)
"""All rows. Rows with the same key and name apply to different versions."""


def oldest(identifier: str) -> OptionRow:
    """Return the row with this id for the oldest versions. Raises ValueError if there is none."""
    return min(_with_id(identifier), key=_first_version)


def newest(identifier: str) -> OptionRow:
    """Return the row with this id for the newest versions. Raises ValueError if there is none."""
    return max(_with_id(identifier), key=_first_version)


def _with_id(identifier: str) -> list[OptionRow]:
    return [row for row in OPTIONS if row.id == identifier]


def _first_version(row: OptionRow) -> int:
    return row.applies.versions.first or 0
