"""Settings of a site, as typed rows. Pure.

To add a setting, add a field to Settings. Its row has the key, the allowed values, a description and an example.
Loading, the overrides of the command line, the suggestions of `assess` and docs/reference/settings.md are derived from
the rows.
"""

from __future__ import annotations

from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from agent.guide.files import AUDIT_POLICY, NETWORK_POLICIES, POD_SECURITY_ADMISSION, POD_SECURITY_POLICIES
from agent.guide.k3s_options import SECCOMP_DEFAULT
from agent.k3s.paths import DEFAULT_DATA_DIR, NETWORK_LEASES
from agent.model import ON_SERVERS, SERVERS, Applies, FileMode, Role, StrEnum, VersionRange
from agent.settings.value_kinds import (
    BOOLEAN,
    COMMAND,
    EVENT_RATE_LIMIT,
    NAMESPACES,
    OFF,
    PATH,
    VERSION,
    ValueKind,
    number_between,
    off_or_number,
    one_of,
    optional,
)
from agent.settings.waiver_values import WAIVERS
from agent.value import Value, replace

if TYPE_CHECKING:
    from agent.guide.manifests import EventRateLimit
    from agent.model import Version
    from agent.settings.waivers import SiteWaiver

    T = TypeVar("T")

_LEAVE = "leave"
_EXAMPLE_WAIVERS = """
  - control: vm.overcommit_memory
    reason: the database on these nodes needs strict accounting
    expires: 2027-06-30
    approved-by: Security team, SEC-1042
    role: agent
    host: db-*
  - control: cis-1.9/1.2.3
    reason: the load balancer in front of the shop needs externalIPs
    expires: 2027-12-31"""

DEFAULT_SETTINGS = PurePosixPath("/etc/k3s-harden/config.yaml")
"""Path of the settings file on a host. Without the file, every setting has its default."""


