"""The K3s configuration that the guide asks for: one row for each key or component argument.

Values may hold the field {data_dir}; `OptionRow.text` fills it in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.guide import headings
from agent.guide.cipher_suites import with_long_names
from agent.guide.control import Control, Origin
from agent.guide.criteria import AbsolutePath, AtLeast, Boolean, Duration, Includes, SubsetOf
from agent.guide.files import AUDIT_LOGS, AUDIT_POLICY, POD_SECURITY_ADMISSION
from agent.k3s.paths import DEFAULT_DATA_DIR, K3S_CONFIG_FILE
from agent.model import (
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OptionRow(Control):
    """A key of K3s' configuration, or one argument of a component.

    `key` is the key in config.yaml, `name` the component's flag without dashes ("" for a key that is no list of
    arguments), `value` what the guide wants of it, and `meets` what else meets the control. `applies` has agents only
    where k3s-agent knows the key: it exits on one that it does not (k3s, pkg/configfilearg/parser.go).
    """

    key: str
    name: str
    value: str
    meets: Criterion

    def text(self, data_dir: PurePosixPath) -> str:
        """The value, with the data directory filled in."""
        return _filled(self.value, data_dir)


def _filled(value: str, data_dir: PurePosixPath) -> str:
    return value.replace("{data_dir}", str(data_dir))


_LAST_COVERED = 26
"""The newest minor that the guide is for."""
_COVERED = VersionRange(last=_LAST_COVERED)
_PAST_THE_GUIDE = VersionRange(first=_LAST_COVERED + 1)
_LEFT_TO_DEFAULT = (
    "Set on v1.26 and older; the guide ends there. From v1.27 on the K3s project's own guide applies, which leaves the"
    " argument at its default: that meets the control, and an argument that a later component no longer knows would"
    " keep K3s from starting."
)
_BEYOND = f"Not in the guide, which ends with v1.26; {headings.K3S_GUIDE} has it."


def _argument(  # noqa: PLR0913 - a row is this wide, and the calls name its fields
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
) -> OptionRow:
    return OptionRow(
        id=name,
        key=component.config_key,
        name=name,
        value=value,
        meets=meets,
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


_FULL_DISK = (
    "The log takes up to audit-log-maxsize megabytes for each of the audit-log-maxbackup old files and the current one."
)

_AUDIT: tuple[OptionRow, ...] = (
    _argument(
        Component.API_SERVER,
        "audit-policy-file",
        f"{{data_dir}}/{AUDIT_POLICY.path}",
        AbsolutePath("an audit policy"),
        title="The API server reads the audit policy",
        why="Without a policy the API server logs no request at all, even if it has a path to log to.",
        origin=Origin(headings.AUDIT, ("3.2.1",)),
        risk="K3s exits at its start when the file is missing, cannot be decoded or has no rules.",
    ),
    _argument(
        Component.API_SERVER,
        "audit-log-path",
        f"{{data_dir}}/{AUDIT_LOGS.path}/audit.log",
        AbsolutePath("a log file"),
        title="The API server writes an audit log",
        why=(
            "The audit log is the one record of who did what to the cluster; without a path, nothing is written"
            " whatever the policy says. A file of its own can be kept, rotated and shipped apart from K3s' log."
        ),
        origin=Origin(headings.AUDIT, ("1.2.18",)),
        risk=f"{_FULL_DISK} On the disk of the datastore, a full log can stop the cluster.",
    ),
    _argument(
        Component.API_SERVER,
        "audit-log-maxage",
        "30",
        AtLeast(30),
        title="Audit logs are kept for 30 days",
        why="An intrusion is often found weeks later, and the log of that day must still be there. Unit: days.",
        origin=Origin(headings.AUDIT, ("1.2.19",)),
        risk="A busy cluster fills audit-log-maxbackup files sooner, and then that limit decides.",
    ),
    _argument(
        Component.API_SERVER,
        "audit-log-maxbackup",
        "10",
        AtLeast(10),
        title="Ten rotated audit logs are kept",
        why="Limits the disk space that rotated logs take, and keeps enough of them to look back. Unit: files.",
        origin=Origin(headings.AUDIT, ("1.2.20",)),
        risk=_FULL_DISK,
    ),
    _argument(
        Component.API_SERVER,
        "audit-log-maxsize",
        "100",
        AtLeast(100),
        title="An audit log is rotated at 100 MB",
        why="Rotating too early, together with the limit on files, throws away what is still needed. Unit: megabytes.",
        origin=Origin(headings.AUDIT, ("1.2.21",)),
        risk=_FULL_DISK,
    ),
)

_ADMISSION_WHY = (
    "NodeRestriction lets a kubelet change only its own Node and its own pods, so that one compromised node does not"
    " give away the others. The argument replaces K3s' own default, which is NodeRestriction, so it has to be named"
    " again. ServiceAccount, which gives pods their identity, is on by default; naming it only removes doubt."
)

_ADMISSION: tuple[OptionRow, ...] = (
    _argument(
        Component.API_SERVER,
        "enable-admission-plugins",
        "NodeRestriction,PodSecurityPolicy,ServiceAccount",
        Includes(("NodeRestriction", "PodSecurityPolicy")),
        title="The admission plugins that restrict nodes and pods are on",
        why=f"{_ADMISSION_WHY} PodSecurityPolicy makes the policies of policy.yaml count.",
        origin=Origin(headings.TEMPLATE, ("1.2.15", "5.2", "1.2.13")),
        risk=(
            "With PodSecurityPolicy and no policy in place, no pod is admitted, CoreDNS included. Kubernetes 1.25 does"
            " not know the plugin, and its API server exits: take it out before the upgrade."
        ),
        applies=Applies(SERVERS, WITH_POD_SECURITY_POLICY),
    ),
    _argument(
        Component.API_SERVER,
        "enable-admission-plugins",
        "NodeRestriction,ServiceAccount",
        Includes(("NodeRestriction",)),
        title="The admission plugin that restricts nodes is on",
        why=_ADMISSION_WHY,
        origin=Origin(headings.TEMPLATE, ("1.2.15", "1.2.13")),
        risk=(
            "Two enable-admission-plugins arguments add up in the API server, but scanners read only the first: keep"
            " one, joined by commas."
        ),
        deviation=(
            "EventRateLimit and AlwaysPullImages, which the benchmark has and the guide does not, are settings that"
            " are off by default. EventRateLimit always comes with a configuration of its own, without which the API"
            " server exits."
        ),
        applies=Applies(SERVERS, WITHOUT_POD_SECURITY_POLICY),
    ),
    _argument(
        Component.API_SERVER,
        "admission-control-config-file",
        f"{{data_dir}}/{POD_SECURITY_ADMISSION.path}",
        AbsolutePath("an AdmissionConfiguration"),
        title="The API server reads the Pod Security Admission defaults",
        why="The API server takes the defaults for namespaces without labels from this file, and from nowhere else.",
        origin=Origin(headings.POD_SECURITY, beyond=headings.K3S_GUIDE),
        risk=(
            "K3s exits at its start when the file is missing or cannot be decoded. Of two such arguments the last wins."
        ),
        deviation="The guide leaves it to Rancher, which hands out a file of its own; see pod-security-admission.",
        applies=Applies(SERVERS, WITHOUT_POD_SECURITY_POLICY),
    ),
)

_REQUESTS: tuple[OptionRow, ...] = (
    _argument(
        Component.API_SERVER,
        "request-timeout",
        "300s",
        Duration("300s"),
        title="Requests to the API server end",
        why=(
            "A request that may last for ever holds its connection and memory; enough of them keep everyone else out."
            " The default is 60 s; 300 s leaves time for large lists over slow links."
        ),
        origin=Origin(headings.TEMPLATE, ("1.2.22",)),
        risk="Longer than the default: slow requests pile up for five minutes instead of one.",
        applies=Applies(SERVERS, _COVERED),
        deviation=_LEFT_TO_DEFAULT,
    ),
    _argument(
        Component.API_SERVER,
        "service-account-lookup",
        "true",
        Boolean(wanted=True),
        title="Tokens of deleted service accounts are refused",
        why=(
            "The API server checks whether the token's ServiceAccount, and its Secret, still exist; otherwise a token"
            " stays valid after its account was deleted. This is the default; the argument makes it visible."
        ),
        origin=Origin(headings.TEMPLATE, ("1.2.24",)),
        risk="None: it is the default.",
        applies=Applies(SERVERS, _COVERED),
        deviation=_LEFT_TO_DEFAULT,
    ),
    _argument(
        Component.API_SERVER,
        "service-account-extend-token-expiration",
        "false",
        Boolean(wanted=False),
        title="Service account tokens expire when they say",
        why=(
            "By default the API server makes the tokens it puts into pods last a year instead of the hour they ask"
            " for, for the sake of clients that never read them again. A stolen token then works for a year."
        ),
        origin=Origin(headings.TEMPLATE, beyond=headings.K3S_GUIDE),
        risk=(
            "A client that reads its token once, at its start, is refused after an hour; current client libraries"
            " reread it."
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
        title="Ended pods are cleared away",
        why=(
            "The controller manager deletes the oldest ended pods once there are more than this; with its default of"
            " 12,500 a small cluster keeps them all, in its datastore and in every list. Unit: pods."
        ),
        origin=origin,
        risk=(
            "The logs and the exit codes of ended pods go with them, Jobs' included: raise it where those are read"
            " late."
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
        f"The guide's example is 10; from v1.29 {headings.K3S_GUIDE} has 100.",
    ),
)

ENCRYPTED_FROM_NOW_ON = (
    "run `k3s secrets-encrypt rotate-keys` on one server, which encrypts the Secrets that are there; once `k3s"
    " secrets-encrypt status` says reencrypt_finished, restart K3s on every server"
)
"""What ends the steps that switch encryption on: until then the Secrets that are there stay in clear text.

