"""Which line of which sysctl.d(5) file sets a kernel value at the next boot.

Two programs read these files, and they differ: systemd-sysctl(8) and procps' `sysctl --system`. Both are followed as
they are written (systemd 257: src/sysctl/sysctl.c, src/basic/conf-files.c, src/basic/sysctl-util.c; procps 4.0.5:
src/sysctl.c), not as their manuals tell it. docs/explanation/sysctl-precedence.md has the rules in prose.
The files' content is given; nothing here reads a disk.
"""

from __future__ import annotations

import re
from enum import Enum
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent.linux.libc_glob import LONGEST_PATTERN, braces_expanded, expression, globbed, is_glob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

DIRECTORIES = tuple(
    map(
        PurePosixPath,
        ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d"),
    )
)
"""Where both readers look for files that end in .conf; of two files with one name the earlier directory's counts.

Only a systemd built for a split /usr reads /lib/sysctl.d. Where /lib is a link to usr/lib it has the same files.
"""

SYSCTL_CONF = PurePosixPath("/etc/sysctl.conf")
"""Read by procps alone, after all others; by systemd only where a link in sysctl.d (99-sysctl.conf) leads to it."""

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
"""systemd.system-credentials(7): systemd-sysctl.service imports the first of these that exists, and reads it last."""


class Reader(Enum):
    """The program that applies the files at boot."""

    SYSTEMD = "systemd-sysctl"
    PROCPS = "sysctl --system"


class SysctlFile(NamedTuple):
    """One entry of a directory in DIRECTORIES, or SYSCTL_CONF, or one of CREDENTIALS.

    `path` is the entry's own, `data` what is read through it if it is a link. None is an entry that gives no lines:
    a link to /dev/null, a dangling link, a directory. It masks the same name in later directories all the same.
    `is_readable` is false for a file that has lines, perhaps, and that this look was not let in to.
    """

    path: PurePosixPath
    data: bytes | None
    is_readable: bool = True


class Assignment(NamedTuple):
    """What sets `key` at boot: `value` as written (bytes that are not UTF-8 escaped), at `path`:`line` (from 1).

    `glob` says that the line names the key by a pattern. `refused` says that the kernel will not take the value, so
    that whatever it had before stands; such a line is only given where no other line sets the key.
    """

    key: str
    value: str
    path: PurePosixPath
    line: int
    glob: bool
    refused: bool


class _Line(NamedTuple):
    """A parsed line; `name` has slashes between its parts, `value` is None for a line that only excludes the name."""

    name: str
    value: bytes | None
    path: PurePosixPath
    number: int


_INT_MIN, _INT_MAX = -(2**31), 2**31 - 1

_RANGES = {
    "vm.overcommit_memory": (0, 2),
    "vm.panic_on_oom": (0, 2),
    "kernel.panic": (_INT_MIN, _INT_MAX),
    "kernel.panic_on_oops": (_INT_MIN, _INT_MAX),
    "kernel.keys.root_maxkeys": (0, _INT_MAX),
    "kernel.keys.root_maxbytes": (0, _INT_MAX),
}
"""What the kernel takes for the keys that the kubelet checks (mm/util.c, mm/oom_kill.c, security/keys/sysctl.c)."""

_LONGEST_NUMBER = 20
"""Characters, with the sign: proc_get_long refuses a longer number whatever its value (kernel/sysctl.c)."""


def integer(value: str) -> int | None:
    """The number that the kernel makes of a text written to a key that holds one integer; None if it refuses the text.

    As in proc_dointvec (Linux: kernel/sysctl.c): 0x is hexadecimal and a leading 0 octal; a blank ends the number, and
    what follows is ignored, so that `1 # comment` is 1.
    """
    match = re.match(r"[ \t\n\v\f\r]*(-?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)(?:[ \t\n]|\Z)", value)
    if match is None or len(match[1] + match[2]) > _LONGEST_NUMBER:
        return None
    digits = match[2]
    base = 10 if digits[0] != "0" else 16 if digits[1:2] in {"x", "X"} else 8
    number = int(match[1] + digits, base)
    return number if _INT_MIN <= number <= _INT_MAX else None


def same_value(one: str, other: str) -> bool:
    """Whether two texts leave the same value in a key that holds one integer (`1`, ` 01`, `0x1`, `1 # comment`)."""
    return one.strip() == other.strip() or (integer(one) is not None and integer(one) == integer(other))


