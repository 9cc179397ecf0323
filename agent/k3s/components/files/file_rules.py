"""The table of the rules about fields of configuration files, file_rules.tsv. Pure.

The fields of one mapping of a file are values of the relations that arguments have, too. A field is named by its path
in the mapping. `--name` in a rule is an argument of the component.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import NamedTuple

from agent.base import package_data
from agent.base.errors import InputError
from agent.base.report import Prediction
from agent.base.yaml_reader import Node, Scalar, YamlMapping, YamlSequence, shown
from agent.k3s.components.files.decoding import (
    FieldType,
    FileRejection,
    fields_of,
    first_mapping,
    is_set,
    located,
    nested_types,
    words_of,
    wrong_head,
    wrong_types,
)
from agent.k3s.components.relations import name_in, texts_in
from agent.k3s.components.rules import ValueRule, rule_of
from agent.k3s.components.tables import describe, minors_in
from agent.k3s.components.values import Parsed
from agent.k3s.go_values import accepted, duration
from agent.k3s.redaction import redacted
from agent.k3s.roles_and_versions import Component

FILE_RULES = "file_rules.tsv"
_LONGEST_MESSAGE = 200
"""Characters. A value can be of any length."""


class FileContext(NamedTuple):
    """What the meaning of a file depends on."""

    minor: int = 0
    """The minor version; 0 if it is unknown."""
    arguments: Mapping[str, str] = MappingProxyType({})
    """The arguments of the component."""
    gates: Collection[str] = ()
    """The feature gates that these arguments set."""
    is_missing: Callable[[PurePosixPath], bool] = lambda _: False
    """Whether a file that this file names cannot be read."""
    content: Callable[[PurePosixPath], bytes | None] = lambda _: None
    """Return the content of such a file; None if it is unknown."""
    uses_plugin: Callable[[str], bool] = lambda _: True
    """Whether the API server uses an admission plugin."""


class FileKind(NamedTuple):
    """A kind of configuration file."""

    name: str
    component: Component
    irregular: Callable[[YamlMapping, FileContext], Iterator[FileRejection]] = lambda _, __: iter(())
    """Return what the component rejects by rules that are no rows."""
    is_strict: bool = True
    """Whether the component rejects unknown and repeated fields."""
    aliases: tuple[tuple[str, str], ...] = ()
    """Other kinds and versions with the same fields."""


class FieldValues:
    """The fields of a mapping as values of relations. Go reads a missing field and null as an empty value.

    The prefix is the path of the mapping, with which a name can begin.
    """

    def __init__(self, prefix: str, node: YamlMapping, types: FieldType, context: FileContext) -> None:
        self._prefix = prefix
        self._node = node
        self._types = types
        self._context = context

    def value(self, name: str) -> Parsed:
        """Return the value of a field or argument; an empty tuple for an empty value. A mapping is true."""
        if name.startswith("--"):
            return self._context.arguments.get(name[2:]) or ()
        name = name.removeprefix(self._prefix)
        parent, _, last = name.rpartition(".")
        found = [
            _parsed(node.get(last), types.get(last, "any")) for node, types in scopes(self._node, self._types, parent)
        ]
        return tuple(str(value) for value in found if value != ()) if "[]" in parent else (found[0] if found else ())

    def gate_is_on(self, name: str) -> bool:
        """Return whether a feature gate is set. The rules name only gates that are off by default."""
        return name in self._context.gates

    def shown(self, name: str) -> str:
        """Return a field or argument with its value."""
        value = self.value(name) if not name[:1].isupper() else str(self.gate_is_on(name)).lower()
        return f"{name} is not set" if value == () else f"{name}={','.join(texts_in(value))}"

    def line_of(self, name: str) -> int:
        """Return the line of a field; that of the mapping if the field is not set."""
        name = name.removeprefix(self._prefix)
        parent, _, last = name.rpartition(".")
        node = next((node for node, _ in scopes(self._node, self._types, parent)), self._node)
        return node.line_of(last) if "[]" not in parent else self._node.line_of(name.partition("[]")[0])


def rejected_by(kind: FileKind, data: bytes, path: PurePosixPath, context: FileContext) -> Iterator[InputError]:
    """Yield why the component rejects a file of a kind."""
    try:
        root = first_mapping(data, path, f"kind {kind.name}")
    except InputError as error:
        yield error
        return
    yield from located(rejected_fields(kind, root, context), path)


def rejected_fields(kind: FileKind, root: YamlMapping, context: FileContext) -> Iterator[FileRejection]:
    """Yield what the component rejects in the mapping of a kind of file."""
    fields = fields_of(kind.name, context.minor, root.text("apiVersion") or "")
    heads = [words_of(fields.pop(key).type_name) for key in ("kind", "apiVersion") if key in fields]
    head = (root.text("kind"), root.text("apiVersion"))
    if heads and head not in kind.aliases:
        wrong = next(wrong_head(root, *heads), None)
        if wrong is not None:
            yield wrong
            return
    types: dict[str, FieldType] = {"apiVersion": "string", "kind": "string", **nested_types(fields)}
    wrong_fields = list(wrong_types(root, types, is_strict=kind.is_strict))
    yield from wrong_fields
    if not wrong_fields:  # the component decodes a file before it validates the values
        yield from _unmet_rules(kind, root, types, context)
        function = kind.irregular
        by_function = Prediction(f"{function.__module__}.{function.__name__}", f"Kubernetes, {kind.name}")
        yield from (problem._replace(prediction=by_function) for problem in kind.irregular(root, context))


def _unmet_rules(kind: FileKind, root: YamlMapping, types: FieldType, context: FileContext) -> Iterator[FileRejection]:
    """Yield the fields that do not meet the rules of a kind."""
    for scope, rule in _rules_about(kind.name):
        is_enforced = context.minor in rule.minors if describe(context.minor) else rule.minors == minors_in("")
        for node, inner in scopes(root, types, scope) if is_enforced else ():
            values = FieldValues(_prefix(scope), node, inner, context)
            for subject, unmet in rule.unmet(values):
                text = shown(redacted(unmet.message), _LONGEST_MESSAGE)
                problem = f"{kind.component} {text}; expected {unmet.expected}"
                yield FileRejection(values.line_of(name_in(subject)), problem, rule.prediction(subject, unmet, values))


@cache
def _rules_about(kind: str) -> tuple[tuple[str, ValueRule], ...]:
    """Return the rules of a kind, each with the path of the mapping with its fields. It names them by their paths."""
    return tuple(
        (scope, rule_of(row, [" ".join(_prefix(scope) + field for field in fields.split()), *cells]))
        for row, (name, scope, fields, *cells) in package_data.located_rows("k3s", "components", FILE_RULES)
        if name == kind
    )


def _prefix(scope: str) -> str:
    """Return what the names of the fields of a mapping begin with in messages."""
    return f"{scope.replace('?', '')}." if scope else ""


def scopes(node: YamlMapping, types: FieldType, path: str) -> Iterator[tuple[YamlMapping, dict[str, FieldType]]]:
    """Yield the mappings at a path, with the types of their fields."""
    known = types if isinstance(types, dict) else {}
    if not path:
        yield node, known
        return
    key, _, rest = path.partition(".")
    name = key.rstrip("?[]")
    found, inner = node.get(name), known.get(name, "any")
    inner = inner[0] if isinstance(inner, list) else inner
    if key.endswith("[]"):
        listed = found.items if isinstance(found, YamlSequence) else ()
        items = tuple(item if is_set(item) else YamlMapping((), item.line) for item in listed)
    elif isinstance(found, YamlMapping) or key.endswith("?"):
        items = () if found is None else (found,)
    else:
        items = (YamlMapping((), node.line_of(name)),)
    for item in items:
        if isinstance(item, YamlMapping):
            yield from scopes(item, inner, rest)


def _parsed(node: Node | None, types: FieldType) -> Parsed:
    if isinstance(node, YamlSequence):
        return tuple(item.text if isinstance(item, Scalar) and item.value is not None else "" for item in node.items)
    if not isinstance(node, Scalar):
        return () if node is None else True
    if types == "duration" and isinstance(node.value, str):
        found = accepted(duration, node.value)
        return () if found is None else found
    return () if node.value is None or node.value == "" else node.value
