"""Checks of the modes and owners of files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from shlex import quote

from agent.assess.checks.answer import STAT, UNDETERMINED, Answer, ControlStatus, Evidence, determined
from agent.assess.checks.assessed_node import AssessedNode
from agent.assess.checks.check import DATA_DIR, AllOf, Check
from agent.assess.checks.datastore_checks import no_etcd
from agent.assess.checks.evidence import FileQuery, Matches
from agent.assess.checks.host_paths import HostPaths, named_by_argument, paths_on
from agent.base.linux.reach import FoundFile
from agent.base.model import PRIVATE_FILE, ROOT, FileMode, FilePermissions, Location
from agent.base.repair import Repair, Restart, Run, RunVerb
from agent.base.value import replace
from agent.harden.node.datastore import Datastore
from agent.harden.node.facts import HostFacts, not_run
from agent.k3s.components.effective_arguments import GivenBy
from agent.k3s.roles_and_versions import Component

_MOST_SHOWN = 5
"""The most files that are named one by one if all are compliant, or in a command; for more, a pattern is shown."""


class FileCheck(Check):
    """A requirement on every file that one of the paths matches."""

    paths: tuple[str, ...] | HostPaths
    """Relative to the data directory, or absolute.

    `*` in the last part matches any name, `**` every file below at any depth, and `**/` before the last part any depth.
    The part before a last `**` can also have a `*`.
    """
    except_names: tuple[str, ...] = ()
    """Names of files that are left out."""
    directories: bool = False
    """Whether the paths are directories."""
    shows_effect = True
    setting: str = ""
    """The key of the settings that makes apply meet the requirement."""
    named_by: tuple[tuple[Component, str], ...] = ()
    """Arguments of components that can name another file, which is then checked, too: it is the one that is used."""

    is_met_by_k3s = True
    """K3s creates its files with compliant modes and owners."""

    @abstractmethod
    def is_met_by(self, file: FoundFile) -> bool:
        """Return whether a file is compliant."""

    @abstractmethod
    def shown(self, file: FoundFile) -> str:
        """Return the property that is checked."""

    @property
    @abstractmethod
    def command(self) -> str:
        """The command that makes a file compliant, without the file."""

    def is_set_by_apply(self, wrong: Sequence[FoundFile], node: AssessedNode) -> bool:  # noqa: ARG002 - of modes
        """Return whether the next run of apply makes these files compliant."""
        return False

    def given_by(self, files: Sequence[FoundFile], node: AssessedNode) -> GivenBy:  # noqa: ARG002 - of modes
        """Return who made these files compliant."""
        return GivenBy.K3S

    def answer(self, node: AssessedNode) -> Answer:
        try:
            paths = self._paths(node.facts)
        except ValueError as error:
            return Answer(ControlStatus.UNKNOWN, UNDETERMINED, reason=str(error))
        if isinstance(self.paths, HostPaths) and not paths:
            return Answer(ControlStatus.NOT_APPLICABLE, reason=self.paths.none)
        matches = node.evidence.files[self.query(node.facts)]
        files = [file for match in matches for file in match.found]
        wrong = [file for file in files if not self.is_met_by(file)]
        if wrong:
            if len(wrong) <= _MOST_SHOWN:
                command = f"sudo {self.command} {' '.join(quote(str(file.path)) for file in wrong)}"
            else:
                command = _on_all(
                    self.command, (node.facts.data_dir / path for path in paths), directories=self.directories
                )
            return Answer(
                ControlStatus.FAIL,
                _one_or_many([self.shown(file) for file in wrong], len(files), self._kind),
                tuple(Evidence(self.shown(file), Location(file.path)) for file in wrong),
                repair=self._repair(command, wrong, node),
            )
        if any(match.unknown for match in matches):
            return not_determined(matches)
        return self._passed(files, matches, node) if files else _no_files(matches, node)

    @property
    def description(self) -> str:
        paths = self.paths.name if isinstance(self.paths, HostPaths) else ", ".join(map(below_data_dir, self.paths))
        names = f" (except {', '.join(self.except_names)})" if self.except_names else ""
        others = f", and what {' and '.join(f'`{name}`' for _, name in self.named_by)} names" if self.named_by else ""
        return f"{paths}{names}{others}: {self.expected}"

    @property
    def subject(self) -> str:
        return self.paths.name if isinstance(self.paths, HostPaths) else ", ".join(self.paths)

    @property
    def is_of_directories(self) -> bool:
        return self.directories

    def query(self, facts: HostFacts) -> FileQuery:
        """Return the files that have to be collected for this check."""
        try:
            paths = self._paths(facts)
        except ValueError:
            paths = ()
        return FileQuery(paths, self.except_names, self.directories)

    def files(self, facts: HostFacts) -> tuple[FileQuery, ...]:
        return (self.query(facts),)

    def _repair(self, command: str, wrong: Sequence[FoundFile], node: AssessedNode) -> Repair:
        if self.is_set_by_apply(wrong, node):
            return Repair((RunVerb("apply"),))
        by_hand = Repair((Run(command),))
        by_setting = node.set_by(self.setting)
        return Repair(by_setting, alternative=by_hand) if by_setting else by_hand

    def _paths(self, facts: HostFacts) -> tuple[str, ...]:
        """Return the paths on this host. Raises ValueError if one is relative."""
        named = (named_by_argument(name, facts, component) for component, name in self.named_by)
        return tuple(dict.fromkeys((*paths_on(self.paths, facts), *filter(None, named))))

    @property
    def _kind(self) -> str:
        return "directories" if self.directories else "files"

    def _passed(self, files: Sequence[FoundFile], matches: Sequence[Matches], node: AssessedNode) -> Answer:
        shown = [self.shown(file) for file in files]
        evidence = tuple(Evidence(text, Location(file.path)) for text, file in zip(shown, files))
        if len(files) > _MOST_SHOWN:
            patterns = [match.pattern for match in matches if match.found]
            command, source = stat_all(patterns, directories=self.directories), ", ".join(map(str, patterns))
            text = f"{len(files)} {self._kind}, {_distinct(shown)}"
            evidence = (Evidence(text, source=source, repeat_with=command),)
        found = _one_or_many(shown, len(files), self._kind)
        return Answer(ControlStatus.PASS, found, evidence, given_by=self.given_by(files, node))


class Permissions(FileCheck):
    """No file has a permission bit that `at_most` does not have."""

    at_most: FileMode = PRIVATE_FILE

    @property
    def expected(self) -> str:
        return f"mode {self.at_most} or stricter"

    def is_met_by(self, file: FoundFile) -> bool:
        return not file.mode & ~self.at_most

    def shown(self, file: FoundFile) -> str:
        return str(file.mode)

    @property
    def command(self) -> str:
        return f"chmod {self.at_most}"

    def is_set_by_apply(self, wrong: Sequence[FoundFile], node: AssessedNode) -> bool:
        return {FilePermissions(path=file.path, mode=self.at_most).id for file in wrong} <= node.pending

    def given_by(self, files: Sequence[FoundFile], node: AssessedNode) -> GivenBy:
        paths = node.with_permissions_of_apply
        is_of_apply = all(not paths.isdisjoint((file.path, *file.path.parents)) for file in files) if paths else False
        return GivenBy.DROPIN if is_of_apply else GivenBy.K3S


def accepting(check: Check, mode: FileMode) -> Check:
    """Return the check with this mode for files; that of directories stays."""
    if isinstance(check, AllOf):
        return replace(check, checks=tuple(accepting(part, mode) for part in check.checks))
    return replace(check, at_most=mode) if isinstance(check, Permissions) and not check.directories else check


class Ownership(FileCheck):
    """Every file belongs to root:root."""

    command = "chown root:root"

    expected = "owner root:root"

    def is_met_by(self, file: FoundFile) -> bool:
        return file.owner == ROOT

    def shown(self, file: FoundFile) -> str:
        return "root:root" if file.owner == ROOT else str(file.owner)


def not_determined(matches: Iterable[Matches]) -> Answer:
    """Return the answer if some files could not be observed. At least one match has such a file."""
    unknown = [unread for match in matches for unread in match.unknown]
    return Answer(
        ControlStatus.UNKNOWN,
        UNDETERMINED,
        tuple(Evidence(unread.reason, Location(unread.path)) for unread in unknown),
        reason=f"{unknown[0].path}: {unknown[0].reason}",
        repair=determined(unknown[0]),
    )


def below_data_dir(path: str) -> str:
    """Return a path of a check as text about no particular host."""
    return f"`{path}`" if path.startswith("/") else f"`{DATA_DIR}/{path}`"


def _no_files(matches: Sequence[Matches], node: AssessedNode) -> Answer:
    """Return the answer if none of the files exists."""
    patterns = [match.pattern for match in matches]
    below = [path.relative_to(node.facts.data_dir) for path in patterns if node.facts.data_dir in path.parents]
    # Nothing can be below a missing directory that has a pattern of its own.
    names = ", ".join(str(pattern) for pattern in patterns if pattern.name != "**" or pattern.parent not in patterns)
    if any(path.is_relative_to("server/db/etcd") for path in below) and node.facts.datastore is not Datastore.ETCD:
        return no_etcd(node)
    for part, component in (("agent/kubeproxy.kubeconfig", Component.KUBE_PROXY), ("agent", Component.KUBELET)):
        reason = not_run(component, node.facts)
        if reason and any(path.is_relative_to(part) for path in below):
            return Answer(ControlStatus.NOT_APPLICABLE, reason=reason)
    evidence = (Evidence("no such file", source=names, repeat_with=stat_all(patterns)),)
    if not node.has_started:
        reason = "K3s creates it at its first start, and has not started yet"
        return node.not_started("no such file", reason, evidence)
    if not below:
        return Answer(ControlStatus.NOT_APPLICABLE, "no such file", reason=f"no file matches {names}")
    reason = "K3s creates it at each start, and it is missing although K3s has started"
    return Answer(ControlStatus.UNKNOWN, "no such file", evidence, reason, Repair(restart=Restart.K3S))


def stat_all(patterns: Iterable[PurePosixPath], *, directories: bool = False) -> str:
    """Return the command that prints the mode and owner of all that these paths of a check match."""
    return _on_all(STAT, patterns, directories=directories)


def _on_all(command: str, patterns: Iterable[PurePosixPath], *, directories: bool) -> str:
    # An ordinary user's shell cannot list these directories.
    kind = "d" if directories else "f"
    commands = dict.fromkeys(_on_each(command, pattern, kind) for pattern in patterns)
    return f"sudo sh -c {quote('; '.join(commands))}"


def _on_each(command: str, pattern: PurePosixPath, kind: str) -> str:
    """Return a command for all that one path of a check matches; `kind` is that of find(1)."""
    if pattern.name == "**":
        return f"find {_for_shell(pattern.parent)} -type {kind} -exec {command} {{}} +"
    if pattern.parent.name == "**":
        top, name = _for_shell(pattern.parent.parent), quote(pattern.name)
        return f"find {top} -type {kind} -name {name} -exec {command} {{}} +"
    return f"{command} {_for_shell(pattern)}"


def _for_shell(pattern: PurePosixPath) -> str:
    """Return a pattern with everything but its `*` quoted."""
    return "*".join(quote(part) if part else "" for part in str(pattern).split("*"))


def _one_or_many(shown: Sequence[str], total: int, kind: str) -> str:
    if total == 1:
        return shown[0]
    count = f"{len(shown)} of {total} {kind}" if len(shown) < total else f"{total} {kind}"
    return f"{_distinct(shown)} ({count})"


def _distinct(shown: Sequence[str]) -> str:
    return " and ".join(sorted(set(shown))[:3])
