"""The token file of the API server. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.k3s.components import values
from agent.k3s.components.files import decoding
from agent.k3s.components.files.schema import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import PurePosixPath

    from agent.errors import InputError


_TOKEN_COLUMNS = 3


def problems(data: bytes, path: PurePosixPath) -> Iterator[InputError]:
    """Yield the lines of a token file with less than three columns (apiserver, pkg/authentication/token/tokenfile)."""
    text = data.decode("utf-8", "replace")
    if '"' in text:
        return  # quoted fields can contain line breaks
    for number, line in enumerate(text.splitlines(), 1):
        if line and len(values.csv_record(line)) < _TOKEN_COLUMNS:
            yield decoding.error(path, Problem(number, "a line must have three columns: token, user name, user ID"))
            return
