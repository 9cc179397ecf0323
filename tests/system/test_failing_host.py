"""A host that fails at the n-th operation, for each n: reports are correct, and the next run is compliant.

The host is an ordinary argument of the verbs; its files are a real tree below a directory of the test.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pytest

from agent.base.errors import ExitCode, HardenError, HostError
from agent.base.host import Host
from agent.base.host.paths import Distrusted
from agent.base.host.writable_tree import WritableTree
from agent.base.model import Absent, Directory, File, UnexpectedKind, Unreadable
from agent.base.report import ItemStatus, Report
from agent.harden.settings.schema import Overrides
from agent.harden.situation import Request
from agent.verbs import check_and_apply as verbs
from agent.verbs.revert import revert
from tests.k3s_tree import fresh
from tests.tree import Entry, Tree

OLDER = Request(Overrides(role="server", k3s_version="1.24"))
NEWER = Request(Overrides(role="server", k3s_version="1.34"))
OPERATORS_CONFIG = "kube-apiserver-arg:\n  - audit-log-maxage=45\nnode-label:\n  - place=here\n"


class Fuse:
    """Fails at the n-th guarded call; `calls` are the names of the calls so far."""

    def __init__(self, burns_at: int = 0) -> None:
        self.burns_at = burns_at
        self.calls: list[str] = []

    def burns(self, call: str) -> bool:
        self.calls.append(call)
        return len(self.calls) == self.burns_at

    def guard(self, call: str) -> None:
        if self.burns(call):
            raise HostError(f"cannot {call}: Input/output error")


class FailingTree(WritableTree):
    """Each operation fails as documented: observations with Unreadable, and those in GUARDED with HostError."""

    fuse: Fuse = Fuse()

    def observe(self, path: PurePosixPath) -> Directory | File | Absent | UnexpectedKind | Unreadable:
        if self.fuse.burns(f"observe {path}"):
            return Unreadable(id=str(path), reason="Input/output error")
        return super().observe(path)

    def distrusted(self, path: PurePosixPath) -> Distrusted | None:
        failed = self.fuse.burns(f"distrusted {path}")
        return Distrusted("Input/output error") if failed else super().distrusted(path)


READS = ("observe", "distrusted", "read", "names")
GUARDED = (
    *READS[2:],
    "write",
    "overwrite",
    "make_directory",
    "remove_file",
    "remove_temporary",
    "remove_directory",
    "rename",
)


def guarded(name: str) -> Callable[..., Any]:
    """Return the operation of this name that fails when the fuse burns."""
    real = getattr(WritableTree, name)

    def call(tree: FailingTree, what: Any, *more: Any) -> Any:
        tree.fuse.guard(f"{name} {getattr(what, 'path', what)}")
        return real(tree, what, *more)

    return call


for _name in GUARDED:
    setattr(FailingTree, _name, guarded(_name))


class FailingHost(Host):
    """A host whose operations all use the fuse."""

    fuse: Fuse = Fuse()

    @classmethod
    def below(cls, root: Path, fuse: Fuse) -> FailingHost:
        good = Host.tree_at(str(root))
        return cls(root=good.root, run=good.run, probe=good.probe, now=good.now, uid=good.uid, gid=good.gid, fuse=fuse)

    @property
    def tree(self) -> FailingTree:
        return FailingTree(self.root, self.uid, self.gid, fuse=self.fuse)

    @property
    def writable_tree(self) -> FailingTree:
        return self.tree

    def lock(self, wait: float | None = None) -> AbstractContextManager[None]:
        self.fuse.guard("lock")
        return super().lock(wait)


LEFT = (ItemStatus.FAILED, ItemStatus.REFUSED, ItemStatus.EDITED)


class Outcome(NamedTuple):
    """The result of a run and the tree after it; no report if it ended with an error."""

    code: ExitCode
    report: Report | None
    files: dict[str, Entry]


class RepeatedHost(Tree):
    """A host on which each run starts from the same state."""

    def __init__(self, directory: Path, verb: str) -> None:
        super().__init__(directory / "host")
        self.start = directory / "start"
        self.verb = verb
        fresh(self.root)
        self.write("/etc/rancher/k3s/config.yaml", OPERATORS_CONFIG)
        self.origin = self.files()

    def keep(self) -> None:
        shutil.copytree(self.root, self.start, dirs_exist_ok=True)

    def reset(self) -> None:
        shutil.rmtree(self.root)
        shutil.copytree(self.start, self.root)

    def run(self, verb: str, fuse: Fuse, request: Request = NEWER) -> Outcome:
        """Run once. Raises exceptions that are not errors of the program."""
        host = FailingHost.below(self.root, fuse)
        try:
            report = verbs.apply(host, request) if verb == "apply" else revert(host, last=False, force=False)
        except HardenError as error:
            return Outcome(error.exit_code, None, self.files())
        return Outcome(report.exit_code, report, self.files())

    def files(self) -> dict[str, Entry]:
        """Return everything but the state of the program."""
        ours = ("/var/lib/k3s-harden", "/run/k3s-harden.lock")
        return {name: entry for name, entry in self.tree("/").items() if not name.startswith(ours)}

    def left_overs(self) -> list[str]:
        return [str(path) for path in self.root.rglob(".*.k3s-harden")]


def new_host(directory: Path) -> RepeatedHost:
    tree = RepeatedHost(directory, "apply")
    tree.keep()
    return tree


def upgraded_host(directory: Path) -> RepeatedHost:
    tree = RepeatedHost(directory, "apply")
    assert tree.run("apply", Fuse(), OLDER).code is ExitCode.COMPLIANT
    tree.keep()
    return tree


def host_to_revert(directory: Path) -> RepeatedHost:
    tree = RepeatedHost(directory, "revert")
    for request in (OLDER, NEWER):
        assert tree.run("apply", Fuse(), request).code is ExitCode.COMPLIANT
    tree.keep()
    return tree


BEGINNINGS = pytest.mark.parametrize(
    "begin", [new_host, upgraded_host, host_to_revert], ids=lambda begin: begin.__name__
)


@BEGINNINGS
def test_a_failure_is_reported_and_the_next_run_is_compliant(
    in_memory: Path, begin: Callable[[Path], RepeatedHost]
) -> None:
    tree = begin(in_memory)
    calls, ended = run_without_failures(tree)
    tree.reset()
    before = tree.files()
    wrong = Wrong()
    for number, call in enumerate(calls, 1):
        # A repeated operation fails the first and the last time.
        if changes(call) or calls.index(call) == number - 1 or call not in calls[number:]:
            tree.reset()
            outcome = tree.run(tree.verb, Fuse(number))
            wrong.note(call, false_statements(tree, outcome, before, ended))
            wrong.note(call, not_repaired(tree, ended))
    assert not wrong.outcomes, str(wrong)


@BEGINNINGS
def test_a_failed_run_can_be_reverted(in_memory: Path, begin: Callable[[Path], RepeatedHost]) -> None:
    """Changes that were not made are not edits, so revert needs no --force."""
    tree = begin(in_memory)
    calls, _ = run_without_failures(tree)
    wrong = Wrong()
    for number, call in enumerate(calls, 1):
        if changes(call):
            tree.reset()
            tree.run(tree.verb, Fuse(number))
            wrong.note(call, not_undone(tree))
    assert not wrong.outcomes, str(wrong)


class Wrong:
    """The wrong outcomes, and the operations whose failure caused each."""

    def __init__(self) -> None:
        self.outcomes: dict[str, list[str]] = {}

    def note(self, call: str, outcomes: Iterable[str]) -> None:
        for what in outcomes:
            self.outcomes.setdefault(what, []).append(call)

    def __str__(self) -> str:
        return "\n".join(f"{what}\n    if this fails: {'; '.join(calls)}" for what, calls in self.outcomes.items())


def changes(call: str) -> bool:
    return call.partition(" ")[0] not in READS


def run_without_failures(tree: RepeatedHost) -> tuple[list[str], dict[str, Entry]]:
    """Return the operations of a run without failures, and the tree after it."""
    tree.reset()
    fuse = Fuse()
    outcome = tree.run(tree.verb, fuse)
    assert outcome.code is ExitCode.COMPLIANT
    assert sum(map(changes, fuse.calls)) > 5
    return fuse.calls, outcome.files


def false_statements(
    tree: RepeatedHost, outcome: Outcome, before: dict[str, Entry], ended: dict[str, Entry]
) -> Iterator[str]:
    """Return the statements of a failed run's report that are false."""
    now = outcome.files
    if tree.left_overs():
        yield f"leaves {tree.left_overs()}"
    if outcome.code is ExitCode.COMPLIANT and now != ended:
        yield f"exit 0, but {differing_paths(now, ended)} are not compliant"
    if outcome.code is ExitCode.ERROR and now != before:
        yield f"exit 1, but {differing_paths(now, before)} were changed"
    for item in outcome.report.items if outcome.report else ():
        path = item.id if item.id.startswith("/") else f"/proc/sys/{item.id.replace('.', '/')}"
        if item.status is ItemStatus.CHANGED and now.get(path) != ended.get(path):
            yield f"{item.id} is not what was reported as changed"


