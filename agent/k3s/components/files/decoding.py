"""Configuration files, decoded as the components of Kubernetes decode them. Pure.

A strict decoder rejects unknown and repeated fields and values of another type (apimachinery,
pkg/runtime/serializer/json). null means that a field is not set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import PurePosixPath
from typing import NamedTuple, Union

from agent.base import package_data, yaml_reader
from agent.base.errors import InputError
from agent.base.model import Location
from agent.base.report import Prediction
from agent.base.yaml_reader import Node, Scalar, YamlMapping, YamlSequence, describe_node, duplicates, shown
from agent.k3s.components import tables
from agent.k3s.components.tables import minors_in
from agent.k3s.go_values import accepted, duration
from agent.k3s.roles_and_versions import Component

FieldType = Union[str, list["FieldType"], dict[str, "FieldType"]]
"""A type by name, [the type of the items of a list], or {field: its type}."""

CONFIGURATION_FIELDS = "configuration_fields.tsv"

KINDS = {Component.KUBELET: "KubeletConfiguration", Component.KUBE_PROXY: "KubeProxyConfiguration"}
"""The kind of the files whose fields are arguments, by component."""


class FileField(NamedTuple):
    """A field of a kind of file."""

    type_name: str
    """Such as bool, string(A|B), [string] or map[string]string."""
    argument: str
    """The equivalent argument of the component; empty if there is none."""


def fields_of(kind: str, minor: int, api_version: str = "") -> dict[str, FileField]:
    """Return the fields of a kind by path, such as `rules[].level`.

    Without a version of the API those of all versions, and for a minor that the table does not describe those of all
    minors.
    """
    found = {}
    version = api_version.rpartition("/")[2]
    for _, path, type_name, argument, versions, minors in _rows(kind):
        is_in_version = not version or versions == "-" or version in versions.split(",")
        if is_in_version and (not tables.describe(minor) or minor in minors_in(minors)):
            found[path] = FileField(type_name, argument.strip("-") and argument)
    return found


def kind_of_value(component: Component, name: str, minor: int) -> str | None:
    """Return the kind of value of an argument, or of a field of the component's file; None if it has neither."""
    kind = tables.kind_of(component, name, minor)
    if kind is None and component in KINDS:
        kind = next((row[2] for row in _rows(KINDS[component]) if row[1] == name and minor in minors_in(row[5])), None)
        is_list = kind is None and any(row[1].startswith(f"{name}[].") for row in _rows(KINDS[component]))
        kind = "strings" if is_list or (kind or "").startswith("[") else kind and kind.partition("(")[0]
    return kind


def path_of_argument(component: Component, name: str) -> str:
    """Return the path of the field that is equivalent to an argument; empty if there is none."""
    return next((row[1] for row in _rows(KINDS[component]) if row[3] == name), "") if component in KINDS else ""


@cache
def _rows(kind: str) -> tuple[list[str], ...]:
    return tuple(row for row in package_data.rows("k3s", "components", CONFIGURATION_FIELDS) if row[0] == kind)


def words_of(type_name: str) -> tuple[str, ...]:
    """Return the words of an enumeration such as `string(A|B)`; none for another type."""
    return tuple(type_name[7:-1].split("|")) if type_name.startswith("string(") else ()


def nested_types(fields: dict[str, FileField]) -> dict[str, FieldType]:
    """Return the types of fields, nested as in a file."""
    types: dict[str, FieldType] = {}
    for path, field in fields.items():
        here = types
        *parents, last = path.split(".")
        for parent in parents:
            name = parent.removesuffix("[]")
            new: FieldType = [{}] if name != parent else {}
            inner = here.setdefault(name, new)
            inner = inner[0] if isinstance(inner, list) else inner
            here = inner if isinstance(inner, dict) else {}
        here[last] = _type(field.type_name)
    return types


def _type(name: str) -> FieldType:
    return [_type(name[1:-1])] if name.startswith("[") else name


DECODED = Prediction("agent/k3s/components/configuration_fields.tsv", "apimachinery/pkg/runtime/serializer/json")
"""Why a field is rejected that does not exist, or has a value of another type."""


class FileRejection(NamedTuple):
    """A reason for which a component rejects a file."""

    line: int
    text: str
    prediction: Prediction | None = None
    """The rule; None for one of the module that reads the argument."""


class FileRejectionError(InputError):
    """A component rejects a file by a rule."""

    def __init__(self, location: Location, problem: str, prediction: Prediction | None) -> None:
        super().__init__(location, problem)
        self.prediction = prediction


def located(problems: Iterable[FileRejection], path: PurePosixPath) -> Iterator[InputError]:
    """Return problems of a file with its path."""
    return (FileRejectionError(Location(path, line), text, prediction) for line, text, prediction in problems)


def first_mapping(data: bytes, path: PurePosixPath, expected: str) -> YamlMapping:
    """Return the first document. Raises InputError if the component cannot decode it as a mapping."""
    node = yaml_reader.first_object(data, path)
    if not isinstance(node, YamlMapping):
        raise InputError(Location(path), f"expected the {expected}")
    return node


