"""Rows of a SQLite database that another process writes, read in one short transaction."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from agent.base.errors import HostError

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from agent.base.host import Host

_STEPS = 10_000
"""Instructions of SQLite's virtual machine between two looks at the clock: less than 1 ms."""


def read_rows(host: Host, file: PurePosixPath, query: str, *, most: int, seconds: float) -> list[tuple[Any, ...]]:
    """Return at most this many rows. Raises HostError, also after this time.

    With the write-ahead log, which K3s uses, a reader does not block writers.
    """
    problem = host.tree.trust_problem(file)
    if problem:
        raise HostError(f"cannot read {file}: {problem}")
    try:
        import sqlite3
    except ImportError:
        raise HostError(f"cannot read {file}: this Python has no module sqlite3") from None
    end = time.monotonic() + seconds
    place = quote(f"{host.root.rstrip('/')}{file}")
    try:
        with closing(sqlite3.connect(f"file:{place}?mode=ro", uri=True, timeout=seconds)) as connection:
            connection.set_progress_handler(lambda: int(time.monotonic() > end), _STEPS)
            return connection.execute(query).fetchmany(most)
    except sqlite3.Error as error:
        raise HostError(f"cannot read {file}: {error}") from error
