"""The kubelet's own configuration (KubeletConfiguration): which files it reads in which order, and what they say. Pure.

A later file wins over an earlier one, field by field (kubernetes, cmd/kubelet/app/server.go).
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent import yaml_reader
from agent.errors import InputError
from agent.k3s.default_arguments import FIRST_WITH_KUBELET_FILES, KUBELET_DIRECTORY
from agent.model import Component, Location
from agent.yaml_reader import Mapping as YamlMapping
from agent.yaml_reader import Scalar, Sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.k3s.config import MergedConfig
    from agent.model import Version
    from agent.yaml_reader import Node

_COPY_OF_CONFIG = "10-cli-config.conf"
_COPY_OF_CONFIG_DIR = "20-cli-config-dir"
_FIRST_WITH_CONFIG_DIR = 30
"""The minor from which on the kubelet takes --config-dir without KUBELET_CONFIG_DROPIN_DIR_ALPHA in its environment.

(kubernetes, cmd/kubelet/app/server.go)
"""


class KubeletSource(NamedTuple):
    """A file that the kubelet reads, or a directory of which it reads all *.conf files at any depth.

    The kubelet sorts by names: `names` are those of the file, or those that come before the names below the directory.
    """

    names: tuple[str, ...]
    path: PurePosixPath
    is_directory: bool


class KubeletFile(NamedTuple):
    """A file of the kubelet's configuration, with what it has for the fields of KUBELET_FIELDS.

    `settings` is by the name of the argument that means the same: the value as that argument would have it (None for a
    field that is null, which takes earlier values back), and its line. `problem` says why the kubelet or this program
    cannot read the file; it has no settings then.
    """

    path: PurePosixPath
    settings: Mapping[str, tuple[str | None, int]]
    problem: str = ""


class KubeletConfiguration(NamedTuple):
    """What the kubelet reads in addition to its arguments: `files` in its order, of which the later wins.

    `problem` says why it cannot be told which files there are.
    """

    files: tuple[KubeletFile, ...] = ()
    problem: str = ""


FEATURE_GATES = "feature-gates"


def _boolean(node: Node) -> str | None:
    return str(node.value).lower() if isinstance(node, Scalar) and isinstance(node.value, bool) else None


def _integer(node: Node) -> str | None:
    is_number = isinstance(node, Scalar) and isinstance(node.value, int) and not isinstance(node.value, bool)
    return str(node.value) if isinstance(node, Scalar) and is_number else None


def _string(node: Node) -> str | None:
    return node.value if isinstance(node, Scalar) and isinstance(node.value, str) else None


def _list(node: Node) -> str | None:
    if not isinstance(node, Sequence):
        return None
    items = [_string(item) for item in node.items]
    return None if None in items else ",".join(item for item in items if item is not None)


def _gates(node: Node) -> str | None:
    if not isinstance(node, YamlMapping):
        return None
    switches = {entry.key: _boolean(entry.node) for entry in node.entries}
    return None if None in switches.values() else ",".join(f"{gate}={on}" for gate, on in switches.items())


class Field(NamedTuple):
    """A field of KubeletConfiguration: its path, what has to be there, and how that reads as an argument."""

    path: tuple[str, ...]
    wanted: str
    text: Callable[[Node], str | None]


def _field(path: str, wanted: str, text: Callable[[Node], str | None]) -> Field:
    return Field(tuple(path.split(".")), wanted, text)


KUBELET_FIELDS: Mapping[str, Field] = {
    "anonymous-auth": _field("authentication.anonymous.enabled", "true or false", _boolean),
    "authentication-token-webhook": _field("authentication.webhook.enabled", "true or false", _boolean),
    "authorization-mode": _field("authorization.mode", "a text", _string),
    "client-ca-file": _field("authentication.x509.clientCAFile", "a text", _string),
    "event-qps": _field("eventRecordQPS", "a whole number", _integer),
    FEATURE_GATES: _field("featureGates", "a mapping of names to true or false", _gates),
    "make-iptables-util-chains": _field("makeIPTablesUtilChains", "true or false", _boolean),
    "pod-max-pids": _field("podPidsLimit", "a whole number", _integer),
    "protect-kernel-defaults": _field("protectKernelDefaults", "true or false", _boolean),
    "read-only-port": _field("readOnlyPort", "a whole number", _integer),
    "rotate-certificates": _field("rotateCertificates", "true or false", _boolean),
    "rotate-server-certificates": _field("serverTLSBootstrap", "true or false", _boolean),
    "seccomp-default": _field("seccompDefault", "true or false", _boolean),
    "streaming-connection-idle-timeout": _field("streamingConnectionIdleTimeout", "a duration as text", _string),
    "tls-cert-file": _field("tlsCertFile", "a text", _string),
    "tls-cipher-suites": _field("tlsCipherSuites", "a list of texts", _list),
    "tls-min-version": _field("tlsMinVersion", "a text", _string),
    "tls-private-key-file": _field("tlsPrivateKeyFile", "a text", _string),
}
"""The fields of KubeletConfiguration that a control asks for, by the argument of the kubelet that means the same.

