"""A JSON object that is read from a stream value by value, so that a large list never lies in memory as a whole."""

from __future__ import annotations

from json import JSONDecoder
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.cluster.kubernetes.objects import Json

_CHUNK = 1 << 18
_LARGEST = 16 << 20
"""Characters of a value: the API server stores at most 1.5 MiB of a Node."""


def members(stream: TextIO) -> Iterator[tuple[str, Json]]:
    """Yield the keys of an object with their values: an array first as [], then each of its items as `KEY[]`.

    Raises ValueError or RecursionError for anything else.
    """
    text = _Text(stream)
    text.take("{")
    separator = text.take("}") if text.peek() == "}" else ","
    while separator == ",":
        key = str(text.value())
        text.take(":")
        if text.peek() == "[":
            yield key, []
            yield from ((f"{key}[]", item) for item in _items(text))
        else:
            yield key, text.value()
        separator = text.take(",}")
    if text.peek():
        raise ValueError("found more than one value")


def _items(text: _Text) -> Iterator[Json]:
    text.take("[")
    separator = text.take("]") if text.peek() == "]" else ","
    while separator == ",":
        yield text.value()
        separator = text.take(",]")


class _Text:
    """The part of a text that has been read and not yet decoded."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._text, self._at = "", 0
        self._decoder = JSONDecoder()

    def peek(self) -> str:
        """Return the next character that is not white space; empty at the end."""
        while True:
            rest = self._text[self._at : self._at + 64].lstrip(" \t\r\n")
            if rest:
                self._at = self._text.index(rest[0], self._at)
                return rest[0]
            self._at = min(self._at + 64, len(self._text))
            if self._at == len(self._text) and not self._more():
                return ""

    def take(self, expected: str) -> str:
        """Return the next character, which is one of those expected."""
        found = self.peek()
        if not found or found not in expected:
            raise ValueError(f"found {found or 'the end'}, expected one of {expected}")
        self._at += 1
        return found

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
