"""What would have to change, as a value. Pure: the same code serves apply, check, diff and revert."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from agent.model import (
    ROOT,
    Absent,
    Directory,
    File,
    FileMode,
    FilePermissions,
    Observed,
    Obstacle,
    Resource,
    State,
    Sysctl,
    Unreadable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import PurePosixPath

_NEW_PARENT_MODE = FileMode(0o755)
"""Mode of a directory that is missing on the way to a managed one; K3s and its installer use the same."""


class Change(NamedTuple):
    """One step. `backup` says that `before` is somebody's work, to be kept as a file of its own."""

    before: State
    after: State
    backup: bool = False

    @property
    def id(self) -> str:
        """The id of the resource that changes."""
        return self.after.id


class Refusal(NamedTuple):
    """A step that is wanted and will not be taken; `edited` where it would overwrite what somebody wrote."""

    id: str
    reason: str
    hint: str
    edited: bool = False


class Plan(NamedTuple):
    """Changes in the order they are to be made, and what stands in the way of others."""

    changes: tuple[Change, ...]
    refusals: tuple[Refusal, ...]

    @property
    def is_empty(self) -> bool:
        """Whether the host already is as wanted."""
        return not self.changes and not self.refusals


def make(
    desired: Iterable[Resource],
    observed: Mapping[str, Observed],
    is_ours: Callable[[File], bool],
    *,
    force: bool = False,
) -> Plan:
    """The plan that leads from `observed` to `desired`.

    `observed` holds each desired resource and each directory above it; `is_ours` tells whether a file's content was
    written by this program. With `force`, files that somebody edited are replaced, and kept as backups.
    """
    changes: dict[str, Change] = {}
    refusals: list[Refusal] = []
    for wanted in desired:
        now = observed[wanted.id]
        resource = _in_its_own_words(wanted, now)
        if now == resource:
            continue
        for step in _steps(resource, now, is_ours, force=force):
            if isinstance(step, Refusal):
                refusals.append(step)
                continue
            if isinstance(now, Absent) and isinstance(resource, Directory | File):
                for parent in _missing_parents(resource.path, observed):
                    changes.setdefault(parent.id, Change(Absent(id=parent.id), parent))
            changes[resource.id] = step
    return Plan(changes=tuple(changes.values()), refusals=tuple(refusals))


def undo(
    first_before: Mapping[str, State],
    left: Mapping[str, Sequence[State]],
    observed: Mapping[str, Observed],
    *,
    force: bool = False,
) -> Plan:
    """The plan that leads back to `first_before`, newest step first.

    `left` holds the states that this program left each resource in, the newest last. What is in none of them, nor as
    it was before, was edited since, and is refused.
    """
    changes: list[Change] = []
    refusals: list[Refusal] = []
    for resource_id in reversed(list(first_before)):
        target, ours, now = first_before[resource_id], left[resource_id], observed[resource_id]
        if now == target:
            continue
        if isinstance(target, FilePermissions) and isinstance(now, Absent):
            continue  # its owner took the file away, and its mode with it
        if isinstance(now, Obstacle | Unreadable):
            refusals.append(_blocked(now))
        elif isinstance(now, File) and now.immutable:
            refusals.append(_immutable(now))
        elif now in ours:
            changes.append(Change(now, target))
        elif force:
            changes.append(Change(now, target, backup=isinstance(now, File)))
        else:
            refusals.append(
                Refusal(
                    resource_id,
                    f"was changed since k3s-harden wrote it: {difference(ours[-1], now)}",
                    "undo that change, or run again with --force (a file is kept as a backup)",
                    edited=True,
                )
            )
    return Plan(changes=tuple(changes), refusals=tuple(refusals))


def is_damaged(now: File, wanted: File) -> bool:
    """Whether the file is what a crash or a full disk leaves of the wanted one: empty, cut off, or NUL bytes."""
    return wanted.content.startswith(now.content) or b"\0" in now.content


def difference(before: Observed, after: Observed) -> str:
    """What distinguishes two states of one resource, in a few words."""
    match before, after:
        case ((File() | Directory()), (File() | Directory())) if type(before) is type(after):
            parts = []
            if isinstance(before, File) and isinstance(after, File) and before.content != after.content:
                parts.append("content")
            if before.mode != after.mode:
                parts.append(f"mode {before.mode} → {after.mode}")
            if before.owner != after.owner:
                parts.append(f"owner {before.owner} → {after.owner}")
            return ", ".join(parts)
        case FilePermissions(), FilePermissions():
            return f"{before.mode} → {after.mode}"
        case _:
            return f"{in_words(before)} → {in_words(after)}"


