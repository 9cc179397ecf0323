"""The kubelet's configuration files (KubeletConfiguration): their order and the values of their fields. Pure.

A later file overrides an earlier one, field by field (kubernetes, cmd/kubelet/app/server.go).
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent.base import yaml_reader
from agent.base.errors import InputError
from agent.base.model import Component, Location
from agent.base.value import Value
from agent.base.yaml_reader import Scalar, YamlMapping, YamlSequence
from agent.k3s.default_arguments import FIRST_WITH_KUBELET_FILES, KUBELET_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.base.model import Version
    from agent.base.yaml_reader import Node
    from agent.k3s.config import ConfigValue, MergedConfig

_COPY_OF_CONFIG = "10-cli-config.conf"
_COPY_OF_CONFIG_DIR = "20-cli-config-dir"
_FIRST_WITH_CONFIG_DIR = 30
"""The first minor whose kubelet accepts --config-dir without the variable KUBELET_CONFIG_DROPIN_DIR_ALPHA.

Source: kubernetes, cmd/kubelet/app/server.go.
"""


class KubeletSource(Value):
    """A file that the kubelet reads, or a directory in which it reads all *.conf files at any depth."""

    names: tuple[str, ...]
    """Sort key. For a file it is complete; for a directory it is the prefix of the names of its files."""
    path: PurePosixPath
    is_directory: bool


class KubeletFile(Value):
    """A file of the kubelet's configuration, with its values for KUBELET_FIELDS."""

    path: PurePosixPath
    settings: Mapping[str, tuple[str | None, int]]
    """Value and line by the name of the equivalent argument. None is a null field, which removes earlier values."""
    problem: str = ""
    """Why the kubelet or this program cannot read the file. The file has no settings then."""


class KubeletConfiguration(Value):
    """The kubelet's configuration files."""

    files: tuple[KubeletFile, ...] = ()
    """In the kubelet's order: a later file overrides an earlier one."""
    problem: str = ""
    """Why the list of files could not be determined."""


FEATURE_GATES = "feature-gates"


_BOOLEAN, _NUMBER, _STRING, _DURATION = "true or false", "a whole number", "a string", "a duration string"
_LIST, _GATES = "a list of strings", "a mapping of names to true or false"
"""Types of fields, for messages."""


class KubeletField(NamedTuple):
    """A field of KubeletConfiguration."""

    path: str
    """With dots between the keys."""
    expected: str
    """The type of value."""


KUBELET_FIELDS: Mapping[str, KubeletField] = {
    "anonymous-auth": KubeletField("authentication.anonymous.enabled", _BOOLEAN),
    "authentication-token-webhook": KubeletField("authentication.webhook.enabled", _BOOLEAN),
    "authorization-mode": KubeletField("authorization.mode", _STRING),
    "client-ca-file": KubeletField("authentication.x509.clientCAFile", _STRING),
    "event-qps": KubeletField("eventRecordQPS", _NUMBER),
    FEATURE_GATES: KubeletField("featureGates", _GATES),
    "make-iptables-util-chains": KubeletField("makeIPTablesUtilChains", _BOOLEAN),
    "pod-max-pids": KubeletField("podPidsLimit", _NUMBER),
    "protect-kernel-defaults": KubeletField("protectKernelDefaults", _BOOLEAN),
    "read-only-port": KubeletField("readOnlyPort", _NUMBER),
    "rotate-certificates": KubeletField("rotateCertificates", _BOOLEAN),
    "rotate-server-certificates": KubeletField("serverTLSBootstrap", _BOOLEAN),
    "seccomp-default": KubeletField("seccompDefault", _BOOLEAN),
    "streaming-connection-idle-timeout": KubeletField("streamingConnectionIdleTimeout", _DURATION),
    "tls-cert-file": KubeletField("tlsCertFile", _STRING),
    "tls-cipher-suites": KubeletField("tlsCipherSuites", _LIST),
    "tls-min-version": KubeletField("tlsMinVersion", _STRING),
    "tls-private-key-file": KubeletField("tlsPrivateKeyFile", _STRING),
}
"""The fields of KubeletConfiguration that controls test, by the equivalent argument of the kubelet.

Source: kubernetes, cmd/kubelet/app/options/options.go.
"""


def _as_argument(node: Node, expected: str) -> str | None:
    """Return a field as the equivalent argument has it; None for a value of another type."""
    if expected == _LIST and isinstance(node, YamlSequence):
        items = [_as_argument(item, _STRING) for item in node.items]
        return None if None in items else ",".join(map(str, items))
    if expected == _GATES and isinstance(node, YamlMapping):
        switches = {entry.key: _as_argument(entry.node, _BOOLEAN) for entry in node.entries}
        return None if None in switches.values() else ",".join(f"{gate}={on}" for gate, on in switches.items())
    types = {_BOOLEAN: bool, _NUMBER: int, _STRING: str, _DURATION: str}
    if not isinstance(node, Scalar) or not isinstance(node.value, types.get(expected, ())):
        return None
    if isinstance(node.value, bool):
        return str(node.value).lower() if expected == _BOOLEAN else None
    return str(node.value)