(k3s-io/docs, docs/cli/secrets-encrypt.md)
"""

SECRETS_ENCRYPTION = OptionRow(
    id="secrets-encryption",
    key="secrets-encryption",
    name="",
    value="true",
    meets=Boolean(wanted=True),
    title="Secrets are encrypted in the datastore",
    why=(
        "Otherwise every Secret is stored in clear text, in the datastore and in each of its snapshots and backups."
        " K3s makes the key and keeps it on the servers."
    ),
    origin=Origin(headings.TEMPLATE),
    risk=(
        "All servers must have the same value, or they cannot join. Switched on under a datastore that has data, or"
        " off again, it can leave secrets that nobody can read: it is therefore only set where a server starts a new"
        " cluster. Losing the key loses the secrets, so back it up with the datastore."
    ),
    by_hand=(
        f"For a new cluster put 'secrets-encryption: true' into {K3S_CONFIG_FILE} before K3s first starts. In a cluster"
        " that has data, K3s can start to encrypt only from its releases of January 2026 on (v1.32.11+k3s3,"
        " v1.33.7+k3s3, v1.34.3+k3s3, v1.35.0+k3s3): upgrade an older one first. Then take a snapshot of the datastore;"
        " run `k3s secrets-encrypt enable` on one server; put that line into the configuration of every server and"
        f" restart each; and {ENCRYPTED_FROM_NOW_ON}."
    ),
    applies=ON_SERVERS,
)

PROTECT_KERNEL_DEFAULTS_REQUIRED = VersionRange(last=24)
"""The versions whose benchmark has the control, so that no setting can turn it off."""

PROTECT_KERNEL_DEFAULTS = OptionRow(
    id="protect-kernel-defaults",
    key="protect-kernel-defaults",
    name="",
    value="true",
    meets=Boolean(wanted=True),
    title="kubelet refuses to run on wrong kernel parameters",
    why=(
        "Without it kubelet silently sets the kernel parameters that it wants, whatever the administrator chose, and"
        " nobody learns that the host's own configuration is wrong. With it, kubelet compares six of them and exits on"
        " a wrong one."
    ),
    origin=Origin(headings.PROTECT_KERNEL_DEFAULTS, ("4.2.6",)),
    risk="One wrong parameter after a boot, and K3s does not start: that is its purpose. See the kernel parameters.",
    by_hand=(
        f"Set the kernel parameters first, then put 'protect-kernel-defaults: true' into {K3S_CONFIG_FILE} and restart"
        " K3s."
    ),
    deviation=(
        "The guide drops it from v1.25, as the benchmark did. K3s still has it, and the K3s project's own guide sets"
        " it on every version; so does this program, which looks at its condition first. A setting turns it off from"
        " v1.25."
    ),
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
    _argument(
        Component.KUBELET,
        "make-iptables-util-chains",
        "true",
        Boolean(wanted=True),
        title="kubelet keeps its iptables chains",
        why=(
            "kubelet then keeps its chains in the host's iptables, among them the one that drops packets which reach"
            " for the host's localhost services from outside. This is the default; the argument makes it visible."
        ),
        origin=Origin(headings.TEMPLATE, ("4.2.7",)),
        risk="None: it is the default.",
        applies=Applies(versions=_COVERED),
        deviation=_LEFT_TO_DEFAULT,
    ),
    _argument(
        Component.KUBELET,
        "streaming-connection-idle-timeout",
        "5m",
        Duration("5m"),
        title="Idle streams to pods are closed",
        why=(
            "kubectl exec, attach and port-forward hold a stream through kubelet; one that nobody uses any more is a"
            " way into a pod and takes memory. The default is 4 hours, and 0 means never."
        ),
        origin=Origin(headings.TEMPLATE, beyond=headings.K3S_GUIDE),
        risk="An interactive session that is silent for five minutes is cut.",
        applies=Applies(versions=_PAST_THE_GUIDE),
        deviation=_BEYOND,
    ),
    _argument(
        Component.KUBELET,
        "tls-cipher-suites",
        ",".join(_STRONG_CIPHERS),
        SubsetOf(with_long_names(_STRONG_CIPHERS)),
        title="kubelet speaks strong ciphers only",
        why=(
            "Go's defaults still have suites in CBC mode and without forward secrecy for old clients; kubelet's"
            " clients are the API server and metrics-server, which need none of them. TLS 1.3 is not affected."
        ),
        origin=Origin(headings.TEMPLATE, beyond=headings.K3S_GUIDE),
        risk="A monitoring agent that scrapes kubelet with an old TLS library no longer can.",
        applies=Applies(versions=_PAST_THE_GUIDE),
        deviation=_BEYOND,
    ),
)

OPTIONS: tuple[OptionRow, ...] = (
    PROTECT_KERNEL_DEFAULTS,
    *_ADMISSION,
    *_AUDIT,
    *_REQUESTS,
    *_GARBAGE,
    SECRETS_ENCRYPTION,
    *_KUBELET_ROWS,
)
"""All of them; where a key and name come twice, no version has both."""


def oldest(identifier: str) -> OptionRow:
    """The row with this id that is for the oldest versions. Raises ValueError where no row has it."""
    return min(_with_id(identifier), key=_first_version)


def newest(identifier: str) -> OptionRow:
    """The row with this id that is for the newest versions. Raises ValueError where no row has it."""
    return max(_with_id(identifier), key=_first_version)


def _with_id(identifier: str) -> list[OptionRow]:
    return [row for row in OPTIONS if row.id == identifier]


def _first_version(row: OptionRow) -> int:
    return row.applies.versions.first or 0
