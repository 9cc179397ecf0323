"""Unified diffs of found and expected files, without the secrets of K3s' configuration. Pure.

A secret is hidden by the parsed YAML, which resolves anchors and escapes, and by the key and patterns of its line.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

from agent.base import yaml_reader
from agent.base.errors import InputError
from agent.base.model import Absent, File
from agent.base.yaml_reader import Node, Scalar, YamlMapping
from agent.harden.guide.guide_files import POD_SECURITY_ADMISSION, POLICY_FILE
from agent.k3s.redaction import HIDDEN, is_secret, redacted, shown_key

_POD_SECURITY_FILE = POD_SECURITY_ADMISSION.path.name
_OPTIONAL = frozenset({"audit", "audit-version", "enforce-version", "exemptions", "warn", "warn-version"})
"""Keys of psa.yaml without which Pod Security enforces as much, or more."""
_SYSCTL_COMMENT_MARKS = ("#", ";")


def is_equivalent(name: str, first: bytes, other: bytes) -> bool:
    """Compare two contents of a file by meaning: YAML by its values, a sysctl.d(5) file by its assignments."""
    if name.endswith((".yaml", ".yml")):
        path = PurePosixPath(name)
        try:
            found, expected = _values(first, path), _values(other, path)
            # A file that begins as that of k3s-harden is cut off or edited, and not one of the site.
            is_own = name == _POD_SECURITY_FILE and first.partition(b"\n")[0] != other.partition(b"\n")[0]
            return found == expected or (is_own and _is_part(found, expected) and _is_part(expected, found, _OPTIONAL))
        except InputError:
            return False
    return name.endswith(".conf") and _assignments(first) == _assignments(other)


def _values(content: bytes, path: PurePosixPath) -> list[object]:
    return [value_of(document.node) for document in yaml_reader.read_documents(content, path)]


def value_of(node: Node) -> object:
    """Return the value of a node, for comparisons: without lines, comments and the order of keys."""
    if isinstance(node, Scalar):
        # With the type: 1 differs from "1", and True from 1.
        return type(node.value), node.value
    if isinstance(node, YamlMapping):
        return {entry.key: value_of(entry.node) for entry in node.entries}
    return [value_of(item) for item in node.items]


def _is_part(part: object, whole: object, optional: frozenset[str] = frozenset()) -> bool:
    """Return whether a value of a file has nothing that another one lacks, except under optional keys."""
    if isinstance(part, dict) and isinstance(whole, dict):
        required = part.keys() - optional
        return all(key in whole and _is_part(part[key], whole[key], optional) for key in required)
    if isinstance(part, list) and isinstance(whole, list):
        return all(any(_is_part(item, other, optional) for other in whole) for item in part)
    return part == whole


def _assignments(content: bytes) -> list[tuple[str, str]]:
    """Return the assignments, sorted. A repeated key is kept, so contents with and without the repetition differ."""
    lines = (line.strip() for line in content.decode("utf-8", "surrogateescape").split("\n"))
    parted = (line.partition("=") for line in lines if line and not line.startswith(_SYSCTL_COMMENT_MARKS))
    return sorted((key.strip(), value.strip()) for key, _, value in parted)


# (?<!...) lets a name begin only at its first character: the time is proportional to the length of a line.
_EXPLICIT_KEY = re.compile(r"\?\s+[\"']?([\w.-]+)\+?[\"']?")
_KEY = re.compile(r"(?<![\w.-])([\w.-]+)\+?[\"']?\s*[:=]")
_FIRST_KEY = re.compile(r"\s*(?:[-?#]\s+)*[\"']?[A-Za-z][\w.-]*\+?[\"']?\s*:(?=\s|$)")
_OTHER_LINE_BREAK = re.compile("\r(?!\n)|[\x85\u2028\u2029]")
_SHORTEST_PIECE = 4
_NO_NEWLINE = "\n\\ No newline at end of file"


class _Secrets(NamedTuple):
    """The secrets of a file, by its parsed content."""

    lines: frozenset[int]
    """Counted from 1: where a secret, or its key, begins."""
    pieces: tuple[str, ...]
    """Parts of secret values, the longest first."""


def unified(before: File | Absent, after: File | Absent) -> str:
    """Return a unified diff of a file's content; empty if only mode or owner differ."""
    name = after.id
    known = frozenset(_text(after).split("\n"))
    return "".join(
        difflib.unified_diff(_lines(before, known), _lines(after, known), f"{name} (found)", f"{name} (expected)")
    )


