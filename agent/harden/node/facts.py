"""Facts about this host and its K3s, each with its source. Read-only."""

from __future__ import annotations

import time
from functools import cached_property
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING

from agent.base.errors import HardenError, UsageError
from agent.base.report import ASSUMED, K3S_VERSION, ROLE, Fact
from agent.base.value import Value
from agent.harden.guide.guide_files import DROPIN_NAME
from agent.harden.node.configuration import Configuration, data_directory, dropin_directory, read_configuration
from agent.harden.node.datastore import Datastore, detect_datastore, encrypts_secrets
from agent.harden.node.installed_services import candidate_units, installed_units, other_units
from agent.harden.node.platform import Platform, detect_platform
from agent.harden.node.version import GivenVersion, KnownVersion, RecordedVersion, detect_version
from agent.k3s.component_configuration import ENCRYPTION_CONFIGURATION
from agent.k3s.options import SERVER_ONLY_KEYS
from agent.k3s.roles_and_versions import DEFAULT_DATA_DIR, NEWEST_KNOWN, Component, Role, Version
from agent.k3s.services import K3sUnit, OtherProgram, only_unit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.base.host import Host
    from agent.base.host.probe import K3sProcess
    from agent.harden.settings.schema import Settings
    from agent.k3s.config import MergedConfig

RANCHER_DROPIN = "50-rancher.yaml"
_NONE: Mapping[str, RecordedVersion] = MappingProxyType({})
_RANCHER_AGENT = PurePosixPath("/etc/rancher/agent/config.yaml")


class HostFacts(Value):
    """A host and its K3s, as desired.desired_resources, the findings and the controls need it."""

    role: Role
    version: Version
    """The newest known version if `version_is_known` is false."""
    version_is_known: bool
    data_dir: PurePosixPath
    configuration: Configuration
    rancher_managed: bool = False
    """Whether Rancher writes K3s' configuration on this host."""
    units: tuple[K3sUnit, ...] = ()
    """The services that start K3s."""
    unit: K3sUnit | None = None
    """The service that the facts are about; None if there is none yet."""
    running_since: float | None = None
    """Start of the oldest running K3s process of this role, in seconds since the epoch; None if K3s does not run."""
    datastore: Datastore = Datastore.NONE
    joins_a_cluster: bool = False
    """Whether K3s has the address of a server to join."""
    encrypts_secrets: bool | None = None
    """Whether K3s encrypts new Secrets; None if it could not be determined."""
    platform: Platform = Platform()
    detected_version: KnownVersion = KnownVersion(None, "")
    """How the version is known."""
    unusable_files: Mapping[str, str] = MappingProxyType({})
    """What is wrong with the operator's audit policy and admission configuration, by path."""
    other_programs: tuple[OtherProgram, ...] = ()
    """The services of K3s that start another program, so that the command line of K3s is not known."""
    processes: tuple[int, ...] = ()
    """The running K3s processes, of any role."""
    other_units: tuple[str, ...] = ()
    """The units of those that are in no service of K3s by its name."""
    evidence: tuple[Fact, ...] = ()
    """The facts above with their sources, for reports."""

    @property
    def known_version(self) -> Version | None:
        """The version of K3s; None if it is not known."""
        return self.version if self.version_is_known else None

    @property
    def operator_config(self) -> MergedConfig:
        """K3s' configuration without k3s-harden's drop-in."""
        return self.configuration.operator_config

    @property
    def merged_config(self) -> MergedConfig:
        """K3s' configuration with k3s-harden's drop-in."""
        return self.configuration.merged_config

    @property
    def service(self) -> str:
        """The service that starts K3s here, or else the one that install.sh creates for this role."""
        usual = "k3s.service" if self.role is Role.SERVER else "k3s-agent.service"
        return usual if self.unit is None else self.unit.path.name

    @property
    def sharing(self) -> tuple[K3sUnit, ...]:
        """The other services with the same main configuration file."""
        path = self.configuration.path
        return tuple(unit for unit in self.units if unit != self.unit and unit.config_path == path)

    @cached_property
    def dropin_path(self) -> PurePosixPath:
        """Path of k3s-harden's drop-in for K3s' configuration, in the directory named after K3s' main file."""
        return dropin_directory(self.configuration.path) / DROPIN_NAME

    @property
    def command_line_files(self) -> frozenset[PurePosixPath]:
        """The files with K3s' command line: units, their drop-ins and scripts."""
        return frozenset(word.location.path for unit in self.units for word in unit.arguments)

    def overrides_dropin(self, path: PurePosixPath) -> bool:
        """Return whether K3s reads this file after k3s-harden's drop-in."""
        dropin = self.dropin_path
        return path in self.command_line_files or (path.parent == dropin.parent and path.name > dropin.name)


