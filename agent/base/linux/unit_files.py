"""systemd's unit files by systemd.unit(5) and systemd.syntax(7): directories, logical lines, words of a setting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

_UNIT_PATH = (
    "/etc/systemd/system.control:/run/systemd/system.control:/run/systemd/transient:/run/systemd/generator.early"
    ":/etc/systemd/system:/etc/systemd/system.attached:/run/systemd/system:/run/systemd/system.attached"
    ":/run/systemd/generator:/usr/local/lib/systemd/system:/usr/lib/systemd/system:/run/systemd/generator.late"
)
UNIT_DIRECTORIES = tuple(map(PurePosixPath, _UNIT_PATH.split(":")))
"""systemd's directories of units, highest precedence first (systemd.unit(5)). Drop-ins in all of them apply."""

PACKAGED_UNITS = PurePosixPath("/usr/lib/systemd/system")
"""The directory for units of a distribution's packages. A unit of the same name in an earlier directory masks them."""


def dropin_directories(name: str) -> tuple[PurePosixPath, ...]:
    """Return the directories with drop-ins of a unit, highest precedence first.

    Those of k3s-agent.service are named k3s-agent.service.d and k3s-.service.d; service.d, for all services, comes
    after those of all directories of units (systemd.unit(5)).
    """
    stem, _, kind = name.rpartition(".")
    parts = stem.split("-")
    prefixes = ("-".join(parts[:count]) + "-" for count in range(len(parts) - 1, 0, -1))
    own = (f"{name}.d", *(f"{prefix}.{kind}.d" for prefix in prefixes))
    return (
        *(top / directory for top in UNIT_DIRECTORIES for directory in own),
        *(top / f"{kind}.d" for top in UNIT_DIRECTORIES),
    )


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield each line with its number. Continuation lines are joined and keep their line breaks for words().

    A comment neither continues nor ends a line.
    """
    first = 1
    held: list[str] = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        if line.lstrip(" \t").startswith(("#", ";")):
            if held:
                held.append("")  # keeps the numbers of later lines
            else:
                first = number + 1
            continue
        held.append(line.removesuffix("\\"))
        if not line.endswith("\\"):
            yield first, " \n".join(held)
            first, held = number + 1, []
    if held:
        yield first, " \n".join(held)


def assignments(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield the line number, key and value of each assignment. Blanks around the key and before the value are cut."""
    for line, content in logical_lines(text):
        key, equals, value = content.partition("=")
        if equals:
            yield line, key.strip(), value.lstrip(" \t")


def words(text: str, line: int) -> list[tuple[int, str]]:
    """Split a logical line that starts at `line` into unquoted words, each with its line number.

    Raises ValueError if a quote is not closed.
    """
    import shlex

    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    return [(line + lexer.lineno - 1, word) for word in lexer]


def specified(text: str, unit: str) -> str:
    """Return a text with the specifiers for the unit's name replaced, and a NUL for others (systemd.unit(5))."""
    import re

    name = unit.rpartition(".")[0]
    prefix, _, instance = name.partition("@")
    values = {"%%": "%", "%n": unit, "%N": name, "%p": prefix, "%i": instance, "%I": instance}
    return re.sub("%.?", lambda match: values.get(match[0], "\0"), text) if "%" in text else text
