"""Files that K3s and its components read, other than K3s' configuration."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent.base.errors import HardenError, HostError
from agent.base.host.directories import DirectoryEntry
from agent.base.linux.file_systems import DIRECTORY, FIFO, SOCKET
from agent.base.model import ROOT, Location
from agent.base.value import Value
from agent.harden.desired.dropin_options import (
    ADMISSION_CONFIGURATION_ARGUMENT,
    NamedPath,
    named_paths,
    nested_files,
    own_admission_configuration,
)
from agent.harden.guide.guide_files import POLICY_FILE
from agent.harden.node.arguments.effective import KubeletFiles, read_kubelet_files
from agent.harden.node.k3s_manifests import Manifests, read_manifests
from agent.k3s.component_configuration import ENCRYPTION_CONFIGURATION, is_as_k3s_writes
from agent.k3s.roles_and_versions import K3S_CONFIG_FILE, Component, Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agent.base.host.tree import Tree
    from agent.harden.node.facts import HostFacts
    from agent.harden.settings.schema import Settings
    from agent.k3s.components.files.static_policies import PolicyDirectory


class K3sFiles(Value):
    """Files that K3s reads, other than its configuration."""

    named_paths: tuple[NamedPath, ...]
    """The files that K3s' configuration names."""
    own_admission: NamedPath | None
    """The operator's admission configuration, if the API server reads it once apply has written the drop-in."""
    contents: dict[PurePosixPath, bytes | None]
    """Content of those that exist, by path; None if the file is not readable."""
    manifests: Manifests
    kubelet: KubeletFiles
    policies: Mapping[PolicyDirectory, Mapping[PurePosixPath, bytes | None] | None]
    """Directories from which the API server loads admission policies, with their files; None if there is none."""
    open_policies: Mapping[PurePosixPath, DirectoryEntry]
    """Those of these directories and files that a user other than root can change."""
    unusable: dict[PurePosixPath, str]
    """What is at a path at which a component reads or writes a file, if it is none: a directory, a FIFO, ..."""
    image_archives: tuple[PurePosixPath, ...]
    """Archives in agent/images, which K3s imports at its start, if registries.yaml names no mirror."""

    @property
    def judged(self) -> set[PurePosixPath]:
        """The paths of the configurations and policies of components; a key or a token can be anything."""
        others = {named.path for named in self.named_paths if not re.search("config|policy", named.option)}
        named = (
            *self.contents,
            *(named.path for named in self.named_paths),
            *(file.path for file in self.kubelet.files),
        )
        policies = (path for top, files in self.policies.items() for path in (top.path, *(files or ())))
        return {*named, *policies} - others


def read_k3s_files(tree: Tree, settings: Settings, facts: HostFacts, unreadable: list[HardenError]) -> K3sFiles:
    """Read the files. Adds to `unreadable` what could not be read, except of the manifests."""
    named = (*named_paths(facts.merged_config, facts.data_dir, facts.role), *_own_encryption(tree, facts))
    own_admission = own_admission_configuration(settings, facts)
    outer = named if own_admission is None else (*named, own_admission)
    contents = _contents(tree, [named.path for named in outer], unreadable)
    contents.update(_contents(tree, nested_files(outer, contents), unreadable))
    policies = _policies(tree, outer, contents)
    is_server, manifests = facts.role is Role.SERVER, (facts.data_dir / POLICY_FILE).parent
    return K3sFiles(
        named_paths=named,
        own_admission=own_admission,
        contents=contents,
        manifests=read_manifests(tree, manifests, facts.merged_config) if is_server else Manifests(),
        kubelet=read_kubelet_files(tree, facts, unreadable),
        policies=policies,
        open_policies=_open(tree, policies),
        unusable=_unusable(tree, facts, contents),
        image_archives=_image_archives(tree, facts),
    )


def _own_encryption(tree: Tree, facts: HostFacts) -> Iterable[NamedPath]:
    """Yield K3s' own encryption configuration if somebody has changed it: the API server may exit at it."""
    path = facts.data_dir / ENCRYPTION_CONFIGURATION
    if facts.role is not Role.SERVER or not facts.merged_config.boolean("secrets-encryption"):
        return
    try:
        data = tree.read(path)
    except HostError:
        return  # the fact that the server encrypts Secrets is then unknown, which is reported
    if data is not None and not is_as_k3s_writes(data):
        yield NamedPath("encryption-provider-config", path, Location(path), Component.API_SERVER)


