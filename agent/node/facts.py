"""Who is this host? Read once, read only, each answer with its evidence."""

from __future__ import annotations

import time
from enum import Enum
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent.errors import HostError, InputError, UsageError
from agent.guide.files import DROPIN_NAME
from agent.host.tree import DIRECTORY, FIFO, SOCKET, Entry
from agent.k3s.config import SERVER_ONLY_KEYS, ConfigText, MergedConfig, has_suffix, merge
from agent.k3s.encryption_configuration import ENCRYPTION_CONFIGURATION, IDENTITY, providers_of_secrets
from agent.k3s.paths import DEFAULT_DATA_DIR, K3S_CONFIG_FILE
from agent.linux.sysctl_order import Reader
from agent.model import NEWEST_KNOWN, Location, Role, Version
from agent.node import k3s_units
from agent.node.k3s_units import OPENRC_DIRECTORY
from agent.report import K3S_VERSION, ROLE, Fact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.host import Host
    from agent.host.probe import K3sProcess
    from agent.node.k3s_units import Unit
    from agent.settings.schema import Settings

RANCHER_DROPIN = "50-rancher.yaml"
_RANCHER_AGENT = PurePosixPath("/etc/rancher/agent/config.yaml")
_VERSION_TIMEOUT = 20.0

_NO_FILES = {
    DIRECTORY: "K3s would not start",
    FIFO: "K3s would wait for ever",
    SOCKET: "K3s would not start",
}
"""What K3s does where it opens one of these as a file of its configuration."""


class Datastore(str, Enum):
    """Where the cluster's state lies, as far as this host tells."""

    NONE = "none yet"
    SQLITE = "SQLite"
    ETCD = "embedded etcd"
    EXTERNAL = "external"

    def __str__(self) -> str:
        return self.value


class Configuration(NamedTuple):
    """K3s' configuration: `config` as everybody but this program wrote it, `effective` with our drop-in, too.

    `unfit` and `unreadable` as in HostFacts.
    """

    path: PurePosixPath
    files: tuple[PurePosixPath, ...]
    operator_config: MergedConfig
    merged_config: MergedConfig
    environment: Mapping[str, str]
    unfit: tuple[InputError, ...]
    unreadable: tuple[str, ...]


class HostFacts(NamedTuple):
    """What desired.build and the findings need to know of a host.

    `config` is K3s' configuration as everybody but this program wrote it, `effective` with our drop-in in its place;
    `running_since` is in seconds since the epoch, None where no K3s runs. `encrypts_secrets` is None where it cannot
    be told. `boot_reader` is the program that applies sysctl.d at boot. `kernel_is_read_only` tells a container whose
    /proc/sys is mounted so. `config_files` are the files of K3s' configuration that are there, in the order in which it
    reads them. `unfit` says what K3s does at something that is no file, where it reads one; `unreadable` has the
    complaints about what could not be read, or judged, here.
    """

    role: Role
    version: Version
    version_is_known: bool
    data_dir: PurePosixPath
    config_path: PurePosixPath
    rancher_managed: bool
    units: tuple[Unit, ...]
    running_since: float | None
    container: str
    etc_is_read_only: bool
    has_kernel: bool
    boot_reader: Reader
    datastore: Datastore
    joins_a_cluster: bool
    encrypts_secrets: bool | None
    operator_config: MergedConfig
    merged_config: MergedConfig
    kernel_is_read_only: bool = False
    config_files: tuple[PurePosixPath, ...] = ()
    unfit: tuple[InputError, ...] = ()
    unreadable: tuple[str, ...] = ()
    evidence: tuple[Fact, ...] = ()

    @property
    def service(self) -> str:
        """The service that starts K3s here, or else the one that install.sh makes for this role."""
        usual = "k3s.service" if self.role is Role.SERVER else "k3s-agent.service"
        return next((unit.path.name for unit in self.units if unit.role is self.role), usual)

    @property
    def dropin_path(self) -> PurePosixPath:
        """Where our part of K3s' configuration goes; K3s looks in the directory named after its main file."""
        return dropin_directory(self.config_path) / DROPIN_NAME


