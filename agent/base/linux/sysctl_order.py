"""The precedence of sysctl.d(5) files: the line that sets a kernel parameter at the next boot. Pure.

systemd-sysctl(8) and procps' `sysctl --system` read these files by different rules. This module follows their source
(systemd 257: src/sysctl/sysctl.c, src/basic/conf-files.c, src/basic/sysctl-util.c; procps 4.0.5: src/sysctl.c), which
differs from their manuals. docs/explanation/sysctl-precedence.md describes the rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from fnmatch import translate
from functools import lru_cache
from pathlib import PurePosixPath
from typing import NamedTuple

from agent.base.model import Location
from agent.base.value import Value

_INT_MIN, _INT_MAX = -(2**31), 2**31 - 1
_RANGES = {
    "vm.overcommit_memory": (0, 2),
    "vm.panic_on_oom": (0, 2),
    "kernel.panic": (_INT_MIN, _INT_MAX),
    "kernel.panic_on_oops": (_INT_MIN, _INT_MAX),
    "kernel.keys.root_maxkeys": (0, _INT_MAX),
    "kernel.keys.root_maxbytes": (0, _INT_MAX),
}
"""Valid values of the keys that the kubelet checks (Linux: mm/util.c, mm/oom_kill.c, security/keys/sysctl.c)."""

_LONGEST_NUMBER = 20
"""Characters, sign included. proc_get_long rejects a longer number (Linux: kernel/sysctl.c)."""


def kernel_integer(value: str) -> int | None:
    """Return the number that the kernel stores for a text written to an integer key. None if it rejects the text.

    As proc_dointvec (Linux: kernel/sysctl.c): 0x is hexadecimal, a leading 0 octal, and the text after a blank is
    ignored, so `1 # comment` is 1.
    """
    if value.isdecimal() and value.isascii() and (value[0] != "0" or value == "0") and len(value) < _LONGEST_NUMBER:
        number = int(value)  # as most values are; the pattern is compiled at its first use
        return number if number <= _INT_MAX else None
    match = re.match(r"[ \t\n\v\f\r]*(-?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)(?:[ \t\n]|\Z)", value)
    if match is None or len(match[1] + match[2]) > _LONGEST_NUMBER:
        return None
    digits = match[2]
    base = 10 if digits[0] != "0" else 16 if digits[1:2] in {"x", "X"} else 8
    number = int(match[1] + digits, base)
    return number if _INT_MIN <= number <= _INT_MAX else None


def same_value(first: str, other: str) -> bool:
    """Return whether two texts give an integer key the same value (`1`, ` 01`, `0x1`, `1 # comment`)."""
    return first.strip() == other.strip() or (
        kernel_integer(first) is not None and kernel_integer(first) == kernel_integer(other)
    )


def accepted(key: str, value: str) -> bool:
    """Return whether the kernel accepts a value for a key that the kubelet checks. True for all other keys."""
    low, high = _RANGES.get(key, (None, None))
    number = kernel_integer(value)
    return low is None or high is None or (number is not None and low <= number <= high)


DIRECTORIES = tuple(
    map(
        PurePosixPath,
        ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d"),
    )
)
"""The directories of *.conf files of both readers. A file masks files of the same name in later directories.

Only a systemd built for a split /usr reads /lib/sysctl.d. If /lib is a link to usr/lib, it has the same files.
"""

SYSCTL_CONF = PurePosixPath("/etc/sysctl.conf")
"""procps reads it after all other files. systemd reads it only through a link in sysctl.d (99-sysctl.conf)."""

CREDENTIALS = tuple(
    PurePosixPath(directory, "sysctl.extra")
    for directory in (
        "/run/credentials/@system",
        "/etc/credstore",
        "/run/credstore",
        "/usr/local/lib/credstore",
        "/usr/lib/credstore",
    )
)
"""systemd-sysctl.service imports the first of these that exists, and reads it last (systemd.system-credentials(7))."""


MOST_BYTES = 1 << 20
MOST_PATTERNS = 500
"""Limits of all files together: bytes, and lines with patterns.

