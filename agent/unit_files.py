"""systemd's unit files as systemd.unit(5) finds and reads them: directories, drop-ins, and the words of a setting."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.errors import HostError
from agent.model import File

if TYPE_CHECKING:
    from agent.host import Host

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


def is_masked(host: Host, path: PurePosixPath) -> bool:
    """Whether a unit or drop-in is there to hide those of the same name: a link to /dev/null, or an empty file."""
    if host.tree.link_target(path) == "/dev/null":
        return True
    found = host.tree.look(path)
    return isinstance(found, File) and not found.content


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


def dropins(host: Host, name: str) -> dict[PurePosixPath, str]:
    """The texts of a unit's drop-ins, by file name over all directories; of two with one name the first counts."""
    paths: dict[str, PurePosixPath] = {}
    for directory in UNIT_DIRECTORIES:
        for file in host.tree.names(directory / f"{name}.d"):
            if file.endswith(".conf"):
                paths.setdefault(file, directory / f"{name}.d" / file)
    texts = {}
    for file in sorted(paths):
        try:
            texts[paths[file]] = (host.tree.read(paths[file]) or b"").decode(errors="replace")
        except HostError:
            continue
    return texts
