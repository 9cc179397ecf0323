"""The journal: the state before each run, written before the run changes anything. Revert reads it backwards.

/var/lib/k3s-harden/journal contains one file per run, `NUMBER-STARTED.begun` during the run and `.json` afterwards. So
the names show when this host was last changed and whether a run was interrupted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from typing import NamedTuple

from agent.base import repair
from agent.base.errors import HostError
from agent.base.host import Host
from agent.base.host.directories import DirectoryEntry
from agent.base.host.tree import LARGEST_READ
from agent.base.linux.file_systems import DIRECTORY
from agent.base.model import GROUP_OR_OTHERS_WRITE, PRIVATE_FILE, File, State
from agent.base.value import Value
from agent.harden.changes import last_run, records
from agent.harden.changes.records import RecordError
from agent.harden.changes.state import STATE, make_directory
from agent.harden.plan.plan import Change, describe_state

JOURNAL = STATE / "journal"
BACKUPS = STATE / "backups"

_LONGEST_FLAT = 200
"""Bytes of the name of a backup without its number; a name has at most 255 bytes."""
_MOST_RECORDS = 50
"""With more records, the two oldest are merged. Otherwise a host that is reset at each boot fills its disk."""


class Run(NamedTuple):
    """One run that changed the host."""

    number: int
    started: int
    """In seconds since the epoch."""
    finished: bool
    """False during the run, and for an interrupted run."""

    @property
    def path(self) -> PurePosixPath:
        """Return the path of the record."""
        return JOURNAL / f"{self.number:06d}-{self.started}.{'json' if self.finished else 'begun'}"


class Journal(Value):
    """The journal of one host."""

    host: Host

    def runs(self) -> tuple[Run, ...]:
        """Return all runs that changed something and were not reverted, oldest first. Raises HostError."""
        found = []
        for name in self.host.tree.names(JOURNAL):
            stem, _, suffix = name.partition(".")
            number, _, started = stem.partition("-")
            if suffix in ("json", "begun") and number.isdecimal() and started.isdecimal():
                run = Run(int(number), int(started), suffix == "json")
                if run.path.name == name:  # such as without leading zeros, which this program does not write
                    found.append(run)
        return tuple(sorted(found))

    def changes(self, run: Run) -> tuple[Change, ...]:
        """Return the changes that the run recorded. Raises HostError for an invalid record."""
        data = self._read(run.path)
        try:
            return records.decode(data)
        except RecordError as error:
            if error.is_newer:
                raise HostError(
                    f"cannot read {run.path}: {error}", repair.Instruction("use the newer k3s-harden that wrote it")
                ) from error
            message = f"cannot read {run.path}: not a journal record ({error})"
            raise HostError(message, _restored(run.path)) from error

    def history(self, runs: Iterable[Run]) -> tuple[dict[str, State], dict[str, tuple[State, ...]]]:
        """Return for each id of the runs the state before the first run, and the states that runs left, oldest first.

        All states are returned, since the last run may have been interrupted before it changed anything. An edited file
        of which a run changed only mode or owner is not included: to revert it would lose the edit.
        """
        before: dict[str, State] = {}
        left: dict[str, tuple[State, ...]] = {}
        for run in runs:
            for change in self.changes(run):
                first = before.setdefault(change.id, change.before)
                earlier = left.get(change.id, ())
                if not change.keeps_content or any(
                    Change(before, change.after).keeps_content for before in (first, *earlier)
                ):
                    left[change.id] = (*earlier, change.after)
        return before, left

    def written(self, name: str) -> tuple[bytes, ...]:
        """Return the contents that any run wrote to the file of this id, for an /etc that was reset to its image.

        A change of mode or owner only is not a write. Invalid records are skipped.
        """
        contents: list[bytes] = []
        for run in self.runs():
            with suppress(HostError):
                contents += (
                    change.after.content
                    for change in self.changes(run)
                    if change.id == name and isinstance(change.after, File) and not change.keeps_content
                )
        return tuple(dict.fromkeys(contents))

    def damage(self, runs: Iterable[Run]) -> dict[PurePosixPath, HostError]:
        """Return the errors of invalid records and of their directories, by path.

        A directory has an error if it is another kind of file, or if its permissions are too open.
        """
        found = {}
        for place in (STATE, JOURNAL):
            there = self.host.tree.stat(place)
            if not isinstance(there, DirectoryEntry):
                continue
            if there.kind != DIRECTORY:
                message = f"cannot use {place}: it is a {there.kind}, expected a directory"
                found[place] = HostError(message, repair.moved_away(place))
            elif there.owner.uid or there.mode & GROUP_OR_OTHERS_WRITE:
                access = (
                    f"found owner {there.owner} and mode {there.mode}, expected a directory that only root can write"
                )
                commands = (f"ls -la {place}", f"chown root:root {place}", f"chmod go-w {place}")
                steps = (repair.Run(f"sudo {command}") for command in commands)
                found[place] = HostError(f"cannot use {place}: {access}", *steps)
        for run in runs:
            try:
                if not records.is_undamaged(self._read(run.path)):
                    self.changes(run)
            except HostError as error:
                found[run.path] = error
        return found

    def begin(self, changes: Sequence[Change]) -> Run:
        """Record changes before the first of them is made. The caller holds the lock."""
        runs = self.runs()
        make_directory(self.host.writable_tree, JOURNAL)
        if len(runs) >= _MOST_RECORDS:
            self._merge(*runs[:2])
        run = Run(runs[-1].number + 1 if runs else 1, int(self.host.now()), finished=False)
        self._write(run, changes)
        return run

    def finish(self, run: Run) -> None:
        """Mark a run as finished: all its changes were made or reported."""
        self.host.writable_tree.rename(run.path, run._replace(finished=True).path.name)

    def reopen(self, runs: Sequence[Run]) -> tuple[Run, ...]:
        """Mark the newest of these runs as not finished before they are reverted, and return the runs.

        If the revert is interrupted, the next run then removes its temporary files.
        """
        if not runs:
            return ()
        newest = runs[-1]._replace(finished=False)
        self.host.writable_tree.rename(runs[-1].path, newest.path.name)
        return (*runs[:-1], newest)

    def finish_interrupted(self) -> tuple[Run, ...]:
        """Remove the temporary files of interrupted runs, mark these runs as finished, and return them.

        If a file cannot be removed, such as in a read-only /etc, the record stays open for the next run.
        """
        runs = self.runs()
        interrupted = tuple(run for run in runs if not run.finished)
        with suppress(HostError):
            # An interrupted revert may have been writing the files of any run.
            for run in runs if interrupted else ():
                for change in self.changes(run):
                    for state in (change.before, change.after):
                        if isinstance(state, File):
                            self.host.writable_tree.remove_temporary(state.path)
            for run in interrupted:
                self.finish(run)
        # An interrupted write of a record or a backup may have left no other trace.
        for directory in (STATE, JOURNAL, BACKUPS):
            self.host.writable_tree.remove_temporaries(directory)
        return interrupted

    def forget(self, runs: Sequence[Run]) -> None:
        """Remove the records of reverted runs, newest first, and the journal if it is then empty."""
        for run in reversed(runs):
            self.host.writable_tree.remove_file(run.path)
        if self.host.writable_tree.remove_directory(JOURNAL):
            last_run.forget_last_run(self.host)
            with suppress(HostError):  # such as a mount point below a read-only directory
                self.host.writable_tree.remove_directory(STATE)

    def backup(self, file: File) -> PurePosixPath:
        """Copy a file before it is replaced, and return the path of the copy."""
        make_directory(self.host.writable_tree, BACKUPS)
        flat = _flat(file.id)
        taken = self.host.tree.names(BACKUPS)
        number = 1 + sum(name.startswith(f"{flat}.") for name in taken)
        path = BACKUPS / f"{flat}.{int(self.host.now())}.{number}"
        self.host.writable_tree.write(File(path=path, content=file.content, mode=PRIVATE_FILE))
        return path

    def _read(self, path: PurePosixPath) -> bytes:
        """Return the content of a regular file of the journal that only root could write. A symlink is not followed."""
        found = self.host.tree.observe(path)
        if not isinstance(found, File):
            raise HostError(
                f"cannot read {path}: found {describe_state(found)}, expected a regular file", _restored(path)
            )
        # A user who could write to the directory before it was restricted to root may have left files there.
        if found.owner.uid or found.mode & GROUP_OR_OTHERS_WRITE:
            raise HostError(
                f"cannot use {path}: found owner {found.owner} and mode {found.mode}, expected a file that only root"
                " can write",
                repair.moved_away(path),
            )
        return found.content

    def _merge(self, older: Run, newer: Run) -> None:
        by_id: dict[str, list[Change]] = {}
        for change in (*self.changes(older), *self.changes(newer)):
            kept = by_id.setdefault(change.id, [])
            if kept and change.keeps_content:
                kept[1:] = [change]  # separate, so that the content of another author is not treated as managed
            else:
                kept[:] = [Change(kept[0].before if kept else change.before, change.after)]
        folded = [change for kept in by_id.values() if kept[0].before != kept[-1].after for change in kept]
        # The newer record is replaced first: after a crash in between, the older record only repeats part of it.
        self._write(newer, folded)
        self.host.writable_tree.remove_file(older.path)

    def _write(self, run: Run, changes: Sequence[Change]) -> None:
        record = records.encode(changes)
        if len(record) > LARGEST_READ:
            raise HostError(
                f"cannot write {run.path}: found {len(record)} bytes, expected at most {LARGEST_READ}",
                repair.Instruction("make the files that the run changes smaller; nothing was changed"),
            )
        self.host.writable_tree.write(File(path=run.path, content=record, mode=PRIVATE_FILE))


def _restored(path: PurePosixPath) -> repair.Decide:
    """Return the question whether a damaged record can be restored."""
    loss = "the changes of that run cannot be reverted"
    answers = (repair.Answer("Yes", "restore it", ()), repair.Answer("No", loss, (repair.moved_away(path),)))
    return repair.Decide(f"Does a backup have {path}?", answers)


def _flat(name: str) -> str:
    """Return a file name for a path, of at most 200 bytes; a shortened one ends in a checksum of the path."""
    flat = name.strip("/").replace("/", "_").encode(errors="surrogateescape")
    if len(flat) > _LONGEST_FLAT:
        from hashlib import sha256

        flat = flat[-_LONGEST_FLAT + 17 :] + b"-" + sha256(flat).hexdigest()[:16].encode()
    return flat.decode(errors="surrogateescape")