def _text(state: File | Absent) -> str:
    return state.content.decode("utf-8", "backslashreplace") if isinstance(state, File) else ""


def _lines(state: File | Absent, known: frozenset[str]) -> list[str]:
    """Return the lines of a file, each with its newline, as difflib requires."""
    text = _text(state)
    if not text:
        return []
    lines = text.removesuffix("\n").split("\n")
    if state.id.endswith((".yaml", ".yml")):
        secrets = _secrets(state, text)
        if secrets is None:
            lines = [line if raw in known else _without_value(line) for line, raw in zip(_by_key(lines), lines)]
        else:
            lines = _by_meaning(lines, secrets)
        lines = [line if _has_plausible_key(line) else HIDDEN for line in lines]
    else:
        lines = _by_key(lines)
    lines = [redacted(line) for line in lines]
    if state.id.endswith(POLICY_FILE):
        # The program's own lines have no secret.
        lines = [raw if raw in known else line for raw, line in zip(text.removesuffix("\n").split("\n"), lines)]
    if not text.endswith("\n"):
        lines[-1] += _NO_NEWLINE
    return [f"{line}\n" for line in lines]


def _secrets(state: File | Absent, text: str) -> _Secrets | None:
    """Return the secrets of a YAML file; None if it cannot be parsed."""
    if not isinstance(state, File) or _OTHER_LINE_BREAK.search(text):
        return None
    try:
        found = [
            node for document in yaml_reader.read_documents(state.content, state.path) for node in _walk(document.node)
        ]
    except InputError:
        return None
    pieces = {piece for _, value in found for piece in (value.strip(), *value.split()) if len(piece) >= _SHORTEST_PIECE}
    return _Secrets(frozenset(line for line, _ in found), tuple(sorted(pieces, key=len, reverse=True)))


def _walk(node: Node, *, is_hidden: bool = False) -> Iterator[tuple[int, str]]:
    """Yield line and value of each secret, and the line of its key."""
    if isinstance(node, Scalar):
        if (is_hidden and isinstance(node.value, (str, int)) and not isinstance(node.value, bool)) or (
            redacted(node.text) != node.text
        ):
            yield node.line, node.text
    elif isinstance(node, YamlMapping):
        for entry in node.entries:
            is_of_secret = is_hidden or is_secret(entry.key)
            found = tuple(_walk(entry.node, is_hidden=is_of_secret))
            if found and is_of_secret:
                yield entry.line, ""
            yield from found
    else:
        for item in node.items:
            yield from _walk(item, is_hidden=is_hidden)


def _by_meaning(lines: list[str], secrets: _Secrets) -> list[str]:
    """Hide the secrets that the parsed content has, then those that only their lines show."""
    shown = _by_key([_without_value(line) if n in secrets.lines else line for n, line in enumerate(lines, 1)])
    for piece in secrets.pieces:
        shown = [line.replace(piece, HIDDEN) for line in shown]
    return shown


def _has_plausible_key(line: str) -> bool:
    """Return whether a line has no key, or one that an option or a field of an object can have."""
    key, colon, _ = line.lstrip(" -?#").partition(":")
    return not colon or HIDDEN in (key, line) or shown_key(key.strip("\"' ")) != HIDDEN


def _without_value(line: str) -> str:
    """Return a line with only its first key."""
    if not line.strip() or line.strip() in ("---", "..."):
        return line
    key = _FIRST_KEY.match(line)
    return f"{key[0]} {HIDDEN}" if key else f"{line[: len(line) - len(line.lstrip())]}{HIDDEN}"


def _by_key(lines: list[str]) -> list[str]:
    """Hide the value after the key of a secret, and the following lines that belong to the value in YAML."""
    shown = []
    secret_at: int | None = None
    has_items = False
    for line in lines:
        depth = len(line) - len(line.lstrip())
        if not line.strip():
            shown.append(line)
            continue
        if secret_at is not None and (depth > secret_at or (depth == secret_at and has_items and line[depth] in "-:")):
            shown.append(f"{line[:depth]}{HIDDEN}")
            continue
        keys = (*_EXPLICIT_KEY.finditer(line), *_KEY.finditer(line))
        key = next((key for key in keys if is_secret(key[1]) or is_secret(key[1].lower())), None)
        secret_at = depth if HIDDEN in line or key is not None else None
        has_items = key is not None or line[depth] != "-"
        shown.append(line if key is None else f"{line[: key.end()]} {HIDDEN}")
    return shown
