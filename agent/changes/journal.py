"""What was there before each run, written before the run changes anything; revert is this journal read backwards.

One file a run in /var/lib/k3s-harden/journal, `NUMBER-STARTED.begun` until the run has ended and `.json` from then
on, so that a directory listing alone tells when this host was last changed and whether a run was cut off.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent import __version__
from agent.errors import HostError
from agent.model import Absent, Directory, File, FileMode, FilePermissions, Owner, State, Sysctl
from agent.plan.plan import Change

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent.host import Host

STATE = PurePosixPath("/var/lib/k3s-harden")
"""Ours alone, mode 0700; nothing in it is watched by K3s or systemd."""

JOURNAL = STATE / "journal"
BACKUPS = STATE / "backups"

_PRIVATE_DIRECTORY = FileMode(0o700)
_PRIVATE_FILE = FileMode(0o600)
_SCHEMA = 1
_BEGIN, _END = b"{\n", b"\n}\n"
_MOST_RECORDS = 50
"""Beyond it the two oldest records are folded into one: a host that fights us at each boot must not fill its disk."""


class Entry(NamedTuple):
    """One run. `started` is in seconds since the epoch; a run that was cut off is not `finished`."""

    number: int
    started: int
    finished: bool

    @property
    def path(self) -> PurePosixPath:
        """Where the record lies."""
        return JOURNAL / f"{self.number:06d}-{self.started}.{'json' if self.finished else 'begun'}"


class Journal(NamedTuple):
    """The journal of one host."""

    host: Host

    def entries(self) -> tuple[Entry, ...]:
        """All runs that changed something and were not undone, oldest first. Raises HostError if not readable."""
        found = []
        for name in self.host.tree.names(JOURNAL):
            stem, _, suffix = name.partition(".")
            number, _, started = stem.partition("-")
            if suffix in ("json", "begun") and number.isdecimal() and started.isdecimal():
                entry = Entry(int(number), int(started), suffix == "json")
                if entry.path.name == name:  # else somebody made it up
                    found.append(entry)
        return tuple(sorted(found))

    def changes(self, entry: Entry) -> tuple[Change, ...]:
        """What the run changed, or was about to. Raises HostError for a record that cannot be understood."""
        import json

        data = self.host.tree.read(entry.path)
        try:
            record = json.loads(data or b"")
            if record["schema"] != _SCHEMA:
                raise HostError(
                    f"cannot read {entry.path}: it is of schema {record['schema']}, this reads {_SCHEMA}",
                    "run the k3s-harden that wrote it, which is a newer one",
                )
            return tuple(Change(_decode(c["before"]), _decode(c["after"])) for c in record["changes"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise HostError(
                f"cannot read {entry.path}: not a journal record ({error})",
                "restore it from a backup, or move it away: what that run changed can then not be undone",
            ) from error

    def history(self, entries: Iterable[Entry]) -> tuple[dict[str, State], dict[str, tuple[State, ...]]]:
        """For each id that the runs touched: the state before the first of them, and those they left, the oldest first.

        All that they left counts, since the last run may have been cut off before it changed anything. A file that
        somebody edited and a run gave another mode or owner is not among them: to undo that would lose the edit.
        """
        before: dict[str, State] = {}
        left: dict[str, tuple[State, ...]] = {}
        for entry in entries:
            for change in self.changes(entry):
                first = before.setdefault(change.id, change.before)
                earlier = left.get(change.id, ())
                if not change.keeps_content or any(_same_content(change.after, one) for one in (first, *earlier)):
                    left[change.id] = (*earlier, change.after)
        return before, left

    def written(self, name: str) -> tuple[bytes, ...]:
        """The contents that any run gave the file of this id: an /etc that went back to its image is still ours.

        To set the mode of what somebody else wrote is not to write it. A record that cannot be read tells nothing.
        """
        contents: list[bytes] = []
        for entry in self.entries():
            with suppress(HostError):
                contents += (
                    change.after.content
                    for change in self.changes(entry)
                    if change.id == name and isinstance(change.after, File) and not change.keeps_content
                )
        return tuple(dict.fromkeys(contents))

    def damage(self, entries: Iterable[Entry], *, in_full: bool) -> dict[PurePosixPath, HostError]:
        """What is wrong with the records that cannot be understood, by their paths.

        Without `in_full` only their ends are looked at, which finds those that are empty or cut off, and costs nothing.
        """
        found = {}
        for entry in entries:
            try:
                if in_full or not self._seems_whole(entry):
                    self.changes(entry)
            except HostError as error:
                found[entry.path] = error
        return found

    def begin(self, changes: Sequence[Change]) -> Entry:
        """Write down what is about to change; to be called under the lock, before the first change."""
        entries = self.entries()
        self._make_directory(JOURNAL)
        if len(entries) >= _MOST_RECORDS:
            self._fold(*entries[:2])
        entry = Entry(entries[-1].number + 1 if entries else 1, int(self.host.now()), finished=False)
        self._write(entry, changes)
        return entry

    def finish(self, entry: Entry) -> None:
        """The run has ended; all its changes were made or reported."""
        self.host.tree.rename(entry.path, entry._replace(finished=True).path.name)

    def reopen(self, entries: Sequence[Entry]) -> tuple[Entry, ...]:
        """Mark the newest of these runs as not finished, since they are about to be undone.

        A revert that is cut off is then seen as such, and the next run takes its left-overs away.
        """
        if not entries:
            return ()
        newest = entries[-1]._replace(finished=False)
        self.host.tree.rename(entries[-1].path, newest.path.name)
        return (*entries[:-1], newest)

    def finish_interrupted(self) -> tuple[Entry, ...]:
        """Take away what runs that were cut off left over, and close their records: they are still undone by revert.

        Where something cannot be taken away, a read-only /etc say, the record stays open for the next run.
        """
        entries = self.entries()
        cut_off = tuple(entry for entry in entries if not entry.finished)
        with suppress(HostError):
            # A revert that was cut off may have been at the files of any run.
            for entry in entries if cut_off else ():
                for change in self.changes(entry):
                    if isinstance(change.before, File) or isinstance(change.after, File):
                        self.host.tree.remove_temporary(PurePosixPath(change.id))
            for entry in cut_off:
                self.finish(entry)
        # A record or a backup that was cut off while it was written: there may be no other trace of that run.
        for directory in (JOURNAL, BACKUPS):
            self.host.tree.remove_temporaries(directory)
        return cut_off

    def forget(self, entries: Sequence[Entry]) -> None:
        """Drop the records of runs that were undone, newest first, and the journal with the last of them."""
        for entry in reversed(entries):
            self.host.tree.remove_file(entry.path)
        if self.host.tree.remove_directory(JOURNAL):
            self.host.tree.remove_directory(STATE)

    def backup(self, file: File) -> PurePosixPath:
        """Keep a copy of somebody's file before it is replaced; returns where."""
        self._make_directory(BACKUPS)
        flat = file.id.strip("/").replace("/", "_")
        taken = self.host.tree.names(BACKUPS)
        number = 1 + sum(name.startswith(f"{flat}.") for name in taken)
        path = BACKUPS / f"{flat}.{int(self.host.now())}.{number}"
        self.host.tree.write(File(path=path, content=file.content, mode=_PRIVATE_FILE))
        return path

    def _seems_whole(self, entry: Entry) -> bool:
        data = self.host.tree.read(entry.path) or b""
        return data.startswith(_BEGIN) and data.endswith(_END)

    def _make_directory(self, path: PurePosixPath) -> None:
        for parent in (*reversed(STATE.parents), STATE):
            if isinstance(self.host.tree.look(parent), Absent):
                mode = _PRIVATE_DIRECTORY if parent == STATE else FileMode(0o755)
                self.host.tree.make_directory(Directory(path=parent, mode=mode))
        self.host.tree.make_directory(Directory(path=path, mode=_PRIVATE_DIRECTORY))

    def _fold(self, older: Entry, newer: Entry) -> None:
        by_id: dict[str, list[Change]] = {}
        for change in (*self.changes(older), *self.changes(newer)):
            kept = by_id.setdefault(change.id, [])
            if kept and change.keeps_content:
                kept[1:] = [change]  # apart, since merged it would read as if we had written that content
            else:
                kept[:] = [Change(kept[0].before if kept else change.before, change.after)]
        folded = [change for kept in by_id.values() if kept[0].before != kept[-1].after for change in kept]
        # The newer record is replaced first: a crash in between leaves the older one, which then only repeats it.
        self._write(newer, folded)
        self.host.tree.remove_file(older.path)

    def _write(self, entry: Entry, changes: Sequence[Change]) -> None:
        import json

        record = {
            "schema": _SCHEMA,
            "version": __version__,
            "changes": [{"before": _encode(c.before), "after": _encode(c.after)} for c in changes],
        }
        content = json.dumps(record, indent=1).encode() + b"\n"
        self.host.tree.write(File(path=entry.path, content=content, mode=_PRIVATE_FILE))


