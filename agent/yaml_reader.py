"""YAML that people wrote, read into a small tree that keeps the line of everything. Pure and bounded.

JSON is YAML, so it is read, too. Plain scalars mean what they mean to K3s, which reads its configuration with
gopkg.in/yaml.v2: YAML 1.1's words for booleans (`yes`, `on`, `off`, …), octal numbers with a leading 0, no base 60.
Dates stay text. The text as it was written is kept beside each value.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from agent.errors import InputError
from agent.model import Location

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import PurePosixPath

    from yaml import Event, ScalarEvent, YAMLError

MAX_BYTES = 1 << 20
"""Size of a file, in bytes. etcd takes no object larger than 1.5 MiB, so no real manifest is much larger."""

MAX_NODES = 100_000
"""Nodes of a file with every alias counted as what it stands for, as its readers will meet it."""

MAX_DEPTH = 64
"""Levels of nesting. The deepest PodSecurityPolicy has six; the readers of the tree may recurse."""

_BOOLEANS = {
    word: value
    for value, words in ((True, "y yes true on"), (False, "n no false off"))
    for lower in words.split()
    for word in (lower, lower.capitalize(), lower.upper())
}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_FLOATS = {
    f"{sign}.{word}": float(f"{sign}{word}")
    for sign, words in (("", "inf Inf INF nan NaN NAN"), ("+", "inf Inf INF"), ("-", "inf Inf INF"))
    for word in words.split()
}
# Patterns that most runs do not need are left to be compiled at their first use.
_INTEGER = r"([-+]?)(?:(0[xX])([0-9a-fA-F]+)|(0[bB])([01]+)|(0[oO]?)([0-7]+)|([1-9][0-9]*|0))"
_FLOAT = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
_LONGEST_NUMBER = 400
"""Digits: more than any finite float has before its point, and few enough to convert at once."""
_LONGEST_SHOWN = 60
_NOT_PRINTABLE = "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
_TAG = "tag:yaml.org,2002:"
_RESOLVED_TAGS = frozenset(_TAG + name for name in ("bool", "int", "float", "null"))

Value = str | int | float | bool | None
"""What a scalar can stand for; a bool is an int to Python, so ask for bool first."""


class BoundsError(InputError):
    """A file is beyond the bounds of this reader. It may well be right: other programs have bounds of their own."""


class Scalar(NamedTuple):
    """A single value; `text` is it as written, without quotes. Lines count from 1."""

    value: Value
    text: str
    line: int


class Sequence(NamedTuple):
    """A list."""

    items: tuple[Node, ...]
    line: int


class Mapping(NamedTuple):
    """Keys and values in the order they were written. Duplicates are all there: whether they are wrong, readers say."""

    entries: tuple[Entry, ...]
    line: int

    def get(self, key: str) -> Node | None:
        """The value of a key, None where it is not there; of duplicates the last, as Go's YAML packages do."""
        return next((entry.node for entry in reversed(self.entries) if entry.key == key), None)

    def text(self, key: str) -> str | None:
        """The value of a key, if it is a string."""
        node = self.get(key)
        return node.value if isinstance(node, Scalar) and isinstance(node.value, str) else None


class Entry(NamedTuple):
    """A key of a mapping, as written without quotes, the key's line, and the value."""

    key: str
    line: int
    node: Node


Node = Scalar | Sequence | Mapping


class Document(NamedTuple):
    """One of the documents of a file, which `---` divides; `line` is the one on which it begins."""

    node: Node
    line: int


def read(
    data: bytes, path: PurePosixPath, *, max_bytes: int = MAX_BYTES, max_nodes: int = MAX_NODES
) -> tuple[Document, ...]:
    """Read all documents of a file; one without any content gives none.

    Raises InputError with file and, where there is one, line: not UTF-8, or not YAML. BoundsError is for what is larger
    than `max_bytes`, nested deeper than MAX_DEPTH, or has more than `max_nodes` nodes once aliases are followed (a few
    lines of them can stand for billions).
    """
    text = _decoded(data, path, max_bytes)
    simple = _simple(text) if 2 * text.count("\n") < max_nodes else None
    if simple is not None:
        return simple
    _refuse_unprintable(text, path)
    return tuple(_documents(_events(text), path, max_nodes))


def shown(text: str) -> str:
    """A key or a value in a message: on one line, without what a terminal would obey, and cut where it gets long."""
    cut = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in cut)


def in_words(node: Node) -> str:
    """A value as a person wrote it, in few enough characters for a message."""
    if not isinstance(node, Scalar):
        kind = "list" if isinstance(node, Sequence) else "mapping"
        return f"a {kind}"
    if node.value is None:
        return "nothing"
    text = shown(node.text)
    return f"'{text}'" if isinstance(node.value, str) else text


