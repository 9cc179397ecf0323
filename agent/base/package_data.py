"""Files of this package, read from a directory or from a zip archive."""

from __future__ import annotations

from collections.abc import Iterator
from os import sep
from typing import Protocol


class _DataLoader(Protocol):
    def get_data(self, path: str) -> bytes: ...


def read(*path: str) -> bytes:
    """Return the content of a file. The path is given in parts, relative to the package."""
    # importlib.resources and pkgutil wrap the same loader, but importing them costs more than 5 ms.
    loader: _DataLoader = __spec__.loader  # type: ignore[assignment] # importlib's have get_data
    return loader.get_data(f"{__file__.rpartition(f'{sep}base{sep}')[0]}{sep}" + "/".join(path))


def rows(*path: str) -> Iterator[list[str]]:
    """Yield the cells of each row of a table; a line that begins with # is a comment."""
    return (cells for _, cells in located_rows(*path))


def located_rows(*path: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each row of a table with its file and line."""
    for number, line in enumerate(read(*path).decode().splitlines(), 1):
        if not line.startswith("#"):
            yield f"agent/{'/'.join(path)}:{number}", line.split("\t")


def records(*path: str) -> Iterator[dict[str, str]]:
    """Yield the records of a table with named columns: paragraphs of `column: value`.

    A value continues in lines that begin with two spaces.
    """
    for paragraph in read(*path).decode().rstrip("\n").replace("\n  ", " ").split("\n\n"):
        yield dict(line.split(": ", 1) for line in paragraph.split("\n"))
