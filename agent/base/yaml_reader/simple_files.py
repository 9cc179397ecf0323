"""Simple YAML files, which are read without PyYAML. Pure.

PyYAML has the same result, but its import takes longer than the rest of a run without changes. Most files of K3s'
configuration are simple, and those that K3s writes for the kubelet and etcd.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from agent.base.yaml_reader import Document, KeyValue, Scalar, YamlMapping, YamlSequence
from agent.base.yaml_reader.plain_scalars import resolve

if TYPE_CHECKING:
    from agent.base.yaml_reader import Node

_DEEPEST_SIMPLE = 10
"""Maximum depth of mappings in a simple file."""


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

    None for any other file.
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
