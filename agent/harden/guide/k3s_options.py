"""The K3s options and component arguments of the guide, one row each."""

from __future__ import annotations

from functools import partial
from pathlib import PurePosixPath

from agent.harden.guide import guide_row
from agent.harden.guide.criteria import AbsolutePath, AtLeast, Boolean, Criterion, Duration, ListIncludes, ListSubsetOf
from agent.harden.guide.guide_files import AUDIT_LOGS, AUDIT_POLICY, POD_SECURITY_ADMISSION
from agent.harden.guide.guide_row import GuideControl, Origin
from agent.k3s.component_configuration import FIRST_ENABLING_LATER, release_enabling_later
from agent.k3s.go_values import suites_with_long_names
from agent.k3s.roles_and_versions import (
    ALL_VERSIONS,
    DEFAULT_DATA_DIR,
    EVERYWHERE,
    K3S_CONFIG_FILE,
    ON_SERVERS,
    SERVERS,
    WITH_POD_SECURITY_POLICY,
    WITHOUT_POD_SECURITY_POLICY,
    Applies,
    Component,
    VersionRange,
)


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


def _argument(  # noqa: PLR0913 - the fields of a row, passed by name
    component: Component,
    name: str,
    value: str,
    meets: Criterion,
    *,
    origin: Origin,
    applies: Applies = ON_SERVERS,
    unset_complies: bool = False,
) -> OptionRow:
    return OptionRow(
        id=name,
        key=component.config_key,
        name=name,
        value=value,
        meets=meets,
        unset_complies=unset_complies,
        origin=origin,
        by_hand=(
            f"Add '{name}={_filled(value, DEFAULT_DATA_DIR)}' to the list"
            f" '{component.config_key}' in {K3S_CONFIG_FILE} and restart K3s."
        ),
        applies=applies,
    )


_api_server = partial(_argument, Component.API_SERVER)
_kubelet = partial(_argument, Component.KUBELET)


_AUDIT: tuple[OptionRow, ...] = (
    _api_server(
        "audit-policy-file",
        f"{{data_dir}}/{AUDIT_POLICY.path}",
        AbsolutePath("an audit policy"),
        origin=Origin(guide_row.AUDIT, ("3.2.1",)),
    ),
    _api_server(
        "audit-log-path",
        f"{{data_dir}}/{AUDIT_LOGS.path}/audit.log",
        AbsolutePath("a log file"),
        origin=Origin(guide_row.AUDIT, ("1.2.18",)),
    ),
    _api_server("audit-log-maxage", "30", AtLeast(30), origin=Origin(guide_row.AUDIT, ("1.2.19",))),
    _api_server("audit-log-maxbackup", "10", AtLeast(10), origin=Origin(guide_row.AUDIT, ("1.2.20",))),
    _api_server("audit-log-maxsize", "100", AtLeast(100), origin=Origin(guide_row.AUDIT, ("1.2.21",))),
)


_ADMISSION: tuple[OptionRow, ...] = (
    _api_server(
        "enable-admission-plugins",
        "NodeRestriction,PodSecurityPolicy,ServiceAccount",
        ListIncludes(("NodeRestriction", "PodSecurityPolicy")),
        origin=Origin(guide_row.TEMPLATE, ("1.2.15", "5.2", "1.2.13")),
        applies=Applies(SERVERS, WITH_POD_SECURITY_POLICY),
    ),
    _api_server(
        "enable-admission-plugins",
        "NodeRestriction,ServiceAccount",
        ListIncludes(("NodeRestriction",)),
        origin=Origin(guide_row.TEMPLATE, ("1.2.15", "1.2.13")),
        applies=Applies(SERVERS, WITHOUT_POD_SECURITY_POLICY),
    ),
    _api_server(
        "admission-control-config-file",
        f"{{data_dir}}/{POD_SECURITY_ADMISSION.path}",
        AbsolutePath("an AdmissionConfiguration"),
        origin=Origin(guide_row.POD_SECURITY, beyond=guide_row.K3S_GUIDE),
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
        origin=Origin(guide_row.TEMPLATE, ("1.2.22",)),
        applies=Applies(SERVERS, _COVERED),
    ),
    _api_server(
        "service-account-lookup",
        "true",
        Boolean(expected=True),
        unset_complies=True,
        origin=Origin(guide_row.TEMPLATE, ("1.2.24",)),
        applies=Applies(SERVERS, _COVERED),
    ),
    _api_server(
        "service-account-extend-token-expiration",
        "false",
        Boolean(expected=False),
        origin=Origin(guide_row.TEMPLATE, beyond=guide_row.K3S_GUIDE),
        applies=Applies(SERVERS, VersionRange(first=29)),
    ),
)


def _gc_threshold(value: str, origin: Origin, versions: VersionRange) -> OptionRow:
    return _argument(
        Component.CONTROLLER_MANAGER,
        "terminated-pod-gc-threshold",
        value,
        AtLeast(1, example=int(value)),
        origin=origin,
        applies=Applies(SERVERS, versions),
    )