def not_repaired(tree: RepeatedHost, ended: dict[str, Entry]) -> Iterator[str]:
    """Return what is wrong after the next run on a working host, and after a complete revert."""
    outcome = tree.run(tree.verb, Fuse())
    if outcome.code is not ExitCode.COMPLIANT:
        left = [item for item in outcome.report.items if item.status in LEFT] if outcome.report else "an error"
        yield f"the next {tree.verb} exits {int(outcome.code)}: {left}"
    if outcome.files != ended:
        yield f"the next {tree.verb} leaves {differing_paths(outcome.files, ended)}, unlike a run without failures"
    if tree.left_overs():
        yield f"the next {tree.verb} leaves {tree.left_overs()}"
    yield from not_undone(tree)


def not_undone(tree: RepeatedHost) -> Iterator[str]:
    """Return what is wrong after a revert on a working host."""
    outcome = tree.run("revert", Fuse())
    if outcome.code is not ExitCode.COMPLIANT or outcome.files != tree.origin:
        yield f"revert exits {int(outcome.code)} and leaves {differing_paths(outcome.files, tree.origin)}"
    if (tree.root / "var/lib/k3s-harden").exists():
        yield "revert leaves the journal"


def differing_paths(one: dict[str, Entry], other: dict[str, Entry]) -> list[str]:
    return sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))
