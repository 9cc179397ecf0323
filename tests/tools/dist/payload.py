"""The payload of the packages: the files of this program's wheel and the pure-Python libraries that it imports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from zipfile import ZipFile

from tests.tools.dist.tools import wheels

CARRIED = ("annotated-doc", "click", "pyyaml", "rich", "shellingham", "typer")
"""Bundled libraries. psutil requires compiled code, and the program reads /proc without it."""


class Payload(NamedTuple):
    """Files by path relative to the directory on sys.path, and licence texts by library and name."""

    files: Mapping[PurePosixPath, bytes]
    licences: Mapping[PurePosixPath, bytes]


def gather(wheel: Path, libraries: Iterable[str] = CARRIED) -> Payload:
    files: dict[PurePosixPath, bytes] = {}
    licences: dict[PurePosixPath, bytes] = {}
    bundled = {name.replace("-", "_") for name in libraries}
    for source in (wheel, *wheels(CARRIED)):
        library = source.name.partition("-")[0]
        if source != wheel and library not in bundled:
            continue
        for path, data in _contents(source):
            if source == wheel:
                if path.parts[0] == "agent":
                    files[path] = data
            elif path.name.startswith("LICENSE"):
                licences[PurePosixPath(library, path.name)] = data
            elif path.suffix == ".py" and path.parts[0] != "_yaml":
                files[path] = data
    return Payload(dict(sorted(files.items())), dict(sorted(licences.items())))


def _contents(wheel: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    with ZipFile(wheel) as archive:
        for entry in archive.infolist():
            if not entry.is_dir():
                yield PurePosixPath(entry.filename), archive.read(entry)
