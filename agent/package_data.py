"""Files that come with this package, read alike from a directory and from a zip archive."""

from __future__ import annotations

from os import sep
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from typing import Protocol

    class _DataLoader(Protocol):
        def get_data(self, path: str) -> bytes: ...


def read(*path: str) -> bytes:
    """The content of a file, its path given in parts from the package's own directory."""
    # importlib.resources and pkgutil only wrap the loader, for 5 ms and more of imports.
    loader = cast("_DataLoader", __spec__.loader)
    return loader.get_data(f"{__file__.rpartition(sep)[0]}{sep}" + "/".join(path))
