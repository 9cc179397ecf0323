"""Paths of files that depend on the host: named by K3s' configuration, its arguments or its service. Pure."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.k3s import kubelet_configuration
from agent.k3s.paths import K3S_CONFIG_FILE
from agent.k3s.secrets import HIDDEN
from agent.linux.unit_files import UNIT_DIRECTORIES
from agent.model import Component
from agent.node.configuration import dropin_directory
from agent.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from agent.node.facts import HostFacts


class HostPaths(Value):
    """Files whose paths follow from the facts of a host."""

    name: str
    """For texts about no particular host."""
    find: Callable[[HostFacts], Iterable[str]]
    """Returns the paths, with the patterns of files.FileCheck. Raises ValueError if they could not be determined."""
    none: str = ""
    """Why there are no such files, if `find` returns none."""


def paths_on(paths: tuple[str, ...] | HostPaths, facts: HostFacts) -> tuple[str, ...]:
    """Return the paths of a check on this host. Raises ValueError if they could not be determined."""
    return tuple(dict.fromkeys(paths.find(facts))) if isinstance(paths, HostPaths) else paths


def _kubelet_files(facts: HostFacts) -> Iterator[str]:
    for source in kubelet_configuration.sources(facts.merged_config, facts.version, facts.data_dir):
        yield f"{source.path}/**" if source.is_directory else str(source.path)


def _kubelet_directories(facts: HostFacts) -> Iterator[str]:
    for source in kubelet_configuration.sources(facts.merged_config, facts.version, facts.data_dir):
        if source.is_directory:
            yield from (str(source.path), f"{source.path}/**")


_NO_KUBELET_FILES = "the kubelet has no configuration file: K3s passes arguments, and drop-ins only since v1.32"
KUBELET_FILES = HostPaths("the kubelet's configuration files", _kubelet_files, _NO_KUBELET_FILES)
KUBELET_DIRECTORIES = HostPaths("the directories of the kubelet's drop-ins", _kubelet_directories, _NO_KUBELET_FILES)


def _units(facts: HostFacts) -> Iterator[str]:
    for unit in facts.units:
        yield str(unit.path)
        yield from (f"{directory}/*" for directory in _unit_dropins(unit.path))


def _unit_directories(facts: HostFacts) -> Iterator[str]:
    for unit in facts.units:
        yield from map(str, _unit_dropins(unit.path))


def _unit_dropins(unit: PurePosixPath) -> Iterator[PurePosixPath]:
    return (directory / f"{unit.name}.d" for directory in UNIT_DIRECTORIES)


def _environment_files(facts: HostFacts) -> Iterator[str]:
    return (str(path) for unit in facts.units for path in unit.environment_files)


def _configuration_directories(facts: HostFacts) -> Iterator[str]:
    yield from map(str, (K3S_CONFIG_FILE.parent, facts.configuration.path.parent))


def _configuration(facts: HostFacts) -> Iterator[str]:
    yield str(facts.configuration.path)


def _configuration_dropins(facts: HostFacts) -> Iterator[str]:
    yield f"{dropin_directory(facts.configuration.path)}/*"


def _configuration_dropin_directory(facts: HostFacts) -> Iterator[str]:
    yield str(dropin_directory(facts.configuration.path))


def _with_secrets(facts: HostFacts) -> Iterator[str]:
    for values in facts.merged_config.values.values():
        yield from (str(value.location.path) for value in values if HIDDEN in value.text)


def _registries(facts: HostFacts) -> Iterator[str]:
    option = facts.merged_config.scalar("private-registry")
    yield option.text if option and option.text else str(K3S_CONFIG_FILE.with_name("registries.yaml"))


def _tokens(facts: HostFacts) -> Iterator[str]:
    yield from ("server/token", "server/node-token", "server/agent-token")
    for key in ("token-file", "agent-token-file"):
        option = facts.merged_config.scalar(key)
        if option is not None and option.text.startswith("/"):
            yield option.text


def _snapshots(facts: HostFacts) -> str:
    option = facts.merged_config.scalar("etcd-snapshot-dir")
    return option.text if option and option.text.startswith("/") else "server/db/snapshots"


def _argument(name: str, facts: HostFacts) -> str:
    """Return the last value of an argument of the API server that is an absolute path; empty without one."""
    values = facts.merged_config.component_arguments(Component.API_SERVER.config_key).get(name, ())
    return values[-1].text if values and values[-1].text.startswith("/") else ""


def _or_argument(path: str, name: str) -> Callable[[HostFacts], Iterable[str]]:
    return lambda facts: filter(None, (path, _argument(name, facts)))


def _audit_logs(facts: HostFacts) -> Iterator[str]:
    path = _argument("audit-log-path", facts)
    if path:
        # The API server renames full logs: audit-2026-01-01T00-00-00.000.log, also with .gz at the end.
        directory, _, name = path.rpartition("/")
        yield f"{directory}/{name.rpartition('.')[0] or name}*"


def _audit_log_directory(facts: HostFacts) -> Iterator[str]:
    path = _argument("audit-log-path", facts)
    if path:
        yield path.rpartition("/")[0] or "/"


def _binaries(facts: HostFacts) -> Iterator[str]:
    for binary in dict.fromkeys(unit.binary for unit in facts.units) or (_BINARY,):
        yield str(binary)
        yield from (str(binary.with_name(name)) for name in ("kubectl", "crictl", "ctr"))


_BINARY = PurePosixPath("/usr/local/bin/k3s")

SERVICE_FILES = HostPaths("the services that start K3s, and their drop-ins", _units, "no service starts K3s")
SERVICE_DIRECTORIES = HostPaths("the directories of these drop-ins", _unit_directories, "no service starts K3s")
ENVIRONMENT_FILES = HostPaths(
    "the environment files of the services that start K3s", _environment_files, "no service has an environment file"
)
CONFIG_DIRECTORIES = HostPaths("the directory of K3s' configuration", _configuration_directories)
CONFIG_FILE = HostPaths("K3s' main configuration file", _configuration)
CONFIG_DROPINS = HostPaths("the drop-ins of K3s' configuration", _configuration_dropins)
CONFIG_DROPIN_DIRECTORY = HostPaths("the directory of these drop-ins", _configuration_dropin_directory)
CONFIG_WITH_SECRETS = HostPaths("a file that has a secret", _with_secrets)
REGISTRIES = HostPaths("K3s' configuration of registries", _registries)
TOKENS = HostPaths("the files of K3s' tokens", _tokens)
SNAPSHOTS = HostPaths("the snapshots of etcd", lambda facts: (f"{_snapshots(facts)}/**",))
SNAPSHOT_DIRECTORY = HostPaths("the directory of these snapshots", lambda facts: (_snapshots(facts),))
AUDIT_POLICY = HostPaths("the audit policy", _or_argument("server/audit.yaml", "audit-policy-file"))
POD_SECURITY = HostPaths(
    "the admission configuration", _or_argument("server/psa.yaml", "admission-control-config-file")
)
AUDIT_LOGS = HostPaths("the audit logs", _audit_logs, "the API server writes no audit log to a file")
AUDIT_LOG_DIRECTORY = HostPaths(
    "the directory of the audit logs", _audit_log_directory, "the API server writes no audit log to a file"
)
BINARIES = HostPaths("the program K3s, and its names kubectl, crictl and ctr", _binaries)
