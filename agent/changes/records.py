"""Journal records as JSON. Pure.

Any bytes are read as a record, or rejected with RecordError. The content of a large file is not part of its record: the
record has its SHA-256 checksum, so that a record is never larger than what the journal reads.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent import __version__
from agent.model import (
    Absent,
    DefaultPermissions,
    Directory,
    File,
    FileMode,
    FilePermissions,
    Owner,
    Sysctl,
)
from agent.plan.plan import Change
from agent.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent.model import State

SCHEMA = 1
BEGIN, END = b"{\n", b"\n}\n"

LARGEST_CONTENT = 16 * 1024
"""Bytes of a file's content in its record. JSON needs up to six times as many."""

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


class Encoded(Value):
    """A record, and the contents that it names by their checksums."""

    record: bytes
    contents: dict[str, bytes]


def encode(changes: Iterable[Change]) -> Encoded:
    """Return the record of these changes."""
    import json

    contents: dict[str, bytes] = {}
    record = {
        "schema": SCHEMA,
        "version": __version__,
        "changes": [
            {"before": _encode(change.before, contents), "after": _encode(change.after, contents)} for change in changes
        ],
    }
    return Encoded(json.dumps(record, indent=1).encode() + b"\n", contents)


def decode(data: bytes, content_of: Callable[[str], bytes]) -> tuple[Change, ...]:
    """Return the changes of a record. `content_of` returns the content with a checksum.

    Raises RecordError, and what `content_of` raises.
    """
    import json

    try:
        record = json.loads(data, parse_int=_integer)
        found = record["schema"]
        if found != SCHEMA:
            number = found if isinstance(found, int) else "no number"
            raise RecordError(f"found schema {number}, expected {SCHEMA}", is_newer=True)  # noqa: TRY301 - as _decode does
        return tuple(
            Change(_decode(change["before"], content_of), _decode(change["after"], content_of))
            for change in record["changes"]
        )
    except RecordError:
        raise
    except KeyError as error:
        raise RecordError(f"{_shortened(str(error))} is missing") from None
    except RecursionError:
        raise RecordError("it is nested too deeply") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise RecordError(_shortened(str(error))) from None


def checksums(data: bytes) -> frozenset[str]:
    """Return the checksums of the contents that a record names. Raises RecordError."""
    found: set[str] = set()

    def noted(checksum: str) -> bytes:
        found.add(checksum)
        return b""

    decode(data, noted)
    return frozenset(found)


def _encode(state: State, contents: dict[str, bytes]) -> dict[str, str]:
    if isinstance(state, Absent):
        return {"absent": str(state.path)}
    if isinstance(state, Sysctl):
        return {"sysctl": state.key, "value": state.value}
    if isinstance(state, (FilePermissions, DefaultPermissions)):
        return _encode_permissions(state)
    if isinstance(state, Directory):
        return {"directory": str(state.path), "mode": str(state.mode), "owner": str(state.owner)}
    access = {"mode": str(state.mode), "owner": str(state.owner)}
    if len(state.content) > LARGEST_CONTENT:
        checksum = sha256(state.content)
        contents[checksum] = state.content
        return {"file": str(state.path), "sha256": checksum, **access}
    # latin-1 maps each byte to one character, so any content is preserved and text stays readable.
    return {"file": str(state.path), "content": state.content.decode("latin-1"), **access}


def _encode_permissions(state: FilePermissions | DefaultPermissions) -> dict[str, str]:
    if isinstance(state, FilePermissions):
        return {"permissions": str(state.path), "mode": str(state.mode)}
    return {"default-permissions": str(state.path), "acl": state.acl.hex()}


def sha256(content: bytes) -> str:
    """Return the checksum that names a content."""
    from hashlib import sha256 as algorithm

    return algorithm(content).hexdigest()


def _decode(record: dict[str, object], content_of: Callable[[str], bytes]) -> State:
    if "sysctl" in record:
        return Sysctl(key=_name(record["sysctl"]), value=_text(record["value"]))
    if "absent" in record:
        return Absent(_path(record["absent"]))
    if "default-permissions" in record:
        acl = bytes.fromhex(_text(record["acl"])[:_LONGEST_LIST])
        return DefaultPermissions(path=_path(record["default-permissions"]), acl=acl)
    mode = FileMode(int(_text(record["mode"])[:_LONGEST_NUMBER], 8))
    if "permissions" in record:
        return FilePermissions(path=_path(record["permissions"]), mode=mode)
    return _decode_entry(record, mode, content_of)


def _decode_entry(record: dict[str, object], mode: FileMode, content_of: Callable[[str], bytes]) -> Directory | File:
    owner = _owner(_text(record["owner"]))
    if "directory" in record:
        return Directory(path=_path(record["directory"]), mode=mode, owner=owner)
    path = _path(record["file"])
    if "sha256" in record:
        return File(path=path, content=content_of(_checksum(_text(record["sha256"]))), mode=mode, owner=owner)
    return File(path=path, content=_text(record["content"]).encode("latin-1"), mode=mode, owner=owner)


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


def _owner(text: str) -> Owner:
    uid, gid = (int(number) for number in text[: 2 * _LONGEST_NUMBER].split(":"))
    if not (0 <= uid <= _LARGEST_NUMBER and 0 <= gid <= _LARGEST_NUMBER):
        raise RecordError("an owner is out of range")
    return Owner(uid, gid)


def _checksum(text: str) -> str:
    if len(text) != 64 or set(text) - set("0123456789abcdef"):  # noqa: PLR2004 - hexadecimal digits of 32 bytes
        raise RecordError("a checksum is invalid")
    return text


def _integer(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise RecordError("a number is too large")
    return int(text)


def _shortened(text: str) -> str:
    from agent.yaml_reader import shown

    return shown(text)