Each pattern is tested with each key, which takes a hundred times longer than to read the line.
"""

_PATTERN_LINE = rb"(?:^|[\r\n\0])[^#;=\r\n\0]*[*?\[][^=\r\n\0]*"


class SysctlReader(Enum):
    """The program that applies the files at boot."""

    SYSTEMD = "systemd-sysctl"
    PROCPS = "sysctl --system"


class SysctlFile(NamedTuple):
    """An entry of a directory in DIRECTORIES, or SYSCTL_CONF, or one of CREDENTIALS."""

    path: PurePosixPath
    """The path of the entry itself, not of a link's target."""
    data: bytes | None
    """The content, read through links. None for an entry without lines: a link to /dev/null, a dangling link, a
    directory. Such an entry masks files of the same name, too."""
    is_readable: bool = True
    """False if the file could not be read."""


class SysctlAssignment(NamedTuple):
    """The line that sets a key at boot."""

    key: str
    value: str
    """As written, with bytes that are not UTF-8 escaped."""
    location: Location
    is_rejected: bool
    """Whether the kernel rejects the value and keeps the previous one. No other line sets the key then."""


class _Line(NamedTuple):
    """A parsed line."""

    name: str
    """With slashes between its parts."""
    value: bytes | None
    """None for a line that only excludes the name."""
    location: Location


class Patterns(Value):
    """Counts of the lines of a file that set keys by patterns."""

    lines: int
    longest: int
    """In bytes."""
    unsupported: int
    """Lines whose pattern this program cannot match."""


def patterns(data: bytes) -> Patterns:
    """Count the patterns of a file, without parsing its other lines."""
    found = re.findall(_PATTERN_LINE, data)
    unsupported = sum(not is_supported(pattern.decode("latin-1")) for pattern in found)
    return Patterns(len(found), max(map(len, found), default=0), unsupported)


def in_order(files: Iterable[SysctlFile], reader: SysctlReader) -> list[SysctlFile]:
    """Return the files that `reader` reads, in its order, without masked files.

    Raises ValueError for a path that is not in DIRECTORIES, SYSCTL_CONF or CREDENTIALS.
    """
    ranks = {str(directory): rank for rank, directory in enumerate(DIRECTORIES)}
    last_ranks = {str(path): rank for rank, path in enumerate(CREDENTIALS)}
    conf = str(SYSCTL_CONF)
    best: dict[str, tuple[int, SysctlFile]] = {}
    last: dict[int, SysctlFile] = {}
    for file in files:
        text = str(file.path)
        directory, _, name = text.rpartition("/")
        if (rank := ranks.get(directory)) is not None:
            # systemd ignores hidden files; procps does not.
            if not name.endswith(".conf") or (reader is SysctlReader.SYSTEMD and name.startswith(".")):
                continue
            if name not in best or rank < best[name][0]:
                best[name] = (rank, file)
        elif text in last_ranks:
            if reader is SysctlReader.SYSTEMD:
                last[last_ranks[text]] = file
        elif text != conf:
            raise ValueError(f"not a file of sysctl.d(5): {text}")
        elif reader is SysctlReader.PROCPS:
            last[0] = file
    # Both sort by strcmp(3) without a locale, so by bytes.
    ordered = [best[name][1] for name in sorted(best, key=lambda name: name.encode("utf-8", "surrogateescape"))]
    return ordered + [last[rank] for rank in sorted(last)[:1]]


def at_boot(
    files: Iterable[SysctlFile],
    keys: Iterable[str],
    reader: SysctlReader,
    accepts: Callable[[str, str], bool] = accepted,
) -> dict[str, SysctlAssignment | None]:
    """Return the line that sets each key at boot, or None. Keys have dots, and exist in the kernel.

    Of several lines with the final value, the last one is returned. `accepts` returns whether the kernel accepts a
    value for a key. Raises ValueError as in_order does.
    """
    names = {_simplified(_slashed(key)): key for key in keys}
    relevant = _relevant(files, names.values(), reader)
    writers = (_systemd if reader is SysctlReader.SYSTEMD else _procps)(relevant, frozenset(names))
    return {key: _outcome(key, writers(name), accepts) for name, key in names.items()}


