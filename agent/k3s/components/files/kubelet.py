"""Configuration files of the kubelet: their types, and their fields as the equivalent arguments. Pure.

The kubelet ignores unknown fields, and rejects values of another type (cmd/kubelet/app/server.go). Arguments override
fields.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from agent import yaml_reader
from agent.errors import InputError
from agent.k3s.components import tables
from agent.k3s.components.files import schema
from agent.k3s.components.gates import GateSetting
from agent.k3s.components.rejection import ParsedArgument
from agent.k3s.components.values import MAPPINGS, duration
from agent.k3s.config import ConfigValue
from agent.model import Component, Location
from agent.value import Value, replace
from agent.yaml_reader import Mapping as YamlMapping
from agent.yaml_reader import Scalar, Sequence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import PurePosixPath

    from agent.k3s.components.values import Parsed
    from agent.yaml_reader import Node

_API_VERSION = "kubelet.config.k8s.io/v1beta1"
_KIND = "KubeletConfiguration"
_GATES = "featureGates"
_TAINTS = "register-with-taints"
_MEMORY = "reserved-memory"
_NESTED: dict[str, dict[str, schema.Schema]] = {
    "logging": {
        "flushFrequency": "any",
        "format": "string",
        "options": "any",
        "verbosity": "int64",
        "vmodule": "any",
    },
    "tracing": {"endpoint": "string", "samplingRatePerMillion": "int32"},
}
"""Fields whose structure is declared in component-base (LoggingConfiguration, TracingConfiguration)."""
_LISTS: dict[str, schema.Schema] = {
    "registerWithTaints": [{"effect": "string", "key": "string", "timeAdded": "any", "value": "string"}],
    "reservedMemory": [{"limits": "object", "numaNode": "int32"}],
    "shutdownGracePeriodByPodPriority": [{"priority": "int32", "shutdownGracePeriodSeconds": "int64"}],
    "staticPodURLHeader": "map[string][]string",
}
"""Fields with a type that the table does not have."""
_ZERO_DURATIONS = ("0s", "0", "0m", "0h", "0m0s", "0h0m0s")
_ZERO_IS_UNSET = frozenset({"nodeLeaseDurationSeconds", "containerLogMonitorInterval"})
"""Fields for which the kubelet replaces a zero by its default."""


class Fields(Value):
    """What the kubelet's files set."""

    arguments: dict[str, tuple[ConfigValue, ...]]
    """The values of the fields that have an equivalent argument, by its name."""
    others: dict[str, ParsedArgument]
    """The other fields, by path."""
    gates: tuple[GateSetting, ...]
    problems: tuple[InputError, ...]
    """Why the kubelet rejects a file."""


@lru_cache(maxsize=1)
def read(files: tuple[tuple[PurePosixPath, bytes], ...], minor: int) -> Fields:
    """Read files in the kubelet's order. Several findings use the same result, which they must not change."""
    found = Fields({}, {}, (), ())
    known = _fields(minor)
    types = _schema(known)
    for path, data in files:
        root = _root(data, path)
        if isinstance(root, InputError):
            found = replace(found, problems=(*found.problems, root))
            continue
        # K3s copies the file of the argument `config`, so it is a drop-in, too (kubelet_configuration.sources).
        wrong = [*schema.repeated(root)]
        root = _with_known_names(root, types)
        wrong += schema.problems(root, types, is_strict=False)
        problems = tuple(InputError(Location(path, one.line), one.problem) for one in wrong)
        found = replace(found, problems=(*found.problems, *problems))
        if not problems:
            for name, node in _leaves(root, "", known):
                found = _with(found, name, node, path, known)
    return found


def _fields(minor: int) -> dict[str, tuple[str, str]]:
    """Return the type and the equivalent argument of each field, as the table, with the nested fields."""
    found = tables.kubelet_fields(minor)
    for name, fields in _NESTED.items():
        if found.pop(name, None) is not None:
            found.update({f"{name}.{field}": (str(kind), "") for field, kind in fields.items()})
    return found


def _with_known_names(node: YamlMapping, types: dict[str, schema.Schema]) -> YamlMapping:
    """Return a mapping with the names of the fields in the case of the table.

    The kubelet merges its drop-ins as JSON, which Go decodes without regard to case.
    """
    names = {name.lower(): name for name in types}
    entries = []
    for entry in node.entries:
        name = entry.key if entry.key in types else names.get(entry.key.lower(), entry.key)
        inner, value = types.get(name), entry.node
        if isinstance(inner, dict) and isinstance(value, YamlMapping):
            value = _with_known_names(value, inner)
        entries.append(entry._replace(key=name, node=value))
    return YamlMapping(tuple(entries), node.line)


def _is_unset(name: str, value: object) -> bool:
    return value == "" or (value == 0 and name in _ZERO_IS_UNSET)