_GARBAGE: tuple[OptionRow, ...] = (
    _gc_threshold("10", Origin(guide_row.CONTROLLER_MANAGER, ("1.3.1",)), VersionRange(last=28)),
    _gc_threshold(
        "100", Origin(guide_row.CONTROLLER_MANAGER, ("1.3.1",), beyond=guide_row.K3S_GUIDE), VersionRange(first=29)
    ),
)

SECRETS_ENCRYPTION = OptionRow(
    id="secrets-encryption",
    key="secrets-encryption",
    name="",
    value="true",
    meets=Boolean(expected=True),
    unset_complies=False,
    origin=Origin(guide_row.TEMPLATE),
    by_hand=(
        f"For a new cluster, put 'secrets-encryption: true' into {K3S_CONFIG_FILE} before the first start of K3s. For a"
        " cluster that has data, K3s supports this only from its releases of January 2026 on"
        f" ({', '.join(release_enabling_later(minor) for minor, _, _ in FIRST_ENABLING_LATER)}): upgrade an older one"
        " first. Then take a snapshot of the datastore;"
        " run `k3s secrets-encrypt enable` on one server; put that line into the configuration of every server and"
        " restart each; and run `k3s secrets-encrypt rotate-keys` on one server, which encrypts existing Secrets; when"
        " `k3s secrets-encrypt status` shows reencrypt_finished, restart K3s on every server."
    ),
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
    origin=Origin(guide_row.PROTECT_KERNEL_DEFAULTS, ("4.2.6",)),
    by_hand=(
        f"Set the kernel parameters first, then put 'protect-kernel-defaults: true' into {K3S_CONFIG_FILE} and restart"
        " K3s."
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
        origin=Origin(guide_row.TEMPLATE, ("4.2.7",)),
        applies=Applies(versions=_COVERED),
    ),
    _kubelet(
        "streaming-connection-idle-timeout",
        "5m",
        Duration("5m"),
        unset_complies=True,
        origin=Origin(guide_row.TEMPLATE, beyond=guide_row.K3S_GUIDE),
        applies=Applies(versions=_PAST_THE_GUIDE),
    ),
    _kubelet(
        "tls-cipher-suites",
        ",".join(_STRONG_CIPHERS),
        ListSubsetOf(suites_with_long_names(_STRONG_CIPHERS)),
        origin=Origin(guide_row.TEMPLATE, beyond=guide_row.K3S_GUIDE),
        applies=Applies(versions=_PAST_THE_GUIDE),
    ),
)


def _on_request(name: str, value: str, meets: Criterion, versions: VersionRange) -> OptionRow:
    """Return a kubelet argument of the benchmarks that is set only if a setting enables it.

    Its texts are those of the setting and of the benchmark's control.
    """
    return _kubelet(
        name,
        value,
        meets,
        origin=Origin(guide_row.TEMPLATE, beyond="CIS Kubernetes Benchmark"),
        applies=Applies(versions=versions),
    )


POD_MAX_PIDS = _on_request(
    "pod-max-pids",
    "4096",
    # A number below 1, such as the default -1, means no limit.
    AtLeast(1, example=4096),
    # The feature gate SupportPodPidsLimit is locked to true since v1.20.
    ALL_VERSIONS,
)
SECCOMP_DEFAULT = _on_request(
    "seccomp-default",
    "true",
    Boolean(expected=True),
    # Before, the kubelet exits at the argument unless the feature gate SeccompDefault is enabled
    # (kubernetes, cmd/kubelet/app/server.go in v1.24; pkg/features/kube_features.go: beta in v1.25, GA in v1.27).
    versions=VersionRange(first=25),
)

_FOR_RECEIVER = Origin(guide_row.AUDIT, beyond="Kubernetes' own documentation")
AUDIT_RECEIVER = _api_server("audit-webhook-config-file", "", AbsolutePath("a kubeconfig"), origin=_FOR_RECEIVER)
AUDIT_BATCHES = _api_server("audit-webhook-mode", "batch", ListSubsetOf(("batch",)), origin=_FOR_RECEIVER)
"""In the other modes a request waits for the receiver, or fails without it."""

ON_REQUEST: tuple[OptionRow, ...] = (POD_MAX_PIDS, SECCOMP_DEFAULT, AUDIT_RECEIVER, AUDIT_BATCHES)
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
    """Return the row with this id for the oldest versions."""
    return _by_version(identifier)[0]


def newest(identifier: str) -> OptionRow:
    """Return the row with this id for the newest versions."""
    return _by_version(identifier)[-1]


def _by_version(identifier: str) -> list[OptionRow]:
    rows = (row for row in OPTIONS if row.id == identifier)
    return sorted(rows, key=lambda row: row.applies.versions.first or 0)