def excluded(files: Iterable[SysctlFile], keys: Iterable[str]) -> dict[str, Location]:
    """Return the keys that systemd-sysctl does not set because of a line `-key` without `=`, with that line.

    Such a line cancels an earlier `key = value`, and at_boot returns None. In procps it does not. Raises ValueError as
    in_order does.
    """
    names = {_simplified(_slashed(key)): key for key in keys}
    options = _systemd_options(_relevant(files, names.values(), SysctlReader.SYSTEMD), frozenset(names))
    return {names[name]: line.location for name, line in options.items() if name in names and line.value is None}


def file_text(rows: Mapping[str, str], header: str) -> bytes:
    """Return a sysctl.d file: the header's lines as comments, then `key=value` lines in the given order.

    Raises ValueError for a key or value that contains a line break.
    """
    lines = [f"# {line}".rstrip() for line in header.splitlines()]
    for key, value in rows.items():
        if re.search(r"[\n\r\0]", key + value):
            raise ValueError(f"line break in the sysctl {key!r}: {value!r}")
        lines.append(f"{key}={value}")
    return "".join(f"{line}\n" for line in lines).encode()


def _outcome(key: str, writes: Sequence[_Line], accepts: Callable[[str, str], bool]) -> SysctlAssignment | None:
    """Return the last write that the kernel accepts, else the last write."""
    outcome = None
    for line in reversed(writes):
        value = (line.value or b"").decode("utf-8", "backslashreplace")
        rejected = not accepts(key, value)
        if outcome is None or not rejected:
            outcome = SysctlAssignment(key, value, line.location, rejected)
        if not rejected:
            break
    return outcome


def _relevant(files: Iterable[SysctlFile], keys: Iterable[str], reader: SysctlReader) -> list[SysctlFile]:
    """Return the files, in order, that can contain one of the keys. The others need not be parsed."""
    # A line contains the parts of its key unchanged; only the separators vary.
    pieces = {max(re.split("[./]", key), key=len).encode() for key in keys} | {b"*", b"?", b"["}
    return [file for file in in_order(files, reader) if file.data and any(piece in file.data for piece in pieces)]


def _systemd_options(files: Sequence[SysctlFile], names: frozenset[str]) -> dict[str, _Line]:
    """Return systemd-sysctl's table: the last line of each name or pattern, in the order of the writes."""
    options: dict[str, _Line] = {}
    blanks = " \t\n\r"
    for line in _lines(files, _systemd_lines, blanks, lambda key: _simplified(_slashed(key.strip(blanks)))):
        if line.name in names or is_glob(line.name):
            # In systemd a repeated name keeps its position if its value is the same, and moves to the end otherwise.
            # Patterns are written in this order.
            if line.name in options and options[line.name].value != line.value:
                del options[line.name]
            options[line.name] = line
    return options


def _systemd(files: Sequence[SysctlFile], names: frozenset[str]) -> Callable[[str], list[_Line]]:
    """Return a function that lists the writes of systemd-sysctl to a name, in order."""
    options = _systemd_options(files, names)

    def writes(option: _Line, name: str) -> bool:
        if option.value is None or not is_glob(option.name):
            return option.value is not None and option.name == name
        path = globbed(option.name, name)
        # A name with a line of its own is excluded.
        return path is not None and path not in options

    return lambda name: [option for option in options.values() if writes(option, name)]


