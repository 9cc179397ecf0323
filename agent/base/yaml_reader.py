"""YAML files that people wrote, as a small tree with line numbers. Pure, with limits on size, nesting and aliases.

JSON is YAML, so it is read, too. Plain scalars have the value that K3s reads (gopkg.in/yaml.v2): YAML 1.1's words for
booleans (`yes`, `on`, `off`, …), octal numbers with a leading 0, no base 60. Dates are text. Scalars keep their text.
"""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from agent.base import package_data
from agent.base.errors import InputError
from agent.base.model import Location
from agent.base.repair import Instruction
from agent.base.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import PurePosixPath

    from yaml import Event, YAMLError

    ScalarValue = Union[str, int, float, bool, None]

    """The value of a scalar. A bool is also an int in Python, so test for bool first."""

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
_FLOAT = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
_IN_NUMBERS = frozenset("+-.0123456789abcdefxoABCDEFXO")
"""The characters of all numbers."""
_LONGEST_NUMBER = 400
"""Digits: more than any finite float has before its point, and few enough to convert fast."""


def resolve(text: str) -> ScalarValue:
    """Return the value of a plain scalar (go-yaml v2.4.0, as in K3s: resolve.go)."""
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
    if len(plain) > _LONGEST_NUMBER or not _IN_NUMBERS.issuperset(plain):
        return None
    integer = go_integer(plain)
    # int64, or uint64 without a sign: Go has no larger integers.
    if integer is not None and -(2**63) <= integer < (2**63 if plain[0] in "+-" else 2**64):
        return integer
    if not re.fullmatch(_FLOAT, plain):
        return None
    number = float(plain)
    # Go's ParseFloat fails where Python's overflows.
    return None if number in (float("inf"), float("-inf")) else number


def go_integer(text: str) -> int | None:
    """Parse an integer as Go's strconv.ParseInt does with base 0: the prefix decides the base. None if it fails."""
    for base in (0, 8):  # with base 0, Python accepts only the prefix 0o for octal numbers
        with suppress(ValueError):
            return int(text, base)
    return None


MAX_BYTES = 1 << 20
"""Size of a file, in bytes. etcd rejects objects larger than 1.5 MiB, so no real manifest is much larger."""

MAX_NODES = 100_000
"""Nodes of a file, with every alias counted as its nodes."""

MAX_DEPTH = 64
"""Levels of nesting. The deepest PodSecurityPolicy has six. This module and its callers recurse."""

_LONGEST_SHOWN = 60
_DEEPEST_SIMPLE = 10
"""Maximum depth of mappings in a simple file."""
_NOT_PRINTABLE = "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
_TAG = "tag:yaml.org,2002:"
_RESOLVED_TAGS = frozenset(_TAG + name for name in ("bool", "int", "float", "null"))


class BoundsError(InputError):
    """A file exceeds the limits of this reader. It can be valid for programs with other limits."""


class Scalar(Value):
    """A single value."""

    value: ScalarValue
    text: str
    """The value as written, without quotes."""
    line: int
    """Counted from 1."""


class YamlSequence(Value):
    """A list."""

    items: tuple[Node, ...]
    line: int


class YamlMapping(Value):
    """Keys and values in the order in which they were written, duplicate keys included."""

    entries: tuple[KeyValue, ...]
    line: int

    def get(self, key: str) -> Node | None:
        """Return the value of a key, or None. Of duplicates the last, as in Go's YAML packages."""
        return next((entry.node for entry in reversed(self.entries) if entry.key == key), None)

    def text(self, key: str) -> str | None:
        """Return the value of a key if it is a string."""
        node = self.get(key)
        return node.value if isinstance(node, Scalar) and isinstance(node.value, str) else None

    def line_of(self, key: str) -> int:
        """Return the line of the value of a key; that of the mapping if the key is not set."""
        return (self.get(key) or self).line


