"""Configuration files of the kubelet and of kube-proxy, whose fields are the equivalent arguments. Pure.

Both components ignore unknown fields, and validate what remains as they validate arguments (cmd/kubelet/app/server.go,
cmd/kube-proxy/app/options.go). The kubelet merges its files as JSON with the names as they are written. Go reads the
result in the order of the names and without regard to case, so `readonlyPort` overrides `readOnlyPort` in any file.
`ReadOnlyPort` comes first, and has an effect only if neither a file nor a default of the kubelet sets `readOnlyPort`,
which is not known here. Seen at 1.37.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

from agent.base import yaml_reader
from agent.base.errors import InputError
from agent.base.model import Location
from agent.base.yaml_reader import BoundsError, Node, Scalar, YamlMapping, YamlSequence, shown
from agent.k3s.components import tables
from agent.k3s.components.effective_arguments import FEATURE_GATES, Given, GivenBy
from agent.k3s.components.files.decoding import (
    KINDS,
    FieldType,
    FileField,
    FileRejection,
    fields_of,
    first_mapping,
    is_set,
    located,
    nested_types,
    path_of_argument,
    repeated_fields,
    words_of,
    wrong_head,
    wrong_types,
)
from agent.k3s.components.values import MAPPINGS
from agent.k3s.roles_and_versions import Component

_AFTER_NULL = {
    "authentication.anonymous.enabled": "false",
    "authentication.webhook.enabled": "true",
    "authorization.mode": "Webhook",
    "readOnlyPort": "0",
}
"""Defaults of the files of the kubelet, which null restores, where those of its arguments are less secure.

Source: kubernetes, cmd/kubelet/app/options/options.go, applyLegacyDefaults; server.go, mergeKubeletConfigurations.
"""


class FieldValue(NamedTuple):
    """A field of a file, as the equivalent argument has it."""

    name: str
    """The equivalent argument; the path of a field that has none."""
    spelling: str
    """The path as it is written."""
    given: tuple[Given, ...]
    """Empty for null and an empty list, which remove the values of earlier files."""
    is_merged: bool = False
    """Whether the component adds it to the values of earlier files."""


class FileFields(NamedTuple):
    """What the files of a component set."""

    fields: tuple[FieldValue, ...]
    """In the order in which the component reads them."""
    problems: tuple[InputError, ...]
    """Why the component cannot decode a file; a BoundsError if only this program cannot."""


def as_field(component: Component, name: str, value: str) -> str:
    """Return an argument as a field of a file: `authentication.anonymous.enabled: true`."""
    path = path_of_argument(component, name)
    return _written(path, fields_of(KINDS[component], 0)[path], value)


def _written(path: str, field: FileField, value: str) -> str:
    if field.type_name.startswith("["):
        value = f"[{value.replace(',', ', ')}]"
    elif field.type_name.startswith("map"):
        value = f"{{{value.replace('=', ': ').replace(',', ', ')}}}"
    return f"{path}: {value}"


def read_fields(component: Component, files: Iterable[tuple[PurePosixPath, bytes]], minor: int) -> FileFields:
    """Return the fields of files in the component's order of files. A file with a problem has none."""
    known = fields_of(KINDS[component], minor)
    versions = words_of(known.pop("apiVersion").type_name)
    del known["kind"]
    types = nested_types(known)
    found: list[FieldValue] = []
    problems: list[InputError] = []
    for path, data in files:
        try:
            root = first_mapping(data, path, f"kind {KINDS[component]}")
        except InputError as error:
            problems.append(error)
            continue
        wrong = list(wrong_head(root, (KINDS[component],), versions))[:1]
        read: list[FieldValue | FileRejection | BoundsError] = []
        if not wrong:
            # K3s copies the file of the argument `config`, so it is a drop-in, too (kubelet_configuration.sources).
            wrong = list(repeated_fields(root)) if component is Component.KUBELET else []
            read = list(_fields(root, types, known, _Place(component, path)))
            problems += [item for item in read if isinstance(item, BoundsError)]
            wrong += [item for item in read if isinstance(item, FileRejection)]
        if wrong:
            problems += located(wrong, path)
        else:
            found += [item for item in read if isinstance(item, FieldValue)]
    return FileFields(tuple(sorted(found, key=lambda field: field.spelling)), tuple(problems))


class _Place(NamedTuple):
    """Where a mapping of a file is."""

    component: Component
    file: PurePosixPath
    path: str = ""
    spelling: str = ""
    """The path as it is written."""


