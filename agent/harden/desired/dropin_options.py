"""K3s options of the guide that our drop-in sets, because the operator's configuration does not. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from agent.base.model import Location
from agent.harden.guide.criteria import ListIncludes
from agent.harden.guide.k3s_options import (
    AUDIT_BATCHES,
    AUDIT_RECEIVER,
    ON_REQUEST,
    OPTIONS,
    POD_MAX_PIDS,
    PROTECT_KERNEL_DEFAULTS,
    SECCOMP_DEFAULT,
    SECRETS_ENCRYPTION,
    OptionRow,
)
from agent.harden.node.datastore import Datastore
from agent.harden.node.facts import HostFacts
from agent.harden.settings.schema import SecretsEncryption, Settings, setting_row
from agent.k3s.admission_configuration import is_unknown
from agent.k3s.component_configuration import can_be_enabled_later
from agent.k3s.config import ConfigValue, MergedConfig, string_slice
from agent.k3s.go_values import TRUE
from agent.k3s.roles_and_versions import Component, Role

ADMISSION_PLUGINS_ARGUMENT = "enable-admission-plugins"
DISABLED_PLUGINS_ARGUMENT = "disable-admission-plugins"
ADMISSION_CONFIGURATION_ARGUMENT = "admission-control-config-file"
AUDIT_POLICY_ARGUMENT = "audit-policy-file"

_NEED_NOT_EXIST = frozenset(
    ("boot-id-file", "bootstrap-kubeconfig", "cloud-config", "lock-file", "log-file", "machine-id-file")
)
"""Component arguments with the path of a file that the component creates, or can do without."""

_NAMES_NO_FILE = "runtime-config"
_READ_BESIDE: Mapping[str, tuple[str, Callable[[str], bool]]] = {
    "audit-webhook-config-file": (AUDIT_POLICY_ARGUMENT, bool),
    "leader-migration-config": ("enable-leader-migration", TRUE.__contains__),
}
"""Component arguments whose file is read only if another argument has a certain value.

Sources: apiserver, pkg/server/options/audit.go; controller-manager, pkg/leadermigration/options/options.go.
"""

_ALL_VALUES_COUNT = frozenset({"service-account-key-file"})
"""Component arguments that collect their values. Of all others the component uses the last value only."""

_PAIRS = "tls-sni-cert-key"
"""A component argument with `certificate,key` or `certificate,key:names`. It collects its values."""

_NAMES_A_FILE = (
    *("-file", "-cafile", "-certfile", "-keyfile", "-config", "kubeconfig"),
    *("-certificate-authority", "-client-certificate", "-client-key", "-filepath-hostpath", "-filepath-nfs"),
)
"""Endings of component arguments whose file must exist. Arguments such as audit-log-path name files to write."""

_DATASTORE_FILE_KEYS = ("datastore-cafile", "datastore-certfile", "datastore-keyfile")
"""K3s options with a file that K3s reads if `datastore-endpoint` is set (k3s, pkg/cluster)."""

_FILE_KEYS = ("token-file", "agent-token-file")
"""K3s options with a file that K3s reads. The kubelet starts without the file of `resolv-conf`."""


class ExpectedOption(NamedTuple):
    """An option of the guide, with the value that this host should have."""

    row: OptionRow
    value: str


class NamedPath(NamedTuple):
    """A file that an option of K3s' configuration names."""

    option: str
    """A component argument or a K3s option."""
    path: PurePosixPath
    location: Location
    """The line that sets the option."""
    component: Component | None = None
    """The component of an argument; None for a K3s option."""


def expected_options(settings: Settings, facts: HostFacts) -> tuple[ExpectedOption, ...]:
    """Return the guide's options for this host, whatever the operator's configuration sets."""
    is_on = {
        PROTECT_KERNEL_DEFAULTS: settings.protect_kernel_defaults,
        SECRETS_ENCRYPTION: encrypts(settings, facts),
        POD_MAX_PIDS: settings.pod_max_pids is not None,
        SECCOMP_DEFAULT: settings.seccomp_default,
        AUDIT_RECEIVER: settings.audit_webhook is not None,
        AUDIT_BATCHES: settings.audit_webhook is not None,
    }
    rows = (
        row for row in (*OPTIONS, *ON_REQUEST) if row.applies.to(facts.role, facts.version) and is_on.get(row, True)
    )
    return tuple(ExpectedOption(row, _value(row, settings, facts)) for row in rows)


