"""Kinds of values of settings: the allowed values, and their conversion from YAML. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import PurePosixPath

from agent.base.value import Value
from agent.base.yaml_reader import (
    Node,
    Scalar,
    YamlMapping,
    YamlSequence,
    alternatives,
    describe_node,
    duplicates,
    shown,
)
from agent.harden.guide.manifests import EventRateLimit
from agent.k3s.go_values import is_label
from agent.k3s.roles_and_versions import NEWEST_KNOWN, OLDEST_COVERED, OTHER_ROLES, Version

OFF = "off"

_MOST_EVENTS = 1_000_000
_MOST_WORDS = 100
_LONGEST_COMMAND = 16_384


class InvalidValue(Exception):  # noqa: N818 - a result of a reader, caught in this package
    """A node is not a valid value of its kind."""

    def __init__(self, problem: str = "", node: Node | None = None, others: tuple[InvalidValue, ...] = ()) -> None:
        super().__init__(problem)
        self.problem = problem
        """What is invalid, without the name of the setting; empty if the whole value is of another kind."""
        self.node = node
        """The invalid part; None is the whole value."""
        self.others = others
        """Further problems of the same value."""


class ValueKind(Value):
    """A kind of value."""

    allowed: str
    """What is allowed, as text after "must be"."""
    read: Callable[[Node], object]
    """Makes a value of a node, or raises InvalidValue."""


def one_of(choices: dict[str, object]) -> ValueKind:
    """Return the kind of the given words, each with its value.

    YAML 1.1 reads some words as booleans or numbers, so the text of the file is compared.
    """

    def read(node: Node) -> object:
        if isinstance(node, Scalar) and node.text in choices:
            return choices[node.text]
        from difflib import get_close_matches

        word = node.text if isinstance(node, Scalar) else ""
        for similar in get_close_matches(OTHER_ROLES.get(word, word), choices, n=1):
            found = describe_node(node)
            raise InvalidValue(f"found {found}, expected {alternatives(choices)}; did you mean {similar}?")
        raise InvalidValue

    return ValueKind(alternatives(choices), read)


def number_between(least: int, most: int, unit: str = "") -> ValueKind:
    """Return the kind of decimal integers in a range."""
    allowed = f"a whole number{unit and f' of {unit}'}, {least} to {most}"
    return ValueKind(allowed, lambda node: _integer(node, least, most))


def off_or_number(least: int, most: int) -> ValueKind:
    """Return the kind of decimal integers in a range, or `off`, which is None."""

    def read(node: Node) -> object:
        return None if is_off(node) else _integer(node, least, most)

    return ValueKind(f"{OFF}, or a whole number, {least} to {most}", read)


def on_or_off() -> ValueKind:
    """Return the kind of `on` and `off`, which YAML 1.1 reads as booleans."""
    return one_of({"on": True, "off": False, "true": True, "false": False})


def optional(kind: ValueKind) -> ValueKind:
    """Return a kind that also allows an empty value, which is None."""

    def read(node: Node) -> object:
        return None if is_empty(node) else kind.read(node)

    return ValueKind(kind.allowed, read)


def is_off(node: Node) -> bool:
    """Return whether a node is `off`, which YAML 1.1 reads as a boolean, or null."""
    return isinstance(node, Scalar) and (node.value is False or node.value is None or node.text == OFF)


def is_empty(node: Node) -> bool:
    """Return whether a node is YAML's null."""
    return isinstance(node, Scalar) and node.value is None


def string_of(node: Node) -> str:
    """Return the value of a node that YAML reads as a string. Raises InvalidValue."""
    if isinstance(node, Scalar) and isinstance(node.value, str):
        return node.value
    raise InvalidValue("", node)


def fields_of(node: Node, known: Collection[str]) -> dict[str, Node]:
    """Return the values of a mapping by key. Raises InvalidValue for another node, and for an unknown key."""
    if not isinstance(node, YamlMapping):
        raise InvalidValue("", node)
    for entry in node.entries:
        if entry.key not in known:
            problem = f"unknown key `{shown(entry.key)}`; expected one of {', '.join(known)}"
            raise InvalidValue(problem, YamlMapping(node.entries, entry.line))
    return {entry.key: entry.node for entry in node.entries}


def unique_fields(node: Node, known: Collection[str]) -> dict[str, Node]:
    """Return the values as fields_of does, for an item of a list. Raises InvalidValue for a repeated key, too."""
    found = fields_of(node, known)
    for _, again in duplicates(node) if isinstance(node, YamlMapping) else ():
        raise InvalidValue(f"`{again.key}` is set twice", again.node)
    return found


def _boolean(node: Node) -> bool:
    if isinstance(node, Scalar) and isinstance(node.value, bool):
        return node.value
    raise InvalidValue


def _integer(node: Node, least: int, most: int) -> int:
    if not isinstance(node, Scalar) or isinstance(node.value, bool) or not isinstance(node.value, int):
        raise InvalidValue
    # YAML 1.1 reads 010 as 8, and its author probably means 10.
    if str(node.value) != node.text:
        raise InvalidValue(f"must be written in decimal; found {node.text}")
    if not least <= node.value <= most:
        raise InvalidValue
    return node.value