def assumed(role: Role, version: Version, data_dir: PurePosixPath = DEFAULT_DATA_DIR) -> HostFacts:
    """The facts of a fresh stand-alone host that starts a cluster, for `render`, which looks at none."""
    nothing = merge(())
    return HostFacts(
        role=role,
        version=version,
        version_is_known=True,
        data_dir=data_dir,
        config_path=K3S_CONFIG_FILE,
        rancher_managed=False,
        units=(),
        running_since=None,
        container="",
        etc_is_read_only=False,
        has_kernel=True,
        boot_reader=Reader.SYSTEMD,
        datastore=Datastore.NONE,
        joins_a_cluster=False,
        encrypts_secrets=None,
        operator_config=nothing,
        merged_config=nothing,
    )


def dropin_directory(config_path: PurePosixPath) -> PurePosixPath:
    """The directory of drop-ins that belongs to a main configuration file (K3s: pkg/configfilearg/parser.go)."""
    return config_path.with_name(f"{config_path.name}.d")


def read(host: Host, settings: Settings) -> HostFacts:
    """Look at the host. Settings that name a role, a version or a data directory win over what is found.

    Raises UsageError where the role cannot be told, or is not the service's: the wrong one keeps K3s from starting.
    """
    units = k3s_units.installed(host)
    unit = k3s_units.chosen(units, settings.role)
    k3s = configuration(host, unit)
    processes = host.probe()
    data_dir, data_dir_evidence = data_directory(settings, k3s)
    role, role_evidence = _role(settings, units, unit, processes)
    if role is None:
        role, role_evidence = _role_of_files(host, k3s.operator_config, data_dir)
    version, version_evidence = _version(host, settings, unit)
    datastore, datastore_evidence = _datastore(host, data_dir, k3s)
    rancher_managed, rancher_evidence = _rancher_managed(host, settings, k3s.path)
    container, container_evidence = _container(host)
    reader, reader_evidence = _boot_reader(host)
    etc_is_read_only = host.is_read_only(PurePosixPath("/etc"))
    running = [process for process in processes if process.role is role]
    joins = k3s.operator_config.is_set("server") or "K3S_URL" in k3s.environment
    encrypts = encrypts_secrets(host, data_dir)
    return HostFacts(
        role=role,
        version=version or NEWEST_KNOWN,
        version_is_known=version is not None,
        data_dir=data_dir,
        config_path=k3s.path,
        rancher_managed=rancher_managed,
        units=units,
        running_since=min((process.started for process in running), default=None),
        container=container,
        etc_is_read_only=etc_is_read_only,
        has_kernel=host.has_kernel,
        boot_reader=reader,
        datastore=datastore,
        joins_a_cluster=joins,
        encrypts_secrets=encrypts,
        operator_config=k3s.operator_config,
        merged_config=k3s.merged_config,
        kernel_is_read_only=host.is_read_only(PurePosixPath("/proc/sys")),
        config_files=k3s.files,
        unfit=k3s.unfit,
        unreadable=k3s.unreadable,
        evidence=(
            Fact(ROLE, role.value, role_evidence),
            Fact(K3S_VERSION, str(version or f"{NEWEST_KNOWN} assumed"), version_evidence),
            Fact("data directory", str(data_dir), data_dir_evidence),
            Fact("configuration", str(k3s.path), ", ".join(map(str, k3s.files)) or "no file yet"),
            Fact("services", ", ".join(str(unit.path) for unit in units) or "none", "unit files that start K3s"),
            Fact("running", _seen_processes(running), "processes that call themselves k3s"),
            Fact("managed by Rancher", _yes(rancher_managed), rancher_evidence),
            Fact("datastore", str(datastore), datastore_evidence),
            Fact("joins a cluster", _yes(joins), "`server` in K3s' configuration, or K3S_URL"),
            Fact("secrets encrypted", _yes(encrypts), f"{data_dir}/{ENCRYPTION_CONFIGURATION}"),
            Fact("sysctl.d read by", reader.value, reader_evidence),
            Fact("container", container or "no", container_evidence),
            Fact("/etc", "read-only" if etc_is_read_only else "writable", "the flags of its mount"),
        ),
    )


