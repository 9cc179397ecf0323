"""Checks of who has access to files beyond the benchmarks: by modes, owners, access control lists and directories."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from shlex import quote

from agent.assess.checks.answer import UNDETERMINED, Answer, ControlStatus, Evidence
from agent.assess.checks.assessed_node import AssessedNode
from agent.assess.checks.check import Check
from agent.assess.checks.evidence import FileQuery, Matches
from agent.assess.checks.file_modes import below_data_dir, not_determined, stat_all
from agent.assess.checks.host_paths import SERVICE_FILES, HostPaths, is_of_service, not_understood, paths_on
from agent.base.linux.reach import OTHERS, READ, WRITE, Access, FoundFile, Party, reached, replacers
from agent.base.model import GROUP_OR_OTHERS_WRITE, File, Location
from agent.base.repair import Instruction, Repair, Restart, Run, RunVerb, Step
from agent.base.value import Value, replace
from agent.findings.config_edits import without
from agent.harden.node.facts import HostFacts
from agent.k3s.components.effective_arguments import GivenBy
from agent.k3s.redaction import HIDDEN

_READ_BY_OTHERS = 0o044
_SHARED = frozenset(("/tmp", "/var/tmp", "/dev/shm", "/run/lock", "/var/lock"))  # noqa: S108 - nothing is created
"""Directories to which all users can add files by design."""
_TO_ROOT = "chown root:root"
_MOST_SHOWN = 5
"""The most files that are named one by one if all are compliant."""


class _OpenAccess(Value):
    """A user other than root has access to a file or directory, or it differs from the guide's mode or owner."""

    path: PurePosixPath
    observation: str
    command: str = ""
    """The command that removes the access, without the path; empty if the mode of the directory is right."""
    moved: PurePosixPath | None = None
    """The file or directory that needs another path, if there is no such command."""
    closed: FoundFile | None = None
    """The first directory on the path that the user cannot enter; then there is no access."""
    unfound: str = ""
    """Why there can be an access nevertheless."""


class OnlyRoot(Check):
    """Only root can change these files and directories, and read those that are secret.

    A user can change a file if the user owns or can write the file or a directory on its path. A user who cannot enter
    all directories above any name of the file has no access, regardless of its mode; the evidence then names the
    directory. The mode of the root protects nothing. A file or directory that does not exist fails if a user can
    create it.
    """

    shows_effect = True

    paths: tuple[str, ...] | HostPaths = ()
    """As files.FileCheck.paths."""
    directories: tuple[str, ...] | HostPaths = ()
    """Directories to which only root can add files."""
    contents: tuple[str, ...] = ()
    """Directories in which only root can change anything. They can have many files, so the report counts these."""
    secret: bool | HostPaths = False
    """Whether the files are secret; with HostPaths, which of them are."""

    is_met_by_k3s = True
    """K3s creates its files with compliant modes and owners."""

    def answer(self, node: AssessedNode) -> Answer:
        try:
            queries = self._queries(node.facts)
        except ValueError as error:
            return Answer(ControlStatus.UNKNOWN, UNDETERMINED, reason=str(error))
        matches = [match for query in queries for match in node.evidence.files[query]]
        files = [file for match in matches for file in match.found]
        accesses = tuple(dict.fromkeys(self._accesses(queries, node)))
        problems = tuple(access for access in accesses if access.closed is None)
        if problems:
            for match in matches:
                problems = _counted(problems, match) if match.number else problems
            return _failed(problems, node)
        if any(match.unknown for match in matches):
            return not_determined(matches)
        for access in accesses:
            if access.unfound:
                return _may_be_open(access)
        if not files:
            known = (paths.none for paths in (self.directories, self.paths) if isinstance(paths, HostPaths))
            patterns = ", ".join(str(match.pattern) for match in matches)
            reason = next(filter(None, known), f"no file matches {patterns}")
            return Answer(ControlStatus.NOT_APPLICABLE, "no such file", reason=reason)
        is_of_k3s = all(node.facts.data_dir in file.path.parents for file in files)
        found, evidence = _shown(files, matches)
        given_by = GivenBy.K3S if is_of_k3s else GivenBy.OPERATOR
        return Answer(ControlStatus.PASS, found, (*evidence, *_protections(accesses)), given_by=given_by)

    @property
    def expected(self) -> str:
        if isinstance(self.secret, HostPaths):
            return f"only root can write it, and read {self.secret.name}"
        return "only root can read and write it" if self.secret else "only root can write it"

    @property
    def description(self) -> str:
        return f"{self.subject}: {self.expected}"

    @property
    def subject(self) -> str:
        names = (
            [paths.name] if isinstance(paths, HostPaths) else list(map(below_data_dir, paths))
            for paths in (self.directories, self.paths, self.contents)
        )
        return ", ".join(dict.fromkeys(name for each in names for name in each))

    def files(self, facts: HostFacts) -> tuple[FileQuery, ...]:
        try:
            return self._queries(facts)
        except ValueError:
            return ()

    def _queries(self, facts: HostFacts) -> tuple[FileQuery, ...]:
        found = ((paths_on(self.directories, facts), True), (paths_on(self.paths, facts), False))
        is_secret = bool(self.secret)
        queries = [FileQuery(paths, directories=of, access=True, secret=is_secret) for paths, of in found if paths]
        if self.contents:
            queries.append(FileQuery(self.contents, directories=True, access=True, contents=True))
        return tuple(queries)

    def _accesses(self, queries: Iterable[FileQuery], node: AssessedNode) -> Iterator[_OpenAccess]:
        guide = {resource.path: resource for resource in node.situation.desired if isinstance(resource, File)}
        secret = frozenset(paths_on(self.secret, node.facts)) if isinstance(self.secret, HostPaths) else frozenset()
        secret |= node.evidence.with_credentials
        seen: set[int] = set()  # files of one directory share the tuple
        for query in queries:
            for file in (file for match in node.evidence.files[query] for file in match.found):
                is_secret = not query.directories and (self.secret is True or str(file.path) in secret)
                row = guide.get(file.path)
                exact = f"chmod {row.mode}" if row is not None and file.mode & ~row.mode else ""
                accesses = [
                    replace(access, command=exact) if exact and access.command.startswith("chmod ") else access
                    for access in _own_accesses(file, is_secret=is_secret)
                ]
                yield from accesses
                fixed_by = {access.command for access in accesses if access.closed is None}
                if row is not None and exact and exact not in fixed_by:
                    yield _OpenAccess(file.path, f"{file.mode}, expected {row.mode}", exact)
                if row is not None and file.owner != row.owner and _TO_ROOT not in fixed_by:
                    yield _OpenAccess(file.path, f"owner {file.owner}, expected {row.owner}", _TO_ROOT)
                if id(file.above) not in seen:
                    seen.add(id(file.above))
                    yield from (_access(access, "write", "go-w", file.path) for access in replacers(file.above))
            for absent in (missing for match in node.evidence.files[query] for missing in match.absent):
                found = replacers(absent.above, is_absent=True)
                yield from (_access(access, "write", "go-w", absent.path) for access in found)


