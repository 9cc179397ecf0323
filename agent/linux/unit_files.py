"""systemd's unit files as systemd.unit(5) finds and reads them: directories, drop-ins, and the words of a setting."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

UNIT_DIRECTORIES = tuple(
    map(
        PurePosixPath,
        (
            "/etc/systemd/system",
            "/run/systemd/system",
            "/usr/local/lib/systemd/system",
            "/usr/lib/systemd/system",
        ),
    )
)
"""Where systemd looks for units, first found first (systemd.unit(5)); drop-ins of all of them count."""

PACKAGED_UNITS = UNIT_DIRECTORIES[-1]
"""Where a distribution's package puts its units; those of the same name in an earlier directory would hide them."""


def settings(text: str, name: str) -> list[list[str]]:
    """The words of each line `name=…` of a unit, as systemd.syntax(7) takes quotes."""
    import shlex

    found = []
    for line in re.findall(rf"^{name}=(.*)$", text, re.MULTILINE):
        try:
            found.append(shlex.split(line))
        except ValueError:
            continue
    return found
