"""Record of the last successful run of apply or gate, for runs that cannot read the original values.

/var/lib/k3s-harden/last-run.json contains the K3s version, the identity of the program that printed it, the settings,
and the day. A run that finds the host compliant writes the file if it differs, so at most once a day on a host that
does not change.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

from agent.base.errors import HardenError, HostError, LockHeldError
from agent.base.host import Host
from agent.base.host.tree import LARGEST_READ
from agent.base.model import PRIVATE_FILE, Absent, File
from agent.base.repair import RunVerb
from agent.base.value import Value
from agent.harden.changes.state import STATE, make_directory
from agent.k3s.roles_and_versions import Version

RECORD = STATE / "last-run.json"

_SCHEMA = 1
_REPLACE = RunVerb("apply")
"""It replaces the file when the host is compliant."""


class RecordedSettings(Value):
    """The settings of a successful run."""

    day: str
    """YYYY-MM-DD in UTC."""
    path: PurePosixPath
    """The settings file, which may have been missing."""
    files: Mapping[PurePosixPath, bytes]
    """The settings file and the files that it names, with their content."""


class LastRun(Value):
    """The last successful run; the fields are empty if it is not recorded."""

    day: str = ""
    """YYYY-MM-DD in UTC."""
    versions: Mapping[str, Version] = MappingProxyType({})
    """The K3s version by role: a host can have a server and an agent."""
    settings: RecordedSettings | None = None
    programs: Mapping[str, str] = MappingProxyType({})
    """The identity of the program that printed the version, by role; a role is missing if no program did."""
    k3s_config: str | None = None
    """A main configuration file that no setting gives, after the hash of the command that reads it; empty without one.

    None if a release recorded the run that followed shell commands, and did not record this.
    """


def read_last_run(host: Host, unreadable: list[HardenError]) -> LastRun:
    """Return the record; empty for a --root tree, which becomes another host, and for a user other than root.

    A damaged record is ignored, and its error is added to `unreadable`.
    """
    if not (host.is_live and host.runs_as_root):
        return LastRun()
    try:
        data = host.tree.read(RECORD)
        if data is not None and (problem := host.tree.trust_problem(RECORD)):
            raise HostError(f"cannot use {RECORD}: {problem}", _REPLACE)  # noqa: TRY301 - handled like a read error
    except HostError as error:
        unreadable.append(error)
        return LastRun()
    if data is None:
        return LastRun()
    import json

    try:
        return _decoded(json.loads(data))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        unreadable.append(
            HostError(
                f"cannot read {RECORD}: not a record of the last successful run ({type(error).__name__})", _REPLACE
            )
        )
        return LastRun()


def write_last_run(host: Host, run: LastRun) -> None:
    """Replace the record if it differs. Does nothing if another run holds the lock or the disk is full."""
    if not (host.is_live and host.runs_as_root) or read_last_run(host, []) == run:
        return
    import json

    content = json.dumps(_encoded(run), indent=1).encode() + b"\n"
    if len(content) > LARGEST_READ:
        return
    with suppress(HostError, LockHeldError), host.lock(wait=0):
        make_directory(host.writable_tree, STATE)
        host.writable_tree.write(File(path=RECORD, content=content, mode=PRIVATE_FILE))


def forget_last_run(host: Host) -> None:
    """Remove the record. The caller holds the lock."""
    if not isinstance(host.tree.observe(RECORD), Absent):
        host.writable_tree.remove_file(RECORD)


def _encoded(run: LastRun) -> dict[str, Any]:
    settings = run.settings and {
        "day": run.settings.day,
        "path": str(run.settings.path),
        "files": [{"path": str(path), "content": data.decode("latin-1")} for path, data in run.settings.files.items()],
    }
    versions = {role: str(version) for role, version in run.versions.items()}
    return {
        "schema": _SCHEMA,
        "day": run.day,
        "versions": versions,
        "settings": settings,
        "programs": dict(run.programs),
        **({} if run.k3s_config is None else {"k3s-config": run.k3s_config}),
    }


def _decoded(record: Mapping[str, Any]) -> LastRun:
    if record["schema"] != _SCHEMA:
        raise ValueError
    settings = record["settings"]
    return LastRun(
        _day(record["day"]),
        {role: Version.parse(version) for role, version in record["versions"].items()},
        None if settings is None else _decoded_settings(settings),
        {role: _text(program) for role, program in record.get("programs", {}).items()},
        None if "k3s-config" not in record else _text(record["k3s-config"]),
    )


def _text(found: object) -> str:
    if not isinstance(found, str):
        raise TypeError
    return found


def _decoded_settings(record: Mapping[str, Any]) -> RecordedSettings:
    files = {PurePosixPath(file["path"]): file["content"].encode("latin-1") for file in record["files"]}
    return RecordedSettings(_day(record["day"]), PurePosixPath(record["path"]), files)


def _day(text: str) -> str:
    """Return a day, YYYY-MM-DD, or an empty text. Raises ValueError or OverflowError for any other text."""
    # Not datetime.date, whose module takes 2 % of an assessment to load.
    if not text:
        return ""
    year, month, day = map(int, text.split("-"))
    noon = time.localtime(time.mktime((year, month, day, 12, 0, 0, 0, 0, -1)))
    if time.strftime("%Y-%m-%d", noon) != text:
        raise ValueError
    return text