class SecretsEncryption(StrEnum):
    """Whether K3s encrypts Secrets in its datastore."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"
    LEAVE = "leave"


class Profile(StrEnum):
    """A set of presets; agent/settings/profiles.py contains the values."""

    GUIDE = "guide"
    STRICT = "strict"


class Publish(StrEnum):
    """What a node publishes on its own Node object."""

    NONE = "none"
    NODE = "node"
    DETAILS = "details"


class SettingRow(Value):
    """A setting."""

    key: str
    """The key in the settings file; a dot separates the keys of nested mappings."""
    kind: ValueKind
    description: str
    example: str
    """A value in YAML."""
    default: str = ""
    """The default as text for a reader."""
    applies: Applies = Applies()
    """The hosts on which the setting has an effect."""
    name: str = ""
    """The name of the field of Settings."""

    @property
    def line(self) -> str:
        """The key with its example, as one line of the settings file."""
        *sections, last = self.key.split(".")
        line = f"{last}: {self.example}"
        for section in reversed(sections):
            line = f"{section}: {{{line}}}"
        return line

    def differs_from_default(self, settings: Settings) -> bool:
        """Return whether the site sets another value than the default."""
        return bool(getattr(settings, self.name) != getattr(Settings(), self.name))


_rows: list[SettingRow] = []
"""One for each field of Settings, in their order; without the name of the field."""


def _setting(  # noqa: PLR0913 - the parts of a SettingRow
    key: str,
    kind: ValueKind,
    description: str,
    default_text: str = "",
    *,
    default: T,
    example: str,
    applies: Applies = Applies(),
) -> T:
    """Return the default of a field of Settings. `default_text` describes a default whose value does not."""
    _rows.append(SettingRow(key, kind, description, example, default_text or _as_text(default), applies))
    return default


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value == () else str(value)


class Settings(Value):
    """The settings of a site. None selects what is detected on the host, or the value of the guide.

    `audit_max_age` is in days, `audit_max_size` in MiB. All paths are absolute.
    """

    role: Role | None = _setting(
        "role",
        one_of({"auto": None, **{role.value: role for role in Role}}),
        "The role of K3s on this host. Required if K3s is not installed yet.",
        "auto: detected from the services, processes and files of this host",
        default=None,
        example="server",
    )
    k3s_version: Version | None = _setting(
        "k3s-version",
        VERSION,
        "The K3s version, if K3s is not installed yet, or if its program cannot be run. The program's own version"
        " overrides it. The guide depends on the minor version.",
        "output of `k3s --version`, else the newest known version",
        default=None,
        example="v1.28.15+k3s1",
    )
    data_dir: PurePosixPath | None = _setting(
        "data-dir",
        PATH,
        "K3s' data directory, if it is moved and K3s' configuration files do not set it.",
        f"`data-dir` of K3s' configuration, else {DEFAULT_DATA_DIR}",
        default=None,
        example="/srv/k3s",
    )
    k3s_config: PurePosixPath | None = _setting(
        "k3s-config",
        PATH,
        "K3s' main configuration file, if its service starts K3s by a script or in another way that k3s-harden cannot"
        " follow. The gate then blocks K3s without this setting. What the service shows overrides it.",
        "detected from the service",
        default=None,
        example="/srv/k3s.yaml",
    )
    rancher_managed: bool | None = _setting(
        "rancher-managed",
        one_of({"auto": None, "true": True, "false": False}),
        "Whether Rancher writes K3s' configuration on this host. If so, component arguments and Pod Security belong"
        " in Rancher's Cluster object, and apply does not set them.",
        "auto: detected from Rancher's files",
        default=None,
        example="auto",
    )
    protect_kernel_defaults: bool = _setting(
        "protect-kernel-defaults",
        BOOLEAN,
        "Whether the kubelet refuses to start if kernel parameters differ from the values that it requires. false"
        " is allowed for K3s v1.25 and newer, whose benchmark does not contain the control.",
        default=True,
        example="true",
    )
    secrets_encryption: SecretsEncryption = _setting(
        "secrets-encryption",
        # YAML 1.1 reads `on` and `off` as booleans, so true and false are the same.
        one_of(
            {
                **{choice.value: choice for choice in SecretsEncryption},
                "true": SecretsEncryption.ON,
                "false": SecretsEncryption.OFF,
            }
        ),
        "Whether K3s encrypts Secrets in its datastore. The value must be the same on all servers. `auto` enables"
        " encryption if the server starts a new cluster, and never changes it for an existing datastore. `on` enables"
        " it for an existing datastore, too, if the K3s version supports that: first follow the steps of `k3s-harden"
        " explain secrets-encryption`. `leave`"
        " does not set the option.",
        default=SecretsEncryption.AUTO,
        applies=ON_SERVERS,
        example="auto",
    )
    terminated_pod_gc_threshold: int | None = _setting(
        "terminated-pod-gc-threshold",
        optional(number_between(1, 1_000_000)),
        "Number of terminated pods that can exist before the oldest are deleted.",
        "the guide's value for the K3s version",
        default=None,
        applies=ON_SERVERS,
        example="100",
    )
    audit_policy_file: PurePosixPath | None = _setting(
        "audit.policy-file",
        PATH,
        "A file with the site's own audit policy (audit.k8s.io/v1). apply copies it to the path that K3s reads.",
        "the guide's policy, which logs the metadata of every request",
        default=None,
        applies=AUDIT_POLICY.applies,
        example="/etc/k3s-harden/audit-policy.yaml",
    )
    audit_max_age: int | None = _setting(
        "audit.max-age",
        optional(number_between(1, 3650, "days")),
        "How long old audit logs are kept. The benchmark requires 30 or more.",
        "the guide's value",
        default=None,
        applies=AUDIT_POLICY.applies,
        example="60",
    )
    audit_max_backups: int | None = _setting(
        "audit.max-backups",
        optional(number_between(1, 1000)),
        "Number of old audit logs that are kept. The benchmark requires 10 or more.",
        "the guide's value",
        default=None,
        applies=AUDIT_POLICY.applies,
        example="20",
    )
    audit_max_size: int | None = _setting(
        "audit.max-size",
        optional(number_between(1, 10_240, "MiB")),
        "Size at which an audit log is rotated. The benchmark requires 100 or more.",
        "the guide's value",
        default=None,
        applies=AUDIT_POLICY.applies,
        example="200",
    )
    network_policy_namespaces: tuple[str, ...] = _setting(
        "network-policies.namespaces",
        NAMESPACES,
        "Additional namespaces that get the guide's NetworkPolicy: pods accept traffic only from their own"
        " namespace. Each namespace must exist, or K3s reapplies all its manifests every 15 seconds.",
        default=(),
        applies=NETWORK_POLICIES.applies,
        example="[shop, billing]",
    )
    exempt_namespaces: tuple[str, ...] = _setting(
        "pod-security.exempt-namespaces",
        NAMESPACES,
        "Additional namespaces that Pod Security admission does not check. For K3s v1.25 and newer.",
        default=(),
        applies=POD_SECURITY_ADMISSION.applies,
        example="[storage-system]",
    )
    exempt_rancher: bool = _setting(
        "pod-security.exempt-rancher",
        BOOLEAN,
        "Whether Pod Security admission exempts the namespaces of Rancher and its charts, such as cattle-system and"
        " longhorn-system, as Rancher's sample does. false exempts only those of the K3s project's own guide:"
        " kube-system and compliance-operator-system. For K3s v1.25 and newer.",
        default=True,
        applies=POD_SECURITY_ADMISSION.applies,
        example="true",
    )
    cis_operator_namespace: bool = _setting(
        "cis-operator-namespace",
        BOOLEAN,
        "Whether the namespace cis-operator-system exists. If so, apply creates the guide's RoleBinding in it. For"
        " K3s v1.24 and older.",
        default=False,
        applies=POD_SECURITY_POLICIES.applies,
        example="false",
    )
    profile: Profile = _setting(
        "profile",
        one_of({choice.value: choice for choice in Profile}),
        "A preset of the settings below. `guide` is the guide. `strict` also enables what the benchmarks require and"
        " the guide does not set. A setting in this file overrides the profile, also to turn it off. See"
        " `k3s-harden explain strict`.",
        default=Profile.GUIDE,
        example="guide",
    )
    deny_service_external_ips: bool = _setting(
        "deny-service-external-ips",
        BOOLEAN,
        "Enables the admission plugin DenyServiceExternalIPs: no Service gets new externalIPs. For K3s v1.27 and newer;"
        " the benchmarks of older versions require that the plugin is not enabled.",
        default=False,
        applies=Applies(SERVERS, VersionRange(first=27)),
        example="true",
    )
    event_rate_limit: EventRateLimit | None = _setting(
        "event-rate-limit",
        EVENT_RATE_LIMIT,
        "Enables the admission plugin EventRateLimit: `burst` events at once, then `qps` per second. For K3s v1.25"
        " and newer.",
        OFF,
        default=None,
        # The limits of the plugin are in the admission configuration, which older versions do not have.
        applies=POD_SECURITY_ADMISSION.applies,
        example="{qps: 5000, burst: 20000}",
    )
    always_pull_images: bool = _setting(
        "always-pull-images",
        BOOLEAN,
        "Enables the admission plugin AlwaysPullImages. Every container start then contacts the registry: pods do"
        " not start if it is not reachable.",
        default=False,
        applies=ON_SERVERS,
        example="true",
    )
    pod_max_pids: int | None = _setting(
        "pod-max-pids",
        off_or_number(64, 4_194_304),
        "The largest number of processes and threads in a pod. A pod gets the limit when it is created.",
        OFF,
        default=None,
        example="4096",
    )
    seccomp_default: bool = _setting(
        "seccomp-default",
        BOOLEAN,
        "Whether containers without a seccomp profile get the profile RuntimeDefault of the container runtime. A"
        " container gets it when it is created. For K3s v1.25 and newer.",
        default=False,
        applies=SECCOMP_DEFAULT.applies,
        example="true",
    )
    cni_file_permissions: FileMode | None = _setting(
        "cni.file-permissions",
        one_of({_LEAVE: None, "0600": FileMode(0o600)}),
        f"Mode of the files in {NETWORK_LEASES}, which record the address of each pod. 0600 also sets default"
        " permissions in the directory, so that the files of new pods get the same mode. `leave` does not change the"
        " mode: K3s from v1.26.14, v1.27.11, v1.28.7 and v1.29.2 on creates them with 0600.",
        _LEAVE,
        default=None,
        example='"0600"',
    )
    certificate_permissions: FileMode | None = _setting(
        "pki.certificate-permissions",
        one_of({_LEAVE: None, "0600": FileMode(0o600)}),
        "Mode of the certificates in server/tls on servers, including those of etcd, kube-scheduler and"
        " kube-controller-manager. The benchmarks cis-1.24 to cis-1.10 require 0600. K3s creates certificates with"
        " 0644, also in `k3s certificate rotate`, and then apply sets the mode again. A renewal at K3s' start keeps the"
        " mode. `leave` does not change the mode: a certificate is not secret.",
        _LEAVE,
        default=None,
        applies=ON_SERVERS,
        example='"0600"',
    )
    waivers: tuple[SiteWaiver, ...] = _setting(
        "waivers",
        WAIVERS,
        "Controls whose failure this site accepts, each with a reason. `expires` is the last day on which the"
        " waiver applies, in UTC. `approved-by` names who accepts the failure. `role` and the shell pattern `host`"
        " limit it to some hosts. `apply` does not change a waived kernel parameter.",
        default=(),
        example=_EXAMPLE_WAIVERS,
    )
    waivers_file: PurePosixPath | None = _setting(
        "waivers-file",
        PATH,
        "A file with more waivers, in the same format, which several hosts or tools can share.",
        "none",
        default=None,
        example="/etc/k3s-harden/waivers.yaml",
    )
    waivers_must_expire: bool = _setting(
        "waivers-must-expire",
        BOOLEAN,
        "Whether a waiver without `expires` is an error of the settings.",
        default=False,
        example="false",
    )
    drift_repair: bool = _setting(
        "drift.repair",
        BOOLEAN,
        "Whether the daily drift check runs apply to repair what it can, or only reports drift.",
        default=False,
        example="false",
    )
    drift_cluster: bool = _setting(
        "drift.cluster",
        BOOLEAN,
        "Whether the daily drift check also reads the API server of a server, as `assess --cluster` does. An API"
        " server that does not answer is not drift.",
        default=False,
        applies=ON_SERVERS,
        example="false",
    )
    drift_metrics_file: PurePosixPath | None = _setting(
        "drift.metrics-file",
        PATH,
        "A second, world-readable file for the metrics of the daily drift check: a name that ends in .prom, in the"
        " directory of the node-exporter's textfile collector.",
        "none",
        default=None,
        example="/var/lib/prometheus/node-exporter/k3s-harden.prom",
    )
    drift_notify: tuple[str, ...] | None = _setting(
        "drift.notify",
        COMMAND,
        "A command that gets a JSON notification on its standard input when the daily drift check finds a change: an"
        " absolute path, or a list of words. It runs without a shell, as a user without privileges. Only root may be"
        " able to change the program.",
        "none",
        default=None,
        example="[/usr/local/lib/k3s-harden/notify, ops]",
    )
    publish: Publish = _setting(
        "publish",
        one_of({choice.value: choice for choice in Publish}),
        "What this node writes on its own Node object after each drift check. `node`: the condition"
        " k3s-harden.internal/Hardened and annotations with the counts of controls. `details` also lists the IDs of the"
        " failed controls, for everybody who can list nodes. `none` removes both.",
        default=Publish.NONE,
        example="node",
    )

    from_profile: tuple[str, ...] = ()
    """The fields whose values are those of the profile."""


class Overrides(Value):
    """Options of the command line that override settings, as typed; None if not given."""

    role: str | None = None
    k3s_version: str | None = None
    data_dir: str | None = None


@cache
def setting_rows() -> tuple[SettingRow, ...]:
    """Return all settings, in the order of the reference."""
    return tuple(replace(row, name=name) for name, row in zip(Settings._fields, _rows))


def setting_row(key: str) -> SettingRow:
    """Return the setting with this key. Raises KeyError."""
    return {row.key: row for row in setting_rows()}[key]


def example_settings() -> str:
    """Return a settings file with every setting."""
    lines = []
    section = ""
    for row in setting_rows():
        above, _, last = row.key.rpartition(".")
        if above and above != section:
            lines.append(f"{above}:")
        section = above
        first, *more = row.example.splitlines()
        indent = "  " if above else ""
        lines += [f"{indent}{line}".rstrip() for line in (f"{last}: {first}", *more)]
    return "".join(f"{line}\n" for line in lines)