def wrong_head(node: YamlMapping, kinds: tuple[str, ...], versions: tuple[str, ...]) -> Iterator[FileRejection]:
    """Yield a kind or version that is none of these."""
    for key, allowed in (("kind", kinds), ("apiVersion", versions)):
        if node.text(key) not in allowed:
            found = node.get(key)
            problem = f"expected the {key} {allowed[0]}; found {describe_node(found)}"
            yield FileRejection((found or node).line, problem, DECODED)


def wrong_types(node: Node, types: FieldType, name: str = "", *, is_strict: bool = True) -> Iterator[FileRejection]:
    """Yield the fields that a decoder rejects, and those that are not in their enumeration."""
    if isinstance(node, Scalar) and node.value is None:
        return
    if isinstance(types, list):
        if isinstance(node, YamlSequence):
            for item in node.items:
                yield from wrong_types(item, types[0], f"{name}[]", is_strict=is_strict)
        else:
            yield _wrong(node, name, "a list")
    elif isinstance(types, dict):
        yield from _fields(node, types, name, is_strict=is_strict)
    elif types.startswith(_MAP) and isinstance(node, YamlMapping):
        inner = types[len(_MAP) :]
        for entry in node.entries:
            value: FieldType = [inner[1:-1]] if inner.startswith("[") else inner
            yield from wrong_types(entry.node, value, f"{name}.{entry.key}", is_strict=is_strict)
    else:
        yield from _wrong_scalar(node, types, name)


def _wrong_scalar(node: Node, type_name: str, name: str) -> Iterator[FileRejection]:
    words = words_of(type_name)
    expected, is_valid = _TYPES["object" if type_name.startswith(_MAP) else "string" if words else type_name]
    if not is_valid(node):
        yield _wrong(node, name, expected)
    elif words and isinstance(node, Scalar) and node.value and node.value not in words:  # an empty text is not set
        expected = yaml_reader.alternatives(words) if len(words) > 1 else words[0]
        yield FileRejection(node.line, f"`{shown(name)}` must be {expected}; found {describe_node(node)}", DECODED)


_MAP = "map[string]"


def repeated_fields(node: Node) -> Iterator[FileRejection]:
    """Yield the fields that are set twice, at any depth."""
    if isinstance(node, YamlMapping):
        for _, again in duplicates(node):
            yield FileRejection(again.line, f"the field `{shown(again.key)}` is set twice", DECODED)
    children = [entry.node for entry in node.entries] if isinstance(node, YamlMapping) else []
    for child in node.items if isinstance(node, YamlSequence) else children:
        yield from repeated_fields(child)


def is_set(node: Node | None) -> bool:
    """Return whether a node exists and is not null."""
    return node is not None and not (isinstance(node, Scalar) and node.value is None)


def _fields(node: Node, types: dict[str, FieldType], name: str, *, is_strict: bool) -> Iterator[FileRejection]:
    if not isinstance(node, YamlMapping):
        yield _wrong(node, name or "the file", "a mapping")
        return
    for entry in node.entries:
        path = f"{name}.{entry.key}" if name else entry.key
        if entry.key in types:
            yield from wrong_types(entry.node, types[entry.key], path, is_strict=is_strict)
        elif is_strict:
            yield FileRejection(entry.line, f"the field `{shown(path)}` does not exist", DECODED)
    for _, again in duplicates(node) if is_strict else ():
        yield FileRejection(again.line, f"the field `{shown(again.key)}` is set twice", DECODED)


def _wrong(node: Node, name: str, expected: str) -> FileRejection:
    # The message omits a text: it can be a secret in the wrong place.
    found = "a text" if _is_text(node) else describe_node(node)
    return FileRejection(node.line, f"`{shown(name)}` must be {expected}; found {found}", DECODED)


def _is_text(node: Node) -> bool:
    return isinstance(node, Scalar) and isinstance(node.value, str)


def _is_integer(node: Node, low: int = -(2**63), high: int = 2**63) -> bool:
    if not isinstance(node, Scalar) or isinstance(node.value, bool):
        return False
    # YAML becomes JSON, in which 110.0 and 1.1e2 are 110.
    is_whole = isinstance(node.value, int) or (isinstance(node.value, float) and node.value.is_integer())
    return is_whole and low <= int(node.value or 0) < high


def _is_number(node: Node) -> bool:
    return isinstance(node, Scalar) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool)


def _is_duration(node: Node) -> bool:
    return isinstance(node, Scalar) and isinstance(node.value, str) and accepted(duration, node.value) is not None


_TYPES: dict[str, tuple[str, Callable[[Node], bool]]] = {
    "any": ("anything", lambda _: True),
    "bool": ("true or false", lambda node: isinstance(node, Scalar) and isinstance(node.value, bool)),
    "duration": ("a duration in quotes, such as 5m0s", _is_duration),
    "float": ("a number", _is_number),
    "int32": ("a whole number of 32 bits", lambda node: _is_integer(node, -(2**31), 2**31)),
    "int64": ("a whole number", _is_integer),
    "object": ("a mapping", lambda node: isinstance(node, YamlMapping)),
    "string": ("a text", _is_text),
    "uint32": ("a whole number of at least 0", lambda node: _is_integer(node, 0, 2**32)),
}
"""Types with the words of messages."""
