"""Types and fields of configuration files, checked as the strict decoder of Kubernetes checks them. Pure.

A strict decoder rejects unknown and repeated fields and values of another type (apimachinery,
pkg/runtime/serializer/json). null means that a field is not set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Union

from agent.k3s.components.values import InvalidValueError, duration
from agent.yaml_reader import Mapping, Scalar, Sequence, describe_node, duplicates, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.yaml_reader import Node

    Schema = Union[str, list["Schema"], dict[str, "Schema"]]
    """A type by name, [the type of the items of a list], or {field: its type}; see _TYPES and _MAPS."""


class Problem(NamedTuple):
    """A reason for which a component rejects a file."""

    line: int
    problem: str


def problems(node: Node, schema: Schema, name: str = "", *, is_strict: bool = True) -> Iterator[Problem]:
    """Yield the fields that the decoder rejects."""
    if isinstance(node, Scalar) and node.value is None:
        return
    if isinstance(schema, list):
        if not isinstance(node, Sequence):
            yield _wrong(node, name, "a list")
            return
        for item in node.items:
            yield from problems(item, schema[0], f"{name}[]", is_strict=is_strict)
    elif isinstance(schema, dict):
        yield from _fields(node, schema, name, is_strict=is_strict)
    elif schema in _MAPS:
        if not isinstance(node, Mapping):
            yield _wrong(node, name, "a mapping")
            return
        for entry in node.entries:
            yield from problems(entry.node, _MAPS[schema], f"{name}.{entry.key}", is_strict=is_strict)
    elif not _TYPES[schema][1](node):
        yield _wrong(node, name, _TYPES[schema][0])


def number(node: Mapping, key: str, default: float) -> float:
    """Return the number in a field, or a default if it is not set or not a number."""
    found = node.get(key)
    value = found.value if isinstance(found, Scalar) else None
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else default


def outside(node: Mapping, key: str, low: int, high: int | None = None) -> Iterator[Problem]:
    """Yield a field whose number is outside its limits."""
    if not low <= number(node, key, low) <= (2**63 if high is None else high):
        expected = f"must be at least {low}" if high is None else f"must be from {low} to {high}"
        yield Problem(node.line_of(key), f"`{key}` {expected}")


def repeated(node: Node) -> Iterator[Problem]:
    """Yield the fields that are set twice, at any depth."""
    if isinstance(node, Mapping):
        for _, again in duplicates(node):
            yield Problem(again.line, f"the field `{shown(again.key)}` is set twice")
    children = [entry.node for entry in node.entries] if isinstance(node, Mapping) else []
    for child in node.items if isinstance(node, Sequence) else children:
        yield from repeated(child)


def _fields(node: Node, schema: dict[str, Schema], name: str, *, is_strict: bool) -> Iterator[Problem]:
    if not isinstance(node, Mapping):
        yield _wrong(node, name or "the file", "a mapping")
        return
    for entry in node.entries:
        path = f"{name}.{entry.key}" if name else entry.key
        if entry.key in schema:
            yield from problems(entry.node, schema[entry.key], path, is_strict=is_strict)
        elif is_strict:
            yield Problem(entry.line, f"the field `{shown(path)}` does not exist")
    if is_strict:
        for _, again in duplicates(node):
            yield Problem(again.line, f"the field `{shown(again.key)}` is set twice")


def _wrong(node: Node, name: str, expected: str) -> Problem:
    # The message omits a text: it can be a secret in the wrong place.
    is_text = isinstance(node, Scalar) and isinstance(node.value, str)
    found = "a text" if is_text else describe_node(node)
    return Problem(node.line, f"`{shown(name)}` must be {expected}; found {found}")


def _is_text(node: Node) -> bool:
    return isinstance(node, Scalar) and isinstance(node.value, str)


def _is_boolean(node: Node) -> bool:
    return isinstance(node, Scalar) and isinstance(node.value, bool)


def _is_integer(node: Node) -> bool:
    if not isinstance(node, Scalar) or isinstance(node.value, bool):
        return False
    # YAML becomes JSON, in which 110.0 and 1.1e2 are 110.
    return isinstance(node.value, int) or (isinstance(node.value, float) and node.value.is_integer())


def _is_integer32(node: Node) -> bool:
    return isinstance(node, Scalar) and _is_integer(node) and -(2**31) <= int(node.value or 0) < 2**31


def _is_number(node: Node) -> bool:
    return isinstance(node, Scalar) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool)


def _is_duration(node: Node) -> bool:
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        return False
    try:
        duration(node.value)
    except InvalidValueError:
        return False
    return True


def _is_mapping(node: Node) -> bool:
    return isinstance(node, Mapping)


_TYPES: dict[str, tuple[str, Callable[[Node], bool]]] = {
    "any": ("anything", lambda _: True),
    "bool": ("true or false", _is_boolean),
    "duration": ("a duration in quotes, such as 5m0s", _is_duration),
    "float": ("a number", _is_number),
    "int32": ("a whole number of 32 bits", _is_integer32),
    "int64": ("a whole number", _is_integer),
    "object": ("a mapping", _is_mapping),
    "string": ("a text", _is_text),
}
"""Types with the words of messages."""

_MAPS: dict[str, Schema] = {
    "map[string][]string": ["string"],
    "map[string]bool": "bool",
    "map[string]string": "string",
}
"""Types of mappings, with the type of their values."""
