"""All evidence of one assessment. Nothing here raises for what is on the host."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from agent.assess.checks.datastore_checks import CERTIFICATES, SIGNING_KEYS, encryption_configuration
from agent.assess.checks.evidence import (
    AbsentFile,
    CollectedEvidence,
    EtcdConfiguration,
    FileQuery,
    Matches,
    MissingFile,
    UnknownCause,
    UnknownFile,
)
from agent.assess.checks.host_paths import AUDIT_LOG_ARGUMENT, REGISTRIES, named_by_argument, paths_on
from agent.base.errors import AccessDeniedError, HostError, InputError
from agent.base.host.other_names import OtherNames
from agent.base.linux.file_systems import DIRECTORY, REGULAR_FILE, SYMLINK
from agent.base.linux.reach import FoundFile, is_closed
from agent.base.model import GROUP_OR_OTHERS_WRITE, Absent, Unreadable
from agent.base.value import replace
from agent.k3s.component_configuration import ENCRYPTION_CONFIGURATION, ETCD_CONFIGURATION, etcd_values
from agent.k3s.pem import blocks, public_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from agent.base.host import Host
    from agent.base.host.acl import FileAccess
    from agent.base.host.directories import DirectoryEntry
    from agent.base.host.tree import Tree
    from agent.harden.node.facts import HostFacts

    _Parsed = TypeVar("_Parsed")

_NULL = PurePosixPath("/dev/null")
_READ_BY_OTHERS = 0o044


class FileFinder:
    """Finds the files that checks ask for, and lists each directory once."""

    __slots__ = ("_above", "_absent", "_chains", "_found", "_known", "_links", "_listed", "_names", "_tree")

    def __init__(self, host: Host) -> None:
        self._tree = host.tree
        self._names = OtherNames(host)
        self._listed: dict[PurePosixPath, tuple[DirectoryEntry | UnknownFile, ...]] = {}
        self._found: dict[tuple[PurePosixPath, bool, bool, bool], tuple[FoundFile | UnknownFile | AbsentFile, ...]] = {}
        self._links: set[PurePosixPath] = set()
        self._above: dict[PurePosixPath, tuple[FoundFile, ...]] = {}
        self._absent: set[PurePosixPath] = set()
        self._known: dict[str, FoundFile] = {}
        self._chains: dict[tuple[str, ...], tuple[FoundFile, ...]] = {}

    def matches(self, pattern: PurePosixPath, query: FileQuery) -> Matches:
        """Return the files that a path of a query matches."""
        if query.contents:
            return self._contents(pattern)
        key = pattern, query.directories, query.access, query.secret
        if key not in self._found:
            find = self._find_access if query.access else self._find
            found_files = find(pattern, DIRECTORY if query.directories else REGULAR_FILE)
            wanted = GROUP_OR_OTHERS_WRITE | (_READ_BY_OTHERS if query.secret else 0)
            self._found[key] = tuple(
                self._named(item, item.above, wanted) if query.access and isinstance(item, FoundFile) else item
                for item in found_files
            )
        found = [item for item in self._found[key] if item.path.name not in query.except_names]
        return _matches(pattern, found)

    def _find(
        self, pattern: PurePosixPath, kind: str, *, with_linked: bool = False
    ) -> Iterator[FoundFile | UnknownFile]:
        if pattern.name == "**" and "*" in pattern.parent.name:
            for item in self._among(pattern.parent, DIRECTORY):
                if isinstance(item, UnknownFile):
                    yield item
                else:
                    yield from self._below(item.path, "*", kind, with_linked=with_linked)
        elif pattern.name == "**":
            yield from self._below(pattern.parent, "*", kind, with_linked=with_linked)
        elif pattern.parent.name == "**":
            yield from self._below(pattern.parent.parent, pattern.name, kind, with_linked=with_linked)
        else:
            yield from self._among(pattern, kind) if "*" in pattern.name else self._at(pattern, kind)

    def _find_access(self, pattern: PurePosixPath, kind: str) -> Iterator[FoundFile | UnknownFile | AbsentFile]:
        if pattern.parent in self._absent:
            return
        if "*" not in pattern.name and pattern.parent.name != "**":
            yield from self._access(pattern, kind)
            return
        for item in self._find(pattern, kind, with_linked=True):
            if isinstance(item, UnknownFile):
                yield from self._access(item.path, kind) if self._is_null(item.path) else (item,)
                continue
            yield from self._with_access(item, kind)

    def _with_access(self, file: FoundFile, kind: str) -> Iterator[FoundFile | UnknownFile | AbsentFile]:
        above = self._above.get(file.path.parent) if file.links == 1 and file.path not in self._links else None
        # With an access control list, the bits of the group are its mask. It only takes permissions of others away.
        may_matter = file.mode >> 3 & ~file.mode & 0o7 or (file.mode & 0o077 and above and is_closed(above))
        if above is not None and not may_matter:
            yield FoundFile(file.path, file.mode, file.owner, above=above)
            return
        for found in self._access(file.path, kind):
            if isinstance(found, FoundFile) and file.path not in self._links:
                self._above[file.path.parent] = found.above
            yield found

    def _contents(self, top: PurePosixPath) -> Matches:
        """Return a directory and what is below it. A symlink that leads out of it is followed."""
        try:
            contents = self._tree.contents(top)
        except HostError as error:
            return Matches(top, unknown=(unread(top, error),))
        found = [*self._access(top, DIRECTORY)]
        for link in contents.links:
            if self._is_directory(link):
                found += self._access(link, DIRECTORY)
                found += self._find_access(link / "**", DIRECTORY)
                found += self._find_access(link / "**", REGULAR_FILE)
            else:
                found += self._access(link, REGULAR_FILE)
        for path, entry in contents.exposed:
            found += self._with_access(FoundFile(path, entry.mode, entry.owner, links=entry.links), entry.kind)
        found = [self._named(item, item.above) if isinstance(item, FoundFile) else item for item in found]
        return _matches(top, found, contents.number if isinstance(found[0], FoundFile) else 0)

    def _access(self, path: PurePosixPath, kind: str) -> Iterator[FoundFile | UnknownFile | AbsentFile]:
        """Yield the file at a path, with all facts that determine access to it."""
        found = self._tree.access(path, self._known)
        if isinstance(found, Unreadable):
            yield _unread(path, found)
        elif (found.file is None or found.file.kind not in (REGULAR_FILE, DIRECTORY)) and self._is_null(path):
            yield AbsentFile(path, self._chain(found))
        elif found.file is None:
            if found.parent != str(path.parent) and self._tree.link_target(path) is not None:
                yield UnknownFile(path, "it is a dangling symlink", UnknownCause.DANGLING)
                return
            if kind == DIRECTORY:
                self._absent.add(path)
            yield AbsentFile(path, self._chain(found))
        elif found.file.kind != kind:
            yield UnknownFile(path, f"it is a {found.file.kind}, not a {kind}")
        else:
            yield replace(found.file, path=path, above=self._chain(found))

    def _chain(self, found: FileAccess) -> tuple[FoundFile, ...]:
        """Return the directories on the way to a file; files of one directory share them."""
        key = (found.parent, *(str(directory.path) for directory in found.passed))
        if key not in self._chains:
            parent = PurePosixPath(found.parent) if found.parent else found.passed[-1].path
            self._chains[key] = tuple(
                directory if parent.is_relative_to(directory.path) else replace(directory, is_real=False)
                for directory in found.passed
            )
            self._chains[key] = tuple(
                self._named(directory, self._chains[key][:position])
                for position, directory in enumerate(self._chains[key])
            )
        return self._chains[key]

    def _named(self, item: FoundFile, above: tuple[FoundFile, ...], wanted: int = GROUP_OR_OTHERS_WRITE) -> FoundFile:
        """Return a file with its other names, if a directory closes its path, and it would be open without it."""
        if not (item.mode & wanted or item.owner.uid or item.acl) or not is_closed(above):
            return item
        names, unfound = self._names.of(self._tree.real_path(item.path), item.links)
        ways = ((name, self._tree.access(name, self._known)) for name in names)
        others = tuple((name, self._chain(found)) for name, found in ways if not isinstance(found, Unreadable))
        return replace(item, other_names=others, unfound=unfound)

    def _at(self, path: PurePosixPath, kind: str) -> Iterator[FoundFile | UnknownFile]:
        found = self._tree.stat(path)
        if isinstance(found, Unreadable):
            yield _unread(path, found)
        elif not isinstance(found, Absent):
            yield _of_kind(path, found, kind)
        elif self._tree.link_target(path) is not None:
            yield UnknownFile(path, "it is a dangling symlink", UnknownCause.DANGLING)

    def _among(self, pattern: PurePosixPath, kind: str) -> Iterator[FoundFile | UnknownFile]:
        for path, entry in self._entries(pattern.parent):
            if path == pattern.parent or _fits(path.name, pattern.name):
                yield from self._one(path, entry, kind)

    def _below(
        self, directory: PurePosixPath, name: str, kind: str, *, with_linked: bool
    ) -> list[FoundFile | UnknownFile]:
        """Yield what is below a directory; `with_linked` also what is in a directory that a symlink leads to.

        A symlink in such a directory is unknown if it leads to another one, because it could form a loop.
        """
        found: list[FoundFile | UnknownFile] = []
        waiting = [(directory, False)]
        while waiting:
            here, is_linked = waiting.pop()
            for path, entry in self._entries(here):
                if isinstance(entry, UnknownFile) or _fits(path.name, name):
                    found += self._one(path, entry, kind)
                if isinstance(entry, UnknownFile):
                    continue
                if entry.kind == DIRECTORY:
                    waiting.append((path, is_linked))
                elif with_linked and entry.kind == SYMLINK and self._is_directory(path):
                    if is_linked:
                        found.append(UnknownFile(path, "it is a symlink to a directory, below another one"))
                    else:
                        waiting.append((path, True))
        return sorted(found, key=lambda item: item.path)

    def _is_null(self, path: PurePosixPath) -> bool:
        return path == _NULL or self._tree.link_target(path) == str(_NULL)

    def _is_directory(self, path: PurePosixPath) -> bool:
        found = self._tree.stat(path)
        return not isinstance(found, (Absent, Unreadable)) and found.kind == DIRECTORY

    def _one(
        self, path: PurePosixPath, entry: DirectoryEntry | UnknownFile, kind: str
    ) -> Iterator[FoundFile | UnknownFile]:
        """Yield an entry of a directory if it is of the kind that is checked.

        An entry that is neither a file nor a directory, such as a FIFO, counts as a file.
        """
        if isinstance(entry, UnknownFile):
            yield entry
            return
        if entry.kind == SYMLINK:
            self._links.add(path)
        found = self._tree.stat(path) if entry.kind == SYMLINK else entry
        if isinstance(found, (Absent, Unreadable)):
            yield from self._at(path, kind)
        elif found.kind == kind or (kind == REGULAR_FILE and found.kind != DIRECTORY):
            yield _of_kind(path, found, kind)

    def _entries(self, directory: PurePosixPath) -> Iterator[tuple[PurePosixPath, DirectoryEntry | UnknownFile]]:
        if directory not in self._listed:
            try:
                self._listed[directory] = tuple(
                    _unread(PurePosixPath(entry.id), entry) if isinstance(entry, Unreadable) else entry
                    for entry in self._tree.entries(directory)
                )
            except HostError as error:
                self._listed[directory] = (unread(directory, error),)
        for entry in self._listed[directory]:
            yield (entry.path if isinstance(entry, UnknownFile) else directory / entry.name), entry


def _matches(pattern: PurePosixPath, found: Sequence[FoundFile | UnknownFile | AbsentFile], number: int = 0) -> Matches:
    return Matches(
        pattern,
        tuple(item for item in found if isinstance(item, FoundFile)),
        tuple(item for item in found if isinstance(item, UnknownFile)),
        tuple(item for item in found if isinstance(item, AbsentFile)),
        number,
    )


def _fits(name: str, pattern: str) -> bool:
    """Return whether a name matches a pattern that has no other wildcard than `*`."""
    if pattern.count("*") == 1:  # as most have; compiling an expression takes longer
        first, last = pattern.split("*")
        return len(name) >= len(pattern) - 1 and name.startswith(first) and name.endswith(last)
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name, re.DOTALL) is not None


def _unread(path: PurePosixPath, found: Unreadable) -> UnknownFile:
    return UnknownFile(path, found.reason, UnknownCause.DENIED if found.access_denied else UnknownCause.OTHER)


def unread(path: PurePosixPath, error: HostError) -> UnknownFile:
    """Return a file or directory that could not be read."""
    is_denied = isinstance(error, AccessDeniedError)
    return UnknownFile(path, error.message, UnknownCause.DENIED if is_denied else UnknownCause.OTHER)


def _of_kind(path: PurePosixPath, found: DirectoryEntry, kind: str) -> FoundFile | UnknownFile:
    if found.kind == kind:
        return FoundFile(path, found.mode, found.owner, links=found.links)
    return UnknownFile(path, f"it is a {found.kind}, not a {kind}")


_CREDENTIALS = rb"\b(password|auth|identity_token)[\"']?\s*:\s*[^\s#]|://[^\s/@]+@"
"""Secrets of registries.yaml: values of keys, and in URLs (k3s-io/docs, docs/installation/private-registry.md)."""


def read_evidence(host: Host, facts: HostFacts, queries: Iterable[FileQuery]) -> CollectedEvidence:
    """Read the files of these queries, and the files that K3s wrote for etcd."""
    files = FileFinder(host)
    etcd, encryption = facts.data_dir / ETCD_CONFIGURATION, facts.data_dir / ENCRYPTION_CONFIGURATION
    return CollectedEvidence(
        node=host.name,
        files={query: tuple(files.matches(facts.data_dir / path, query) for path in query.paths) for query in queries},
        etcd=_parsed(host.tree, etcd, lambda data: EtcdConfiguration(etcd, etcd_values(data, etcd))),
        encryption=_parsed(host.tree, encryption, lambda data: encryption_configuration(data, encryption, facts)),
        shared_keys=frozenset(_shared_keys(host.tree, facts)),
        with_credentials=frozenset(_with_credentials(host.tree, facts)),
        audit_log=_audit_log(host.tree, facts),
        image_verifiers=tuple(_image_verifiers(host.tree, facts)),
    )


_VERIFIERS = "/opt/containerd/image-verifier/bin"
_OTHER_VERIFIERS = re.compile(rb"""image-verifier\.v1\.bindir["']?\][^\[]*?\bbin_dir\s*=\s*["']([^"'\n]+)""")
"""The default, and how another directory is written in containerd's configuration (containerd,
docs/image-verification.md)."""


def _image_verifiers(tree: Tree, facts: HostFacts) -> Iterator[PurePosixPath]:
    config = _content(tree, facts.data_dir / "agent/etc/containerd/config.toml")
    other = _OTHER_VERIFIERS.search(config) if isinstance(config, bytes) else None
    directory = PurePosixPath(other[1].decode(errors="replace") if other else _VERIFIERS)
    with suppress(HostError):
        yield from (directory / name for name in sorted(tree.names(directory)))


def _audit_log(tree: Tree, facts: HostFacts) -> PurePosixPath | None:
    with suppress(ValueError):
        path = PurePosixPath(named_by_argument(AUDIT_LOG_ARGUMENT, facts))
        link = tree.broken_link(path)  # as /dev/null on a host tree
        if link is not None:
            return PurePosixPath(link.parent, tree.link_target(link) or "", path.relative_to(link))
        return tree.real_path(path) if path.is_absolute() else None
    return None


def _shared_keys(tree: Tree, facts: HostFacts) -> Iterator[tuple[str, str]]:
    found = {path: _content(tree, facts.data_dir / path) for path in (*CERTIFICATES, *SIGNING_KEYS)}
    contents = {path: [*blocks(data)] for path, data in found.items() if isinstance(data, bytes)}
    for path in contents.keys() & CERTIFICATES:
        key = public_key(contents[path])
        others = (other for other in contents if key and other != path)
        yield from ((path, other) for other in others if any(key in block.content for block in contents[other]))


def _with_credentials(tree: Tree, facts: HostFacts) -> Iterator[str]:
    """Yield the configuration of registries if it has secrets."""
    try:
        paths = paths_on(REGISTRIES, facts)
    except ValueError:
        return
    for path in paths:
        data = _content(tree, facts.data_dir / path)
        is_secret = isinstance(data, bytes) and re.search(_CREDENTIALS, data)
        if is_secret or isinstance(data, UnknownFile):
            yield path


def _parsed(tree: Tree, path: PurePosixPath, parse: Callable[[bytes], _Parsed]) -> _Parsed | MissingFile | UnknownFile:
    data = _content(tree, path)
    if isinstance(data, (MissingFile, UnknownFile)):
        return data
    try:
        return parse(data)
    except InputError as error:
        return UnknownFile(path, error.message, UnknownCause.INVALID)
    except ValueError as error:
        return UnknownFile(path, f"{path} is not a valid encryption configuration: {error}", UnknownCause.INVALID)


def _content(tree: Tree, path: PurePosixPath) -> bytes | MissingFile | UnknownFile:
    try:
        data = tree.read(path)
    except HostError as error:
        return unread(path, error)
    if data is not None:
        return data
    is_link = tree.link_target(path) is not None
    return (
        UnknownFile(path, f"cannot read {path}: it is a dangling symlink", UnknownCause.DANGLING)
        if is_link
        else MissingFile(path)
    )