def as_field(name: str, value: str) -> str:
    """Return an argument of KUBELET_FIELDS as a field of a file: `authentication.anonymous.enabled: true`."""
    field = KUBELET_FIELDS[name]
    if field.expected == _LIST:
        value = f"[{value.replace(',', ', ')}]"
    elif field.expected == _GATES:
        value = f"{{{value.replace('=', ': ').replace(',', ', ')}}}"
    return f"{field.path}: {value}"


_GROUP = "kubelet.config.k8s.io/"
_KIND = "KubeletConfiguration"


def other_spelling_of_config_dir(config: MergedConfig) -> ConfigValue | None:
    """Return the argument `config_dir`; None if there is none.

    For K3s it has another name than `--config-dir`, which K3s passes too, with its own directory. For the kubelet it is
    the same argument, so the kubelet does not read K3s' defaults in that directory.
    """
    values = config.component_arguments(Component.KUBELET.config_key).get("config-dir", ())
    return values[-1] if values and values[-1].spelling else None


def sources(config: MergedConfig, version: Version, data_dir: PurePosixPath) -> tuple[KubeletSource, ...]:
    """Return what the kubelet reads at K3s' next start, each with its present path.

    Of two sources with the same names the later one applies. Raises ValueError for a relative path.
    """
    arguments = config.component_arguments(Component.KUBELET.config_key)
    file, directory = (arguments[name][-1].text if name in arguments else "" for name in ("config", "config-dir"))
    if any(path and not path.startswith("/") for path in (file, directory)):
        raise ValueError("the path of the kubelet's configuration is not absolute")
    found = []
    if version.minor >= FIRST_WITH_KUBELET_FILES:
        # K3s copies the operator's files into its own directory (k3s, pkg/daemons/agent/agent.go).
        own = data_dir / KUBELET_DIRECTORY
        if other_spelling_of_config_dir(config) is not None:
            return (KubeletSource((), PurePosixPath(directory), is_directory=True),)
        found.append(KubeletSource((), own, is_directory=True))
        if file and not file.startswith(str(own)):
            found.append(KubeletSource((_COPY_OF_CONFIG,), PurePosixPath(file), is_directory=False))
        if directory and not directory.startswith(str(own)):
            found.append(KubeletSource((_COPY_OF_CONFIG_DIR,), PurePosixPath(directory), is_directory=True))
        return tuple(found)
    if file:
        found.append(KubeletSource((), PurePosixPath(file), is_directory=False))
    if directory and version.minor >= _FIRST_WITH_CONFIG_DIR:
        found.append(KubeletSource((), PurePosixPath(directory), is_directory=True))
    return tuple(found)


def kubelet_file(data: bytes, path: PurePosixPath) -> KubeletFile:
    """Parse a file of the kubelet's configuration (kubelet.config.k8s.io). Raises nothing."""
    try:
        return KubeletFile(path, _settings(data, path))
    except InputError as error:
        return KubeletFile(path, {}, error.message)


def _settings(data: bytes, path: PurePosixPath) -> dict[str, tuple[str | None, int]]:
    """Return the settings. Raises InputError if the kubelet rejects the file, or this program cannot read it."""
    documents = yaml_reader.read_documents(data, path)
    root = documents[0].node if documents else None
    if not isinstance(root, YamlMapping):
        raise InputError(Location(path), f"it is not a {_KIND}")
    version = root.text("apiVersion") or ""
    if root.text("kind") != _KIND or not version.startswith(_GROUP):
        raise InputError(Location(path, root.line), f"its kind must be {_KIND} of {_GROUP.rstrip('/')}")
    found: dict[str, tuple[str | None, int]] = {}
    for name, field in KUBELET_FIELDS.items():
        node = _descend(root, field, path)
        if node is None:
            continue
        if isinstance(node, Scalar) and node.value is None:
            found[name] = None, node.line
            continue
        value = _as_argument(node, field.expected)
        if value is None:
            raise _wrong(field.path, path, node, field.expected)
        found[name] = value, node.line
    return found


def _descend(root: YamlMapping, field: KubeletField, path: PurePosixPath) -> Node | None:
    """Return the node of a field, or the null of a parent; None if the field is missing."""
    node: Node | None = root
    keys = field.path.split(".")
    for depth, key in enumerate(keys):
        if node is None or (isinstance(node, Scalar) and node.value is None):
            return node
        if not isinstance(node, YamlMapping):
            raise _wrong(".".join(keys[:depth]), path, node, "a mapping")
        node = node.get(_used_spelling(node, key))
    return node


def _used_spelling(node: YamlMapping, key: str) -> str:
    """Return the spelling of a field that the kubelet uses, of those in a mapping.

    It merges its files as JSON with sorted keys, and Go decodes that without regard to case: the last key counts. The
    field itself is always there, with K3s' value or the kubelet's default.
    """
    lowered = key.lower()
    return max((entry.key for entry in node.entries if entry.key > key and entry.key.lower() == lowered), default=key)


def _wrong(field: str, path: PurePosixPath, node: Node, expected: str) -> InputError:
    # The message omits the value found: it can be a secret in the wrong place.
    return InputError(Location(path, node.line), f"`{field}` must be {expected}")
