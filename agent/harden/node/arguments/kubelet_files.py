"""The kubelet's configuration files on this host, in the order in which the kubelet reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.errors import HostError
from agent.base.host.directories import Total
from agent.base.linux.file_systems import DIRECTORY
from agent.base.model import Unreadable
from agent.base.value import Value
from agent.k3s.component_configuration import kubelet_sources
from agent.k3s.default_arguments import KUBELET_DEFAULTS_FILE

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from agent.base.errors import HardenError
    from agent.base.host.tree import Tree
    from agent.harden.node.facts import HostFacts


class KubeletFile(Value):
    """A file of the kubelet's configuration."""

    path: PurePosixPath
    data: bytes = b""
    problem: str = ""
    """Why it could not be read."""

    @property
    def is_written_by_k3s(self) -> bool:
        """Whether K3s writes the file at each start."""
        return str(self.path).endswith(KUBELET_DEFAULTS_FILE)


class KubeletFiles(Value):
    """The kubelet's configuration files."""

    files: tuple[KubeletFile, ...] = ()
    """In the kubelet's order: a later file overrides an earlier one."""
    problem: str = ""
    """Why the list of files could not be determined."""

    @property
    def are_default(self) -> bool:
        """Whether the operator has no such file."""
        return not self.problem and all(file.is_written_by_k3s for file in self.files)


def read_kubelet_files(tree: Tree, facts: HostFacts, unreadable: list[HardenError]) -> KubeletFiles:
    """Read the files. Adds to `unreadable` what could not be read, except of the file of K3s."""
    try:
        paths = _paths(tree, facts)
    except ValueError as error:
        return KubeletFiles(problem=str(error))
    except HostError as error:
        unreadable.append(error)
        return KubeletFiles(problem=error.message)
    total = Total("configuration files of the kubelet")
    found = []
    for path in paths:
        file = KubeletFile(path)
        try:
            data = tree.read(path)
            total.add(len(data or b""))
        except HostError as error:
            file = KubeletFile(path, problem=error.message)
            if not file.is_written_by_k3s:
                unreadable.append(error)
        else:
            missing = "it is a dangling symlink" if tree.link_target(path) is not None else "there is no such file"
            file = KubeletFile(path, data or b"", f"cannot read {path}: {missing}" if data is None else "")
        found.append(file)
    return KubeletFiles(tuple(found))


def _paths(tree: Tree, facts: HostFacts) -> tuple[PurePosixPath, ...]:
    """Return the files that the kubelet reads at K3s' next start, each with its present path.

    Raises ValueError for a relative path, and HostError for a directory that cannot be read.
    """
    found: dict[tuple[str, ...], PurePosixPath] = {}
    for source in kubelet_sources(facts.merged_config, facts.version, facts.data_dir):
        files = _dropins(tree, source.path) if source.is_directory else {(): source.path}
        found.update({(*source.names, *names): path for names, path in files.items()})
    return tuple(found[names] for names in sorted(found))


def _dropins(tree: Tree, directory: PurePosixPath) -> dict[tuple[str, ...], PurePosixPath]:
    """Return the *.conf files at any depth, by their path parts, by which the kubelet sorts them."""
    found = {}
    waiting = [directory]
    while waiting:
        here = waiting.pop()
        for entry in tree.entries(here):
            if isinstance(entry, Unreadable):
                raise HostError(f"cannot read {entry.id}: {entry.reason}")
            path = here / entry.name
            if entry.kind == DIRECTORY:
                waiting.append(path)
            elif path.suffix == ".conf" or entry.name == ".conf":
                found[path.relative_to(directory).parts] = path
    return found
