"""YAML form of waivers, and of objects that may break. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import PurePosixPath
from typing import Any, TypeVar

from agent.base.model import Location
from agent.base.yaml_reader import Node, Scalar, YamlSequence, describe_node
from agent.harden.settings.value_kinds import (
    BOOLEAN,
    DATE,
    InvalidValue,
    ValueKind,
    fields_of,
    is_empty,
    is_off,
    number_between,
    one_of,
    string_of,
    unique_fields,
)
from agent.harden.settings.waivers import AcceptedBreak, SiteWaiver, WaiverNeeds
from agent.k3s.roles_and_versions import Role

T = TypeVar("T")

_FILLERS = frozenset({"fixme", "later", "n/a", "na", "none", "reason", "tbd", "todo", "unknown", "waived", "xxx"})
"""Words that fill in a required field without giving a reason."""


def _items(node: Node, item: Callable[[Node], T]) -> tuple[T, ...]:
    """Return the items of a list. Raises InvalidValue with the problems of all of them."""
    if is_empty(node):
        return ()
    if not isinstance(node, YamlSequence):
        raise InvalidValue
    found: list[T] = []
    invalid: list[InvalidValue] = []
    for one in node.items:
        try:
            found.append(item(one))
        except InvalidValue as error:
            invalid.append(error)
    if invalid:
        raise InvalidValue(invalid[0].problem, invalid[0].node, tuple(invalid[1:]))
    return tuple(found)


def _fields(node: Node, keys: Mapping[str, ValueKind], required: Collection[str]) -> dict[str, Any]:
    """Return the values of an item and its location by the names of fields."""
    given = unique_fields(node, keys)
    values: dict[str, object] = {"location": Location(PurePosixPath(), node.line)}
    for key, kind in keys.items():
        value = given.get(key)
        if value is None:
            if key in required:
                raise InvalidValue(f"`{key}` is missing; it must be {kind.allowed}", node)
            continue
        try:
            values[key.replace("-", "_")] = kind.read(value)
        except InvalidValue:
            raise InvalidValue(f"`{key}` must be {kind.allowed}; found {describe_node(value)}", value) from None
    return values


def _waivers(node: Node) -> tuple[SiteWaiver, ...]:
    return _items(node, lambda item: SiteWaiver(**_fields(item, _KEYS, ("control", "reason"))))


def _accepted(node: Node) -> tuple[AcceptedBreak, ...]:
    required = ("object", "reason", "expires")
    return _items(node, lambda item: AcceptedBreak(**_fields(item, _KEYS_OF_OBJECTS, required)))


def _control(node: Node) -> str:
    # YAML reads 2.1 and 1.10 as numbers; CIS numbers are compared as text.
    if not isinstance(node, Scalar) or isinstance(node.value, bool) or not re.fullmatch(r"[\w./-]+", node.text):
        raise InvalidValue
    return node.text


def _words(node: Node) -> str:
    text = " ".join(string_of(node).split())
    if text.strip(" .!").lower() in _FILLERS or not any(character.isalpha() for character in text):
        raise InvalidValue
    return text


def _host_pattern(node: Node) -> str:
    text = string_of(node)
    if not text or not text.isprintable() or any(character.isspace() for character in text):
        raise InvalidValue
    return text


def _object(node: Node) -> str:
    text = string_of(node)
    if not re.fullmatch(r"(?:[a-z0-9-]+/)?[A-Z][A-Za-z]+/[\w.:-]+", text, re.ASCII):
        raise InvalidValue
    return text


_KEYS: dict[str, ValueKind] = {
    "control": ValueKind("the id of a control or its CIS number, such as 1.2.9 or cis-1.9/1.2.9", _control),
    "reason": ValueKind("a sentence with the reason", _words),
    "expires": DATE,
    "approved-by": ValueKind("the name of who accepts the failure", _words),
    "role": one_of({role.value: role for role in Role}),
    "host": ValueKind("a shell pattern for host names", _host_pattern),
}


_KEYS_OF_OBJECTS: dict[str, ValueKind] = {
    "object": ValueKind("an object as `impact` names it, such as default/Deployment/web", _object),
    **{key: _KEYS[key] for key in ("reason", "expires", "approved-by")},
}


def _needs(node: Node) -> WaiverNeeds | None:
    if is_off(node):
        return None
    given = fields_of(node, ("expire-within", "approver"))
    days, approver = given.get("expire-within"), given.get("approver")
    return WaiverNeeds(
        None if days is None else number_between(1, 3650).read(days),  # type: ignore[arg-type]  # an integer
        approver is not None and BOOLEAN.read(approver) is True,
    )


WAIVER_NEEDS = ValueKind(
    "off, or a mapping of `expire-within`, a whole number of days up to 3650, and `approver`, true or false", _needs
)

WAIVERS = ValueKind(
    "a list of mappings, each with `control`, `reason` and optionally `expires`, `approved-by`, `role` and `host`",
    _waivers,
)

ACCEPTED_BREAKS = ValueKind(
    "a list of mappings, each with `object`, `reason`, `expires` and optionally `approved-by`", _accepted
)