def _fields(
    node: YamlMapping, types: dict[str, FieldType], known: Mapping[str, FileField], place: _Place
) -> Iterator[FieldValue | FileRejection | BoundsError]:
    """Yield the fields of a mapping, what the component cannot decode in it, and names that may have an effect."""
    names = {name.lower(): name for name in types}
    for entry in node.entries:
        name = entry.key if entry.key in types else names.get(entry.key.lower(), "")
        inner, path, spelling = types.get(name), place.path + name, place.spelling + entry.key
        if inner is None:
            continue
        if not is_set(entry.node):
            for other, field in known.items() if spelling == path else ():
                if other == path or other.startswith((f"{path}.", f"{path}[")):
                    text, at = _AFTER_NULL.get(other), Location(place.file, entry.line)
                    value = Given(text or "", GivenBy.KUBELET_FILE, at, written=f"{path}: null", field=other)
                    yield FieldValue(field.argument or other, spelling + other[len(path) :], (value,) if text else ())
        elif isinstance(inner, dict) and isinstance(entry.node, YamlMapping):
            below = place._replace(path=f"{path}.", spelling=f"{spelling}.")
            yield from _fields(entry.node, inner, known, below)
        elif wrong := list(wrong_types(entry.node, _without_words(inner), path, is_strict=False)):
            yield from wrong
        elif spelling >= path:
            field = known.get(path) or FileField("any", _OBJECTS[path][0] if path in _OBJECTS else "")
            given = tuple(_given(place.component, path, field, entry.node, place.file))
            yield FieldValue(field.argument or path, spelling, given, isinstance(entry.node, YamlMapping))
        else:
            message = f"`{shown(spelling)}` has an effect only without a value or default of `{path}`"
            yield BoundsError(Location(place.file, entry.line), message)


def _without_words(types: FieldType) -> FieldType:
    """Return types with texts instead of enumerations: the rules of the arguments have the accepted words."""
    if isinstance(types, dict):
        return {name: _without_words(inner) for name, inner in types.items()}
    if isinstance(types, list):
        return [_without_words(types[0])]
    return "string" if words_of(types) else types


def _given(component: Component, path: str, field: FileField, node: Node, file: PurePosixPath) -> Iterator[Given]:
    """Yield the values of a field as its argument has them; none for a value that no argument can have."""
    if field.argument == FEATURE_GATES and isinstance(node, YamlMapping):
        for gate in node.entries:
            if isinstance(gate.node, Scalar) and gate.node.value is not None:
                text, name = str(gate.node.value).lower(), f"{path}.{gate.key}"
                by = GivenBy.KUBELET_FILE
                yield Given(f"{gate.key}={text}", by, Location(file, gate.line), "", f"{name}: {text}", name)
        return
    for text in _OBJECTS[path][1](node) if path in _OBJECTS else _texts(node, component, field.argument):
        at = Location(file, node.line)
        yield Given(text, GivenBy.KUBELET_FILE, at, written=_written(path, field, text), field=path)


def _texts(node: Node, component: Component, argument: str) -> Iterator[str]:
    if isinstance(node, Scalar):
        yield _text(node)
    elif isinstance(node, YamlSequence):
        items = [item.text if isinstance(item, Scalar) else "{}" for item in node.items]
        if items and not any("," in item or '"' in item for item in items):
            yield ",".join(items)
    else:
        kind = tables.kind_of(component, argument, tables.LAST_MINOR)  # the kinds are equal in all minors
        separator = "<" if kind == "mapLess" else "="
        texts = [f"{entry.key}{separator}{entry.node.text}" for entry in node.entries if isinstance(entry.node, Scalar)]
        if kind in MAPPINGS and not any("," in text for text in texts):
            yield from texts if kind == "mapNoSplit" else [",".join(texts)]


def _text(node: Scalar) -> str:
    """Return a scalar as the argument has it: `yes` is true, and 1e2 is 100."""
    if isinstance(node.value, bool):
        return str(node.value).lower()
    return str(int(node.value)) if isinstance(node.value, float) and node.value.is_integer() else node.text


def _taints(node: Node) -> Iterator[str]:
    """Yield each taint with an effect as a value of the argument: a file can repeat taints, and a value cannot."""
    for item in yaml_reader.mappings(node):
        taint = f"{item.text('key') or ''}={item.text('value') or ''}:{item.text('effect') or ''}"
        if item.text("effect") and "," not in taint:
            yield taint


def _reservations(node: Node) -> Iterator[str]:
    """Yield the reservations of memory as values of the argument."""
    for item in yaml_reader.mappings(node):
        limits, number = item.get("limits"), item.get("numaNode")
        for entry in limits.entries if isinstance(limits, YamlMapping) else ():
            if isinstance(entry.node, Scalar) and not set(entry.key + entry.node.text) & set(",:;="):
                chosen = number.text if isinstance(number, Scalar) and number.value is not None else "0"
                yield f"{chosen}:{entry.key}={entry.node.text}"


_OBJECTS: Mapping[str, tuple[str, Callable[[Node], Iterator[str]]]] = {
    "registerWithTaints": ("register-with-taints", _taints),
    "reservedMemory": ("reserved-memory", _reservations),
}
"""Fields with a list of mappings, with their arguments."""