class KeyValue(NamedTuple):
    """A key of a mapping, as written without quotes, with its line and its value."""

    key: str
    line: int
    node: Node


Node = Union[Scalar, YamlSequence, YamlMapping]


class Document(NamedTuple):
    """A document of a file. `---` separates documents; `line` is the first line."""

    node: Node
    line: int


def read_documents(
    data: bytes, path: PurePosixPath, *, max_bytes: int = MAX_BYTES, max_nodes: int = MAX_NODES
) -> tuple[Document, ...]:
    """Return all documents of a file; none for a file without content.

    Raises InputError if the file is not YAML, or neither UTF-8 nor UTF-16 with a byte order mark. Raises BoundsError if
    it has more than `max_bytes`, nests deeper than MAX_DEPTH, or has more than `max_nodes` nodes with aliases expanded
    (a few lines can mean billions).
    """
    text = _decoded(data, path, max_bytes)
    simple = simple_documents(text) if 2 * text.count("\n") < max_nodes else None
    return tuple(_documents(text, path, max_nodes)) if simple is None else simple


@lru_cache(maxsize=4)
def read_first_document(data: bytes, path: PurePosixPath) -> Node | None:
    """Return the first document of a file, or None if it has no content. Raises as `read`.

    Go's YAML packages do not parse what follows the first document, so it can be anything. Several findings read the
    same file, such as the operator's audit policy, so the last files are kept.
    """
    text = _decoded(data, path, MAX_BYTES)
    simple = simple_documents(text)
    first = next(_documents(text, path, MAX_NODES) if simple is None else iter(simple), None)
    return first and first.node


def shown(text: str, longest: int = _LONGEST_SHOWN) -> str:
    """Return a text for a message: on one line, without control characters, truncated if it is long."""
    cut = text if len(text) <= longest else f"{text[:longest]}…"
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in cut)


def describe_node(node: Node | None) -> str:
    """Return a short text for a value in a message, such as `'a'`, `1`, `a list` or `nothing`."""
    if node is None:
        return "nothing"
    if not isinstance(node, Scalar):
        return "a list" if isinstance(node, YamlSequence) else "a mapping"
    if node.value is None:
        return "nothing"
    text = shown(node.text)
    if isinstance(node.value, float) or (isinstance(node.value, bool) and text.lower() not in ("true", "false")):
        return f"{text}, which YAML reads as {str(node.value).lower()} unless it is in quotes"
    return f"'{text}'" if isinstance(node.value, str) else text


def placeholder_problem(scalar: Scalar) -> str:
    """Return a message if a scalar contains a placeholder such as <NAMESPACE>, else an empty text."""
    match = re.search(r"<[^<>\s][^<>]*>", scalar.text)
    return f"the placeholder {shown(match[0])} is not filled in" if match else ""


def alternatives(words: Iterable[str]) -> str:
    """Return the words as `a, b or c`."""
    *others, last = words
    return f"{', '.join(others)} or {last}"


def duplicates(mapping: YamlMapping) -> tuple[tuple[KeyValue, KeyValue], ...]:
    """Return each repeated key of a mapping as a pair: the first entry and the repetition."""
    first: dict[str, KeyValue] = {}
    return tuple(
        (first[entry.key], entry) for entry in mapping.entries if first.setdefault(entry.key, entry) is not entry
    )


def merged(node: Node) -> Node:
    """Return a node with the entries of its merge keys (`<<`) merged, as Go's YAML packages do."""
    if isinstance(node, YamlSequence):
        return YamlSequence(tuple(merged(item) for item in node.items), node.line)
    if not isinstance(node, YamlMapping):
        return node
    entries = tuple(entry._replace(node=merged(entry.node)) for entry in node.entries)
    own = [entry for entry in entries if entry.key != _MERGE]
    keys = {entry.key for entry in own}
    for entry in entries:
        sources = entry.node.items if isinstance(entry.node, YamlSequence) else (entry.node,)
        for source in sources if entry.key == _MERGE else ():
            others = source.entries if isinstance(source, YamlMapping) else ()
            new = [entry for entry in others if entry.key not in keys]
            keys |= {entry.key for entry in new}
            own += new
    return YamlMapping(tuple(own), node.line)


