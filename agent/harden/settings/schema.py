"""Settings of a site, as typed rows. Pure.

To add a setting, add a field to Settings, and a line with its texts to settings.tsv: an example in YAML, the default if
its value does not describe it, and what it does. Loading, the overrides of the command line, the suggestions of
`assess` and docs/reference/settings.md are derived from the rows.
"""

from __future__ import annotations

from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from agent.base import package_data
from agent.base.model import EVERYWHERE, ON_SERVERS, SERVERS, Applies, FileMode, Role, StrEnum, VersionRange
from agent.base.value import Value, replace
from agent.harden.guide.admission_policies import Action
from agent.harden.guide.files import (
    ADMISSION_POLICIES_APPLY,
    AUDIT_POLICY,
    NETWORK_POLICIES,
    POD_SECURITY_ADMISSION,
    POD_SECURITY_POLICIES,
)
from agent.harden.guide.k3s_options import SECCOMP_DEFAULT
from agent.harden.settings.allow_values import ALLOW_RULES
from agent.harden.settings.stages import PodSecurityStage
from agent.harden.settings.value_kinds import (
    ACCOUNTS,
    BOOLEAN,
    COMMAND,
    DATE,
    EVENT_RATE_LIMIT,
    NAMESPACES,
    PATH,
    USERS,
    VERSION,
    ValueKind,
    number_between,
    off_or_number,
    on_or_off,
    one_of,
    optional,
)
from agent.harden.settings.waiver_values import WAIVER_NEEDS, WAIVERS

if TYPE_CHECKING:
    from agent.base.model import Version
    from agent.harden.guide.manifests import EventRateLimit
    from agent.harden.settings.waivers import SiteWaiver, WaiverNeeds
    from agent.k3s.allow_rule import AllowRule

    T = TypeVar("T")

_LEAVE_OR_0600 = one_of({"leave": None, "0600": FileMode(0o600)})

_ACTIONS = one_of({**{action.value: action for action in Action}, "false": Action.OFF})

STAGES_UNTIL = "stages.until"
_STAGE = "stage_"
"""The beginning of the names of fields that postpone a part."""

DEFAULT_SETTINGS = PurePosixPath("/etc/k3s-harden/config.yaml")
"""Path of the settings file on a host. Without the file, every setting has its default."""


class SecretsEncryption(StrEnum):
    """Whether K3s encrypts Secrets in its datastore."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"
    LEAVE = "leave"


HOST_KEY = PurePosixPath("/etc/ssh/ssh_host_ed25519_key")
"""The key of the host's SSH server."""


class Profile(StrEnum):
    """A set of presets; agent/harden/settings/profiles.py contains the values."""

    GUIDE = "guide"
    STRICT = "strict"


class Publish(StrEnum):
    """What a node publishes on its own Node object."""

    NONE = "none"
    NODE = "node"
    DETAILS = "details"


class SettingRow(Value):
    """A setting. Its texts are in settings.tsv, which most runs do not read."""

    key: str
    """The key in the settings file; a dot separates the keys of nested mappings."""
    kind: ValueKind
    default_value: object
    applies: Applies = EVERYWHERE
    """The hosts on which the setting has an effect."""
    name: str = ""
    """The name of the field of Settings."""

    @property
    def example(self) -> str:
        """A value in YAML."""
        return _texts()[self.key][0].replace("\\n", "\n")

    @property
    def default(self) -> str:
        """The default as text for a reader."""
        text = _texts()[self.key][1]
        return str(self.default_value).lower() if text == "-" else text

    @property
    def description(self) -> str:
        """What the setting does, in sentences."""
        return _texts()[self.key][2]

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
        return bool(getattr(settings, self.name) != self.default_value)


@cache
def _texts() -> dict[str, list[str]]:
    """Return the other columns of settings.tsv by the key of the setting."""
    return {key: texts for key, *texts in package_data.rows("harden", "settings", "settings.tsv")}


_rows: list[SettingRow] = []
"""One for each field of Settings, in their order; without the name of the field."""


def _setting(key: str, kind: ValueKind, *, default: T, applies: Applies = EVERYWHERE) -> T:
    """Return the default of a field of Settings."""
    _rows.append(SettingRow(key, kind, default, applies))
    return default


