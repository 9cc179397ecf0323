"""Which of the guide's K3s options our drop-in has to set on this host, given what its operator already set. Pure."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent.guide.criteria import Includes
from agent.guide.k3s_options import OPTIONS, PROTECT_KERNEL_DEFAULTS, SECRETS_ENCRYPTION, OptionRow
from agent.k3s.admission_plugins import is_unknown
from agent.model import Component, Role
from agent.node.datastore import Datastore
from agent.settings.schema import SecretsEncryption, row_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.k3s.config import MergedConfig
    from agent.model import Location
    from agent.node.facts import HostFacts
    from agent.settings.schema import Settings

API_SERVER_KEY = Component.API_SERVER.config_key
ADMISSION_PLUGINS_FLAG = "enable-admission-plugins"
DISABLED_PLUGINS_FLAG = "disable-admission-plugins"
ADMISSION_CONFIGURATION_FLAG = "admission-control-config-file"
AUDIT_POLICY_FLAG = "audit-policy-file"

_NAMES_A_FILE = ("-file", "-cafile", "-certfile", "-keyfile", "-config", "kubeconfig")
"""How component flags end whose file must exist; audit-log-path and its like are written, not read."""

_FILE_KEYS = (
    "datastore-cafile",
    "datastore-certfile",
    "datastore-keyfile",
    "resolv-conf",
    "token-file",
    "agent-token-file",
)


class WantedOption(NamedTuple):
    """An option of the guide with the value that this host should have for it."""

    row: OptionRow
    value: str


class ConfiguredValue(NamedTuple):
    """A value that K3s' configuration has for an option, and where it stands."""

    value: str
    source: Location


class NamedPath(NamedTuple):
    """A file that an option of K3s' configuration names, and where it does."""

    option: str
    path: PurePosixPath
    source: Location


def wanted(settings: Settings, facts: HostFacts) -> tuple[WantedOption, ...]:
    """The guide's options for a host of this role and version, with the site's values; no operator's file counts."""
    found = []
    for row in OPTIONS:
        if not row.applies.to(facts.role, facts.version):
            continue
        if row is PROTECT_KERNEL_DEFAULTS and not settings.protect_kernel_defaults:
            continue
        if row is SECRETS_ENCRYPTION and not encrypts(settings, facts):
            continue
        found.append(WantedOption(row, _value(row, settings, facts)))
    return tuple(found)


def missing(settings: Settings, facts: HostFacts) -> tuple[WantedOption, ...]:
    """Of the wanted options, those that our drop-in has to set: the operator's own files do not meet the control.

    None at all on a node that Rancher manages, whose arguments belong in its Cluster object.
    """
    if facts.rancher_managed:
        return ()
    found = []
    for option in wanted(settings, facts):
        own = given(facts.operator_config, option.row)
        if any(one.value == option.value for one in own[-1:]) and _is_in_dropin(option, facts):
            found.append(option)  # a second, equal value does no harm, and removing it would change a file for nothing
            continue
        if option.row.name == ADMISSION_PLUGINS_FLAG:
            if not _required_plugins(option) <= set(_listed(own)):
                found.append(option._replace(value=_plugins(option.value, own, facts)))
        elif not own or not option.row.meets.accepts(own[-1].value):
            found.append(option)
    return tuple(found)


def given(config: MergedConfig, row: OptionRow) -> tuple[ConfiguredValue, ...]:
    """What a configuration says for a row's option, in K3s' order: of several values of one flag the last wins."""
    if row.name:
        return tuple(
            ConfiguredValue(value, source) for value, source in config.component_arguments(row.key).get(row.name, ())
        )
    found = config.scalar(row.key)
    return (ConfiguredValue(*found),) if found else ()


def _is_in_dropin(option: WantedOption, facts: HostFacts) -> bool:
    values = given(facts.merged_config, option.row)
    return any(one.source.path == facts.dropin_path and one.value == option.value for one in values)


def encrypts(settings: Settings, facts: HostFacts) -> bool:
    """Whether secrets-encryption is to be on: never dropped where K3s encrypts, and else the operator's word.

    `auto` turns it on only where a server starts a new cluster, and leaves it on where our drop-in has it: K3s may be
    in its first start, with a datastore and no key yet.
    """
    if facts.encrypts_secrets:
        return True  # K3s reads its key only with this option, so that without it all secrets would be lost
    match settings.secrets_encryption:
        case SecretsEncryption.ON:
            return True
        case SecretsEncryption.OFF | SecretsEncryption.LEAVE:
            return False
        case SecretsEncryption.AUTO:
            set_now = facts.merged_config.scalar(SECRETS_ENCRYPTION.key)
            if facts.datastore is Datastore.NONE or set_now is None or set_now[1].path != facts.dropin_path:
                return starts_a_cluster(facts)
            return facts.merged_config.boolean(SECRETS_ENCRYPTION.key) is True


def named_paths(config: MergedConfig, data_dir: PurePosixPath) -> tuple[NamedPath, ...]:
    """The files that components are told to read at their start, in K3s' order, except those that K3s makes."""
    found = []
    for component in Component:
        for name, values in config.component_arguments(component.config_key).items():
            if name == "config" or name.endswith(_NAMES_A_FILE):
                found += [NamedPath(name, PurePosixPath(value), source) for value, source in values]
    for key in _FILE_KEYS:
        value = config.scalar(key)
        if value is not None:
            found.append(NamedPath(key, PurePosixPath(value[0]), value[1]))
    own = [data_dir / "agent", *(data_dir / "server" / name for name in ("tls", "cred", "etc"))]
    return tuple(one for one in found if one.path.is_absolute() and not any(o in one.path.parents for o in own))


def starts_a_cluster(facts: HostFacts) -> bool:
    """Whether K3s, started on this host, would begin an empty cluster of its own."""
    return facts.role is Role.SERVER and facts.datastore is Datastore.NONE and not facts.joins_a_cluster


def _value(row: OptionRow, settings: Settings, facts: HostFacts) -> str:
    if row.name == ADMISSION_PLUGINS_FLAG:
        optional = {
            "EventRateLimit": settings.event_rate_limit is not None
            and row_of("event-rate-limit").applies.to(facts.role, facts.version),
            "AlwaysPullImages": settings.always_pull_images,
        }
        return ",".join([row.value, *(plugin for plugin, on in optional.items() if on)])
    own_numbers = {
        "audit-log-maxage": settings.audit_max_age,
        "audit-log-maxbackup": settings.audit_max_backups,
        "audit-log-maxsize": settings.audit_max_size,
        "terminated-pod-gc-threshold": settings.terminated_pod_gc_threshold,
    }
    number = own_numbers.get(row.name)
    return row.text(facts.data_dir) if number is None else str(number)


def _required_plugins(option: WantedOption) -> set[str]:
    """What has to be switched on: ServiceAccount, which the guide names, is on by default."""
    row = option.row
    needed = set(row.meets.names) if isinstance(row.meets, Includes) else set()
    return needed | (set(option.value.split(",")) - set(row.value.split(",")))


def _plugins(ours: str, own: Sequence[ConfiguredValue], facts: HostFacts) -> str:
    """One comma-joined value of all plugins that K3s has, since scanners read only the first of several."""
    plugins = dict.fromkeys([*ours.split(","), *_listed(own)])
    return ",".join(plugin for plugin in plugins if not is_unknown(plugin, facts.version))


def _listed(own: Sequence[ConfiguredValue]) -> list[str]:
    return [plugin for one in own for plugin in one.value.split(",") if plugin]