def _version(node: Node) -> Version:
    # YAML reads 1.30 as the number 1.3.
    if not isinstance(node, Scalar):
        raise InvalidValue
    try:
        version = Version.parse(node.text)
    except ValueError:
        raise InvalidValue from None
    if not version.is_plausible:
        raise InvalidValue
    return version


def _path(node: Node) -> PurePosixPath:
    text = string_of(node)
    if not text.startswith("/") or ".." in text.split("/") or not text.isprintable() or text.strip() != text:
        raise InvalidValue
    path = PurePosixPath("/" + text.lstrip("/"))
    if path == PurePosixPath("/"):
        raise InvalidValue
    return path


def _metrics_file(node: Node) -> PurePosixPath:
    path = _path(node)
    if path.suffix != ".prom":
        raise InvalidValue
    return path


def _command(node: Node) -> tuple[str, ...]:
    words = [string_of(node)] if isinstance(node, Scalar) else _words(node)
    if isinstance(node, Scalar) and " " in words[0]:
        raise InvalidValue("a command with arguments must be a list of words", node)
    try:
        _path(Scalar(words[0], words[0], node.line))
    except InvalidValue:
        raise InvalidValue(f"the program must be {PATH.allowed}; found {shown(words[0])}", node) from None
    return tuple(words)


def _words(node: Node) -> list[str]:
    if not isinstance(node, YamlSequence) or not node.items:
        raise InvalidValue
    words = []
    for item in node.items:
        # A word such as 20 or yes is passed as it is written.
        if not isinstance(item, Scalar) or is_empty(item):
            raise InvalidValue(f"each word must be a single value; found {describe_node(item)}", item)
        if not item.text.replace("\n", "").replace("\t", "").isprintable():
            raise InvalidValue(f"each word must be text without control characters; found {describe_node(item)}", item)
        words.append(item.text)
    if len(words) > _MOST_WORDS or sum(map(len, words)) > _LONGEST_COMMAND:
        raise InvalidValue(f"a command has at most {_MOST_WORDS} words and {_LONGEST_COMMAND} characters", node)
    return words


def _date(node: Node) -> str:
    from datetime import date

    text = string_of(node)
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
        raise InvalidValue
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise InvalidValue from None


def _names(allowed: str, is_valid: Callable[[str], object], each: str) -> ValueKind:
    """Return the kind of lists of unique names, each of which is valid."""

    def read(node: Node) -> tuple[str, ...]:
        if not isinstance(node, YamlSequence):
            raise InvalidValue
        found: list[str] = []
        for item in node.items:
            if not isinstance(item, Scalar):
                raise InvalidValue(f"each name must be a single value; found {describe_node(item)}", item)
            name = string_of(item)
            if not is_valid(name):
                raise InvalidValue(f"each name must be {each}; found {describe_node(item)}", item)
            if name in found:
                raise InvalidValue(f"each name must be unique; found {describe_node(item)} twice", item)
            found.append(name)
        return tuple(found)

    return ValueKind(allowed, read)


def _event_rate_limit(node: Node) -> EventRateLimit | None:
    if is_off(node):
        return None
    given = fields_of(node, EventRateLimit._fields)
    numbers = []
    for name in EventRateLimit._fields:
        if name not in given:
            raise InvalidValue(f"`{name}` is missing")
        value = given[name]
        try:
            numbers.append(_integer(value, 1, _MOST_EVENTS))
        except InvalidValue:
            problem = f"`{name}` must be a whole number, 1 to {_MOST_EVENTS}; found {describe_node(value)}"
            raise InvalidValue(problem, value) from None
    return EventRateLimit(*numbers)


BOOLEAN = ValueKind("true or false", _boolean)
PATH = optional(ValueKind("an absolute path without `..`", _path))
METRICS_FILE = optional(ValueKind("an absolute path without `..` that ends in .prom", _metrics_file))
COMMAND = optional(ValueKind("an absolute path, or a list of words whose first is one", _command))
_KNOWN = f"this release knows v{OLDEST_COVERED.family} to v{NEWEST_KNOWN.family}"
VERSION = optional(ValueKind(f"a K3s version such as v1.28.5+k3s1 or 1.28 ({_KNOWN})", _version))
DATE = ValueKind("a date such as 2027-06-30", _date)
NAMESPACES = _names("a list of namespace names", is_label, "a lower-case RFC 1123 label")
ACCOUNTS = _names(
    "a list of ServiceAccounts, each as NAMESPACE/default",
    lambda name: name.endswith("/default") and is_label(name.removesuffix("/default")),
    "the default account of a namespace, such as shop/default",
)
USERS = _names(
    "a list of user names, such as system:serviceaccount:cattle-system:rancher",
    lambda name: re.fullmatch(r"[A-Za-z0-9][-A-Za-z0-9:._@/]{0,252}", name),
    "letters, digits, and any of -:._@/",
)
EVENT_RATE_LIMIT = ValueKind(
    f"{OFF}, or a mapping of `qps` and `burst`, each a whole number, 1 to {_MOST_EVENTS}", _event_rate_limit
)