def configuration(host: Host, unit: Unit | None) -> Configuration:
    """Read K3s' configuration for a service: its files, its command line and its environment."""
    environment: Mapping[str, str] = unit.environment if unit else {}
    named = unit.argument("--config", "-c") if unit else None
    path = PurePosixPath(named or environment.get("K3S_CONFIG_FILE") or K3S_CONFIG_FILE)
    texts, unfit, unreadable = _config_texts(host, path)
    arguments = unit.arguments if unit else ()
    ours = dropin_directory(path) / DROPIN_NAME
    effective = merge(texts, arguments)
    return Configuration(
        path=path,
        files=tuple(text.path for text in texts),
        operator_config=merge([text for text in texts if text.path != ours], arguments),
        merged_config=effective,
        environment=environment,
        unfit=unfit,
        unreadable=(*unreadable, *(error.message for error in effective.unjudged)),
    )


def _config_texts(
    host: Host, config_path: PurePosixPath
) -> tuple[tuple[ConfigText, ...], tuple[InputError, ...], tuple[str, ...]]:
    """K3s' configuration files in the order it reads them, what is no file, and what could not be read.

    By k3s, pkg/configfilearg/parser.go: dotDFiles passes over directories, but not over links to one; readConfigFile
    wants the main file or a drop-in; and at a drop-in that is a link to nothing, Parse goes on without any of them.
    """
    directory = dropin_directory(config_path)
    texts: list[ConfigText] = []
    unfit: list[InputError] = []
    unreadable: list[str] = []
    dropins: list[PurePosixPath] = []
    kind = _kind(host, directory)
    if kind not in ("", DIRECTORY):
        unfit.append(InputError(Location(directory), f"K3s would not start: it is a {kind}, and no directory"))
    else:
        try:
            dropins += [
                directory / entry.name
                for entry in host.tree.entries(directory)
                if isinstance(entry, Entry) and entry.kind != DIRECTORY and has_suffix(entry.name, ".yaml", ".yml")
            ]
        except HostError as error:
            unreadable.append(error.message)
    for path in (config_path, *dropins):
        if host.tree.link_target(path) == "/dev/null":
            continue  # as an empty file
        kind = _kind(host, path)
        if kind in _NO_FILES:
            unfit.append(InputError(Location(path), f"{_NO_FILES[kind]}: it is a {kind}"))
            continue
        try:
            data = host.tree.read(path)
        except HostError as error:
            unreadable.append(error.message)
            continue
        if data is not None:
            texts.append(ConfigText(path, data))
        elif path != config_path and host.tree.link_target(path) is not None:
            unfit.append(
                InputError(Location(path), "K3s would start without all of its configuration: it links to nothing")
            )
    return tuple(texts), tuple(unfit), tuple(unreadable)


def _kind(host: Host, path: PurePosixPath) -> str:
    """What is at a path, links followed; empty where nothing is, or nothing can be seen."""
    found = host.tree.stat(path)
    return found.kind if isinstance(found, Entry) else ""


def data_directory(settings: Settings, k3s: Configuration) -> tuple[PurePosixPath, str]:
    """Where K3s keeps its data, and how that is known."""
    if settings.data_dir is not None:
        return settings.data_dir, "given"
    found = k3s.operator_config.scalar("data-dir")
    if found is not None and found[0].startswith("/"):
        return PurePosixPath(found[0]), str(found[1])
    if k3s.environment.get("K3S_DATA_DIR", "").startswith("/"):
        return PurePosixPath(k3s.environment["K3S_DATA_DIR"]), "K3S_DATA_DIR in the unit's environment"
    return DEFAULT_DATA_DIR, "K3s' default"


def _role(
    settings: Settings, units: Sequence[Unit], unit: Unit | None, processes: Sequence[K3sProcess]
) -> tuple[Role | None, str]:
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
    running = {process.role for process in processes}
    if len(running) == 1:
        return running.pop(), "the running process"
    if units:
        names = " and ".join(unit.path.name for unit in units)
        raise UsageError(
            f"cannot tell whether this host is a server or an agent: it has {names}",
            "say which with --role server or --role agent",
        )
    return None, ""


def _role_of_files(host: Host, config: MergedConfig, data_dir: PurePosixPath) -> tuple[Role, str]:
    if host.tree.exists(data_dir / "server"):
        return Role.SERVER, f"{data_dir}/server exists"
    server_keys = [key for key in config.values if key in SERVER_ONLY_KEYS]
    if server_keys:
        return Role.SERVER, f"`{server_keys[0]}` in K3s' configuration, which only a server knows"
    raise UsageError(
        "cannot tell whether this host is to be a server or an agent: K3s is not installed yet",
        "say which with --role server or --role agent, or with `role:` in the settings",
    )


