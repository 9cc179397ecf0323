"""Journal records as JSON. Pure.

Any bytes are read as a record, or rejected with RecordError. A record ends in a checksum of the bytes before it, which
finds damage without parsing; those of older versions have none.
"""

from __future__ import annotations

from binascii import crc32
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from agent import __version__
from agent.base.model import (
    Absent,
    DefaultPermissions,
    Directory,
    File,
    FileMode,
    FilePermissions,
    Owner,
    State,
    Sysctl,
)
from agent.harden.plan.plan import Change

SCHEMA = 1
_BEGIN = b'{\n "schema": 1,\n'
_CHECKSUM = b',\n "crc32": "'

_LARGEST_NUMBER = 2**32 - 1
_LONGEST_LIST = 2 * 64 * 1024
"""Hexadecimal digits of an access control list; the kernel's limit for an attribute is 64 KiB."""

_LONGEST_NUMBER = 20
"""Characters of a number in a record."""


class RecordError(ValueError):
    """The bytes are not a journal record of this schema."""

    def __init__(self, problem: str, *, is_newer: bool = False) -> None:
        super().__init__(problem)
        self.is_newer = is_newer


def encode(changes: Iterable[Change]) -> bytes:
    """Return the record of these changes."""
    import json

    record = {
        "schema": SCHEMA,
        "version": __version__,
        "changes": [{"before": _encode(change.before), "after": _encode(change.after)} for change in changes],
    }
    data = json.dumps(record, indent=1).encode().removesuffix(b"\n}")
    return data + _checksum(data)


def is_undamaged(data: bytes) -> bool:
    """Return whether a record of this schema has the checksum of its bytes."""
    return data.startswith(_BEGIN) and _has_checksum(data)


def _has_checksum(data: bytes) -> bool:
    before, _, _ = data.rpartition(_CHECKSUM)
    return data == before + _checksum(before)


def _checksum(data: bytes) -> bytes:
    """Return the end of a record that begins with these bytes."""
    return b'%b%08x"\n}\n' % (_CHECKSUM, crc32(data))


def decode(data: bytes) -> tuple[Change, ...]:
    """Return the changes of a record. Raises RecordError."""
    import json

    try:
        record = json.loads(data, parse_int=_integer)
        found = record["schema"]
        if found != SCHEMA:
            number = found if isinstance(found, int) else "no number"
            raise RecordError(f"found schema {number}, expected {SCHEMA}", is_newer=True)  # noqa: TRY301 - as _decode does
        if "crc32" in record and not _has_checksum(data):
            raise RecordError("its checksum differs")  # noqa: TRY301 - as above
        return tuple(Change(_decode(change["before"]), _decode(change["after"])) for change in record["changes"])
    except RecordError:
        raise
    except KeyError as error:
        raise RecordError(f"{_shortened(str(error))} is missing") from None
    except RecursionError:
        raise RecordError("it is nested too deeply") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise RecordError(_shortened(str(error))) from None


def _encode(state: State) -> dict[str, str]:
    return {key: _FIELDS[field][0](getattr(state, field)) for key, field in _keys(type(state))}


def _decode(record: dict[str, object]) -> State:
    kind = next((kind for kind, (name, *_) in _STATES.items() if name in record), File)
    return kind(**{field: _FIELDS[field][1](record[key]) for key, field in _keys(kind)})


def _keys(kind: type[State]) -> Iterator[tuple[str, str]]:
    """Return the recorded fields of a kind of state, each with its key."""
    name, first, *others = _STATES[kind]
    return zip((name, *others), (first, *others))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise RecordError(f"found {type(value).__name__}, expected a string")
    return value


def _name(value: object) -> str:
    """Return a string that can be part of a path."""
    text = _text(value)
    if "\0" in text:
        raise RecordError("a name contains a NUL byte")
    text.encode(errors="surrogateescape")
    return text


def _path(value: object) -> PurePosixPath:
    path = PurePosixPath(_name(value))
    if not path.is_absolute():
        raise RecordError("a path is not absolute")
    return path


def _mode(value: object) -> FileMode:
    return FileMode(int(_text(value)[:_LONGEST_NUMBER], 8))


def _owner(value: object) -> Owner:
    uid, gid = (int(number) for number in _text(value)[: 2 * _LONGEST_NUMBER].split(":"))
    if not (0 <= uid <= _LARGEST_NUMBER and 0 <= gid <= _LARGEST_NUMBER):
        raise RecordError("an owner is out of range")
    return Owner(uid, gid)


def _integer(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise RecordError("a number is too large")
    return int(text)


def _shortened(text: str) -> str:
    from agent.base.yaml_reader import shown

    return shown(text)


_STATES: Mapping[type[State], tuple[str, ...]] = {
    Sysctl: ("sysctl", "key", "value"),
    Absent: ("absent", "path"),
    DefaultPermissions: ("default-permissions", "path", "acl"),
    FilePermissions: ("permissions", "path", "mode"),
    Directory: ("directory", "path", "mode", "owner"),
    File: ("file", "path", "content", "mode", "owner"),
}
"""By kind of state: its name, which is the key of the first field, and the recorded fields."""

_FIELDS: Mapping[str, tuple[Callable[[Any], str], Callable[[object], Any]]] = {
    "acl": (bytes.hex, lambda value: bytes.fromhex(_text(value)[:_LONGEST_LIST])),
    # latin-1 maps each byte to one character, so any content is preserved and text stays readable.
    "content": (lambda content: str(content, "latin-1"), lambda value: _text(value).encode("latin-1")),
    "key": (str, _name),
    "mode": (str, _mode),
    "owner": (str, _owner),
    "path": (str, _path),
    "value": (str, _text),
}
"""By field: its text in a record, and the value of what a record has."""