_MERGE = "<<"


def json_problem(data: bytes) -> str:
    """Return why a file that starts like JSON is not JSON; empty if it is, or does not start so.

    Kubernetes reads a file whose first character is `{` as JSON and not as YAML (apimachinery, IsJSONBuffer).
    """
    if not data.lstrip().startswith(b"{"):
        return ""
    import json  # few runs need it

    try:
        json.loads(data.decode(errors="replace"), parse_constant=_not_json)
    except ValueError as error:
        return f"it starts with {{ and is not JSON: {error}"
    return ""


def _not_json(word: str) -> float:
    raise ValueError(f"found {word}")


def first_object(data: bytes, path: PurePosixPath) -> Node | None:
    """Return the first document as Kubernetes reads it, with merge keys merged. Raises InputError as read_documents."""
    problem = json_problem(data)
    if problem:
        raise InputError(Location(path), problem)
    document = read_first_document(data, path)
    return document and merged(document)


def part(node: Node | None, *keys: str) -> Node | None:
    """Return the value at a path of keys; None if there is none."""
    for key in keys:
        node = node.get(key) if isinstance(node, YamlMapping) else None
    return node


def text_at(node: Node | None, *keys: str) -> str:
    """Return the string at a path of keys; empty if there is none."""
    found = part(node, *keys)
    return found.value if isinstance(found, Scalar) and isinstance(found.value, str) else ""


def items(node: Node | None) -> tuple[Node, ...]:
    """Return the items of a list; none if the node is not a list."""
    return node.items if isinstance(node, YamlSequence) else ()


def mappings(node: Node | None) -> list[YamlMapping]:
    """Return the mappings in a list; none if the node is not a list."""
    return [item for item in items(node) if isinstance(item, YamlMapping)]


def texts(node: Node | None) -> list[str]:
    """Return the scalars in a list as texts; none if the node is not a list."""
    return [item.text for item in items(node) if isinstance(item, Scalar)]


def scalars(node: Node) -> Iterator[Scalar]:
    """Yield all scalar values below a node, without keys, in the order in which they were written."""
    if isinstance(node, Scalar):
        yield node
    elif isinstance(node, YamlSequence):
        for item in node.items:
            yield from scalars(item)
    else:
        for entry in node.entries:
            yield from scalars(entry.node)