def _version(host: Host, settings: Settings, unit: Unit | None) -> tuple[Version | None, str]:
    if settings.k3s_version is not None:
        return settings.k3s_version, "given"
    if not host.is_live:
        return None, "programs in a host tree are not run; say --k3s-version"
    binary = unit.binary if unit else host.tool("k3s")
    if binary is None or not host.tree.exists(binary):
        return None, "K3s is not installed; say --k3s-version"
    problem = host.tree.trust_problem(binary)
    if problem:
        return None, f"{binary} is not run, since {problem}; say --k3s-version"
    try:
        answer = host.run([str(binary), "--version"], timeout=_VERSION_TIMEOUT)
        # `k3s version v1.36.5+k3s1 (3dd98cc5)`, then a line on Go.
        return Version.parse(answer.stdout.split()[2]), f"{binary} --version"
    except (HostError, ValueError, IndexError):
        return None, f"{binary} --version gave no answer that could be understood; say --k3s-version"


def _rancher_managed(host: Host, settings: Settings, config_path: PurePosixPath) -> tuple[bool, str]:
    if settings.rancher_managed is not None:
        return settings.rancher_managed, "given"
    for path in (dropin_directory(config_path) / RANCHER_DROPIN, _RANCHER_AGENT):
        if host.tree.exists(path):
            return True, str(path)
    return False, f"neither {RANCHER_DROPIN} nor {_RANCHER_AGENT}"


def _datastore(host: Host, data_dir: PurePosixPath, k3s: Configuration) -> tuple[Datastore, str]:
    if k3s.operator_config.is_set("datastore-endpoint") or "K3S_DATASTORE_ENDPOINT" in k3s.environment:
        return Datastore.EXTERNAL, "datastore-endpoint in K3s' configuration"
    for name, kind in (("etcd", Datastore.ETCD), ("state.db", Datastore.SQLITE)):
        path = data_dir / "server/db" / name
        if host.tree.exists(path):
            return kind, str(path)
    return Datastore.NONE, f"nothing in {data_dir}/server/db"


def encrypts_secrets(host: Host, data_dir: PurePosixPath) -> bool | None:
    """Whether K3s encrypts what it writes now: Secrets' first provider does. None where it cannot be told."""
    try:
        data = host.tree.read(data_dir / ENCRYPTION_CONFIGURATION)
        providers = providers_of_secrets(data) if data is not None else ()
    except (HostError, ValueError):
        return None
    return bool(providers) and providers[0] != IDENTITY


def _container(host: Host) -> tuple[str, str]:
    """systemd writes the container manager's name for all to read; Docker and Podman leave a file of their own."""
    path = PurePosixPath("/run/systemd/container")
    try:
        name = (host.tree.read(path) or b"").decode(errors="replace").strip()
    except HostError:
        name = ""
    if name:
        return name, str(path)
    for marker, manager in (("/.dockerenv", "docker"), ("/run/.containerenv", "podman")):
        if host.tree.exists(PurePosixPath(marker)):
            return manager, marker
    return "", f"no {path}"


def _boot_reader(host: Host) -> tuple[Reader, str]:
    for path in (PurePosixPath("/usr/lib/systemd/systemd-sysctl"), PurePosixPath("/lib/systemd/systemd-sysctl")):
        if host.tree.exists(path):
            return Reader.SYSTEMD, str(path)
    if host.tree.names(OPENRC_DIRECTORY) and not host.tree.names(PurePosixPath("/usr/lib/systemd")):
        return Reader.PROCPS, f"{OPENRC_DIRECTORY} and no systemd"
    return Reader.SYSTEMD, "assumed"


def _seen_processes(running: Sequence[K3sProcess]) -> str:
    return ", ".join(f"process {process.pid}, since {_as_date(process.started)}" for process in running) or "no"


def _as_date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def _yes(answer: bool | None) -> str:  # noqa: FBT001 - an answer, not a flag
    return {True: "yes", False: "no", None: "cannot be told"}[answer]