def _contents(
    tree: Tree, paths: Iterable[PurePosixPath], unreadable: list[HardenError]
) -> dict[PurePosixPath, bytes | None]:
    found: dict[PurePosixPath, bytes | None] = {}
    for path in paths:
        try:
            data = tree.read(path)
        except HostError as error:
            unreadable.append(error)
            found[path] = None
        else:
            if data is not None:
                found[path] = data
    return found


def _policies(
    tree: Tree, named: Iterable[NamedPath], contents: dict[PurePosixPath, bytes | None]
) -> dict[PolicyDirectory, dict[PurePosixPath, bytes | None] | None]:
    configurations = [path for option, path, _, _ in named if option == ADMISSION_CONFIGURATION_ARGUMENT]
    if not any(b"staticManifestsDir" in (data or b"") for data in contents.values()):
        return {}
    from agent.k3s.components.files.static_policies import ENDINGS, policy_directories  # few sites have policies

    found: dict[PolicyDirectory, dict[PurePosixPath, bytes | None] | None] = {}
    for path in configurations:
        for directory in policy_directories(contents.get(path) or b"", path, contents):
            names = [directory.path / name for name in tree.names(directory.path) if name.lower().endswith(ENDINGS)]
            # The API server skips a directory, and exits at a link to one.
            files = [path for path in names if _kind(tree, path) != DIRECTORY or tree.link_target(path) is not None]
            read = _contents(tree, files, [])
            found[directory] = (
                {file: read.get(file) for file in files} if _kind(tree, directory.path) == DIRECTORY else None
            )
    return found


def _open(
    tree: Tree, policies: Mapping[PolicyDirectory, Mapping[PurePosixPath, bytes | None] | None]
) -> dict[PurePosixPath, DirectoryEntry]:
    paths = {path: tree.stat(path) for top, files in policies.items() for path in (top.path, *(files or ()))}
    entries = {path: entry for path, entry in paths.items() if isinstance(entry, DirectoryEntry)}
    return {path: entry for path, entry in entries.items() if entry.mode & 0o022 or entry.owner != ROOT}


def _unusable(tree: Tree, facts: HostFacts, contents: dict[PurePosixPath, bytes | None]) -> dict[PurePosixPath, str]:
    """Return the kind of what is in the place of a file that a component reads or writes, by path."""
    read = [path for path, data in contents.items() if data is None]
    found = {path: kind for path in read if (kind := _kind(tree, path)) in (DIRECTORY, FIFO, SOCKET)}
    logs = facts.merged_config.argument(Component.API_SERVER, "audit-log-path")
    for log in (PurePosixPath(value.text) for value in logs[-1:]):
        if log.is_absolute() and _kind(tree, log) == DIRECTORY:
            found[log] = DIRECTORY
    return found


def _kind(tree: Tree, path: PurePosixPath) -> str:
    """Return the kind of what is at a path; empty if it cannot be determined. Symlinks are followed."""
    found = tree.stat(path)
    return found.kind if isinstance(found, DirectoryEntry) else ""


_ARCHIVES = (".tar", ".tar.lz4", ".tar.bz2", ".tbz", ".tar.gz", ".tgz", ".tar.zst", ".tzst")
"""Endings of the archives that K3s imports (k3s, pkg/agent/containerd/containerd.go)."""


def _image_archives(tree: Tree, facts: HostFacts) -> tuple[PurePosixPath, ...]:
    directory = facts.data_dir / "agent/images"
    try:
        found = tuple(directory / name for name in tree.names(directory) if name.endswith(_ARCHIVES))
        if not found:
            return ()
        option = facts.merged_config.scalar("private-registry")
        path = PurePosixPath(option.text) if option and option.text else K3S_CONFIG_FILE.with_name("registries.yaml")
        lines = tree.read_text(path).splitlines()
    except HostError:
        return ()
    return () if any(line.startswith("mirrors:") for line in lines) else found
