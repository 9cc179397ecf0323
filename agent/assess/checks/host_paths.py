"""Paths of files that depend on the host: named by K3s' configuration, its arguments or its service. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath

from agent.base.linux.unit_files import dropin_directories
from agent.base.value import Value
from agent.harden.node.configuration import dropin_directory
from agent.harden.node.datastore import Datastore, sqlite_database
from agent.harden.node.facts import HostFacts
from agent.k3s.component_configuration import KubeletSource, kubelet_sources
from agent.k3s.redaction import HIDDEN
from agent.k3s.roles_and_versions import K3S_BINARY, K3S_CONFIG_FILE, Component
from agent.k3s.services import OtherProgram


class HostPaths(Value):
    """Files whose paths follow from the facts of a host."""

    name: str
    """For texts about no particular host."""
    find: Callable[[HostFacts], Iterable[str]]
    """Returns the paths, with the patterns of files.FileCheck. Raises ValueError if they could not be determined."""
    none: str = ""
    """Why there are no such files, if `find` returns none."""


AUDIT_LOG_ARGUMENT = "audit-log-path"


def paths_on(paths: tuple[str, ...] | HostPaths, facts: HostFacts) -> tuple[str, ...]:
    """Return the paths of a check on this host. Raises ValueError if they could not be determined."""
    return tuple(dict.fromkeys(paths.find(facts))) if isinstance(paths, HostPaths) else paths


def _kubelet_sources(facts: HostFacts) -> Iterable[KubeletSource]:
    return kubelet_sources(facts.merged_config, facts.version, facts.data_dir)


_NO_KUBELET_FILES = "the kubelet has no configuration file: K3s passes arguments, and drop-ins only since v1.32"
KUBELET_FILES = HostPaths(
    "the kubelet's configuration files",
    lambda facts: (f"{found.path}/**" if found.is_directory else str(found.path) for found in _kubelet_sources(facts)),
    _NO_KUBELET_FILES,
)
KUBELET_DIRECTORIES = HostPaths(
    "the directories of the kubelet's drop-ins",
    lambda facts: (
        f"{found.path}{below}" for found in _kubelet_sources(facts) if found.is_directory for below in ("", "/**")
    ),
    _NO_KUBELET_FILES,
)


def _services(facts: HostFacts) -> list[PurePosixPath]:
    return [*(unit.path for unit in facts.units), *(other.unit for other in facts.other_programs)]


def not_understood(service: OtherProgram) -> str:
    """Return why the command and the environment files of a service are not known."""
    return f"{service.unit}: {service.reason}"


def _environment_files(facts: HostFacts) -> Iterator[str]:
    if facts.other_programs:
        raise ValueError(not_understood(facts.other_programs[0]))
    yield from (str(path) for unit in facts.units for path in unit.environment_files if str(path) not in _NO_FILES)


def _units(facts: HostFacts) -> Iterator[str]:
    for path in _services(facts):
        yield str(path)
        yield from (f"{directory}/*.conf" for directory in dropin_directories(path.name))


def is_of_service(path: PurePosixPath, facts: HostFacts) -> bool:
    """Return whether a file is a service that starts K3s, or a drop-in of one."""
    return any(path == unit or path.parent in dropin_directories(unit.name) for unit in _services(facts))


def _databases(facts: HostFacts) -> Iterator[PurePosixPath]:
    """Yield the files of SQLite datastores: K3s' own, which can remain from before, and that of an endpoint."""
    endpoint = facts.merged_config.scalar("datastore-endpoint")
    found = (sqlite_database(item, facts.data_dir) for item in (None, endpoint))
    yield from (path for path in dict.fromkeys(found) if path is not None)


def _snapshots(facts: HostFacts) -> str:
    return _option("etcd-snapshot-dir", facts) or "server/db/snapshots"


def _option(key: str, facts: HostFacts) -> str:
    """Return the path in an option of K3s; empty without one. Raises ValueError for a relative path."""
    option = facts.merged_config.scalar(key)
    return _absolute(key, option.text) if option else ""


def named_by_argument(name: str, facts: HostFacts, component: Component = Component.API_SERVER) -> str:
    """Return the path in the last value of a component's argument; empty without one, or without a file.

    Raises ValueError for a relative path.
    """
    values = facts.merged_config.component_arguments(component.config_key).get(name, ())
    return _absolute(name, values[-1].text) if values and values[-1].text not in _NO_FILES else ""


def _absolute(name: str, path: str) -> str:
    # K3s changes its working directory while it starts, so a relative path can mean several files.
    if path and not path.startswith("/"):
        raise ValueError(f"the path in `{name}` is relative")
    return path


def _or_argument(path: str, name: str) -> Callable[[HostFacts], Iterable[str]]:
    return lambda facts: filter(None, (path, named_by_argument(name, facts)))


def _audit_logs(facts: HostFacts) -> Iterator[str]:
    path = named_by_argument(AUDIT_LOG_ARGUMENT, facts)
    if path:
        # The API server renames full logs: audit-2026-01-01T00-00-00.000.log, also with .gz at the end.
        directory, _, name = path.rpartition("/")
        stem, dot, kind = name.rpartition(".") if "." in name else (name, "", "")
        renamed = f"{directory}/{stem}-*-*-*T*-*-*.*{dot}{kind}"
        yield from (path, renamed, f"{renamed}.gz")


def _binaries(facts: HostFacts) -> Iterator[str]:
    for binary in dict.fromkeys(unit.binary for unit in facts.units) or (K3S_BINARY,):
        yield str(binary)
        yield from (str(binary.with_name(name)) for name in ("kubectl", "crictl", "ctr"))
    yield from (other.program.text for other in facts.other_programs if other.program.text.startswith("/"))


