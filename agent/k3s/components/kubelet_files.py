"""Configuration files of the kubelet: their types, and their fields as the equivalent arguments. Pure.

The kubelet ignores unknown fields, and rejects values of another type (cmd/kubelet/app/server.go). Arguments override
fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import yaml_reader
from agent.errors import InputError
from agent.k3s.components import schema, tables
from agent.k3s.components.gates import Setting
from agent.k3s.components.problem import Argument
from agent.k3s.components.values import MAPPINGS, duration
from agent.k3s.config import ConfigValue
from agent.model import Component, Location
from agent.value import Value, replace
from agent.yaml_reader import Mapping as YamlMapping
from agent.yaml_reader import Scalar, Sequence

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import PurePosixPath

    from agent.k3s.components.values import Parsed
    from agent.yaml_reader import Node

_API_VERSION = "kubelet.config.k8s.io/v1beta1"
_KIND = "KubeletConfiguration"
_GATES = "featureGates"
_TAINTS = "register-with-taints"
_ZERO_DURATIONS = ("0s", "0", "0m", "0h", "0m0s", "0h0m0s")
_ZERO_IS_UNSET = frozenset({"nodeLeaseDurationSeconds", "containerLogMonitorInterval"})
"""Fields for which the kubelet replaces a zero by its default."""


class Fields(Value):
    """What the kubelet's files set."""

    arguments: dict[str, tuple[ConfigValue, ...]]
    """The values of the fields that have an equivalent argument, by its name."""
    others: dict[str, Argument]
    """The other fields, by path."""
    gates: tuple[Setting, ...]
    problems: tuple[InputError, ...]
    """Why the kubelet rejects a file."""


def read(files: Iterable[tuple[PurePosixPath, bytes]], minor: int) -> Fields:
    """Read files in the kubelet's order."""
    found = Fields({}, {}, (), ())
    known = tables.kubelet_fields(minor)
    types = _schema(known)
    for path, data in files:
        root = _root(data, path)
        if isinstance(root, InputError):
            found = replace(found, problems=(*found.problems, root))
            continue
        wrong = [*schema.problems(root, types, is_strict=False)]
        if path.suffix == ".conf":
            wrong += schema.repeated(root)
        problems = tuple(InputError(Location(path, one.line), one.problem) for one in wrong)
        found = replace(found, problems=(*found.problems, *problems))
        if not problems:
            for name, node in _leaves(root, "", known):
                found = _with(found, name, node, path, known)
    return found


def _is_unset(name: str, value: object) -> bool:
    return value == "" or (value == 0 and name in _ZERO_IS_UNSET)


def _with(found: Fields, name: str, node: Node, path: PurePosixPath, known: dict[str, tuple[str, str]]) -> Fields:
    kind, flag = known[name]
    location = Location(path, node.line)
    if name == _GATES:
        gates = [
            Setting(
                entry.key, str(entry.node.value).lower(), Location(path, entry.line), f"{entry.key}: {entry.node.text}"
            )
            for entry in (node.entries if isinstance(node, YamlMapping) else ())
            if isinstance(entry.node, Scalar)
        ]
        return replace(found, gates=(*found.gates, *gates))
    if flag == _TAINTS:
        taints = _taints(node)
        if taints:
            found.arguments[flag] = (ConfigValue(taints, location),)
    elif flag:
        values = _texts(node, tables.kind_of(Component.KUBELET, flag, LAST) or "string")
        if values:
            found.arguments[flag] = tuple(ConfigValue(text, location) for text in values)
    elif isinstance(node, Scalar) and node.value is not None and not _is_unset(name, node.value):
        parsed: Parsed = duration(node.text) if kind == "duration" else node.value
        found.others[name] = Argument(kind, parsed, (ConfigValue(node.text, location),))
    return found


LAST = tables.LAST_MINOR
"""The kinds of the kubelet's arguments are equal in all minors."""


def _taints(node: Node) -> str:
    """Return the taints with an effect as the value of the argument."""
    items = node.items if isinstance(node, Sequence) else ()
    taints = [
        f"{item.text('key') or ''}={item.text('value') or ''}:{item.text('effect')}"
        for item in items
        if isinstance(item, YamlMapping) and item.text("effect")
    ]
    return ",".join(taints) if not any("," in taint for taint in taints) else ""


def _texts(node: Node, kind: str) -> tuple[str, ...]:
    """Return a field as values of its argument. Empty for a zero, at which the kubelet uses its default.

    Only the argument must be an IP address.
    """
    if kind == "ip":
        return ()
    if isinstance(node, Scalar):
        is_zero = node.text in _ZERO_DURATIONS or (node.value in (None, "", 0) and not isinstance(node.value, bool))
        return () if is_zero else (str(node.value).lower() if isinstance(node.value, bool) else node.text,)
    if isinstance(node, Sequence):
        items = [item.text for item in node.items if isinstance(item, Scalar)]
        return (",".join(items),) if not any("," in item or '"' in item for item in items) else ()
    pairs = [(entry.key, entry.node.text) for entry in node.entries if isinstance(entry.node, Scalar)]
    separator = "<" if kind == "mapLess" else "="
    texts = [f"{key}{separator}{value}" for key, value in pairs]
    if kind not in MAPPINGS or any("," in text for text in texts):
        return ()
    return tuple(texts) if kind == "mapNoSplit" else (",".join(texts),)


def _root(data: bytes, path: PurePosixPath) -> YamlMapping | InputError:
    """Return the first document, or why the kubelet rejects the file."""
    try:
        # The kubelet reads the first document only.
        first, _, _ = data.partition(b"\n---\n") if not data.startswith(b"---") else (data, b"", b"")
        documents = yaml_reader.read(first + b"\n", path)
    except yaml_reader.BoundsError:
        return YamlMapping((), 1)  # the kubelet may read it
    except InputError as error:
        return error
    root = documents[0].node if documents else None
    if not isinstance(root, YamlMapping):
        return InputError(Location(path), f"it is not a {_KIND}")
    for key, expected in (("kind", _KIND), ("apiVersion", _API_VERSION)):
        if root.text(key) != expected:
            found = root.get(key)
            described = yaml_reader.describe_node(found)
            return InputError(Location(path, (found or root).line), f"expected the {key} {expected}; found {described}")
    return root


def _schema(known: dict[str, tuple[str, str]]) -> dict[str, schema.Schema]:
    types: dict[str, schema.Schema] = {}
    for name, (kind, _) in known.items():
        here = types
        *parents, last = name.split(".")
        for parent in parents:
            inner = here.setdefault(parent, {})
            here = inner if isinstance(inner, dict) else {}
        here[last] = [kind[1:-1]] if kind.startswith("[") else kind
    return types


def _leaves(node: YamlMapping, prefix: str, known: dict[str, tuple[str, str]]) -> Iterator[tuple[str, Node]]:
    for entry in node.entries:
        name = prefix + entry.key
        if name in known:
            yield name, entry.node
        elif isinstance(entry.node, YamlMapping):
            yield from _leaves(entry.node, f"{name}.", known)