def plain(node: Node) -> Any:  # noqa: ANN401 - as json.loads
    """Return a node without its lines: a value, list or dictionary."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, YamlSequence):
        return list(map(plain, node.items))
    return {entry.key: plain(entry.node) for entry in node.entries}


def _decoded(data: bytes, path: PurePosixPath, max_bytes: int) -> str:
    if len(data) > max_bytes:
        raise BoundsError(Location(path), f"it has {len(data)} bytes; k3s-harden reads at most {max_bytes}")
    # Go's YAML packages read UTF-16, too, if the file starts with a byte order mark (yamlh.go, readerc.go).
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        at = Location(path, line)
        raise InputError(at, "the file is not UTF-8 text", Instruction("save the file as UTF-8", at)) from None


def _documents(text: str, path: PurePosixPath, max_nodes: int) -> Iterator[Document]:
    unprintable = re.search(_NOT_PRINTABLE, text)
    if unprintable:
        line = text.count("\n", 0, unprintable.start()) + 1
        code = f"U+{ord(unprintable[0]):04X}"
        problem = f"the file contains the character {code}, which YAML does not allow"
        at = Location(path, line)
        raise InputError(at, problem, Instruction("remove the character", at))
    import yaml

    # Not yaml.compose: it rejects a repeated anchor, which go-yaml accepts, and has no limit on depth.
    events: Iterator[Event] = yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    builder = _Builder(events, path, max_nodes)
    try:
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                document = builder.document(_line(event))
                next(events)  # the end of the document
                yield document
    except yaml.YAMLError as error:
        raise syntax_error(error, text, path) from None


class _Builder:
    """Builds nodes from PyYAML's events, within the limits. An alias counts as its nodes."""

    __slots__ = ("anchors", "events", "max_nodes", "path", "weight")

    def __init__(self, events: Iterator[Event], path: PurePosixPath, max_nodes: int) -> None:
        self.events = events
        self.path = path
        self.max_nodes = max_nodes
        self.weight = 0
        self.anchors: dict[str, tuple[Node, int]] = {}

    def document(self, line: int) -> Document:
        self.anchors = {}
        return Document(self._node(next(self.events), 0), line)

    def _node(self, event: Event, depth: int) -> Node:
        import yaml

        line, before = _line(event), self.weight
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor or "", line)
        self._count(1, line)
        if isinstance(event, yaml.ScalarEvent):
            is_plain = event.implicit[0] if event.tag is None else event.tag in _RESOLVED_TAGS
            node: Node = Scalar(resolve(event.value) if is_plain else event.value, event.value, line)
        elif depth >= MAX_DEPTH:
            raise BoundsError(Location(self.path, line), f"it nests deeper than {MAX_DEPTH} levels")
        elif isinstance(event, yaml.MappingStartEvent):
            node = YamlMapping(tuple(self._entries(depth + 1)), line)
        else:
            node = YamlSequence(tuple(self._node(item, depth + 1) for item in self._until(yaml.SequenceEndEvent)), line)
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self.anchors[anchor] = (node, self.weight - before)
        return node

    def _entries(self, depth: int) -> Iterator[KeyValue]:
        import yaml

        for event in self._until(yaml.MappingEndEvent):
            key = self._node(event, depth)
            if not isinstance(key, Scalar):
                problem, at = "a list or a mapping cannot be a key", Location(self.path, key.line)
                raise InputError(at, problem, Instruction("use a text as the key", at))
            yield KeyValue(key.text, key.line, self._node(next(self.events), depth))

    def _until(self, end: type[Event]) -> Iterator[Event]:
        for event in self.events:
            if isinstance(event, end):
                return
            yield event

    def _alias(self, name: str, line: int) -> Node:
        if name not in self.anchors:
            # Also an alias inside the value of its own anchor, which is not complete yet.
            at = Location(self.path, line)
            raise InputError(at, "an alias has no anchor before it", Instruction(_ANCHOR, at))
        node, weight = self.anchors[name]
        self._count(weight, line)
        return node

    def _count(self, weight: int, line: int) -> None:
        self.weight += weight
        if self.weight > self.max_nodes:
            problem = f"it has more than {self.max_nodes} values, with aliases expanded"
            raise BoundsError(Location(self.path, line), problem)