class NoSecretInServices(Check):
    """No secret is in the services that start K3s: systemd shows their content to all users, whatever the mode is."""

    def answer(self, node: AssessedNode) -> Answer:
        units, others = node.facts.units, node.facts.other_programs
        if not (units or others):
            return Answer(ControlStatus.NOT_APPLICABLE, reason="no service starts K3s")
        with_secrets = [
            (key, value)
            for key, values in node.facts.merged_config.values.items()
            for value in values
            if HIDDEN in value.text and is_of_service(value.location.path, node.facts)
        ]
        if not with_secrets and others:
            return Answer(ControlStatus.UNKNOWN, UNDETERMINED, reason=not_understood(others[0]))
        if not with_secrets:
            shown = tuple(Evidence("no secret", Location(unit.path)) for unit in units)
            return Answer(ControlStatus.PASS, "no secret", shown)
        target = node.facts.configuration.path
        steps: list[Step] = [
            edit for key, value in with_secrets for edit in without(node.situation, key, value.location, (value.text,))
        ]
        keys = ", ".join(f"`{key}`" for key in dict.fromkeys(key for key, _ in with_secrets))
        steps.append(Instruction(f"add {keys} with the value to {target}"))
        repair = node.by_hand((*steps, Run(f"sudo chmod 0600 {quote(str(target))}")))
        readable = "secret in `{}`, which all users can read"
        shown = tuple(Evidence(readable.format(key), value.location) for key, value in with_secrets)
        return Answer(ControlStatus.FAIL, shown[0].observation, shown, repair=repair)

    expected = "it contains no secret"
    subject = SERVICE_FILES.name


def _own_accesses(file: FoundFile, *, is_secret: bool) -> Iterator[_OpenAccess]:
    is_open = file.mode & (GROUP_OR_OTHERS_WRITE | (_READ_BY_OTHERS if is_secret else 0))
    if not is_open and file.acl is None and file.owner.uid == 0:
        return  # nearly all files
    writers = [*reached(file, WRITE)]
    yield from (_access(access, "write", "go-rw" if is_secret else "go-w") for access in writers)
    if is_secret:
        seen = {access.who for access in writers}
        yield from (_access(access, "read", "go-r") for access in reached(file, READ) if access.who not in seen)


