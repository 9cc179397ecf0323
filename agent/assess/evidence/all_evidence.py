"""All evidence of one assessment.

Nothing here raises for what is on the host.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from agent.assess.checks.datastore_checks import CERTIFICATES, SIGNING_KEYS, encryption_configuration
from agent.assess.checks.evidence import (
    CollectedEvidence,
    EtcdConfiguration,
    MissingFile,
    UnknownCause,
    UnknownFile,
)
from agent.assess.checks.host_paths import AUDIT_LOG_ARGUMENT, REGISTRIES, named_by_argument, paths_on
from agent.assess.evidence.file_evidence import FileFinder, unread
from agent.base.errors import HostError, InputError
from agent.k3s.component_configuration import ETCD_CONFIGURATION, etcd_values
from agent.k3s.encryption_configuration import ENCRYPTION_CONFIGURATION
from agent.k3s.pem import blocks, public_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from agent.assess.checks.evidence import FileQuery
    from agent.base.host import Host
    from agent.base.host.tree import Tree
    from agent.harden.node.facts import HostFacts

    _Parsed = TypeVar("_Parsed")

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
    )


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