def _line(event: Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


_ANCHOR = "put a text that begins with `*` in quotes, or define the anchor before it"


class _Line(NamedTuple):
    """A line of a simple file: a key with or without a word, a key with an empty mapping, or an item of a list."""

    indent: int
    key: str | None
    word: str | None
    empty: str | None
    item: str | None
    number: int


def simple_documents(text: str) -> tuple[Document, ...] | None:
    """Read a file that contains only comments, `key: word`, `key: {}`, and `key:` with a list or a mapping of these.

    None for any other file. PyYAML has the same result, but its import takes longer than the rest of a run without
    changes. Most files of K3s' configuration are simple, and those that K3s writes for the kubelet and etcd.
    """
    lines = _simple_lines(text)
    if not lines:
        return None if lines is None else ()
    mapping, end = _simple_mapping(lines, 0, 0)
    return (Document(mapping, mapping.line),) if end == len(lines) and mapping.entries else None


def _simple_lines(text: str) -> list[_Line] | None:
    word = r'(?:[\w/](?:[\w./=,@%+:-]*[\w./=,@%+-])?|"[ !#-\[\]-~]*")'
    indent = rf"((?:  ){{,{_DEEPEST_SIMPLE}}})"
    pattern = rf"(?:#[ -~]*|{indent}(?:([A-Za-z][\w.+-]{{,99}}):(?: ({word})|( {{}}))?|- ({word})))?\n"
    match = re.compile(pattern, re.ASCII).match
    lines: list[_Line] = []
    number, end = 1, 0
    while end < len(text):
        found = match(text, end)
        if found is None:
            return None
        spaces, key, value, empty, item = found.groups()
        if spaces is not None:
            lines.append(_Line(len(spaces), key, value, empty, item, number))
        number += 1
        end = found.end()
    return lines


def _simple_mapping(lines: list[_Line], at: int, indent: int) -> tuple[YamlMapping, int]:
    """Return the mapping that begins at a line, and the first line that does not belong to it.

    A file that is not simple has lines that belong to no mapping, or the result is past the last line.
    """
    first, entries = lines[at].number, []
    while at < len(lines) and lines[at].indent == indent and lines[at].key:
        line, after = lines[at], lines[at + 1] if at + 1 < len(lines) else None
        at += 1
        if line.word:
            node: Node = _word(line.word, line.number)
        elif line.empty:
            node = YamlMapping((), line.number)
        elif after and after.item and after.indent in (indent, indent + 2):
            node, at = _simple_list(lines, at, after.indent)
        elif after and after.key and after.indent == indent + 2:
            node, at = _simple_mapping(lines, at, after.indent)
        else:
            return YamlMapping((), first), len(lines) + 1  # a key without a value
        entries.append(KeyValue(line.key or "", line.number, node))
    return YamlMapping(tuple(entries), first), at


def _simple_list(lines: list[_Line], at: int, indent: int) -> tuple[YamlSequence, int]:
    first, words = lines[at].number, []
    while at < len(lines) and lines[at].indent == indent and (item := lines[at].item):
        words.append(_word(item, lines[at].number))
        at += 1
    return YamlSequence(tuple(words), first), at


def _word(written: str, line: int) -> Scalar:
    if written[0] == '"':
        return Scalar(written[1:-1], written[1:-1], line)
    return Scalar(resolve(written), written, line)


class _Mistake(NamedTuple):
    """A row of mistakes.tsv."""

    words: str
    problem: str
    fix: str
    begin: str = ""

    def is_in(self, message: str) -> bool:
        """Return whether a message of PyYAML is about this mistake."""
        return any(words in message for words in self.words.split(" | "))


def syntax_error(error: YAMLError, text: str, path: PurePosixPath) -> InputError:
    """Return the error for a file that PyYAML rejects, with the line and the fix of a usual mistake."""
    # PyYAML's own message quotes the line, which can contain a secret. This one has only the kind of the problem. Names
    # in <> are tokens of YAML.
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "context", None) or "it cannot be parsed"
    mistakes = [_Mistake(*cells) for cells in package_data.rows("base", "yaml_reader", "mistakes.tsv")]
    found = next((mistake for mistake in mistakes if mistake.is_in(problem)), None)
    if found is not None:
        # Of the mark, only the index does not depend on what ends a line: YAML counts U+2028, too.
        character = text[mark.index : mark.index + 1] if mark and "{}" in found.problem else ""
        found = mistakes[0] if character == "\t" else found
        problem = found.problem.format(character)
        mark = (getattr(error, "context_mark", None) if found.begin else None) or mark
    else:
        problem = re.sub(r"(['\"])(?!<)..+\1", "a text", problem)
    location = Location(path, mark.line + 1 if mark else 0)
    fix = "correct the YAML" if found is None else found.fix
    return InputError(location, f"the file is not YAML: {problem}", Instruction(fix, location))