def assumed_facts(role: Role, version: Version, data_dir: PurePosixPath = DEFAULT_DATA_DIR) -> HostFacts:
    """Return the facts of a new host that starts a cluster of its own, for `render`, which reads no host."""
    return HostFacts(role, version, version_is_known=True, data_dir=data_dir, configuration=Configuration())


def read_facts(  # noqa: PLR0913 - the inputs of all facts
    host: Host,
    settings: Settings,
    service: str = "",
    *,
    given: GivenVersion | None = None,
    recorded: Mapping[str, RecordedVersion] = _NONE,
    starting: K3sUnit | OtherProgram | None = None,
) -> HostFacts:
    """Detect the facts. Role and data directory of the settings override what is found.

    `service` names the K3s service that they are for, without `.service`: a host can have a server and an agent.
    `given` is the version of the settings or of the command line. `recorded` has a version by role, which counts if its
    program has not changed, or does not print it. `starting` is the named service if its start waits for this run.

    Raises UsageError if the role could not be determined, or contradicts the service: a wrong role prevents K3s from
    starting.
    """
    unread: list[HardenError] = []
    others: list[OtherProgram] = []
    name = f"{service}.service" if service else ""
    units = installed_units(host, unread, others, name, starting)
    processes = host.probe()
    named = tuple(unit for unit in units if service and unit.path.name.removesuffix(".service") == service)
    is_unknown = any(other.unit.name == name for other in others)
    candidates = named if named or is_unknown else candidate_units(host, units, settings.role, processes)
    unit = only_unit(candidates)
    if unit is not None and len(candidates) > 1:
        names = " and ".join(candidate.path.name for candidate in candidates)
        raise UsageError(
            f"cannot choose a K3s {unit.role}: this host has {names}", "pass --unit NAME.service, or disable the others"
        )
    k3s = read_configuration(host, unit, settings.k3s_config, unread)
    data_dir, data_dir_source = data_directory(settings, k3s)
    role, role_source = _role_from_services(settings, () if is_unknown else units, unit, processes)
    if role is None:
        role, role_source = _role_from_files(host, k3s.operator_config, data_dir, others)
    known = detect_version(host, unit, recorded.get(role.value), given)
    datastore, datastore_source = detect_datastore(host, data_dir, k3s.operator_config.scalar("datastore-endpoint"))
    rancher_managed, rancher_source = _rancher_managed(host, settings, k3s.path)
    platform, platform_facts = detect_platform(host)
    running = [process for process in processes if process.role == role]
    times = (time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(process.started)) for process in running)
    since = ", ".join(f"process {process.pid}, since {started}" for process, started in zip(running, times))
    services_source = "systemd" if unit and unit.settings.is_loaded else "unit files that start K3s"
    server = k3s.operator_config.scalar("server")
    joins = server is not None and server.text != ""
    encrypts = encrypts_secrets(host, data_dir)
    return HostFacts(
        role=role,
        version=known.version or NEWEST_KNOWN,
        version_is_known=known.version is not None,
        data_dir=data_dir,
        configuration=k3s,
        rancher_managed=rancher_managed,
        units=units,
        unit=unit,
        running_since=min((process.started for process in running), default=None),
        datastore=datastore,
        joins_a_cluster=joins,
        encrypts_secrets=encrypts,
        platform=platform,
        detected_version=known,
        other_programs=tuple(others),
        processes=tuple(process.pid for process in processes),
        other_units=other_units(host, processes),
        unusable_files=_unusable_files(host, k3s.operator_config, data_dir, known.version),
        evidence=(
            Fact(ROLE, role.value, role_source),
            Fact(K3S_VERSION, str(known.version or f"{NEWEST_KNOWN}{ASSUMED}"), known.source),
            Fact("data directory", str(data_dir), data_dir_source),
            Fact("configuration", str(k3s.path), ", ".join(map(str, k3s.files)) or "no file yet"),
            Fact("services", ", ".join(str(unit.path) for unit in units) or "none", services_source),
            Fact("running", since or "no", "processes named k3s"),
            Fact("managed by Rancher", _yes(rancher_managed), rancher_source),
            Fact("datastore", str(datastore), datastore_source),
            Fact("joins a cluster", _yes(joins), f"`server` at {server.location}" if server else "`server` is not set"),
            Fact("secrets encrypted", _yes(encrypts), f"{data_dir}/{ENCRYPTION_CONFIGURATION}"),
            *platform_facts,
        ),
    )


