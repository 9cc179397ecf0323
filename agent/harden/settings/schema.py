"""Settings of a site, as typed rows. Pure.

To add a setting, add a field to Settings, and a line with its texts to settings.tsv: an example in YAML, the default if
its value does not describe it, and what it does. Loading, the overrides of the command line, the suggestions of
`assess` and docs/reference/settings.md are derived from the rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import PurePosixPath
from typing import TypeVar

from agent.base import package_data
from agent.base.model import FileMode, StrEnum
from agent.base.value import Value, replace
from agent.harden.guide.guide_files import (
    ADMISSION_POLICIES_APPLY,
    AUDIT_POLICY,
    NETWORK_POLICIES,
    POD_SECURITY_ADMISSION,
    POD_SECURITY_POLICIES,
)
from agent.harden.guide.k3s_options import SECCOMP_DEFAULT
from agent.harden.guide.manifests import EventRateLimit
from agent.harden.guide.policy_files import Action
from agent.harden.settings.allow_values import ALLOW_RULES
from agent.harden.settings.value_kinds import (
    ACCOUNTS,
    BOOLEAN,
    COMMAND,
    DATE,
    EVENT_RATE_LIMIT,
    METRICS_FILE,
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
from agent.harden.settings.waiver_values import ACCEPTED_BREAKS, WAIVER_NEEDS, WAIVERS
from agent.harden.settings.waivers import AcceptedBreak, SiteWaiver, WaiverNeeds
from agent.k3s.allow_rule import AllowRule
from agent.k3s.roles_and_versions import EVERYWHERE, ON_SERVERS, SERVERS, Applies, Role, Version, VersionRange

T = TypeVar("T")

_AUDIT, _NETWORK = AUDIT_POLICY.applies, NETWORK_POLICIES.applies
_POD_SECURITY, _POLICIES = POD_SECURITY_ADMISSION.applies, ADMISSION_POLICIES_APPLY
_LEAVE_OR_0600 = one_of({"leave": None, "0600": FileMode(0o600)})


def _words(words: Iterable[StrEnum], **others: StrEnum) -> ValueKind:
    """Return the kind of the words of an enumeration, and of others with the same values."""
    return one_of({**{word.value: word for word in words}, **others})


_ACTIONS = _words(Action, false=Action.OFF)

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


class PodSecurityStage(StrEnum):
    """What Pod Security admission enforces by default. It always audits and warns by the restricted standard."""

    WARN = "warn"
    BASELINE = "baseline"
    RESTRICTED = "restricted"

    @property
    def level(self) -> str:
        """The standard that is enforced."""
        return "privileged" if self is PodSecurityStage.WARN else self.value


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


def _row(key: str, kind: ValueKind, applies: Applies = EVERYWHERE, *, default: T) -> T:
    """Return the default of a field of Settings."""
    _rows.append(SettingRow(key, kind, default, applies))
    return default


class Settings(Value):
    """The settings of a site. None selects what is detected on the host, or the value of the guide.

    `audit_max_age` is in days, `audit_max_size` in MiB. All paths are absolute.
    """

    role: Role | None = _row("role", one_of({"auto": None, **{role.value: role for role in Role}}), default=None)
    k3s_version: Version | None = _row("k3s-version", VERSION, default=None)
    data_dir: PurePosixPath | None = _row("data-dir", PATH, default=None)
    k3s_config: PurePosixPath | None = _row("k3s-config", PATH, default=None)
    rancher_managed: bool | None = _row(
        "rancher-managed", one_of({"auto": None, "true": True, "false": False}), default=None
    )
    protect_kernel_defaults: bool = _row("protect-kernel-defaults", BOOLEAN, default=True)
    # YAML 1.1 reads `on` and `off` as booleans, so true and false are the same.
    secrets_encryption: SecretsEncryption = _row(
        "secrets-encryption",
        _words(SecretsEncryption, true=SecretsEncryption.ON, false=SecretsEncryption.OFF),
        ON_SERVERS,
        default=SecretsEncryption.AUTO,
    )
    secrets_key_max_age: int | None = _row(
        "secrets-key-max-age", optional(number_between(1, 3650, "days")), ON_SERVERS, default=None
    )
    terminated_pod_gc_threshold: int | None = _row(
        "terminated-pod-gc-threshold", optional(number_between(1, 1_000_000)), ON_SERVERS, default=None
    )
    audit_policy_file: PurePosixPath | None = _row("audit.policy-file", PATH, _AUDIT, default=None)
    audit_max_age: int | None = _row("audit.max-age", optional(number_between(1, 3650, "days")), _AUDIT, default=None)
    audit_max_backups: int | None = _row("audit.max-backups", optional(number_between(1, 1000)), _AUDIT, default=None)
    audit_max_size: int | None = _row(
        "audit.max-size", optional(number_between(1, 10_240, "MiB")), _AUDIT, default=None
    )
    audit_webhook: PurePosixPath | None = _row("audit.webhook", PATH, _AUDIT, default=None)
    network_policy_namespaces: tuple[str, ...] = _row("network-policies.namespaces", NAMESPACES, _NETWORK, default=())
    new_namespaces: bool = _row("network-policies.new-namespaces", BOOLEAN, _NETWORK, default=False)
    network_policy_allow: tuple[AllowRule, ...] = _row("network-policies.allow", ALLOW_RULES, _NETWORK, default=())
    exempt_namespaces: tuple[str, ...] = _row("pod-security.exempt-namespaces", NAMESPACES, _POD_SECURITY, default=())
    exempt_rancher: bool = _row("pod-security.exempt-rancher", BOOLEAN, _POD_SECURITY, default=True)
    exempt_accounts: tuple[str, ...] = _row("service-accounts.exempt", ACCOUNTS, ON_SERVERS, default=())
    accepted_breaks: tuple[AcceptedBreak, ...] = _row("impact.accepted", ACCEPTED_BREAKS, ON_SERVERS, default=())
    traffic_record_until: str | None = _row("traffic.record-until", optional(DATE), default=None)
    stages_until: str | None = _row(STAGES_UNTIL, optional(DATE), ON_SERVERS, default=None)
    stage_pod_security: PodSecurityStage = _row(
        "stages.pod-security", _words(PodSecurityStage), _POD_SECURITY, default=PodSecurityStage.RESTRICTED
    )
    stage_network_policies: bool = _row("stages.network-policies", on_or_off(), _NETWORK, default=True)
    stage_service_accounts: bool = _row("stages.service-accounts", on_or_off(), ON_SERVERS, default=True)
    cis_operator_namespace: bool = _row("cis-operator-namespace", BOOLEAN, POD_SECURITY_POLICIES.applies, default=False)
    profile: Profile = _row("profile", _words(Profile), default=Profile.GUIDE)
    deny_service_external_ips: bool = _row(
        "deny-service-external-ips", BOOLEAN, Applies(SERVERS, VersionRange(first=27)), default=False
    )
    # The limits of the plugin are in the admission configuration, which older versions do not have.
    event_rate_limit: EventRateLimit | None = _row("event-rate-limit", EVENT_RATE_LIMIT, _POD_SECURITY, default=None)
    always_pull_images: bool = _row("always-pull-images", BOOLEAN, ON_SERVERS, default=False)
    pod_max_pids: int | None = _row("pod-max-pids", off_or_number(64, 4_194_304), default=None)
    seccomp_default: bool = _row("seccomp-default", BOOLEAN, SECCOMP_DEFAULT.applies, default=False)
    pod_security_policy: Action = _row("admission-policies.pod-security", _ACTIONS, _POLICIES, default=Action.OFF)
    network_policy_policy: Action = _row("admission-policies.network-policies", _ACTIONS, _POLICIES, default=Action.OFF)
    binding_policy: Action = _row("admission-policies.bindings", _ACTIONS, _POLICIES, default=Action.OFF)
    service_account_policy: bool = _row("admission-policies.service-accounts", on_or_off(), _POLICIES, default=False)
    policy_managers: tuple[str, ...] = _row("admission-policies.managers", USERS, _POLICIES, default=())
    policies_bind_administrators: bool = _row(
        "admission-policies.bind-administrators", BOOLEAN, _POLICIES, default=False
    )
    cni_file_permissions: FileMode | None = _row("cni.file-permissions", _LEAVE_OR_0600, default=None)
    certificate_permissions: FileMode | None = _row(
        "pki.certificate-permissions", _LEAVE_OR_0600, ON_SERVERS, default=None
    )
    waivers: tuple[SiteWaiver, ...] = _row("waivers", WAIVERS, default=())
    waivers_file: PurePosixPath | None = _row("waivers-file", PATH, default=None)
    waivers_must: WaiverNeeds | None = _row("waivers-must", WAIVER_NEEDS, default=None)
    waivers_must_expire: bool = _row("waivers-must-expire", BOOLEAN, default=False)
    drift_repair: bool = _row("drift.repair", BOOLEAN, default=False)
    drift_cluster: bool = _row("drift.cluster", BOOLEAN, ON_SERVERS, default=False)
    drift_metrics_file: PurePosixPath | None = _row("drift.metrics-file", METRICS_FILE, default=None)
    drift_record_file: PurePosixPath | None = _row("drift.record-file", PATH, default=None)
    drift_record_key: PurePosixPath | None = _row("drift.record-key", PATH, default=HOST_KEY)
    drift_notify: tuple[str, ...] | None = _row("drift.notify", COMMAND, default=None)
    publish: Publish = _row("publish", _words(Publish), default=Publish.NONE)

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


def example_settings(*, commented: bool = False) -> str:
    """Return a settings file with every setting; `commented` adds the meaning of each, and makes all lines comments."""
    import textwrap

    lines: list[str] = []
    mark = "#" if commented else ""
    section = ""
    for row in setting_rows():
        above, _, last = row.key.rpartition(".")
        if above and above != section:
            lines.append(f"{mark}{above}:")
        section = above
        first, *more = row.example.splitlines()
        indent = "  " if above else ""
        about = f"{row.description} Allowed: {row.kind.allowed}. Default: {row.default}." if commented else ""
        lines += [f"# {line}" for line in textwrap.wrap(about, 118, break_long_words=False, break_on_hyphens=False)]
        lines += [f"{mark}{indent}{line}".rstrip() for line in (f"{last}: {first}", *more)]
        lines += [""] * commented
    return "".join(f"{line}\n" for line in lines)
