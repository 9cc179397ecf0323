"""Fields of configuration files by kind: names, types and equivalent arguments. Pure.

`make tables` generates configuration_fields.tsv from the Go structs of Kubernetes (tests/tools/go_structs.py).
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple, Union

from agent.base import package_data
from agent.k3s.components import tables
from agent.k3s.components.tables import minors_in
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