def _procps(files: Sequence[SysctlFile], names: frozenset[str]) -> Callable[[str], list[_Line]]:
    """Return a function that lists the writes of `sysctl --system` to a name, in order."""
    # procps removes one minus sign when it reads the line and one when it builds the path. It keeps a blank after it.
    parsed = _lines(files, _procps_lines, " \t\n\v\f\r", lambda key: _slashed(key.removeprefix("-")))
    lines = [line for line in parsed if is_glob(line.name) or _simplified(line.name) in names]
    exact = {line.name for line in lines}
    exclusions = [
        expression(line.name, is_path=True)
        for line in lines
        if line.value is None and is_glob(line.name) and len(line.name) <= LONGEST_PATTERN
    ]

    def writes(line: _Line, name: str) -> bool:
        if line.value is None:
            return False
        if not is_glob(line.name):
            # With a slash or dot at the end, the path is that of a directory.
            return _simplified(line.name) == name and line.name.endswith(name.rpartition("/")[2])
        path = globbed(line.name, name)
        return path is not None and path not in exact and not any(e.fullmatch(path) for e in exclusions)

    return lambda name: [line for line in lines if writes(line, name)]


def _lines(
    files: Sequence[SysctlFile],
    split: Callable[[bytes], Iterator[tuple[int, bytes]]],
    blanks: str,
    name_of: Callable[[str], str],
) -> Iterator[_Line]:
    """Yield the lines that set or exclude a name; `name_of` returns that of a key without its first minus sign."""
    for path, data, _ in files:
        for number, text in split(data or b""):
            line = text.decode("latin-1").strip(blanks)
            key, equals, value = line.partition("=")
            if not line.startswith(("#", ";")) and (equals or key.startswith("-")):
                name = name_of(key.removeprefix("-").rstrip(blanks))
                yield _Line(name, value.strip(blanks).encode("latin-1") if equals else None, Location(path, number))


_LONG_LINE_MAX = 1 << 20
"""Bytes. systemd stops reading a file at a longer line; earlier lines apply (src/basic/fileio.h)."""


def _systemd_lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(data.split(b"\n"), 1):
        for part in re.split(b"[\r\0]", line):
            if len(part) >= _LONG_LINE_MAX:
                return
            yield number, part


def _procps_lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(data.split(b"\n"), 1):
        yield number, line.partition(b"\0")[0]


def _slashed(key: str) -> str:
    """Return the key as a path below /proc/sys: if its first separator is a dot, dots and slashes are swapped."""
    first = re.search("[./]", key)
    return key.translate({ord("."): "/", ord("/"): "."}) if first and first[0] == "." else key


def _simplified(name: str) -> str:
    """Return the path without empty and `.` parts. `..` is kept; such a path is not a key."""
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if name.startswith("/"):
        while parts[:1] == [".."]:
            del parts[0]
    return "/".join(parts)


LONGEST_PATTERN = 1024
"""Limit of a pattern's length. A longer pattern matches nothing here."""


def is_glob(name: str) -> bool:
    """Return whether the text is a pattern."""
    return "*" in name or "?" in name or "[" in name


def is_supported(pattern: str) -> bool:
    """Return whether this module can match a pattern: it has no braces, backslashes or character classes."""
    return not any(unsupported in pattern for unsupported in ("{", "\\", "[:"))


def globbed(pattern: str, name: str) -> str | None:
    """Return the path that glob(3) gives for the key `name`, with the pattern's empty and `.` parts. None: no match."""
    literal = re.match(r"[^*?\[/.]*", pattern)
    if len(pattern) > LONGEST_PATTERN or (literal and not name.startswith(literal[0])):
        return None
    left = name.split("/")[::-1]
    path: list[str] = []
    for part in pattern.split("/"):
        if part in {"", "."}:
            path.append(part)
        elif left and expression(part).fullmatch(left[-1]):
            path.append(left.pop())
        else:
            return None
    return "/".join(path) if not left and path[-1] not in {"", "."} else None


@lru_cache(maxsize=2048)
def expression(pattern: str, *, is_path: bool = False) -> re.Pattern[str]:
    """Return a pattern as a regular expression: for one part of a path, as in glob(3), or for a whole path."""
    no_dot = r"(?!\.)" if pattern[:1] in {"*", "?", "["} and not is_path else ""
    try:
        return re.compile(no_dot + translate(re.sub(r"\[\^", "[!", pattern)))
    except re.error:  # a range such as [z-a], up to Python 3.10
        return re.compile("(?!)")