def _with(found: Fields, name: str, node: Node, path: PurePosixPath, known: dict[str, tuple[str, str]]) -> Fields:
    kind, flag = known[name]
    location = Location(path, node.line)
    if name == _GATES:
        gates = [
            GateSetting(
                entry.key, str(entry.node.value).lower(), Location(path, entry.line), f"{entry.key}: {entry.node.text}"
            )
            for entry in (node.entries if isinstance(node, YamlMapping) else ())
            if isinstance(entry.node, Scalar)
        ]
        return replace(found, gates=(*found.gates, *gates))
    if flag and isinstance(node, Sequence) and not node.items:
        # The kubelet drops an empty list when it merges its drop-ins, and then uses its default.
        found.arguments.pop(flag, None)
    elif flag:
        values = _values(flag, node)
        if values:
            found.arguments[flag] = tuple(ConfigValue(text, location) for text in values)
    elif isinstance(node, Scalar) and node.value is not None and not _is_unset(name, node.value):
        parsed: Parsed = duration(node.text) if kind == "duration" else node.value
        found.others[name] = ParsedArgument(kind, parsed, (ConfigValue(node.text, location),))
    elif isinstance(node, Sequence) and node.items:
        items = tuple(item.text if isinstance(item, Scalar) else "" for item in node.items)
        found.others[name] = ParsedArgument(kind, items, (ConfigValue(",".join(items), location),))
    return found


def _values(flag: str, node: Node) -> tuple[str, ...]:
    """Return a field as values of its argument; empty if it sets none."""
    if flag in _OBJECTS:
        return _OBJECTS[flag](node)
    return _texts(node, tables.kind_of(Component.KUBELET, flag, LAST) or "string")


LAST = tables.LAST_MINOR
"""The kinds of the kubelet's arguments are equal in all minors."""


def _taints(node: Node) -> tuple[str, ...]:
    """Return each taint with an effect as a value of the argument: a file can repeat taints, and a value cannot."""
    items = node.items if isinstance(node, Sequence) else ()
    taints = [
        f"{item.text('key') or ''}={item.text('value') or ''}:{item.text('effect')}"
        for item in items
        if isinstance(item, YamlMapping) and item.text("effect")
    ]
    return tuple(taints) if not any("," in taint for taint in taints) else ()


def _reservations(node: Node) -> tuple[str, ...]:
    """Return the reservations of memory as values of the argument."""
    found = []
    for item in node.items if isinstance(node, Sequence) else ():
        limits = item.get("limits") if isinstance(item, YamlMapping) else None
        if isinstance(item, YamlMapping) and isinstance(limits, YamlMapping):
            chosen = item.get("numaNode")
            number = chosen.text if isinstance(chosen, Scalar) and chosen.value is not None else "0"
            pairs = [(entry.key, entry.node.text) for entry in limits.entries if isinstance(entry.node, Scalar)]
            found += [f"{number}:{kind}={size}" for kind, size in pairs if not set(kind + size) & set(",:;=")]
    return tuple(found)


_OBJECTS: dict[str, Callable[[Node], tuple[str, ...]]] = {_TAINTS: _taints, _MEMORY: _reservations}
"""Fields with a list of mappings, by argument."""


def _texts(node: Node, kind: str) -> tuple[str, ...]:
    """Return a field as values of its argument. Empty for a zero, at which the kubelet uses its default.

    Only the argument must be an IP address.
    """
    if kind == "ip":
        return ()
    if isinstance(node, Scalar):
        is_number = node.value in (None, "", 0) and not isinstance(node.value, bool)
        is_zero = is_number or (kind == "duration" and node.text in _ZERO_DURATIONS)
        return () if is_zero else (_text(node),)
    if isinstance(node, Sequence):
        items = [item.text for item in node.items if isinstance(item, Scalar)]
        return (",".join(items),) if not any("," in item or '"' in item for item in items) else ()
    pairs = [(entry.key, entry.node.text) for entry in node.entries if isinstance(entry.node, Scalar)]
    separator = "<" if kind == "mapLess" else "="
    texts = [f"{key}{separator}{value}" for key, value in pairs]
    if kind not in MAPPINGS or any("," in text for text in texts):
        return ()
    return tuple(texts) if kind == "mapNoSplit" else (",".join(texts),)


def _text(node: Scalar) -> str:
    """Return a scalar as the argument has it: `yes` is true, and 1e2 is 100."""
    if isinstance(node.value, bool):
        return str(node.value).lower()
    is_whole = isinstance(node.value, float) and node.value.is_integer()
    return str(int(node.value)) if is_whole and isinstance(node.value, float) else node.text


def _root(data: bytes, path: PurePosixPath) -> YamlMapping | InputError:
    """Return the first document, or why the kubelet rejects the file."""
    problem = yaml_reader.json_problem(data)
    if problem:
        return InputError(Location(path), problem)
    try:
        first = yaml_reader.read_first_document(data, path)
    except yaml_reader.BoundsError:
        return YamlMapping((), 1)  # the kubelet may read it
    except InputError as error:
        return error
    root = first and yaml_reader.merged(first)
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
        here[last] = _LISTS.get(name) or ([kind[1:-1]] if kind.startswith("[") else kind)
    return types


def _leaves(node: YamlMapping, prefix: str, known: dict[str, tuple[str, str]]) -> Iterator[tuple[str, Node]]:
    for entry in node.entries:
        name = prefix + entry.key
        if name in known:
            yield name, entry.node
        elif isinstance(entry.node, YamlMapping):
            yield from _leaves(entry.node, f"{name}.", known)
