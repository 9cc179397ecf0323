"""K3s' configuration on this host: its files, its merged values, and the data directory that they set."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from agent.base.errors import HardenError, HostError, InputError
from agent.base.host import Host
from agent.base.host.directories import MOST_FILES, DirectoryEntry, Total, too_many
from agent.base.host.tree import Tree
from agent.base.linux.file_systems import DIRECTORY, FIFO, SOCKET, differs_by_process
from agent.base.model import Location, Unreadable
from agent.base.value import Value
from agent.harden.guide.guide_files import DROPIN_NAME
from agent.harden.settings.schema import Settings
from agent.k3s.config import MergedConfig, has_suffix
from agent.k3s.config_merge import ConfigText, merge_configuration
from agent.k3s.roles_and_versions import DEFAULT_DATA_DIR, K3S_CONFIG_FILE
from agent.k3s.services import K3sUnit

_NOT_FILES = frozenset({DIRECTORY, FIFO, SOCKET})
"""Kinds at which K3s exits, or waits forever (FIFO), if it opens one as a configuration file."""


class Configuration(Value):
    """K3s' configuration, merged from environment, files and command line."""

    path: PurePosixPath = K3S_CONFIG_FILE
    """The main file, which may be missing."""
    texts: tuple[ConfigText, ...] = ()
    """The existing files, in the order in which K3s reads them."""
    operator_config: MergedConfig = merge_configuration(())
    """Without k3s-harden's drop-in."""
    merged_config: MergedConfig = merge_configuration(())
    """With k3s-harden's drop-in."""
    invalid_files: tuple[InputError, ...] = ()
    """Paths at which K3s requires a file or directory, and exits or waits because it is something else."""
    unreadable: tuple[HardenError, ...] = ()
    """What could not be read or parsed, of the services that start K3s, too."""
    broken_links: tuple[PurePosixPath, ...] = ()
    """Drop-ins that are symbolic links to missing files. K3s then ignores all of its configuration files."""
    differing: tuple[PurePosixPath, ...] = ()
    """Files and directories that lead to where each process sees another file."""

    @property
    def files(self) -> tuple[PurePosixPath, ...]:
        """The paths of the existing files."""
        return tuple(text.path for text in self.texts)


def read_configuration(
    host: Host, unit: K3sUnit | None, given: PurePosixPath | None = None, unread: Iterable[HardenError] = ()
) -> Configuration:
    """Read the configuration that K3s has when this service starts it. `given` is its main file if that is not known.

    `unread` is what could not be read of the services.
    """
    path = (unit.config_path if unit else None) or given or K3S_CONFIG_FILE
    reader = _Reader(host.tree)
    texts = reader.texts(path)
    arguments, environment = (unit.arguments, unit.environment) if unit else ((), {})
    ours = dropin_directory(path) / DROPIN_NAME
    merged = merge_configuration(texts, arguments, environment)
    return Configuration(
        path=path,
        texts=texts,
        operator_config=merge_configuration([text for text in texts if text.path != ours], arguments, environment),
        merged_config=merged,
        invalid_files=tuple(reader.invalid_files),
        unreadable=(*unread, *reader.unreadable, *merged.unjudged),
        broken_links=tuple(reader.broken_links),
        differing=tuple(reader.differing),
    )


def configuration_texts(tree: Tree, path: PurePosixPath) -> tuple[ConfigText, ...]:
    """Return the main configuration file at a path and its drop-ins, as far as they can be read."""
    return _Reader(tree).texts(path)


def dropin_directory(config_path: PurePosixPath) -> PurePosixPath:
    """Return the directory of drop-ins for a main configuration file (k3s, pkg/configfilearg/parser.go)."""
    return config_path.with_name(f"{config_path.name}.d")


def data_directory(settings: Settings, configuration: Configuration) -> tuple[PurePosixPath, str]:
    """Return K3s' data directory and its source."""
    if settings.data_dir is not None:
        return settings.data_dir, "given"
    found = configuration.operator_config.scalar("data-dir")
    if found is not None and found.text.startswith("/"):
        return PurePosixPath(found.text), str(found.location)
    return DEFAULT_DATA_DIR, "K3s' default"


class _Reader:
    """Reads the configuration files as K3s does, and collects problems (k3s, pkg/configfilearg/parser.go)."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._total = Total("files of K3s' configuration")
        self.invalid_files: list[InputError] = []
        self.broken_links: list[PurePosixPath] = []
        self.unreadable: list[HardenError] = []
        self.differing: list[PurePosixPath] = []

    def texts(self, config_path: PurePosixPath) -> tuple[ConfigText, ...]:
        """Read the main file and its drop-ins, in K3s' order."""
        main = self._read(config_path, is_dropin=False)
        found = [] if main is None else [ConfigText(config_path, main)]
        for path in self._dropins(dropin_directory(config_path)):
            data = self._read(path, is_dropin=True)
            if data is not None:
                found.append(ConfigText(path, data))
        return tuple(found)

    def _dropins(self, directory: PurePosixPath) -> list[PurePosixPath]:
        """Return the drop-ins in order of their names: dotDFiles skips directories, but not links to directories."""
        kind = self._kind(directory)
        if kind is None:
            return []
        if kind not in ("", DIRECTORY):
            self.invalid_files.append(InputError(Location(directory), f"it is a {kind}, expected a directory"))
            return []
        try:
            entries = self._tree.entries(directory)
        except HostError as error:
            self.unreadable.append(error)
            return []
        paths = [
            directory / entry.name
            for entry in entries
            if isinstance(entry, DirectoryEntry) and entry.kind != DIRECTORY and has_suffix(entry.name, ".yaml", ".yml")
        ]
        if len(paths) > MOST_FILES:
            self.unreadable.append(too_many(directory, len(paths)))
        # The drop-in is read in any case: it is compared with the others.
        return paths[:MOST_FILES] + [path for path in paths[MOST_FILES:] if path.name == DROPIN_NAME]

    def _read(self, path: PurePosixPath, *, is_dropin: bool) -> bytes | None:
        target = self._tree.link_target(path)
        if target == "/dev/null":
            return None  # like an empty file
        kind = self._kind(path)
        if kind is None:
            return None
        if kind in _NOT_FILES:
            self.invalid_files.append(InputError(Location(path), f"it is a {kind}, expected a regular file"))
            return None
        try:
            data = self._tree.read(path)
            self._total.add(len(data or b""))
        except HostError as error:
            self.unreadable.append(error)
            return None
        if data is None and target is not None and is_dropin:
            self.broken_links.append(path)
        return data

    def _kind(self, path: PurePosixPath) -> str | None:
        """Return the kind of a path's target; empty if it is missing or this user may not see it.

        None if K3s exits at the path: it continues only if the error of stat(2) is that the file does not exist.
        """
        if differs_by_process(self._tree.real_path(path)):
            self.differing.append(path)
        found = self._tree.stat(path)
        if isinstance(found, Unreadable) and not found.access_denied:
            self.invalid_files.append(InputError(Location(path), found.reason))
            return None
        return found.kind if isinstance(found, DirectoryEntry) else ""