def accepted(key: str, value: str) -> bool:
    """Whether the kernel takes `value` for one of the keys that the kubelet checks; True for all other keys."""
    low, high = _RANGES.get(key, (None, None))
    number = integer(value)
    return low is None or high is None or (number is not None and low <= number <= high)


def in_order(files: Iterable[SysctlFile], reader: Reader) -> list[SysctlFile]:
    """The files that `reader` reads, in the order it reads them, without those that another of the same name masks.

    Raises ValueError for a path that is in none of DIRECTORIES and is neither SYSCTL_CONF nor one of CREDENTIALS.
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
            # systemd passes over hidden files, procps does not.
            if not name.endswith(".conf") or (reader is Reader.SYSTEMD and name.startswith(".")):
                continue
            if name not in best or rank < best[name][0]:
                best[name] = (rank, file)
        elif text in last_ranks:
            if reader is Reader.SYSTEMD:
                last[last_ranks[text]] = file
        elif text != conf:
            raise ValueError(f"no file of sysctl.d(5): {text}")
        elif reader is Reader.PROCPS:
            last[0] = file
    # Both sort by strcmp(3) in no locale, thus by bytes.
    ordered = [best[name][1] for name in sorted(best, key=lambda name: name.encode("utf-8", "surrogateescape"))]
    return ordered + [last[rank] for rank in sorted(last)[:1]]


def at_boot(
    files: Iterable[SysctlFile],
    keys: Iterable[str],
    reader: Reader,
    accepts: Callable[[str, str], bool] = accepted,
) -> dict[str, Assignment | None]:
    """What `reader` leaves in each of `keys` (with dots, and present in the kernel); None where no line sets the key.

    Lines that the reader cannot use are passed over, as it passes over them. Where several lines give the value that
    wins, the last of them is named. `accepts` tells whether the kernel takes a value for a key. Raises ValueError as
    in_order does.
    """
    wanted = {_simplified(_slashed(key)): key for key in keys}
    relevant = _relevant(files, wanted.values(), reader)
    writers = (_systemd if reader is Reader.SYSTEMD else _procps)(relevant, frozenset(wanted))
    return {key: _outcome(key, writers(name), accepts) for name, key in wanted.items()}


def taken_back(files: Iterable[SysctlFile], keys: Iterable[str]) -> dict[str, tuple[PurePosixPath, int]]:
    """The keys that systemd-sysctl leaves alone because of a line `-key` without `=`, with that line's file and number.

    Where such a line stands after a `key = value`, it undoes it, and at_boot gives None. In procps it does not. Raises
    ValueError as in_order does.
    """
    wanted = {_simplified(_slashed(key)): key for key in keys}
    options = _systemd_options(_relevant(files, wanted.values(), Reader.SYSTEMD), frozenset(wanted))
    return {
        wanted[name]: (line.path, line.number)
        for name, line in options.items()
        if name in wanted and line.value is None
    }


def written(rows: Mapping[str, str], header: str) -> bytes:
    """The text of a sysctl.d file: the header's lines as comments, then `key=value` lines in the order given.

    Raises ValueError for a key or value with a line break in it, which would be lines of its own.
    """
    lines = [f"# {line}".rstrip() for line in header.splitlines()]
    for key, value in rows.items():
        if re.search(r"[\n\r\0]", key + value):
            raise ValueError(f"line break in the sysctl {key!r}: {value!r}")
        lines.append(f"{key}={value}")
    return "".join(f"{line}\n" for line in lines).encode()


def _outcome(key: str, writes: Sequence[_Line], accepts: Callable[[str, str], bool]) -> Assignment | None:
    """The last write that the kernel takes, else the last."""
    outcome = None
    for line in reversed(writes):
        value = (line.value or b"").decode("utf-8", "backslashreplace")
        refused = not accepts(key, value)
        if outcome is None or not refused:
            outcome = Assignment(key, value, line.path, line.number, glob=is_glob(line.name), refused=refused)
        if not refused:
            break
    return outcome


def _relevant(files: Iterable[SysctlFile], keys: Iterable[str], reader: Reader) -> list[SysctlFile]:
    """The files read, in order, that may name one of the keys: most do not, and need not be taken apart."""
    # A line that names a key has the key's parts in it as they are, only the separators vary.
    pieces = {max(re.split("[./]", key), key=len).encode() for key in keys} | {b"*", b"?", b"["}
    return [file for file in in_order(files, reader) if file.data and any(piece in file.data for piece in pieces)]


# --- the two readers: each gives the writes to one name, in the order that the program makes them ---------------------


def _systemd_options(files: Sequence[SysctlFile], names: frozenset[str]) -> dict[str, _Line]:
    options: dict[str, _Line] = {}
    for line in _lines(files, _systemd_lines, _systemd_assignment):
        if line.name in names or is_glob(line.name):
            # As in systemd a name given again with the value it has keeps its place, and moves to the end otherwise.
            # That decides between patterns, which are written in this order.
            if line.name in options and options[line.name].value != line.value:
                del options[line.name]
            options[line.name] = line
    return options


def _systemd(files: Sequence[SysctlFile], names: frozenset[str]) -> Callable[[str], list[_Line]]:
    options = _systemd_options(files, names)
    entries = [
        (pattern, option)
        for option in options.values()
        if option.value is not None
        for pattern in (braces_expanded(option.name) if is_glob(option.name) else [option.name])
    ]

    def writes(pattern: str, option: _Line, name: str) -> bool:
        if not is_glob(option.name):
            return pattern == name
        path = globbed(pattern, name)
        # Excluded are the names that have a line of their own, which an empty alternative's `a//b` is not.
        return path is not None and path not in options

    return lambda name: [option for pattern, option in entries if writes(pattern, option, name)]


def _procps(files: Sequence[SysctlFile], names: frozenset[str]) -> Callable[[str], list[_Line]]:
    lines = [
        line
        for line in _lines(files, _procps_lines, _procps_assignment)
        if is_glob(line.name) or _simplified(line.name) in names
    ]
    given = {line.name for line in lines}
    excluded = [
        expression(line.name, across_slashes=True)
        for line in lines
        if line.value is None and is_glob(line.name) and len(line.name) <= LONGEST_PATTERN
    ]

    def writes(line: _Line, name: str) -> bool:
        if line.value is None:
            return False
        if not is_glob(line.name):
            # A slash or dot at the end makes the kernel look for a directory.
            return _simplified(line.name) == name and line.name.endswith(name.rpartition("/")[2])
        path = globbed(line.name, name)
        return path is not None and path not in given and not any(e.fullmatch(path) for e in excluded)

    return lambda name: [line for line in lines if writes(line, name)]


def _lines(
    files: Sequence[SysctlFile],
    split: Callable[[bytes], Iterator[tuple[int, bytes]]],
    parse: Callable[[bytes], tuple[str, bytes | None] | None],
) -> Iterator[_Line]:
    for path, data, _ in files:
        for number, text in split(data or b""):
            if (parsed := parse(text)) is not None:
                yield _Line(*parsed, path, number)


_LONG_LINE_MAX = 1 << 20
"""systemd gives up on a file at a line of this many bytes (src/basic/fileio.h); the lines before it count."""


def _systemd_lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(data.split(b"\n"), 1):
        for part in re.split(b"[\r\0]", line):
            if len(part) >= _LONG_LINE_MAX:
                return
            yield number, part


def _procps_lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(data.split(b"\n"), 1):
        yield number, line.partition(b"\0")[0]


def _systemd_assignment(line: bytes) -> tuple[str, bytes | None] | None:
    blanks = b" \t\n\r"
    line = line.strip(blanks)
    if not line or line[0] in b"#;":
        return None
    key, equals, value = line.partition(b"=")
    minus = key.startswith(b"-")
    if not equals and not minus:
        return None
    name = _simplified(_slashed((key[1:] if minus else key).strip(blanks).decode("latin-1")))
    return name, value.strip(blanks) if equals else None


def _procps_assignment(line: bytes) -> tuple[str, bytes | None] | None:
    blanks = b" \t\n\v\f\r"
    line = line.lstrip(blanks)
    if not line or line[0] in b"#;":
        return None
    key, equals, value = line.partition(b"=")
    if not equals and not key.startswith(b"-"):
        return None
    # procps drops a minus sign when it reads the line and another when it makes the path. A blank after it is kept.
    name = _slashed(key.removeprefix(b"-").rstrip(blanks).removeprefix(b"-").decode("latin-1"))
    return name, value.strip(blanks) if equals else None


# --- names -----------------------------------------------------------------------------------------------------------


def _slashed(key: str) -> str:
    """The key as a path below /proc/sys: if its first separator is a dot, dots and slashes change places."""
    first = re.search("[./]", key)
    return key.translate({ord("."): "/", ord("/"): "."}) if first and first[0] == "." else key


def _simplified(name: str) -> str:
    """The path without empty and `.` parts; `..` stays, and then names no key."""
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if name.startswith("/"):
        while parts[:1] == [".."]:
            del parts[0]
    return "/".join(parts)