def _access(access: Access, can: str, change: str, path: PurePosixPath | None = None) -> _OpenAccess:
    """Return an access with what ends it. `path` is a file that needs another place."""
    who, item, closed = access.who, access.item, access.closed
    by = f" at {access.name}" if access.name != item.path else ""
    observation = f"{item.mode}: {who} can {can} it{by}"
    unfound = item.unfound if closed is not None else ""
    if str(item.path) in _SHARED:
        return _OpenAccess(item.path, observation, moved=path or item.path, closed=closed)
    if who == Party(item.owner.uid):
        return _OpenAccess(item.path, f"owner {item.owner}{by}", _TO_ROOT, closed=closed, unfound=unfound)
    named = {
        Party(number) if kind == "user" else Party(groups=(number,)) for kind, number, _ in item.acl or () if number
    }
    command = "setfacl --remove-all" if who in named and who != OTHERS else f"chmod {change}"
    return _OpenAccess(item.path, observation, command, closed=closed, unfound=unfound)


def _may_be_open(access: _OpenAccess) -> Answer:
    """Return the answer if a file is only closed by a directory, and another name of it may be open."""
    reason = f"{access.path}: {access.observation}, and {access.unfound}"
    evidence = (Evidence(f"{access.observation}; {access.unfound}", Location(access.path)),)
    steps = (Run(f"sudo {access.command} {quote(str(access.path))}"),) if access.command else ()
    return Answer(ControlStatus.UNKNOWN, UNDETERMINED, evidence, reason, Repair(tuple(steps)))


def _counted(problems: tuple[_OpenAccess, ...], contents: Matches) -> tuple[_OpenAccess, ...]:
    """Return the problems; many equal ones below one directory become one."""
    top = contents.found[0]
    way = _by_symlinks(top)
    below = {file.path for file in contents.found[1:] if _by_symlinks(file) == way}
    groups: dict[tuple[str, str], list[_OpenAccess]] = {}
    for problem in problems:
        if problem.path in below:
            groups.setdefault((problem.observation, problem.command), []).append(problem)
    for (observation, command), group in groups.items():
        if len(group) > _MOST_SHOWN:
            text = f"{len(group)} files and directories below it have {observation}"
            others = (item for item in problems if item not in group)
            problems = (*others, _OpenAccess(top.path, text, command.replace(" ", " -R ", 1)))
    return problems


def _by_symlinks(file: FoundFile) -> list[PurePosixPath]:
    """Return the directories that lead to a file only by a symlink."""
    return [directory.path for directory in file.above if not directory.is_real]


def _failed(problems: Sequence[_OpenAccess], node: AssessedNode) -> Answer:
    commands: dict[str, list[str]] = {}
    for problem in problems:
        paths = commands.setdefault(problem.command, []) if problem.command else []
        if str(problem.path) not in paths:
            paths.append(str(problem.path))
    moved = dict.fromkeys(item.moved for item in problems if item.moved is not None)
    steps: list[Step] = [
        Instruction(f"use another path than {path}, in a directory that only root can write") for path in moved
    ]
    steps += [Run(f"sudo {command} {' '.join(map(quote, paths))}") for command, paths in commands.items()]
    first = f"{problems[0].path} ({problems[0].observation})"
    subjects = {str(item.path) for item in problems}
    by_hand = Repair(tuple(steps), Restart.K3S if moved else Restart.NOT_NEEDED)
    return Answer(
        ControlStatus.FAIL,
        f"{first}, and {len(subjects) - 1} more" if len(subjects) > 1 else first,
        tuple(dict.fromkeys(Evidence(item.observation, Location(item.path)) for item in problems)),
        repair=Repair((RunVerb("apply"),)) if subjects <= node.pending else by_hand,
    )


def _protections(accesses: Iterable[_OpenAccess]) -> Iterator[Evidence]:
    """Yield each directory that protects files and directories whose own modes or owners are too open."""
    protected: dict[FoundFile, dict[PurePosixPath, str]] = {}
    for access in accesses:
        if access.closed is not None:
            protected.setdefault(access.closed, {}).setdefault(access.path, access.observation)
    for directory, inside in protected.items():
        path, observation = next(iter(inside.items()))
        more = f", and {len(inside) - 1} more" if len(inside) > 1 else ""
        text = f"{directory.mode}; only this directory protects {path} ({observation}){more}"
        yield Evidence(text, Location(directory.path))


def _shown(files: Sequence[FoundFile], matches: Sequence[Matches]) -> tuple[str, tuple[Evidence, ...]]:
    """Return what was found and the evidence if everything is compliant."""
    modes = " and ".join(sorted({str(file.mode) for file in files})[:3])
    counted = [match for match in matches if match.number]
    text = "{}; only root can change the {} files and directories below it"
    evidence = [Evidence(text.format(match.found[0].mode, match.number), Location(match.pattern)) for match in counted]
    single = [file for match in matches if match not in counted for file in match.found]
    if len(single) <= _MOST_SHOWN:
        return modes, (*(Evidence(str(file.mode), Location(file.path)) for file in single), *evidence)
    patterns = [match.pattern for match in matches if match.found and match not in counted]
    source, command = ", ".join(map(str, patterns)), stat_all(patterns)
    every = Evidence(f"{len(single)} files, {modes}", source=source, repeat_with=command)
    return f"{modes} ({len(files)} files)", (every, *evidence)