def options_to_set(settings: Settings, facts: HostFacts) -> tuple[ExpectedOption, ...]:
    """Return the options that our drop-in sets, because the operator's configuration does not meet their controls.

    Empty if Rancher manages the node: its arguments belong in Rancher's Cluster object.
    """
    if facts.rancher_managed:
        return ()
    found = []
    for option in expected_options(settings, facts):
        own = configured_values(facts.operator_config, option.row)
        in_all = configured_values(facts.merged_config, option.row)
        ours = (value.text for value in in_all if value.location.path == facts.dropin_path)
        if any(value.text == option.value for value in own[-1:]) and option.value in ours:
            found.append(option)  # an equal second value is harmless, and keeps the file unchanged
            continue
        if option.row.name == ADMISSION_PLUGINS_ARGUMENT:
            if not _required_plugins(option) <= set(_listed(own)):
                found.append(option._replace(value=_plugins(option.value, own, facts)))
        elif not own or not option.row.meets.accepts(own[-1].text) or _can_replace(own[-1], facts):
            found.append(option)
    return tuple(found)


def _can_replace(value: ConfigValue, facts: HostFacts) -> bool:
    """Return whether a value names a file at which K3s would exit, and our drop-in overrides the value."""
    is_later = bool(value.spelling) or facts.overrides_dropin(value.location.path)
    return value.text in facts.unusable_files and not is_later


def operators_plugins(facts: HostFacts) -> tuple[ConfigValue, ...]:
    """Return the operator's own arguments that enable admission plugins, in K3s' order."""
    return facts.operator_config.argument(Component.API_SERVER, ADMISSION_PLUGINS_ARGUMENT)


def all_plugins(settings: Settings, facts: HostFacts) -> str:
    """Return one value with the guide's admission plugins and those of the operator."""
    guide = (
        option.value for option in expected_options(settings, facts) if option.row.name == ADMISSION_PLUGINS_ARGUMENT
    )
    return _plugins(next(guide, ""), operators_plugins(facts), facts)


def configured_values(config: MergedConfig, row: OptionRow) -> tuple[ConfigValue, ...]:
    """Return the values that a configuration sets for an option, in K3s' order."""
    if row.name:
        return config.component_arguments(row.key).get(row.name, ())
    found = config.scalar(row.key)
    return (found,) if found else ()


def encrypts(settings: Settings, facts: HostFacts) -> bool:
    """Return whether the host should have secrets-encryption: always if K3s encrypts, else by the settings.

    `auto` enables it if the server starts a new cluster, and keeps it if our drop-in sets it: K3s can be in its first
    start, with a datastore but no key yet. `on` enables it, unless this K3s version cannot do that for existing data.
    """
    if facts.encrypts_secrets:
        return True  # K3s reads its key only with this option; without it, no Secret can be read
    if settings.secrets_encryption not in (SecretsEncryption.AUTO, SecretsEncryption.ON):
        return False
    if settings.secrets_encryption is SecretsEncryption.ON and not is_encrypted_too_late(facts):
        return True
    current = facts.merged_config.scalar(SECRETS_ENCRYPTION.key)
    if facts.datastore is Datastore.NONE or current is None or current.location.path != facts.dropin_path:
        return starts_a_cluster(facts)
    return facts.merged_config.boolean(SECRETS_ENCRYPTION.key) is True


def is_encrypted_too_late(facts: HostFacts) -> bool:
    """Return whether this K3s version cannot encrypt Secrets because their datastore on this host exists already."""
    has_data = facts.datastore in (Datastore.SQLITE, Datastore.ETCD)
    return has_data and facts.encrypts_secrets is False and not can_be_enabled_later(facts.version)


def named_paths(config: MergedConfig, data_dir: PurePosixPath, role: Role = Role.SERVER) -> tuple[NamedPath, ...]:
    """Return the files that K3s and its components read when they start, except those that K3s creates.

    k3s server changes to DATA_DIR/server before it starts a component (k3s, pkg/server/server.go). A relative path of
    an agent is omitted: it depends on the service.
    """
    found = []
    for component in Component:
        arguments = config.component_arguments(component.config_key)
        for name, values in arguments.items():
            if name == _PAIRS:
                pairs = ((value.text.partition(":")[0], value.location) for value in values)
                named = [(path, location) for pair, location in pairs for path in pair.split(",")]
            elif _names_a_file(name) and _is_read(name, arguments):
                used = values if name in _ALL_VALUES_COUNT else values[-1:]
                named = [(value.text, value.location) for value in used if value.text]
            else:
                continue
            found += [NamedPath(name, PurePosixPath(path), location, component) for path, location in named]
    if role is Role.SERVER:
        found = [item._replace(path=data_dir / "server" / item.path) for item in found]
    endpoint = config.scalar("datastore-endpoint")
    for key in (*_FILE_KEYS, *(_DATASTORE_FILE_KEYS if endpoint is not None else ())):
        value = config.scalar(key)
        if value is not None:
            found.append(NamedPath(key, PurePosixPath(value.text), value.location))
    created = {data_dir / "agent", *(data_dir / "server" / name for name in ("tls", "cred", "etc"))}
    return tuple(item for item in found if item.path.is_absolute() and created.isdisjoint(item.path.parents))