def _same_content(one: State, other: State) -> bool:
    return isinstance(one, File) and isinstance(other, File) and one.content == other.content


def _encode(state: State) -> dict[str, str]:
    match state:
        case File():
            # latin-1 gives each byte one character, so that any content survives and text stays legible.
            content = state.content.decode("latin-1")
            return {"file": state.id, "content": content, "mode": str(state.mode), "owner": str(state.owner)}
        case Directory():
            return {"directory": state.id, "mode": str(state.mode), "owner": str(state.owner)}
        case FilePermissions():
            return {"permissions": str(state.path), "mode": str(state.mode)}
        case Sysctl():
            return {"sysctl": state.key, "value": state.value}
        case Absent():
            return {"absent": state.id}


def _decode(record: dict[str, str]) -> State:
    if "sysctl" in record:
        return Sysctl(key=record["sysctl"], value=record["value"])
    if "absent" in record:
        return Absent(id=record["absent"])
    mode = FileMode(int(record["mode"], 8))
    if "permissions" in record:
        return FilePermissions(path=PurePosixPath(record["permissions"]), mode=mode)
    uid, gid = record["owner"].split(":")
    owner = Owner(int(uid), int(gid))
    if "directory" in record:
        return Directory(path=PurePosixPath(record["directory"]), mode=mode, owner=owner)
    content = record["content"].encode("latin-1")
    return File(path=PurePosixPath(record["file"]), content=content, mode=mode, owner=owner)
