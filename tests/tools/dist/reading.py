"""Reader of .deb and .rpm files without the tools of either family."""

from __future__ import annotations

import io
import lzma
import stat
import struct
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple


class Member(NamedTuple):
    """A file or directory of a package. `mode` includes the file type, as in stat(2); `owner` is user:group."""

    mode: int
    owner: str
    data: bytes


class Package(NamedTuple):
    """Control fields, scripts by their names in nfpm's configuration, members by path, and configuration files."""

    fields: Mapping[str, str]
    scripts: Mapping[str, str]
    members: Mapping[PurePosixPath, Member]
    configuration: frozenset[PurePosixPath]


def deb(file: Path) -> Package:
    """Read a .deb, an ar archive of two tar archives."""
    parts = {name.partition(".")[0]: _tar(data) for name, data in _ar(file.read_bytes()) if ".tar" in name}
    control = {path.name: member.data.decode() for path, member in parts["control"].items()}
    lines = (line.partition(": ") for line in control["control"].splitlines() if not line.startswith(" "))
    names = {"preinst": "preinstall", "postinst": "postinstall", "prerm": "preremove", "postrm": "postremove"}
    return Package(
        fields={name: value for name, _, value in lines},
        scripts={names[name]: text for name, text in control.items() if name in names},
        members=parts["data"],
        configuration=frozenset(map(PurePosixPath, control["conffiles"].split())),
    )


def _ar(data: bytes) -> Iterator[tuple[str, bytes]]:
    position = len(b"!<arch>\n")
    while position < len(data):
        name, size = data[position : position + 16].decode().strip(), int(data[position + 48 : position + 58])
        position += 60
        yield name, data[position : position + size]
        position += size + size % 2


def _tar(data: bytes) -> dict[PurePosixPath, Member]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {}
        for entry in archive:
            content = archive.extractfile(entry)
            kind = 0o040000 if entry.isdir() else 0o100000
            owner = f"{entry.uname}:{entry.gname}"
            found[PurePosixPath("/", entry.name)] = Member(
                kind | entry.mode, owner, b"" if content is None else content.read()
            )
    return found


def lay_out(package: Package, root: Path, python: Path, libraries: Iterable[Path]) -> None:
    """Extract a package below a directory; its entry point uses that directory, this Python and these libraries."""
    places = ", ".join(sorted(repr(str(directory)) for directory in libraries))
    for path, member in package.members.items():
        target = root.joinpath(*path.parts[1:])
        if stat.S_ISDIR(member.mode):
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        data = member.data
        if path.parent in {PurePosixPath("/usr/bin"), PurePosixPath("/usr/lib/k3s-harden")}:
            data = data.replace(b"/usr/lib/k3s-harden", bytes(root / "usr/lib/k3s-harden"))
            data = data.replace(b"/usr/bin/python3 ", b"%s " % bytes(python))
            data = data.replace(b"/usr/bin/python$python", bytes(python))
            data = data.replace(b'"/usr/lib/python3/dist-packages"', places.encode())
        target.write_bytes(data)
        target.chmod(stat.S_IMODE(member.mode))


_RPM_SCRIPTS = {1023: "preinstall", 1024: "postinstall", 1025: "preremove", 1026: "postremove"}
_CONFIGURATION = 1
_EQUAL_OR_GREATER = 8 | 4


def rpm(file: Path) -> Package:
    """Read an .rpm: a lead, two headers of tagged values, and a compressed cpio archive."""
    data = file.read_bytes()
    _, signatures_end = _header(data, 96)
    tags, end = _header(data, -(-signatures_end // 8) * 8)
    paths = [PurePosixPath(tags[1118][index], name) for name, index in zip(tags[1117], tags[1116])]
    owners = [f"{user}:{group}" for user, group in zip(tags[1039], tags[1040])]
    contents = dict(_cpio(lzma.decompress(data[end:])))
    flags = zip(paths, tags[1037])
    needs = zip(tags[1049], tags[1048], tags[1050])
    dependencies = (
        f"{name} >= {version}" if flag & _EQUAL_OR_GREATER == _EQUAL_OR_GREATER else name
        for name, flag, version in needs
    )
    return Package(
        fields={"Package": tags[1000][0], "Version": tags[1001][0], "Depends": ", ".join(sorted(dependencies))},
        scripts={name: tags[tag][0] for tag, name in _RPM_SCRIPTS.items() if tag in tags},
        members={
            path: Member(mode & 0xFFFF, owner, contents.get(path, b""))
            for path, mode, owner in zip(paths, tags[1030], owners)
        },
        configuration=frozenset(path for path, flag in flags if flag & _CONFIGURATION),
    )


def _header(data: bytes, start: int) -> tuple[dict[int, list[Any]], int]:
    """Return the values of a header by tag, and the offset of its end."""
    count, size = struct.unpack_from(">II", data, start + 8)
    store = start + 16 + 16 * count
    found: dict[int, list[Any]] = {}
    for number in range(count):
        tag, kind, offset, length = struct.unpack_from(">IIII", data, start + 16 + 16 * number)
        at = store + offset
        if kind in _NUMBERS:
            found[tag] = list(struct.unpack_from(f">{length}{_NUMBERS[kind]}", data, at))
        elif kind in _STRINGS:
            found[tag] = [text.decode() for text in data[at : store + size].split(b"\0", length)[:length]]
    return found, store + size


_NUMBERS = {3: "H", 4: "I", 5: "Q"}
_STRINGS = (6, 8, 9)


def _cpio(data: bytes) -> Iterator[tuple[PurePosixPath, bytes]]:
    position = 0
    while True:
        fields = [int(data[position + at : position + at + 8], 16) for at in range(6, 110, 8)]
        size, name_size = fields[6], fields[11]
        name = data[position + 110 : position + 110 + name_size - 1].decode()
        start = position + -(-(110 + name_size) // 4) * 4
        if name == "TRAILER!!!":
            return
        yield PurePosixPath("/", name.lstrip(".")), data[start : start + size]
        position = start + -(-size // 4) * 4