def _names_a_file(argument: str) -> bool:
    if argument in _NEED_NOT_EXIST or argument == _NAMES_NO_FILE:
        return False
    return argument == "config" or argument.endswith(_NAMES_A_FILE)


def _is_read(argument: str, arguments: Mapping[str, Sequence[ConfigValue]]) -> bool:
    if argument not in _READ_BESIDE:
        return True
    other, is_accepted = _READ_BESIDE[argument]
    return any(is_accepted(value.text) for value in arguments.get(other, ())[-1:])


def nested_files(
    named: Sequence[NamedPath], contents: Mapping[PurePosixPath, bytes | None]
) -> tuple[PurePosixPath, ...]:
    """Return the files that other files name: those of admission plugins, and the kubeconfigs of authorizers."""
    found: list[PurePosixPath] = []
    for option, path, _, _ in named:
        data = contents.get(path)
        if option == ADMISSION_CONFIGURATION_ARGUMENT and data and b"path" in data:
            from agent.k3s.admission_configuration import plugin_paths  # imports PyYAML

            found += plugin_paths(data, path)
        elif option == "authorization-config" and data and b"kubeConfigFile" in data:
            from agent.k3s.components.files.api_server_files import webhook_files

            found += webhook_files(data, path)
    return tuple(found)


def own_admission_configuration(settings: Settings, facts: HostFacts) -> NamedPath | None:
    """Return the operator's admission configuration, if the API server reads it once apply has written the drop-in."""
    own = facts.operator_config
    if not own.argument(Component.API_SERVER, ADMISSION_CONFIGURATION_ARGUMENT) or any(
        option.row.name == ADMISSION_CONFIGURATION_ARGUMENT for option in options_to_set(settings, facts)
    ):
        return None
    named = named_paths(own, facts.data_dir, facts.role)
    return next((named_path for named_path in named if named_path.option == ADMISSION_CONFIGURATION_ARGUMENT), None)


def starts_a_cluster(facts: HostFacts) -> bool:
    """Return whether K3s would start a new, empty cluster on this host."""
    return facts.role is Role.SERVER and facts.datastore is Datastore.NONE and not facts.joins_a_cluster


def _value(row: OptionRow, settings: Settings, facts: HostFacts) -> str:
    if row.name == ADMISSION_PLUGINS_ARGUMENT:
        optional = {
            "EventRateLimit": (settings.event_rate_limit is not None, "event-rate-limit"),
            "AlwaysPullImages": (settings.always_pull_images, "always-pull-images"),
            "DenyServiceExternalIPs": (settings.deny_service_external_ips, "deny-service-external-ips"),
        }
        enabled = (
            plugin
            for plugin, (is_on, key) in optional.items()
            if is_on and setting_row(key).applies.to(facts.role, facts.version)
        )
        return ",".join([row.value, *enabled])
    chosen = {
        "audit-log-maxage": settings.audit_max_age,
        "audit-log-maxbackup": settings.audit_max_backups,
        "audit-log-maxsize": settings.audit_max_size,
        "terminated-pod-gc-threshold": settings.terminated_pod_gc_threshold,
        POD_MAX_PIDS.name: settings.pod_max_pids,
        AUDIT_RECEIVER.name: settings.audit_webhook,
    }
    value = chosen.get(row.name)
    return row.text(facts.data_dir) if value is None else str(value)


def _required_plugins(option: ExpectedOption) -> set[str]:
    """Return the plugins that must be listed. ServiceAccount, which the guide lists, is enabled by default."""
    row = option.row
    needed = set(row.meets.names) if isinstance(row.meets, ListIncludes) else set()
    return needed | (set(option.value.split(",")) - set(row.value.split(",")))


def _plugins(guides: str, own: Sequence[ConfigValue], facts: HostFacts) -> str:
    """Return one value with all plugins that this version supports, because scanners read only the first value."""
    plugins = dict.fromkeys([*guides.split(","), *_listed(own)])
    return ",".join(plugin for plugin in plugins if not is_unknown(plugin, facts.version))


def _listed(own: Sequence[ConfigValue]) -> list[str]:
    return [plugin for value in own for plugin in string_slice(value.text) if plugin]
