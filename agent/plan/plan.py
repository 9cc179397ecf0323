"""What would have to change, as a value. Pure: the same code serves apply, check, diff and revert."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent.linux.sysctl_order import same_value
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
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

_NEW_PARENT_MODE = FileMode(0o755)
"""Mode of a directory that is missing on the way to a managed one; K3s and its installer use the same."""


Need = PurePosixPath | Sysctl
"""What a file depends on: a file that has to be there, or a live kernel value."""


class Change(NamedTuple):
    """One step. `backup` says that `before` is somebody's work, to be kept as a file of its own.

    `needs` has the ids of earlier changes; if one of them fails, this one must not be made.
    """

    before: State
    after: State
    backup: bool = False
    needs: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The id of the resource that changes."""
        return self.after.id

    @property
    def keeps_content(self) -> bool:
        """Whether a file's mode or owner changes and what it says does not."""
        one, other = self.before, self.after
        return isinstance(one, File) and isinstance(other, File) and one.content == other.content


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


def nothing(_: object) -> tuple[()]:
    """For a plan of files that no earlier run wrote, or that need nothing."""
    return ()


def make(
    desired: Iterable[Resource],
    observed: Mapping[str, Observed],
    written: Callable[[str], Collection[bytes]] = nothing,
    needs: Callable[[File], Iterable[Need]] = nothing,
    *,
    force: bool = False,
) -> Plan:
    """The plan that leads from `observed` to `desired`.

    `observed` holds each desired resource, each directory above it, and the kernel values that `needs` speaks of, if
    there is a kernel. `written` has the contents that this program ever gave the file of an id, `needs` what has to be
    there before a file may be written; such a file comes after what it needs. With `force`, files that somebody edited
    are replaced, and kept as backups.
    """
    changes: dict[str, Change] = {}
    refusals: list[Refusal] = []
    for wanted in desired:
        now = observed[wanted.id]
        resource = _in_its_own_words(wanted, now)
        if now == resource:
            continue
        intended = _steps(resource, now, written, force=force)
        for step in (made for one in intended for made in _with_needs(one, needs, changes, refusals, observed)):
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
                    "undo that change, or run again with --force"
                    + (", which keeps the file as a backup" if isinstance(now, File) else ""),
                    edited=True,
                )
            )
    return Plan(changes=tuple(changes), refusals=tuple(refusals))


def keep_needed(steps: Plan, user: File, needs: Callable[[File], Iterable[Need]]) -> Plan:
    """The plan without the steps that take away what a file needs, if the plan is refused that file.

    `user` is the file as it is now. If the plan changes it, the steps that take away what only its content of today
    needs come after its own.
    """
    if any(refusal.id == user.id for refusal in steps.refusals):
        needed = tuple(needs(user))
        kept = [
            Refusal(change.id, f"is kept, since {user.id} still needs it", "once that file is undone, run this again")
            for change in steps.changes
            if _takes_away(change, needed)
        ]
        changes = [change for change in steps.changes if not _takes_away(change, needed)]
        return Plan(changes=tuple(changes), refusals=(*steps.refusals, *kept))
    own = next((change for change in steps.changes if change.id == user.id), None)
    if own is None:
        return steps
    needed_then = tuple(needs(own.after)) if isinstance(own.after, File) else ()
    needed = tuple(need for need in needs(user) if need not in needed_then)
    others = [
        change._replace(needs=(*change.needs, own.id)) if _takes_away(change, needed) else change
        for change in steps.changes
        if change is not own
    ]
    return steps._replace(changes=(own, *others))


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
    if (
        isinstance(wanted, File)
        and isinstance(now, File)
        and not is_damaged(now, wanted)
        and _says_the_same(now, wanted.content)
    ):
        return replace(wanted, content=now.content)
    return wanted


def _says_the_same(file: File, content: bytes) -> bool:
    from agent.plan.equivalence import says_the_same

    return says_the_same(file.path.name, file.content, content)


def _with_needs(
    step: Change | Refusal,
    needs: Callable[[File], Iterable[Need]],
    changes: Mapping[str, Change],
    refusals: Iterable[Refusal],
    observed: Mapping[str, Observed],
) -> Iterator[Change | Refusal]:
    """The step, told which changes must not fail before it; or its refusal, if what it needs will not be there."""
    if isinstance(step, Refusal) or not isinstance(step.after, File) or step.keeps_content:
        yield step
        return
    # What somebody edited is there all the same.
    refused = {refusal.id for refusal in refusals if not refusal.edited}
    awaited, lacking = [], []
    for need in needs(step.after):
        name = need.id if isinstance(need, Sysctl) else str(need)
        now = observed.get(name)
        if name in refused:
            lacking.append(f"it needs {name}, which is refused")
        elif name in changes:
            awaited += [] if changes[name].keeps_content else [name]
        elif isinstance(need, Sysctl) and now is not None and not _is_value(now, need):
            lacking.append(f"it needs {name} to be {need.value}, and found {in_words(now)}")
    if not lacking:
        yield step._replace(needs=tuple(awaited))
        return
    yield Refusal(step.id, f"not written, since {', and '.join(lacking)}", "put that right, then run this again")
    if isinstance(step.before, File):
        yield from _guarded(step.before, step.after)


def _takes_away(change: Change, needs: Iterable[Need]) -> bool:
    return any(
        need.id == change.id and not _is_value(change.after, need)
        if isinstance(need, Sysctl)
        else str(need) == change.id and not isinstance(change.after, File)
        for need in needs
    )


def _is_value(state: Observed, wanted: Sysctl) -> bool:
    return isinstance(state, Sysctl) and same_value(state.value, wanted.value)


def _steps(
    wanted: Resource, now: Observed, written: Callable[[str], Collection[bytes]], *, force: bool
) -> Iterator[Change | Refusal]:
    match wanted:
        case Sysctl():
            yield _sysctl_step(wanted, now)
        case Directory():
            yield _directory_step(wanted, now)
        case File():
            yield from _file_steps(wanted, now, written, force=force)
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
    wanted: File, now: Observed, written: Callable[[str], Collection[bytes]], *, force: bool
) -> Iterator[Change | Refusal]:
    if isinstance(now, Absent):
        yield Change(now, wanted)
    elif isinstance(now, Directory):
        yield _blocked(Obstacle(id=wanted.id, kind="directory"))
    elif not isinstance(now, File):
        yield _blocked(now)
    elif now.immutable:
        yield _immutable(now)
    elif now.content == wanted.content or is_damaged(now, wanted) or now.content in (ours := written(wanted.id)):
        yield Change(now, wanted)
    elif force or any(_says_the_same(now, content) for content in ours):
        # Ours with somebody's comments in it holds nothing that the host depends on, but they may want it back.
        yield Change(now, wanted, backup=True)
    else:
        yield Refusal(
            wanted.id,
            "exists with content that k3s-harden did not write",
            "compare with `k3s-harden diff`; to replace it and keep a backup, run again with --force",
            edited=True,
        )
        yield from _guarded(now, wanted)


def _guarded(now: File, wanted: File) -> Iterator[Change]:
    """A file that is not rewritten gets mode and owner: whose content it is does not matter for who may read it."""
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