As the kubelet's options bind them (kubernetes, cmd/kubelet/app/options/options.go).
"""


def as_field(name: str, value: str) -> str:
    """An argument of KUBELET_FIELDS as a file has it: `authentication.anonymous.enabled: true`."""
    field = KUBELET_FIELDS[name]
    if field.text is _list:
        value = f"[{value.replace(',', ', ')}]"
    elif field.text is _gates:
        value = f"{{{value.replace('=', ': ').replace(',', ', ')}}}"
    return f"{'.'.join(field.path)}: {value}"


_GROUP = "kubelet.config.k8s.io/"
_KIND = "KubeletConfiguration"


def sources(effective: MergedConfig, version: Version, data_dir: PurePosixPath) -> tuple[KubeletSource, ...]:
    """What the kubelet reads at K3s' next start, each at the path where it is now.

    Of two files with the same names the later counts. Raises ValueError where a path is named that is not absolute.
    """
    given = effective.component_arguments(Component.KUBELET.config_key)
    config, config_dir = (given[name][-1][0] if name in given else "" for name in ("config", "config-dir"))
    if any(path and not path.startswith("/") for path in (config, config_dir)):
        raise ValueError("the kubelet's configuration is named by a path that is not absolute")
    found = []
    if version.minor >= FIRST_WITH_KUBELET_FILES:
        # K3s copies what the operator names into its own directory (k3s, pkg/daemons/agent/agent.go).
        own = data_dir / KUBELET_DIRECTORY
        found.append(KubeletSource((), own, is_directory=True))
        if config and not config.startswith(str(own)):
            found.append(KubeletSource((_COPY_OF_CONFIG,), PurePosixPath(config), is_directory=False))
        if config_dir and not config_dir.startswith(str(own)):
            found.append(KubeletSource((_COPY_OF_CONFIG_DIR,), PurePosixPath(config_dir), is_directory=True))
        return tuple(found)
    if config:
        found.append(KubeletSource((), PurePosixPath(config), is_directory=False))
    if config_dir and version.minor >= _FIRST_WITH_CONFIG_DIR:
        found.append(KubeletSource((), PurePosixPath(config_dir), is_directory=True))
    return tuple(found)


def kubelet_file(data: bytes, path: PurePosixPath) -> KubeletFile:
    """Read a file of the kubelet's configuration (kubelet.config.k8s.io). Raises nothing."""
    try:
        return KubeletFile(path, _settings(data, path))
    except InputError as error:
        return KubeletFile(path, {}, error.message)


def _settings(data: bytes, path: PurePosixPath) -> dict[str, tuple[str | None, int]]:
    """Raises InputError where the kubelet would exit at the file, or this program cannot read it."""
    documents = yaml_reader.read(data, path)
    root = documents[0].node if documents else None
    if not isinstance(root, YamlMapping):
        raise InputError(Location(path), f"it is no {_KIND}")
    version = root.text("apiVersion") or ""
    if root.text("kind") != _KIND or not version.startswith(_GROUP):
        raise InputError(Location(path, root.line), f"it does not say that it is a {_KIND} of {_GROUP.rstrip('/')}")
    found: dict[str, tuple[str | None, int]] = {}
    for name, field in KUBELET_FIELDS.items():
        node = _descend(root, field, path)
        if node is None:
            continue
        if isinstance(node, Scalar) and node.value is None:
            found[name] = None, node.line
            continue
        value = field.text(node)
        if value is None:
            raise _wrong(field.path, path, node, field.wanted)
        found[name] = value, node.line
    return found


def _descend(root: YamlMapping, field: Field, path: PurePosixPath) -> Node | None:
    """The node of a field, or the null above it; None where it is not there."""
    node: Node | None = root
    for depth, key in enumerate(field.path):
        if node is None or (isinstance(node, Scalar) and node.value is None):
            return node
        if not isinstance(node, YamlMapping):
            raise _wrong(field.path[:depth], path, node, "a mapping")
        node = node.get(key)
    return node


def _wrong(field: tuple[str, ...], path: PurePosixPath, node: Node, wanted: str) -> InputError:
    # What is there instead is not said: it is not known what somebody put into a wrong place.
    return InputError(Location(path, node.line), f"`{'.'.join(field)}` must be {wanted}")
