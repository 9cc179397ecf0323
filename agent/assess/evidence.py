"""What the controls of a benchmark ask of a host's files, looked at once: their modes and owners, and what K3s wrote.

Nothing here raises for what is on the host, and nothing that could not be read looks like a value: Missing and Unknown
are told apart. Of files that hold secrets nothing is kept but what is asked.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent.errors import HostError, InputError
from agent.host.tree import DIRECTORY, REGULAR_FILE, SYMLINK
from agent.k3s import etcd_configuration, kubelet_configuration
from agent.k3s.encryption_configuration import ENCRYPTION_CONFIGURATION, providers_of_secrets
from agent.k3s.etcd_configuration import ETCD_CONFIGURATION
from agent.k3s.kubelet_configuration import KubeletConfiguration, KubeletFile
from agent.model import Absent, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from agent.benchmark.check import Ownership, Permissions
    from agent.host import Host
    from agent.host.tree import DirectoryEntry, Tree
    from agent.k3s.etcd_configuration import Text
    from agent.model import FileMode, Owner
    from agent.node.facts import HostFacts


class Seen(NamedTuple):
    """A file or directory that a check asks for, at the path that it is asked for by.

    Mode and owner are those of what a symlink there leads to, since that is what K3s uses.
    """

    path: PurePosixPath
    mode: FileMode
    owner: Owner


class Unknown(NamedTuple):
    """Something that is there, or may be, and cannot be told; `reason` says why, in one line."""

    path: PurePosixPath
    reason: str


class Missing(NamedTuple):
    """There is nothing at this path."""

    path: PurePosixPath


class Matches(NamedTuple):
    """What one path of a check finds, each in the order of paths. With neither, nothing is there that it could mean.

    `pattern` is that path in full, from the root of the host.
    """

    pattern: PurePosixPath
    seen: tuple[Seen, ...] = ()
    unknown: tuple[Unknown, ...] = ()


class EtcdConfiguration(NamedTuple):
    """The configuration that K3s wrote for its etcd, with what etcd_configuration.values says of it."""

    path: PurePosixPath
    values: Mapping[str, Text]


class EncryptionConfiguration(NamedTuple):
    """K3s' encryption configuration, with what encryption_configuration.providers_of_secrets says of it."""

    path: PurePosixPath
    providers: tuple[str, ...]


class Evidence(NamedTuple):
    """What was looked at. `files` is by the check that asks, for each of its paths in their order.

    `node` is the host's name in lower case, empty where none is set.
    """

    node: str
    files: Mapping[Permissions | Ownership, tuple[Matches, ...]]
    kubelet: KubeletConfiguration
    etcd: EtcdConfiguration | Missing | Unknown
    encryption: EncryptionConfiguration | Missing | Unknown


def read(host: Host, facts: HostFacts, checks: Iterable[Permissions | Ownership]) -> Evidence:
    """Look at all that these checks ask for, and at what K3s wrote for the kubelet and etcd. Raises nothing.

    A directory that several checks ask for is listed once.
    """
    files = _Files(host.tree)
    return Evidence(
        node=host.name,
        files={
            check: tuple(
                files.matches(facts.data_dir / path, check.except_names, directories=check.directories)
                for path in check.paths
            )
            for check in checks
        },
        kubelet=_kubelet(host.tree, facts),
        etcd=_etcd(host.tree, facts.data_dir / ETCD_CONFIGURATION),
        encryption=_encryption(host.tree, facts.data_dir / ENCRYPTION_CONFIGURATION),
    )


