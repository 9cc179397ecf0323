"""Configuration files of the kubelet and of kube-proxy, whose fields are the equivalent arguments. Pure.

Both components ignore unknown fields, and validate what remains as they validate arguments (cmd/kubelet/app/server.go,
cmd/kube-proxy/app/options.go).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from agent.base import yaml_reader
from agent.base.errors import InputError
from agent.base.model import Component, Location
from agent.base.value import Value, replace
from agent.base.yaml_reader import Scalar, YamlMapping, YamlSequence
from agent.k3s.components import tables
from agent.k3s.components.files.decoding import first_mapping, located, repeated_fields, wrong_head, wrong_types
from agent.k3s.components.files.field_table import FileField, fields_of, nested_types, words_of
from agent.k3s.components.gates import GateSetting
from agent.k3s.components.rejection import ParsedArgument
from agent.k3s.components.values import MAPPINGS, duration
from agent.k3s.config import ConfigValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import PurePosixPath

    from agent.base.yaml_reader import Node
    from agent.k3s.components.files.field_table import FieldType
    from agent.k3s.components.values import Parsed

_KINDS = {Component.KUBELET: "KubeletConfiguration", Component.KUBE_PROXY: "KubeProxyConfiguration"}
_GATES = "featureGates"
_LOGGED = {"logging.format": "logging-format"}
"""A field of kube-proxy whose argument component-base declares."""
_ZERO_DURATIONS = ("0s", "0", "0m", "0h", "0m0s", "0h0m0s")
_ZERO_IS_UNSET = frozenset({"nodeLeaseDurationSeconds", "containerLogMonitorInterval"})
"""Fields for which the kubelet replaces a zero by its default."""


class FieldsAsArguments(Value):
    """What the files of a component set."""

    arguments: dict[str, tuple[ConfigValue, ...]]
    """The values of the fields that have an equivalent argument, by its name."""
    others: dict[str, ParsedArgument]
    """The other fields, by path."""
    gates: tuple[GateSetting, ...]
    problems: tuple[InputError, ...]
    """Why the component cannot decode a file."""
    paths: Mapping[str, str]
    """The paths of the fields by their arguments."""


@lru_cache(maxsize=2)
def fields_as_arguments(
    component: Component, files: tuple[tuple[PurePosixPath, bytes], ...], minor: int
) -> FieldsAsArguments:
    """Read files in the order of the component. Callers share the result and must not change it."""
    known = fields_of(_KINDS[component], minor)
    if component is Component.KUBE_PROXY:
        known.update({path: known[path]._replace(argument=argument) for path, argument in _LOGGED.items()})
    versions = words_of(known.pop("apiVersion").type_name)
    del known["kind"]
    types = nested_types(known)
    for name in {path.partition("[]")[0] for path in known if "[]" in path}:
        known[name] = FileField("any", _OBJECTS[name][0] if name in _OBJECTS else "")
    paths = {field.argument: path for path, field in known.items() if field.argument}
    found = FieldsAsArguments({}, {}, (), (), paths)
    for path, data in files:
        try:
            root = _root(data, path, _KINDS[component], versions)
        except yaml_reader.BoundsError:
            continue  # the component may read it
        except InputError as error:
            found = replace(found, problems=(*found.problems, error))
            continue
        wrong = []
        if component is Component.KUBELET:
            # K3s copies the file of the argument `config`, so it is a drop-in, too (kubelet_configuration.sources).
            wrong = list(repeated_fields(root))
            root = _with_known_names(root, types)
        wrong += wrong_types(root, _without_enumerations(types), is_strict=False)
        found = replace(found, problems=(*found.problems, *located(wrong, path)))
        for leaf in _leaves(root, "", known) if not wrong else ():
            found = _with(found, component, leaf, path)
    return found


def _root(data: bytes, path: PurePosixPath, kind: str, versions: tuple[str, ...]) -> YamlMapping:
    """Return the first document. Raises InputError if the component rejects it."""
    root = first_mapping(data, path, f"kind {kind}")
    for error in located(wrong_head(root, (kind,), versions), path):
        raise error
    return root


def _with_known_names(node: YamlMapping, types: Mapping[str, FieldType]) -> YamlMapping:
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


def _without_enumerations(types: FieldType) -> FieldType:
    """Return types with texts instead of enumerations: the rules of the arguments have the accepted words."""
    if isinstance(types, dict):
        return {name: _without_enumerations(inner) for name, inner in types.items()}
    if isinstance(types, list):
        return [_without_enumerations(types[0])]
    return "string" if words_of(types) else types


class _Leaf(NamedTuple):
    """A field that a file sets."""

    path: str
    node: Node
    field: FileField


def _leaves(node: YamlMapping, prefix: str, known: Mapping[str, FileField]) -> Iterator[_Leaf]:
    for entry in node.entries:
        name = prefix + entry.key
        if name in known:
            yield _Leaf(name, entry.node, known[name])
        elif isinstance(entry.node, YamlMapping):
            yield from _leaves(entry.node, f"{name}.", known)


def _with(found: FieldsAsArguments, component: Component, leaf: _Leaf, file: PurePosixPath) -> FieldsAsArguments:
    name, node, field = leaf
    location = Location(file, node.line)
    if name == _GATES:
        gates = [
            GateSetting(
                entry.key, str(entry.node.value).lower(), Location(file, entry.line), f"{entry.key}: {entry.node.text}"
            )
            for entry in (node.entries if isinstance(node, YamlMapping) else ())
            if isinstance(entry.node, Scalar) and entry.node.value is not None
        ]
        return replace(found, gates=(*found.gates, *gates))
    if field.argument and isinstance(node, YamlSequence) and not node.items:
        # The kubelet drops an empty list when it merges its drop-ins, and then uses its default.
        found.arguments.pop(field.argument, None)
    elif field.argument:
        values = _OBJECTS[name][1](node) if name in _OBJECTS else _texts(node, component, field.argument)
        if values:
            found.arguments[field.argument] = tuple(ConfigValue(text, location) for text in values)
    elif isinstance(node, Scalar):
        value = node.value
        if value is not None and value != "" and not (value == 0 and name in _ZERO_IS_UNSET):
            parsed: Parsed = duration(node.text) if field.type_name == "duration" else value
            found.others[name] = ParsedArgument(field.type_name, parsed, (ConfigValue(node.text, location),))
    elif isinstance(node, YamlSequence) and node.items:
        items = tuple(item.text if isinstance(item, Scalar) else "" for item in node.items)
        found.others[name] = ParsedArgument(field.type_name, items, (ConfigValue(",".join(items), location),))
    return found


def _taints(node: Node) -> tuple[str, ...]:
    """Return each taint with an effect as a value of the argument: a file can repeat taints, and a value cannot."""
    items = node.items if isinstance(node, YamlSequence) else ()
    taints = [
        f"{item.text('key') or ''}={item.text('value') or ''}:{item.text('effect')}"
        for item in items
        if isinstance(item, YamlMapping) and item.text("effect")
    ]
    return tuple(taints) if not any("," in taint for taint in taints) else ()


def _reservations(node: Node) -> tuple[str, ...]:
    """Return the reservations of memory as values of the argument."""
    found = []
    for item in node.items if isinstance(node, YamlSequence) else ():
        limits = item.get("limits") if isinstance(item, YamlMapping) else None
        if isinstance(item, YamlMapping) and isinstance(limits, YamlMapping):
            chosen = item.get("numaNode")
            number = chosen.text if isinstance(chosen, Scalar) and chosen.value is not None else "0"
            pairs = [(entry.key, entry.node.text) for entry in limits.entries if isinstance(entry.node, Scalar)]
            found += [f"{number}:{kind}={size}" for kind, size in pairs if not set(kind + size) & set(",:;=")]
    return tuple(found)


_OBJECTS: Mapping[str, tuple[str, Callable[[Node], tuple[str, ...]]]] = {
    "registerWithTaints": ("register-with-taints", _taints),
    "reservedMemory": ("reserved-memory", _reservations),
}
"""Fields with a list of mappings, with their arguments."""


def _texts(node: Node, component: Component, argument: str) -> tuple[str, ...]:
    """Return a field as values of its argument. Empty for a zero, at which the component uses its default.

    Of the addresses of the kubelet, only the arguments are checked.
    """
    # The kinds are equal in all minors.
    kind = tables.kind_of(component, argument, tables.LAST_MINOR) or "string"
    if kind == "ip" and component is Component.KUBELET:
        return ()
    if isinstance(node, Scalar):
        is_number = node.value in (None, "", 0) and not isinstance(node.value, bool)
        is_zero = is_number or (kind == "duration" and node.text in _ZERO_DURATIONS)
        return () if is_zero else (_text(node),)
    if isinstance(node, YamlSequence):
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