def _role_from_services(
    settings: Settings, units: Sequence[K3sUnit], unit: K3sUnit | None, processes: Sequence[K3sProcess]
) -> tuple[Role | None, str]:
    """Return the role from settings, services and processes, and its source.

    None if none of them has the role. Raises UsageError if they contradict each other.
    """
    if settings.role is not None:
        if units and unit is None:
            # An agent exits at a server's arguments, and a server without them is not hardened.
            raise UsageError(
                f"cannot treat this host as {settings.role}: {units[0].path} starts K3s as {units[0].role}",
                "correct --role, or `role:` in the settings; or remove that service first",
            )
        return settings.role, "given"
    if unit is not None:
        return unit.role, str(unit.path)
    running = {Role(process.role) for process in processes}
    if len(running) == 1:
        return running.pop(), "the running process"
    if units:
        names = " and ".join(unit.path.name for unit in units)
        raise UsageError(
            f"cannot determine whether this host is a server or an agent: it has {names}",
            "pass --role server or --role agent",
        )
    return None, ""


def _role_from_files(
    host: Host, config: MergedConfig, data_dir: PurePosixPath, others: Sequence[OtherProgram]
) -> tuple[Role, str]:
    """Return the role from K3s' data and configuration, and its source. Raises UsageError if they do not have it."""
    if host.tree.exists(data_dir / "server"):
        return Role.SERVER, f"{data_dir}/server exists"
    server_keys = [key for key in config.values if key in SERVER_ONLY_KEYS]
    if server_keys:
        return Role.SERVER, f"`{server_keys[0]}` in K3s' configuration, which only servers support"
    why = "K3s is not installed yet"
    for other in others:
        why = f"{other.unit.name} starts {other.program.text}, which cannot be followed: {other.reason}"
    raise UsageError(
        f"cannot determine whether this host is a server or an agent: {why}",
        "pass --role server or --role agent, or set `role:` in the settings",
    )


def _unusable_files(
    host: Host, config: MergedConfig, data_dir: PurePosixPath, version: Version | None
) -> Mapping[str, str]:
    if not config.component_arguments(Component.API_SERVER.config_key):
        return {}
    from agent.harden.node.site_files import unusable_files  # few hosts need it

    return unusable_files(host, config, data_dir, version)


def _rancher_managed(host: Host, settings: Settings, config_path: PurePosixPath) -> tuple[bool, str]:
    if settings.rancher_managed is not None:
        return settings.rancher_managed, "given"
    for path in (dropin_directory(config_path) / RANCHER_DROPIN, _RANCHER_AGENT):
        if host.tree.exists(path):
            return True, str(path)
    return False, f"neither {RANCHER_DROPIN} nor {_RANCHER_AGENT}"


def _yes(answer: bool | None) -> str:  # noqa: FBT001 - an answer, not a flag
    return {True: "yes", False: "no", None: "could not be determined"}[answer]


def will_run_etcd(facts: HostFacts) -> bool:
    """Return whether K3s' datastore is its own etcd, or will be after it starts."""
    if facts.datastore in (Datastore.ETCD, Datastore.EXTERNAL):
        return facts.datastore is Datastore.ETCD
    address = facts.merged_config.scalar("datastore-endpoint")
    if address is not None and address.text:
        return False  # of SQLite
    if facts.datastore is Datastore.NONE and facts.joins_a_cluster:
        return True
    # K3s migrates the data of SQLite to etcd.
    return facts.merged_config.boolean("cluster-init") is True


_SWITCHES = {
    Component.API_SERVER: "disable-apiserver",
    Component.CONTROLLER_MANAGER: "disable-controller-manager",
    Component.SCHEDULER: "disable-scheduler",
    Component.KUBELET: "disable-agent",
    Component.KUBE_PROXY: "disable-kube-proxy",
}
_ON_SERVERS = (Component.API_SERVER, Component.CONTROLLER_MANAGER, Component.SCHEDULER)


def not_run(component: Component, facts: HostFacts) -> str:
    """Return why K3s does not run this component on this host, as a sentence; empty if it does, or may."""
    if facts.role is Role.AGENT:
        return f"an agent runs no {component}" if component in _ON_SERVERS else ""
    for key in dict.fromkeys((_SWITCHES[component], *(() if component in _ON_SERVERS else ("disable-agent",)))):
        found = facts.merged_config.scalar(key)
        if found is not None and facts.merged_config.boolean(key):
            return f"`{key}` at {found.location} disables {component} here"
    return ""
