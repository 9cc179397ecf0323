"""Verdicts on the modes and owners of files."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from agent.assess import arguments as component_arguments
from agent.assess.arguments import GivenBy
from agent.assess.assessment import ControlStatus
from agent.assess.assessment import Evidence as Shown
from agent.assess.verdicts.answer import LOOK_AT_IT, ONCE_STARTED, Answer
from agent.assess.verdicts.datastore import no_etcd
from agent.benchmark.check import Ownership, Permissions
from agent.model import ROOT, Component, FilePermissions
from agent.node.datastore import Datastore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import PurePosixPath

    from agent.assess.evidence import Matches, Seen
    from agent.assess.verdicts.node import AssessedNode

_MOST_SHOWN = 5
"""Files that are named one by one where all are right, or in a command; of more, the pattern that finds them."""


def answer(check: Permissions | Ownership, node: AssessedNode) -> Answer:
    """Whether all files that the check is about are as it wants them."""
    if isinstance(check, Permissions):
        return _permissions(check, node)
    return _ownership(check, node)


def _permissions(check: Permissions, node: AssessedNode) -> Answer:
    def is_right(file: Seen) -> bool:
        return not file.mode & ~check.most

    return _files(
        check,
        node,
        is_right=is_right,
        shown=lambda file: str(file.mode),
        command=f"chmod {check.most}",
    )


def _ownership(check: Ownership, node: AssessedNode) -> Answer:
    return _files(
        check,
        node,
        is_right=lambda file: file.owner == ROOT,
        shown=lambda file: "root:root" if file.owner == ROOT else str(file.owner),
        command="chown root:root",
    )


def _files(
    check: Permissions | Ownership,
    node: AssessedNode,
    *,
    is_right: Callable[[Seen], bool],
    shown: Callable[[Seen], str],
    command: str,
) -> Answer:
    matches = node.evidence.files[check]
    files = [file for match in matches for file in match.seen]
    wrong = [file for file in files if not is_right(file)]
    if wrong:
        return Answer(
            ControlStatus.FAIL,
            _one_or_many([shown(file) for file in wrong], len(files)),
            tuple(Shown(shown(file), str(file.path)) for file in wrong),
            remedy=_on_files(command, wrong, check, node),
            needs=_permissions_of(wrong, check),
        )
    doubts = [one for match in matches for one in match.unknown]
    if doubts:
        return Answer(
            ControlStatus.UNKNOWN,
            "cannot be told",
            tuple(Shown(one.reason, str(one.path)) for one in doubts),
            reason=f"{doubts[0].path}: {doubts[0].reason}",
            remedy=LOOK_AT_IT,
        )
    if not files:
        return _no_files(matches, node)
    patterns = ", ".join(str(match.pattern) for match in matches if match.seen)
    return Answer(
        ControlStatus.PASS,
        _one_or_many([shown(file) for file in files], len(files)),
        tuple(Shown(shown(file), str(file.path)) for file in files)
        if len(files) <= _MOST_SHOWN
        else (Shown(f"{len(files)} files, {_range([shown(file) for file in files])}", patterns),),
        by=GivenBy.K3S,
    )


def _no_files(matches: Sequence[Matches], node: AssessedNode) -> Answer:
    """What it means that none of the files is there."""
    below = [
        path.relative_to(node.facts.data_dir) for path in _patterns(matches) if node.facts.data_dir in path.parents
    ]
    names = ", ".join(map(str, _patterns(matches)))
    if any(path.is_relative_to("server/db/etcd") for path in below) and node.facts.datastore is not Datastore.ETCD:
        return no_etcd(node)
    for part, component in (("agent/kubeproxy.kubeconfig", Component.KUBE_PROXY), ("agent", Component.KUBELET)):
        why = component_arguments.not_run(component, node.facts)
        if why and any(path.is_relative_to(part) for path in below):
            return Answer(ControlStatus.NOT_APPLICABLE, reason=why)
    if not node.has_started:
        reason, remedy = "K3s makes it at its first start, and has not started yet", ONCE_STARTED
    elif below:
        reason, remedy = "K3s makes it at each start, and it is not there although K3s has started", LOOK_AT_IT
    else:
        return Answer(ControlStatus.NOT_APPLICABLE, "no such file", reason=f"there is nothing at {names}")
    return Answer(ControlStatus.UNKNOWN, "no such file", (Shown("not there", names),), reason=reason, remedy=remedy)


def _patterns(matches: Sequence[Matches]) -> list[PurePosixPath]:
    return [match.pattern for match in matches]


def _on_files(command: str, wrong: Sequence[Seen], check: Permissions | Ownership, node: AssessedNode) -> str:
    """A command to copy, whatever the files are called."""
    if len(wrong) <= _MOST_SHOWN:
        return f"sudo {command} {' '.join(quote(str(file.path)) for file in wrong)}"
    # The shell of an ordinary user cannot look into these directories.
    commands = dict.fromkeys(_on_all(command, node.facts.data_dir / path) for path in check.paths)
    return f"sudo sh -c {quote('; '.join(commands))}"


def _on_all(command: str, pattern: PurePosixPath) -> str:
    """A command for all that a path of a check finds."""
    if pattern.name == "**":
        return f"find {quote(str(pattern.parent))} -type f -exec {command} {{}} +"
    if pattern.parent.name == "**":
        top, name = quote(str(pattern.parent.parent)), quote(pattern.name)
        return f"find {top} -type f -name {name} -exec {command} {{}} +"
    return f"{command} {quote(str(pattern.parent))}/{pattern.name}"


def _permissions_of(wrong: Sequence[Seen], check: Permissions | Ownership) -> frozenset[str]:
    """The ids of the resources that stand for the modes of these files."""
    if isinstance(check, Ownership):
        return frozenset()
    return frozenset(FilePermissions(path=file.path, mode=check.most).id for file in wrong)


def _one_or_many(words: Sequence[str], total: int) -> str:
    if total == 1:
        return words[0]
    return (
        f"{_range(words)} ({len(words)} of {total} files)" if len(words) < total else f"{_range(words)} ({total} files)"
    )


def _range(words: Sequence[str]) -> str:
    return " and ".join(sorted(set(words))[:3])