class _Files:
    """Looks at files, and keeps what it has seen."""

    __slots__ = ("_found", "_listed", "_tree")

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._listed: dict[PurePosixPath, tuple[DirectoryEntry | Unknown, ...]] = {}
        self._found: dict[tuple[PurePosixPath, bool], tuple[Seen | Unknown, ...]] = {}

    def matches(self, pattern: PurePosixPath, except_names: tuple[str, ...], *, directories: bool) -> Matches:
        key = pattern, directories
        if key not in self._found:
            self._found[key] = tuple(self._look(pattern, DIRECTORY if directories else REGULAR_FILE))
        found = [one for one in self._found[key] if one.path.name not in except_names]
        return Matches(
            pattern,
            tuple(one for one in found if isinstance(one, Seen)),
            tuple(one for one in found if isinstance(one, Unknown)),
        )

    def _look(self, pattern: PurePosixPath, kind: str) -> Iterator[Seen | Unknown]:
        if pattern.name == "**":
            return self._below(pattern.parent, "*", kind)
        if pattern.parent.name == "**":
            return self._below(pattern.parent.parent, pattern.name, kind)
        if "*" in pattern.name:
            return self._among(pattern, kind)
        return self._at(pattern, kind)

    def _at(self, path: PurePosixPath, kind: str) -> Iterator[Seen | Unknown]:
        found = self._tree.stat(path)
        if isinstance(found, Unreadable):
            yield Unknown(path, found.reason)
        elif not isinstance(found, Absent):
            yield _of_kind(path, found, kind)
        elif self._tree.link_target(path) is not None:
            yield Unknown(path, "it is a symlink that leads to nothing")

    def _among(self, pattern: PurePosixPath, kind: str) -> Iterator[Seen | Unknown]:
        for path, entry in self._entries(pattern.parent):
            if path == pattern.parent or fnmatchcase(path.name, pattern.name):
                yield from self._one(path, entry, kind)

    def _below(self, directory: PurePosixPath, name: str, kind: str) -> Iterator[Seen | Unknown]:
        found: list[Seen | Unknown] = []
        waiting = [directory]
        while waiting:
            for path, entry in self._entries(waiting.pop()):
                if isinstance(entry, Unknown) or fnmatchcase(path.name, name):
                    found += self._one(path, entry, kind)
                # No symlink to a directory is followed: it could lead around in a circle.
                if not isinstance(entry, Unknown) and entry.kind == DIRECTORY:
                    waiting.append(path)
        return iter(sorted(found, key=lambda one: one.path))

    def _one(self, path: PurePosixPath, entry: DirectoryEntry | Unknown, kind: str) -> Iterator[Seen | Unknown]:
        """One of many in a directory: a directory among files is not what is asked for, nor a file among directories.

        What is neither, such as a FIFO, stands in a file's place.
        """
        if isinstance(entry, Unknown):
            yield entry
            return
        found = self._tree.stat(path) if entry.kind == SYMLINK else entry
        if isinstance(found, Absent | Unreadable):
            yield from self._at(path, kind)
        elif found.kind == kind or (kind == REGULAR_FILE and found.kind != DIRECTORY):
            yield _of_kind(path, found, kind)

    def _entries(self, directory: PurePosixPath) -> Iterator[tuple[PurePosixPath, DirectoryEntry | Unknown]]:
        if directory not in self._listed:
            self._listed[directory] = self._list(directory)
        for entry in self._listed[directory]:
            if isinstance(entry, Unknown):
                yield entry.path, entry
            else:
                yield directory / entry.name, entry

    def _list(self, directory: PurePosixPath) -> tuple[DirectoryEntry | Unknown, ...]:
        try:
            return tuple(
                Unknown(PurePosixPath(entry.id), entry.reason) if isinstance(entry, Unreadable) else entry
                for entry in self._tree.entries(directory)
            )
        except HostError as error:
            return (Unknown(directory, error.message),)


def _of_kind(path: PurePosixPath, found: DirectoryEntry, kind: str) -> Seen | Unknown:
    if found.kind == kind:
        return Seen(path, found.mode, found.owner)
    return Unknown(path, f"it is a {found.kind}, not a {kind}")


def _kubelet(tree: Tree, facts: HostFacts) -> KubeletConfiguration:
    """The files that the kubelet reads at K3s' next start, each by the path where its content stands now."""
    try:
        sources = kubelet_configuration.sources(facts.merged_config, facts.version, facts.data_dir)
    except ValueError as error:
        return KubeletConfiguration(problem=str(error))
    paths: dict[tuple[str, ...], PurePosixPath] = {}
    try:
        for source in sources:
            found = _dropins(tree, source.path) if source.is_directory else {(): source.path}
            paths.update({(*source.names, *names): path for names, path in found.items()})
    except HostError as error:
        return KubeletConfiguration(problem=error.message)
    return KubeletConfiguration(tuple(_kubelet_file(tree, paths[names]) for names in sorted(paths)))


def _dropins(tree: Tree, directory: PurePosixPath) -> dict[tuple[str, ...], PurePosixPath]:
    """The *.conf files at any depth, by the names that lead to them: by these the kubelet sorts them."""
    found = {}
    waiting = [directory]
    while waiting:
        here = waiting.pop()
        for entry in tree.entries(here):
            if isinstance(entry, Unreadable):
                raise HostError(f"cannot look at {entry.id}: {entry.reason}")
            path = here / entry.name
            if entry.kind == DIRECTORY:
                waiting.append(path)
            elif path.suffix == ".conf" or entry.name == ".conf":
                found[path.relative_to(directory).parts] = path
    return found


def _kubelet_file(tree: Tree, path: PurePosixPath) -> KubeletFile:
    data = _content(tree, path)
    if isinstance(data, Missing):
        return KubeletFile(path, {}, f"cannot read {path}: there is no such file")
    if isinstance(data, Unknown):
        return KubeletFile(path, {}, data.reason)
    return kubelet_configuration.kubelet_file(data, path)


def _etcd(tree: Tree, path: PurePosixPath) -> EtcdConfiguration | Missing | Unknown:
    data = _content(tree, path)
    if isinstance(data, Missing | Unknown):
        return data
    try:
        return EtcdConfiguration(path, etcd_configuration.values(data, path))
    except InputError as error:
        return Unknown(path, error.message)


def _encryption(tree: Tree, path: PurePosixPath) -> EncryptionConfiguration | Missing | Unknown:
    data = _content(tree, path)
    if isinstance(data, Missing | Unknown):
        return data
    try:
        return EncryptionConfiguration(path, providers_of_secrets(data))
    except ValueError as error:
        return Unknown(path, f"{path} is not as an encryption configuration is: {error}")


def _content(tree: Tree, path: PurePosixPath) -> bytes | Missing | Unknown:
    try:
        data = tree.read(path)
    except HostError as error:
        return Unknown(path, error.message)
    if data is not None:
        return data
    is_link = tree.link_target(path) is not None
    return Unknown(path, f"cannot read {path}: it is a symlink that leads to nothing") if is_link else Missing(path)
