"""The text of a drop-in of K3s' configuration. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent.base.yaml_reader.plain_scalars import resolve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PLAIN = r"(?a)[A-Za-z/](?:[\w./=,@%+:-]*[\w./=,@%+-])?"
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def dropin(header: str, scalars: Mapping[str, str | bool], lists: Mapping[str, Sequence[str]]) -> bytes:
    """Return a drop-in: `header` as comments, `key: value` for scalars, `key+:` with its items for lists.

    Equal arguments result in equal bytes, with the keys in their given order. A list without items is omitted.
    K3s removes spaces at both ends of a value.
    """
    lines = [f"# {line}".rstrip() for line in header.splitlines()]
    lines += [
        f"{_quoted(key)}: {str(value).lower() if isinstance(value, bool) else _quoted(value)}"
        for key, value in scalars.items()
    ]
    for key, items in lists.items():
        if items:
            lines.append(f"{_quoted(f'{key}+')}:")
            lines += [f"  - {_quoted(item)}" for item in items]
    return "".join(f"{line}\n" for line in lines).encode()


def _quoted(text: str) -> str:
    """Return the text as a plain YAML scalar if that reads back as the same text, else in double quotes."""
    if re.fullmatch(_PLAIN, text) and resolve(text) == text:
        return text
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isascii() and character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004 - the limits of each escape
