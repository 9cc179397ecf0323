"""A host as it will be after changes, without making them: its files, with those of a plan instead of some of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from types import MappingProxyType

from agent.base.host import PROC_SYS, Host
from agent.base.host.directories import DirectoryEntry
from agent.base.host.tree import LARGEST_READ, Tree
from agent.base.linux.file_systems import DIRECTORY, REGULAR_FILE
from agent.base.model import (
    PUBLIC_FILE,
    ROOT,
    Absent,
    DefaultPermissions,
    Directory,
    File,
    FileMode,
    FilePermissions,
    State,
    Sysctl,
    UnexpectedKind,
    Unreadable,
)


class PlannedTree(Tree):
    """The files of a host after changes. Only reading methods are supported."""

    states: Mapping[str, State] = MappingProxyType({})
    """What will be, by id."""

    def observe(self, path: PurePosixPath) -> Directory | File | Absent | UnexpectedKind | Unreadable:
        """Return what will be at `path`."""
        return self._planned(path) or super().observe(path)

    def permissions(self, path: PurePosixPath) -> FilePermissions | Absent | UnexpectedKind | Unreadable:
        """Return the mode that the file at `path` will have."""
        planned = self._planned(path)
        if isinstance(planned, File):
            return FilePermissions(path=path, mode=planned.mode)
        changed = self.states.get(FilePermissions(path=path, mode=FileMode(0)).id)
        if isinstance(changed, FilePermissions):
            return changed
        return planned if isinstance(planned, Absent) else super().permissions(path)

    def default_permissions(self, path: PurePosixPath) -> DefaultPermissions | UnexpectedKind | Unreadable:
        """Return the default permissions that the directory at `path` will have."""
        changed = self.states.get(DefaultPermissions(path=path, acl=b"").id)
        return changed if isinstance(changed, DefaultPermissions) else super().default_permissions(path)

    def stat(self, path: PurePosixPath) -> DirectoryEntry | Absent | Unreadable:
        """Return kind, mode and owner of what will be at `path`."""
        planned = self._planned(path)
        if isinstance(planned, (Directory, File)):
            return _entry(planned)
        return planned or super().stat(path)

    def entries(self, path: PurePosixPath) -> tuple[DirectoryEntry | Unreadable, ...]:
        """Return the entries that a directory will have."""
        now = () if self._is_new(path) else super().entries(path)
        kept = {entry.name: entry for entry in now if isinstance(entry, DirectoryEntry)}
        for planned in self._in(path):
            kept.pop(planned.path.name, None)
            if not isinstance(planned, Absent):
                kept[planned.path.name] = _entry(planned)
        others = (entry for entry in now if not isinstance(entry, DirectoryEntry))
        return (*others, *(kept[name] for name in sorted(kept)))

    def exists(self, path: PurePosixPath) -> bool:
        """Return whether a file will exist at `path`."""
        planned = self._planned(path)
        return super().exists(path) if planned is None else not isinstance(planned, Absent)

    def read(self, path: PurePosixPath, largest: int = LARGEST_READ) -> bytes | None:
        """Return the content that a file will have."""
        planned = self._planned(path)
        if isinstance(planned, File):
            return planned.content
        return None if isinstance(planned, Absent) else super().read(path, largest)

    def link_target(self, path: PurePosixPath) -> str | None:
        """Return the target of the symlink at `path`."""
        return None if self._planned(path) else super().link_target(path)

    def names(self, path: PurePosixPath) -> tuple[str, ...]:
        """Return the names that a directory will have."""
        found = set() if self._is_new(path) else set(super().names(path))
        for planned in self._in(path):
            (found.discard if isinstance(planned, Absent) else found.add)(planned.path.name)
        return tuple(sorted(found))

    def _planned(self, path: PurePosixPath) -> Directory | File | Absent | None:
        found = self.states.get(str(path))
        return found if isinstance(found, (Directory, File, Absent)) else None

    def _in(self, directory: PurePosixPath) -> Iterable[Directory | File | Absent]:
        for state in self.states.values():
            if isinstance(state, (Directory, File, Absent)) and state.path.parent == directory:
                yield state

    def _is_new(self, path: PurePosixPath) -> bool:
        return isinstance(self._planned(path), Directory) and not super().exists(path)


class PlannedHost(Host):
    """A host after changes. It writes nothing."""

    states: Mapping[str, State] = MappingProxyType({})

    @property
    def tree(self) -> PlannedTree:
        """Return the files of the host after the changes."""
        return PlannedTree(self.root, self.uid, self.gid, self.opened, self.states)


def after(host: Host, states: Iterable[State]) -> PlannedHost:
    """Return the host with these states in place of the current ones."""
    fields = {name: getattr(host, name) for name in Host._fields}
    later = PlannedHost(**fields, states={state.id: state for state in map(_in_proc, states)})
    host.lend_answers(later)  # no change is about a program that was asked
    return later


def _in_proc(state: State) -> State:
    """Return a kernel parameter as its file, and any other state as it is."""
    if not isinstance(state, Sysctl):
        return state
    path = PROC_SYS.joinpath(*state.key.split("."))
    return File(path=path, content=f"{state.value}\n".encode(), mode=PUBLIC_FILE)


def _entry(planned: Directory | File) -> DirectoryEntry:
    kind = DIRECTORY if isinstance(planned, Directory) else REGULAR_FILE
    return DirectoryEntry(planned.path.name, kind, planned.mode, ROOT)