_NO_FILES = frozenset(("-", "/dev/null", "/dev/stderr", "/dev/stdout"))
"""Paths that save nothing; the API server writes its audit log to standard output for `-`."""

SERVICE_FILES = HostPaths("the services that start K3s, and their drop-ins", _units, "no service starts K3s")
SERVICE_DIRECTORIES = HostPaths(
    "the directories of these drop-ins",
    lambda facts: (str(found) for path in _services(facts) for found in dropin_directories(path.name)),
    "no service starts K3s",
)
ENVIRONMENT_FILES = HostPaths(
    "the environment files of the services that start K3s", _environment_files, "no service has an environment file"
)
ENVIRONMENT_DIRECTORIES = HostPaths(
    "the directories of which systemd reads all environment files",
    lambda facts: (str(path) for unit in facts.units for path in unit.environment_directories),
)
CONFIG_DIRECTORIES = HostPaths(
    "the directory of K3s' configuration",
    lambda facts: map(str, (K3S_CONFIG_FILE.parent, facts.configuration.path.parent)),
)
CONFIG_FILE = HostPaths("K3s' main configuration file", lambda facts: (str(facts.configuration.path),))
CONFIG_DROPINS = HostPaths(
    "the drop-ins of K3s' configuration", lambda facts: (f"{dropin_directory(facts.configuration.path)}/*",)
)
CONFIG_DROPIN_DIRECTORY = HostPaths(
    "the directory of these drop-ins", lambda facts: (str(dropin_directory(facts.configuration.path)),)
)
CONFIG_WITH_SECRETS = HostPaths(
    "a file that has a secret",
    lambda facts: (
        str(value.location.path)
        for values in facts.merged_config.values.values()
        for value in values
        if HIDDEN in value.text
    ),
)
REGISTRIES = HostPaths(
    "K3s' configuration of registries",
    lambda facts: (_option("private-registry", facts) or str(K3S_CONFIG_FILE.with_name("registries.yaml")),),
)
# If the option names another path, K3s creates k3s.yaml as a symlink to it (k3s, pkg/server/server.go).
KUBECONFIG = HostPaths(
    "the kubeconfig that K3s writes for its administrator",
    lambda facts: filter(None, (str(K3S_CONFIG_FILE.with_name("k3s.yaml")), _option("write-kubeconfig", facts))),
)
TOKENS = HostPaths(
    "the files of K3s' tokens, and the key for its datastore",
    lambda facts: (
        *("server/token", "server/node-token", "server/agent-token"),
        *filter(None, (_option(key, facts) for key in ("token-file", "agent-token-file", "datastore-keyfile"))),
    ),
)
_ETCD = "server/db/etcd"
_NO_ETCD = "the datastore is not etcd"
_OTHERS = (Datastore.SQLITE, Datastore.EXTERNAL)
ETCD = HostPaths("the data of etcd", lambda facts: () if facts.datastore in _OTHERS else (f"{_ETCD}/**",), _NO_ETCD)
ETCD_DIRECTORIES = HostPaths(
    "its directories", lambda facts: () if facts.datastore in _OTHERS else (_ETCD, f"{_ETCD}/**"), _NO_ETCD
)
SQLITE = HostPaths("the SQLite datastore", lambda facts: (f"{path}*" for path in _databases(facts)))
SQLITE_DIRECTORY = HostPaths(
    "the directory of this datastore", lambda facts: (str(path.parent) for path in _databases(facts))
)
# A restore of a snapshot renames the present data to etcd-old-TIME (k3s, pkg/etcd/etcd.go).
SNAPSHOTS = HostPaths(
    "the snapshots of etcd, and the data that a restore replaced",
    lambda facts: (f"{_snapshots(facts)}/**", "server/db/etcd-old-*/**"),
)
SNAPSHOT_DIRECTORY = HostPaths("the directory of these snapshots", lambda facts: (_snapshots(facts),))
_SOURCES = ("agent/images", "agent/etc/containerd")


def _source_directories(facts: HostFacts) -> tuple[str, ...]:
    named = named_by_argument("pod-manifest-path", facts, Component.KUBELET)
    return named or "agent/pod-manifests", *_SOURCES


POD_SOURCES = HostPaths(
    "the files of static pods and images, and containerd's configuration",
    lambda facts: (f"{path}/*" for path in _source_directories(facts)),
)
POD_SOURCE_DIRECTORIES = HostPaths("their directories", _source_directories)
ENCRYPTION = HostPaths(
    "the configuration with the keys that encrypt Secrets",
    _or_argument("server/cred/encryption-config.json", "encryption-provider-config"),
)
AUDIT_RECEIVER = HostPaths(
    "the kubeconfig of a receiver of audit events",
    lambda facts: filter(None, (named_by_argument("audit-webhook-config-file", facts),)),
)
AUDIT_POLICY = HostPaths(
    "the audit policy and the kubeconfig of a receiver",
    lambda facts: (*_or_argument("server/audit.yaml", "audit-policy-file")(facts), *paths_on(AUDIT_RECEIVER, facts)),
)
POD_SECURITY = HostPaths(
    "the admission configuration", _or_argument("server/psa.yaml", "admission-control-config-file")
)
AUDIT_LOGS = HostPaths("the audit logs", _audit_logs, "the API server writes no audit log to a file")
AUDIT_LOG_DIRECTORY = HostPaths(
    "the directory of the audit logs",
    lambda facts: (
        path.rpartition("/")[0] or "/" for path in filter(None, (named_by_argument(AUDIT_LOG_ARGUMENT, facts),))
    ),
    "the API server writes no audit log to a file",
)
BINARIES = HostPaths("the program K3s, and its names kubectl, crictl and ctr", _binaries)