def in_words(state: Observed) -> str:
    """A state in a few words."""
    match state:
        case File() | Directory():
            owner = "" if state.owner == ROOT else f", owner {state.owner}"
            return f"{'file' if isinstance(state, File) else 'directory'}, mode {state.mode}{owner}"
        case FilePermissions():
            return str(state.mode)
        case Sysctl():
            return state.value
        case Absent():
            return "absent"
        case Obstacle():
            return f"a {state.kind}"
        case Unreadable():
            return f"unreadable ({state.reason})"


def _in_its_own_words(wanted: Resource, now: Observed) -> Resource:
    """The wanted file with the content that is there, where that says the same; a stricter mode is as good."""
    if isinstance(wanted, FilePermissions) and isinstance(now, FilePermissions) and not now.mode & ~wanted.mode:
        return now
    if isinstance(wanted, File) and isinstance(now, File) and not is_damaged(now, wanted):
        from agent.equivalence import says_the_same

        if says_the_same(wanted.path.name, now.content, wanted.content):
            return replace(wanted, content=now.content)
    return wanted


def _steps(
    wanted: Resource, now: Observed, is_ours: Callable[[File], bool], *, force: bool
) -> Iterator[Change | Refusal]:
    match wanted:
        case Sysctl():
            yield _sysctl_step(wanted, now)
        case Directory():
            yield _directory_step(wanted, now)
        case File():
            yield from _file_steps(wanted, now, is_ours, force=force)
        case FilePermissions():
            yield from _permissions_steps(wanted, now)


def _sysctl_step(wanted: Sysctl, now: Observed) -> Change | Refusal:
    if isinstance(now, Sysctl):
        return Change(now, wanted)
    if isinstance(now, Unreadable):
        return _blocked(now)
    return Refusal(wanted.id, "this kernel does not have the parameter", "check the kernel: kubelet needs it, too")


def _directory_step(wanted: Directory, now: Observed) -> Change | Refusal:
    if isinstance(now, Directory | Absent):
        return Change(now, wanted)
    if isinstance(now, File):
        return _blocked(Obstacle(id=wanted.id, kind="regular file"))
    return _blocked(now)


def _permissions_steps(wanted: FilePermissions, now: Observed) -> Iterator[Change | Refusal]:
    if isinstance(now, FilePermissions):
        yield Change(now, wanted)
    elif isinstance(now, Obstacle | Unreadable):
        yield _blocked(now)


def _file_steps(
    wanted: File, now: Observed, is_ours: Callable[[File], bool], *, force: bool
) -> Iterator[Change | Refusal]:
    if isinstance(now, Absent):
        yield Change(now, wanted)
    elif isinstance(now, Directory):
        yield _blocked(Obstacle(id=wanted.id, kind="directory"))
    elif not isinstance(now, File):
        yield _blocked(now)
    elif now.immutable:
        yield _immutable(now)
    elif now.content == wanted.content or is_ours(now) or is_damaged(now, wanted):
        yield Change(now, wanted)
    elif force:
        yield Change(now, wanted, backup=True)
    else:
        yield Refusal(
            wanted.id,
            "exists with content that k3s-harden did not write",
            "compare with `k3s-harden diff`; to replace it and keep a backup, run again with --force",
            edited=True,
        )
        # Whose content it is does not matter for who may read it.
        guarded = replace(now, mode=wanted.mode, owner=wanted.owner)
        if guarded != now:
            yield Change(now, guarded)


def _blocked(now: Observed) -> Refusal:
    if isinstance(now, Unreadable):
        return Refusal(now.id, f"cannot be read: {now.reason}", "run as root")
    return Refusal(
        now.id, f"is {in_words(now)}, which is left alone", "look at it, and move it away if nobody needs it"
    )


def _immutable(now: File) -> Refusal:
    return Refusal(now.id, "is an immutable file (chattr +i or +a)", f"if that is not wanted: chattr -i -a {now.id}")


def _missing_parents(path: PurePosixPath, observed: Mapping[str, Observed]) -> Sequence[Directory]:
    missing = [parent for parent in path.parents if isinstance(observed.get(str(parent)), Absent)]
    return [Directory(path=parent, mode=_NEW_PARENT_MODE) for parent in reversed(missing)]
