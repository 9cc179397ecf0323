"""A JSON object that is read from a stream value by value, so that a large list never lies in memory as a whole."""

from __future__ import annotations

import re
from json import JSONDecoder
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.cluster.kubernetes.objects import Json

_CONTENT = re.compile(r"[^ \t\r\n]")
_CHUNK = 1 << 18
_LARGEST = 16 << 20
"""Characters of a value: the API server stores at most 1.5 MiB of a Node."""


def members(stream: TextIO) -> Iterator[tuple[str, Json]]:
    """Yield the keys of an object with their values: an array first as [], then each of its items as `KEY[]`.

    Raises ValueError or RecursionError for anything else.
    """
    text = _Text(stream)
    for _ in text.parts("{", "}"):
        key = str(text.value())
        text.take(":")
        if text.peek() == "[":
            yield key, []
            yield from ((f"{key}[]", text.value()) for _ in text.parts("[", "]"))
        else:
            yield key, text.value()
    if text.peek():
        raise ValueError("found more than one value")


class _Text:
    """The part of a text that has been read and not yet decoded."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._text, self._at = "", 0
        self._decoder = JSONDecoder()

    def peek(self) -> str:
        """Return the next character that is not white space; empty at the end."""
        while True:
            found = _CONTENT.search(self._text, self._at)
            if found:
                self._at = found.start()
                return found[0]
            self._at = len(self._text)
            if not self._more():
                return ""

    def take(self, expected: str) -> str:
        """Return the next character, which is one of those expected."""
        found = self.peek()
        if not found or found not in expected:
            raise ValueError(f"found {found or 'the end'}, expected one of {expected}")
        self._at += 1
        return found

    def parts(self, begin: str, end: str) -> Iterator[None]:
        """Take the brackets and commas of an array or object; the caller takes each part in between."""
        self.take(begin)
        separator = self.take(end) if self.peek() == end else ","
        while separator == ",":
            yield
            separator = self.take(f",{end}")

    def value(self) -> Json:
        """Return the next value."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except ValueError:
                if len(self._text) - self._at > _LARGEST or not self._more():
                    raise
            else:
                # A number may go on.
                if self._text[end : end + 1].strip(",:]} \t\r\n") != self._text[end : end + 1] or not self._more():
                    self._at = end
                    return value

    def _more(self) -> bool:
        rest = self._text[self._at :]
        chunk = self._stream.read(max(_CHUNK, len(rest)))
        self._text, self._at = rest + chunk, 0
        return bool(chunk)