class Settings(Value):
    """The settings of a site. None selects what is detected on the host, or the value of the guide.

    `audit_max_age` is in days, `audit_max_size` in MiB. All paths are absolute.
    """

    role: Role | None = _setting("role", one_of({"auto": None, **{role.value: role for role in Role}}), default=None)
    k3s_version: Version | None = _setting("k3s-version", VERSION, default=None)
    data_dir: PurePosixPath | None = _setting("data-dir", PATH, default=None)
    k3s_config: PurePosixPath | None = _setting("k3s-config", PATH, default=None)
    rancher_managed: bool | None = _setting(
        "rancher-managed", one_of({"auto": None, "true": True, "false": False}), default=None
    )
    protect_kernel_defaults: bool = _setting("protect-kernel-defaults", BOOLEAN, default=True)
    # YAML 1.1 reads `on` and `off` as booleans, so true and false are the same.
    secrets_encryption: SecretsEncryption = _setting(
        "secrets-encryption",
        one_of(
            {
                **{choice.value: choice for choice in SecretsEncryption},
                "true": SecretsEncryption.ON,
                "false": SecretsEncryption.OFF,
            }
        ),
        default=SecretsEncryption.AUTO,
        applies=ON_SERVERS,
    )
    terminated_pod_gc_threshold: int | None = _setting(
        "terminated-pod-gc-threshold", optional(number_between(1, 1_000_000)), default=None, applies=ON_SERVERS
    )
    audit_policy_file: PurePosixPath | None = _setting(
        "audit.policy-file", PATH, default=None, applies=AUDIT_POLICY.applies
    )
    audit_max_age: int | None = _setting(
        "audit.max-age", optional(number_between(1, 3650, "days")), default=None, applies=AUDIT_POLICY.applies
    )
    audit_max_backups: int | None = _setting(
        "audit.max-backups", optional(number_between(1, 1000)), default=None, applies=AUDIT_POLICY.applies
    )
    audit_max_size: int | None = _setting(
        "audit.max-size", optional(number_between(1, 10_240, "MiB")), default=None, applies=AUDIT_POLICY.applies
    )
    network_policy_namespaces: tuple[str, ...] = _setting(
        "network-policies.namespaces", NAMESPACES, default=(), applies=NETWORK_POLICIES.applies
    )
    network_policy_allow: tuple[AllowRule, ...] = _setting(
        "network-policies.allow", ALLOW_RULES, default=(), applies=NETWORK_POLICIES.applies
    )
    exempt_namespaces: tuple[str, ...] = _setting(
        "pod-security.exempt-namespaces", NAMESPACES, default=(), applies=POD_SECURITY_ADMISSION.applies
    )
    exempt_rancher: bool = _setting(
        "pod-security.exempt-rancher", BOOLEAN, default=True, applies=POD_SECURITY_ADMISSION.applies
    )
    exempt_accounts: tuple[str, ...] = _setting("service-accounts.exempt", ACCOUNTS, default=(), applies=ON_SERVERS)
    stages_until: str | None = _setting(STAGES_UNTIL, optional(DATE), default=None, applies=ON_SERVERS)
    stage_pod_security: PodSecurityStage = _setting(
        "stages.pod-security",
        one_of({choice.value: choice for choice in PodSecurityStage}),
        default=PodSecurityStage.RESTRICTED,
        applies=POD_SECURITY_ADMISSION.applies,
    )
    stage_network_policies: bool = _setting(
        "stages.network-policies", on_or_off(), default=True, applies=NETWORK_POLICIES.applies
    )
    stage_service_accounts: bool = _setting("stages.service-accounts", on_or_off(), default=True, applies=ON_SERVERS)
    cis_operator_namespace: bool = _setting(
        "cis-operator-namespace", BOOLEAN, default=False, applies=POD_SECURITY_POLICIES.applies
    )
    profile: Profile = _setting("profile", one_of({choice.value: choice for choice in Profile}), default=Profile.GUIDE)
    deny_service_external_ips: bool = _setting(
        "deny-service-external-ips", BOOLEAN, default=False, applies=Applies(SERVERS, VersionRange(first=27))
    )
    # The limits of the plugin are in the admission configuration, which older versions do not have.
    event_rate_limit: EventRateLimit | None = _setting(
        "event-rate-limit", EVENT_RATE_LIMIT, default=None, applies=POD_SECURITY_ADMISSION.applies
    )
    always_pull_images: bool = _setting("always-pull-images", BOOLEAN, default=False, applies=ON_SERVERS)
    pod_max_pids: int | None = _setting("pod-max-pids", off_or_number(64, 4_194_304), default=None)
    seccomp_default: bool = _setting("seccomp-default", BOOLEAN, default=False, applies=SECCOMP_DEFAULT.applies)
    pod_security_policy: Action = _setting(
        "admission-policies.pod-security", _ACTIONS, default=Action.OFF, applies=ADMISSION_POLICIES_APPLY
    )
    network_policy_policy: Action = _setting(
        "admission-policies.network-policies", _ACTIONS, default=Action.OFF, applies=ADMISSION_POLICIES_APPLY
    )
    binding_policy: Action = _setting(
        "admission-policies.bindings", _ACTIONS, default=Action.OFF, applies=ADMISSION_POLICIES_APPLY
    )
    service_account_policy: bool = _setting(
        "admission-policies.service-accounts", on_or_off(), default=False, applies=ADMISSION_POLICIES_APPLY
    )
    policy_managers: tuple[str, ...] = _setting(
        "admission-policies.managers", USERS, default=(), applies=ADMISSION_POLICIES_APPLY
    )
    policies_bind_administrators: bool = _setting(
        "admission-policies.bind-administrators", BOOLEAN, default=False, applies=ADMISSION_POLICIES_APPLY
    )
    cni_file_permissions: FileMode | None = _setting("cni.file-permissions", _LEAVE_OR_0600, default=None)
    certificate_permissions: FileMode | None = _setting(
        "pki.certificate-permissions", _LEAVE_OR_0600, default=None, applies=ON_SERVERS
    )
    waivers: tuple[SiteWaiver, ...] = _setting("waivers", WAIVERS, default=())
    waivers_file: PurePosixPath | None = _setting("waivers-file", PATH, default=None)
    waivers_must: WaiverNeeds | None = _setting("waivers-must", WAIVER_NEEDS, default=None)
    waivers_must_expire: bool = _setting("waivers-must-expire", BOOLEAN, default=False)
    drift_repair: bool = _setting("drift.repair", BOOLEAN, default=False)
    drift_cluster: bool = _setting("drift.cluster", BOOLEAN, default=False, applies=ON_SERVERS)
    drift_metrics_file: PurePosixPath | None = _setting("drift.metrics-file", PATH, default=None)
    drift_record_file: PurePosixPath | None = _setting("drift.record-file", PATH, default=None)
    drift_record_key: PurePosixPath | None = _setting("drift.record-key", PATH, default=HOST_KEY)
    drift_notify: tuple[str, ...] | None = _setting("drift.notify", COMMAND, default=None)
    publish: Publish = _setting("publish", one_of({choice.value: choice for choice in Publish}), default=Publish.NONE)

    # The last field, because it is no setting: setting_rows pairs the fields before it with their rows.
    from_profile: tuple[str, ...] = ()
    """The fields whose values are those of the profile."""

    @property
    def has_admission_policies(self) -> bool:
        """Whether an admission policy is loaded from a file."""
        actions = (self.pod_security_policy, self.network_policy_policy, self.binding_policy)
        return self.service_account_policy or any(action is not Action.OFF for action in actions)


class Overrides(Value):
    """Options of the command line that override settings, as typed; None if not given."""

    role: str | None = None
    k3s_version: str | None = None
    data_dir: str | None = None
    profile: str | None = None


@cache
def setting_rows() -> tuple[SettingRow, ...]:
    """Return all settings, in the order of the reference."""
    return tuple(replace(row, name=name) for name, row in zip(Settings._fields, _rows))


def setting_row(key: str) -> SettingRow:
    """Return the setting with this key. Raises KeyError."""
    return {row.key: row for row in setting_rows()}[key]


def stage_rows() -> tuple[SettingRow, ...]:
    """Return the settings that postpone a part of the hardening."""
    return tuple(row for row in setting_rows() if row.name.startswith(_STAGE))


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