def left_in_placeholder(scalar: Scalar) -> str:
    """The complaint about a placeholder such as <NAMESPACE> that nobody filled in; empty where there is none."""
    match = re.search(r"<[^<>\s][^<>]*>", scalar.text)
    return f"the placeholder {shown(match[0])} was left in" if match else ""


def alternatives(words: Iterable[str]) -> str:
    """`a, b or c`."""
    *others, last = words
    return f"{', '.join(others)} or {last}"


def duplicates(mapping: Mapping) -> tuple[tuple[Entry, Entry], ...]:
    """The entries of a mapping whose key stands before them already, each after the entry it repeats."""
    first: dict[str, Entry] = {}
    return tuple(
        (first[entry.key], entry) for entry in mapping.entries if first.setdefault(entry.key, entry) is not entry
    )


def scalars(node: Node) -> Iterator[Scalar]:
    """All scalar values below a node, keys not among them, in the order they were written."""
    if isinstance(node, Scalar):
        yield node
    elif isinstance(node, Sequence):
        for item in node.items:
            yield from scalars(item)
    else:
        for entry in node.entries:
            yield from scalars(entry.node)


def resolve(text: str) -> Value:
    """What a plain scalar stands for (go-yaml v2: resolve.go, of which K3s has 2.4.0)."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if text in _FLOATS:
        return _FLOATS[text]
    number = _number(text) if text[0] in "+-.0123456789" else None
    return text if number is None else number


def _number(text: str) -> int | float | None:
    plain = text if text[0] == "." else text.replace("_", "")
    if len(plain) > _LONGEST_NUMBER:
        return None
    integer = _integer(plain)
    if integer is not None or not re.fullmatch(_FLOAT, plain):
        return integer
    number = float(plain)
    # Go's ParseFloat fails where Python's overflows.
    return None if number in (float("inf"), float("-inf")) else number


def _integer(plain: str) -> int | None:
    match = re.fullmatch(_INTEGER, plain)
    if match is None:
        return None
    sign, hexadecimal, hex_digits, binary, binary_digits, octal, octal_digits, decimal = match.groups()
    base = 16 if hexadecimal else 2 if binary else 8 if octal else 10
    number = int(hex_digits or binary_digits or octal_digits or decimal, base)
    number = -number if sign == "-" else number
    # int64, and uint64 for what has no sign: Go has no larger integers.
    return number if -(2**63) <= number < (2**63 if sign else 2**64) else None


def _decoded(data: bytes, path: PurePosixPath, max_bytes: int) -> str:
    if len(data) > max_bytes:
        raise BoundsError(Location(path), f"it has {len(data)} bytes, and k3s-harden reads at most {max_bytes}")
    try:
        return data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(Location(path, line), "it is not UTF-8 text", "save the file as UTF-8") from None


def _refuse_unprintable(text: str, path: PurePosixPath) -> None:
    unprintable = re.search(_NOT_PRINTABLE, text)
    if unprintable:
        line = text.count("\n", 0, unprintable.start()) + 1
        code = f"U+{ord(unprintable[0]):04X}"
        raise InputError(Location(path, line), f"it has the character {code}, which YAML does not allow")


def _simple(text: str) -> tuple[Document, ...] | None:
    """What PyYAML makes of a file that is all comments, `key: word`, and `key:` with a list of words; else None.

    Most files of K3s' configuration are, ours too, and the import of PyYAML takes longer than the whole rest of a run
    that has nothing to do.
    """
    word = r'(?:[\w/](?:[\w./=,@%+:-]*[\w./=,@%+-])?|"[ !#-\[\]-~]*")'
    block = re.compile(rf"(?:#[ -~]*)?\n|([A-Za-z][\w.+-]{{,99}}):(?: ({word})\n|\n((?:  - {word}\n)+))", re.ASCII)
    entries: list[Entry] = []
    line, end = 1, 0
    while end < len(text):
        match = block.match(text, end)
        if match is None:
            return None
        key, value, items = match.groups()
        if value:
            entries.append(Entry(key, line, _word(value, line)))
        elif items:
            words = [_word(item[4:], number) for number, item in enumerate(items.splitlines(), line + 1)]
            entries.append(Entry(key, line, Sequence(tuple(words), line + 1)))
        line += match[0].count("\n")
        end = match.end()
    return (Document(Mapping(tuple(entries), entries[0].line), entries[0].line),) if entries else ()


def _word(written: str, line: int) -> Scalar:
    if written[0] == '"':
        return Scalar(written[1:-1], written[1:-1], line)
    return Scalar(resolve(written), written, line)


def _events(text: str) -> Iterator[Event]:
    # Events, not yaml.compose: composing recurses, and follows aliases before anyone could count them.
    import yaml

    return yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


class _Open:
    """A collection whose end has not come yet. `weight` counts its nodes, aliases as what they stand for."""

    __slots__ = ("anchor", "is_mapping", "key", "line", "nodes", "weight")

    def __init__(self, *, is_mapping: bool, anchor: str | None, line: int) -> None:
        self.is_mapping = is_mapping
        self.anchor = anchor
        self.line = line
        self.nodes: list[Node | Entry] = []
        self.key: Scalar | None = None
        self.weight = 1

    def closed(self) -> Node:
        if self.is_mapping:
            return Mapping(tuple(node for node in self.nodes if isinstance(node, Entry)), self.line)
        return Sequence(tuple(node for node in self.nodes if not isinstance(node, Entry)), self.line)


def _documents(events: Iterator[Event], path: PurePosixPath, max_nodes: int) -> Iterator[Document]:
    import yaml

    builder = _Builder(path, max_nodes)
    start = 1
    try:
        for event in events:
            line = event.start_mark.line + 1 if event.start_mark else start
            match event:
                case yaml.DocumentStartEvent():
                    start = line
                    builder.begin()
                case yaml.DocumentEndEvent() if builder.root is not None:
                    yield Document(builder.root, start)
                case yaml.AliasEvent():
                    builder.alias(event.anchor or "", line)
                case yaml.ScalarEvent():
                    builder.add(_scalar(event, line), event.anchor)
                case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                    is_mapping = isinstance(event, yaml.MappingStartEvent)
                    builder.open(_Open(is_mapping=is_mapping, anchor=event.anchor, line=line))
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    builder.close()
                case _:
                    pass  # the ends of the stream, and of a document without content
    except yaml.YAMLError as error:
        raise _syntax_error(error, path) from None


def _scalar(event: ScalarEvent, line: int) -> Scalar:
    plain = event.implicit[0] if event.tag is None else event.tag in _RESOLVED_TAGS
    return Scalar(resolve(event.value) if plain else event.value, event.value, line)


class _Builder:
    """Puts nodes together as the parser meets them, and refuses what grows beyond the bounds."""

    __slots__ = ("anchors", "max_nodes", "nodes", "opened", "path", "root")

    def __init__(self, path: PurePosixPath, max_nodes: int) -> None:
        self.path = path
        self.max_nodes = max_nodes
        self.nodes = 0
        self.begin()

    def begin(self) -> None:
        self.opened: list[_Open] = []
        self.anchors: dict[str, tuple[Node, int]] = {}
        self.root: Node | None = None

    def open(self, collection: _Open) -> None:
        if len(self.opened) >= MAX_DEPTH:
            raise BoundsError(Location(self.path, collection.line), f"it is nested deeper than {MAX_DEPTH} levels")
        self._count(1, collection.line)
        self.opened.append(collection)

    def close(self) -> None:
        collection = self.opened.pop()
        self._place(collection.closed(), collection.anchor, collection.weight)

    def add(self, scalar: Scalar, anchor: str | None) -> None:
        self._count(1, scalar.line)
        self._place(scalar, anchor, 1)

    def alias(self, name: str, line: int) -> None:
        if name not in self.anchors:
            # Also what an anchor inside its own value looks like: it is not complete yet.
            raise InputError(Location(self.path, line), f"the alias *{name} has no anchor before it")
        node, weight = self.anchors[name]
        self._count(weight, line)
        self._place(node, None, weight)

    def _count(self, weight: int, line: int) -> None:
        self.nodes += weight
        if self.nodes > self.max_nodes:
            problem = f"it has more than {self.max_nodes} values, aliases counted as what they stand for"
            raise BoundsError(Location(self.path, line), problem)

    def _place(self, node: Node, anchor: str | None, weight: int) -> None:
        if anchor is not None:
            self.anchors[anchor] = (node, weight)
        if not self.opened:
            self.root = node
            return
        parent = self.opened[-1]
        parent.weight += weight
        if not parent.is_mapping:
            parent.nodes.append(node)
        elif parent.key is not None:
            parent.nodes.append(Entry(parent.key.text, parent.key.line, node))
            parent.key = None
        elif isinstance(node, Scalar):
            parent.key = node
        else:
            raise InputError(Location(self.path, node.line), "a list or a mapping cannot be a key")


def _syntax_error(error: YAMLError, path: PurePosixPath) -> InputError:
    # PyYAML's own text would quote the line, which can hold a token: only its name for the problem is used.
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    location = Location(path, mark.line + 1 if mark else 0)
    problem = getattr(error, "problem", None) or getattr(error, "context", None) or "it cannot be parsed"
    return InputError(location, f"it is not YAML: {problem}")
