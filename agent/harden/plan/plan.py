"""The plan as a value: changes in their order, and refusals. Pure; apply, check, diff and revert use the same code."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from shlex import quote
from typing import Union

from agent.base.linux.sysctl_order import same_value
from agent.base.model import (
    PUBLIC_DIRECTORY,
    ROOT,
    Absent,
    DefaultPermissions,
    Directory,
    File,
    FilePermissions,
    Observed,
    Resource,
    State,
    Sysctl,
    UnexpectedKind,
    Unreadable,
)
from agent.base.repair import (
    NO_REPAIR,
    Answer,
    Cause,
    Decide,
    Instruction,
    Repair,
    Run,
    RunVerb,
    broken_link,
    moved_away,
)
from agent.base.value import Value, replace

Need = Union[PurePosixPath, Sysctl]
"""What a file requires: another file that exists, or a live kernel value."""


class Change(Value):
    """A change of one resource."""

    before: State
    after: State
    backup: bool = False
    """Whether another author wrote `before`, so that a copy of the file is kept."""
    needs: tuple[str, ...] = ()
    """Ids of earlier changes. If one of them fails, this change is not made."""

    @property
    def id(self) -> str:
        """Return the id of the resource that changes."""
        return self.after.id

    @property
    def keeps_content(self) -> bool:
        """Return whether only a file's mode or owner changes."""
        return _same_content(self.before, self.after)


class Refusal(Value):
    """A required change that is not made."""

    id: str
    reason: str
    repair: Repair = NO_REPAIR
    cause: Cause = Cause.OTHER
    by_environment: bool = False
    """Whether no user can make the change here, as on a read-only mount."""

    @property
    def edited(self) -> bool:
        """Return whether the change would overwrite content that another author wrote."""
        return self.cause is Cause.EDITED


class Plan(Value):
    """Changes in their order, and refusals."""

    changes: tuple[Change, ...]
    refusals: tuple[Refusal, ...]

    @property
    def is_empty(self) -> bool:
        """Return whether the host is compliant already."""
        return not self.changes and not self.refusals


def nothing(_: object) -> tuple[()]:
    """Return nothing: the default of `make` for files that no run wrote and that have no needs."""
    return ()


def make_plan(
    desired: Iterable[Resource],
    observed: Mapping[str, Observed],
    written: Callable[[str], Collection[bytes]] = nothing,
    needs: Callable[[File], Iterable[Need]] = nothing,
    *,
    force: bool = False,
) -> Plan:
    """Return the plan that leads from `observed` to `desired`.

    `observed` contains each desired resource and each directory above it. If there is a kernel, it also contains the
    kernel values that `needs` returns. `written` returns the contents that this program has written to the file of an
    id. `needs` returns what a file requires; the file is written after it. With `force`, edited files are replaced and
    kept as backups.
    """
    changes: dict[str, Change] = {}
    refusals: list[Refusal] = []
    for expected in desired:
        now = observed[expected.id]
        resource = _equivalent(expected, now)
        if now == resource:
            continue
        intended = _steps(resource, now, written, force=force)
        for step in (
            made for resource in intended for made in _with_needs(resource, needs, changes, refusals, observed)
        ):
            if isinstance(step, Refusal):
                refusals.append(step)
                continue
            if isinstance(now, Absent) and isinstance(resource, (Directory, File)):
                for parent in _missing_parents(resource.path, observed):
                    changes.setdefault(parent.id, Change(Absent(parent.path), parent))
            changes[resource.id] = step
    return Plan(changes=tuple(changes.values()), refusals=tuple(refusals))


def withheld(steps: Plan, reason: str, cause: Cause = Cause.OTHER, *, by_environment: bool = False) -> Plan:
    """Return the plan with each change replaced by a refusal."""
    text = f"is not changed: {reason}"
    refusals = (Refusal(change.id, text, NO_REPAIR, cause, by_environment) for change in steps.changes)
    return Plan(changes=(), refusals=(*steps.refusals, *refusals))


def undo_plan(
    first_before: Mapping[str, State],
    left: Mapping[str, Sequence[State]],
    observed: Mapping[str, Observed],
    *,
    force: bool = False,
) -> Plan:
    """Return the plan that leads back to `first_before`, newest change first.

    `left` contains the states in which this program left each resource, the newest last. A resource in any other state
    was edited since and is refused, unless it is already as it was before.
    """
    changes: list[Change] = []
    refusals: list[Refusal] = []
    for resource_id in reversed(list(first_before)):
        target, written, now = first_before[resource_id], left[resource_id], observed[resource_id]
        if now == target:
            continue
        if isinstance(target, FilePermissions) and isinstance(now, Absent):
            continue  # the program that owns the file removed it
        if isinstance(now, (UnexpectedKind, Unreadable)):
            refusals.append(_blocked(now))
        elif isinstance(now, File) and now.immutable:
            refusals.append(_immutable(now))
        elif now in written:
            changes.append(Change(now, target))
        elif force:
            changes.append(Change(now, target, backup=isinstance(now, File)))
        else:
            refusals.append(
                Refusal(
                    resource_id,
                    f"was edited after k3s-harden wrote it, so it was kept: {difference(written[-1], now)};"
                    f" --force {_forced(now, target)}",
                    Repair((RunVerb("revert", ("--force",)),)),
                    Cause.EDITED,
                )
            )
    return Plan(changes=tuple(changes), refusals=tuple(refusals))


def _forced(now: Observed, target: State) -> str:
    """Describe the effect of revert --force on a resource that was changed after the run."""
    if isinstance(now, File):
        return "keeps the file as a backup"
    if isinstance(target, Absent):
        return "removes it if it is empty"
    return f"restores it: {describe_state(target)}"


def keep_needed(steps: Plan, user: File, needs: Callable[[File], Iterable[Need]]) -> Plan:
    """Return the plan without the changes that remove what a file requires, if the plan refuses that file.

    `user` is the file in its current state. If the plan changes it, the changes that remove what only its current
    content requires come after the change of the file.
    """
    if any(refusal.id == user.id for refusal in steps.refusals):
        needed = tuple(needs(user))
        kept = [
            Refusal(change.id, f"is kept: {user.id} still requires it", cause=Cause.LACKING)
            for change in steps.changes
            if _removes(change, needed)
        ]
        changes = [change for change in steps.changes if not _removes(change, needed)]
        return Plan(changes=tuple(changes), refusals=(*steps.refusals, *kept))
    own = next((change for change in steps.changes if change.id == user.id), None)
    if own is None:
        return steps
    needed_then = tuple(needs(own.after)) if isinstance(own.after, File) else ()
    needed = tuple(need for need in needs(user) if need not in needed_then)
    others = [
        replace(change, needs=(*change.needs, own.id)) if _removes(change, needed) else change
        for change in steps.changes
        if change is not own
    ]
    return replace(steps, changes=(own, *others))


def is_damaged(now: File) -> bool:
    """Return whether a crash or a full disk left the file: it is empty, or has only NUL bytes. All else is an edit."""
    return not now.content.strip(b"\0")


def difference(before: Observed, after: Observed) -> str:
    """Describe what differs between two states of one resource."""
    if isinstance(before, Directory) and isinstance(after, Directory):
        return ", ".join(_attribute_changes(before, after))
    if isinstance(before, File) and isinstance(after, File):
        content = () if _same_content(before, after) else ("content",)
        return ", ".join((*content, *_attribute_changes(before, after)))
    return f"{describe_state(before)} → {describe_state(after)}"


def _attribute_changes(before: File | Directory, after: File | Directory) -> Iterator[str]:
    if before.mode != after.mode:
        yield f"mode {before.mode} → {after.mode}"
    if before.owner != after.owner:
        yield f"owner {before.owner} → {after.owner}"


def describe_state(state: Observed) -> str:
    """Describe a state in a few words."""
    if isinstance(state, (File, Directory)):
        owner = "" if state.owner == ROOT else f", owner {state.owner}"
        return f"{'file' if isinstance(state, File) else 'directory'}, mode {state.mode}{owner}"
    if isinstance(state, FilePermissions):
        return str(state.mode)
    if isinstance(state, DefaultPermissions):
        from agent.base.linux import file_systems  # few sites set them

        return file_systems.describe_default_acl(state.acl)
    if isinstance(state, Sysctl):
        return state.value
    if isinstance(state, UnexpectedKind):
        return f"a {state.kind}"
    return "absent" if isinstance(state, Absent) else f"unreadable ({state.reason})"


def _same_content(first: Observed, other: Observed) -> bool:
    return isinstance(first, File) and isinstance(other, File) and first.content == other.content


def _equivalent(expected: Resource, now: Observed) -> Resource:
    """Return the expected resource, with the found content or mode if that is equivalent or stricter."""
    if isinstance(expected, FilePermissions) and isinstance(now, FilePermissions) and not now.mode & ~expected.mode:
        return now
    if (
        isinstance(expected, File)
        and isinstance(now, File)
        and now.content != expected.content
        and not is_damaged(now)
        and _is_equivalent(now, expected.content)
    ):
        return replace(expected, content=now.content)
    return expected


def _is_equivalent(file: File, content: bytes) -> bool:
    from agent.harden.plan.diffs import is_equivalent

    return is_equivalent(file.path.name, file.content, content)


def _with_needs(
    step: Change | Refusal,
    needs: Callable[[File], Iterable[Need]],
    changes: Mapping[str, Change],
    refusals: Iterable[Refusal],
    observed: Mapping[str, Observed],
) -> Iterator[Change | Refusal]:
    """Yield the change with the changes that it depends on, or a refusal if what it requires will be missing."""
    if isinstance(step, Refusal) or not isinstance(step.after, File) or step.keeps_content:
        yield step
        return
    # An edited file exists, even if its change is refused.
    refused = {refusal.id for refusal in refusals if not refusal.edited}
    awaited, lacking = [], []
    for need in needs(step.after):
        name = need.id if isinstance(need, Sysctl) else str(need)
        now = observed.get(name)
        if name in refused:
            lacking.append(f"it requires {name}, which is refused")
        elif name in changes:
            awaited += [] if changes[name].keeps_content else [name]
        elif isinstance(need, Sysctl) and now is not None and not _is_value(now, need):
            lacking.append(f"it requires {name} = {need.value}, found {describe_state(now)}")
    if not lacking:
        yield replace(step, needs=tuple(awaited))
        return
    yield Refusal(step.id, f"not written: {', and '.join(lacking)}", cause=Cause.LACKING)
    if isinstance(step.before, File):
        yield from _guarded(step.before, step.after)


def _removes(change: Change, needs: Iterable[Need]) -> bool:
    return any(
        need.id == change.id and not _is_value(change.after, need)
        if isinstance(need, Sysctl)
        else str(need) == change.id and not isinstance(change.after, File)
        for need in needs
    )


def _is_value(state: Observed, expected: Sysctl) -> bool:
    return isinstance(state, Sysctl) and same_value(state.value, expected.value)


def _steps(
    expected: Resource, now: Observed, written: Callable[[str], Collection[bytes]], *, force: bool
) -> Iterator[Change | Refusal]:
    if isinstance(expected, Sysctl):
        yield _sysctl_step(expected, now)
    elif isinstance(expected, Directory):
        yield _directory_step(expected, now)
    elif isinstance(expected, File):
        yield from _file_steps(expected, now, written, force=force)
    elif isinstance(now, (FilePermissions, DefaultPermissions)):
        yield Change(now, expected)
    elif isinstance(now, (UnexpectedKind, Unreadable)):
        yield _blocked(now)


def _sysctl_step(expected: Sysctl, now: Observed) -> Change | Refusal:
    if isinstance(now, Sysctl):
        return Change(now, expected)
    if isinstance(now, Unreadable):
        return _blocked(now)
    return Refusal(
        expected.id,
        "this kernel does not have the parameter",
        Repair((Instruction("use a kernel that has it; kubelet requires it"),)),
    )


def _directory_step(expected: Directory, now: Observed) -> Change | Refusal:
    if isinstance(now, (Directory, Absent)):
        return Change(now, expected)
    if isinstance(now, File):
        return _blocked(UnexpectedKind(id=expected.id, kind="regular file"), is_file=True)
    return _blocked(now)


def _file_steps(
    expected: File, now: Observed, written: Callable[[str], Collection[bytes]], *, force: bool
) -> Iterator[Change | Refusal]:
    if isinstance(now, Absent):
        yield Change(now, expected)
    elif isinstance(now, Directory):
        yield _blocked(UnexpectedKind(id=expected.id, kind="directory"), is_file=True)
    elif not isinstance(now, File):
        yield _blocked(now, is_file=True)
    elif now.immutable:
        yield _immutable(now)
    elif now.content == expected.content or now.content in (ours := written(expected.id)):
        yield Change(now, expected)
    elif force or is_damaged(now) or any(_is_equivalent(now, content) for content in ours):
        # Added comments do not affect the host, but their author may need them.
        yield Change(now, expected, backup=True)
    else:
        yield Refusal(
            expected.id,
            "exists with content that k3s-harden did not write",
            Repair((RunVerb("apply", ("--force",)),)),
            Cause.EDITED,
        )
        yield from _guarded(now, expected)


def _guarded(now: File, expected: File) -> Iterator[Change]:
    """Yield the change of mode and owner: these must be right even if the content is not rewritten."""
    guarded = replace(now, mode=expected.mode, owner=expected.owner)
    if guarded != now:
        yield Change(now, guarded)


def _blocked(now: Observed, *, is_file: bool = False) -> Refusal:
    if isinstance(now, Unreadable):
        return Refusal(now.id, f"cannot be read: {now.reason}", cause=Cause.NOT_READABLE)
    if isinstance(now, UnexpectedKind) and now.link:
        return Refusal(now.id, f"is {describe_state(now)}", broken_link(now.link, now.target))
    repair = Repair((moved_away(now.id),))
    if not is_file:  # a symlink at the path of a directory can lead to the data of K3s
        answers = (Answer("No", "apply makes the directory", repair.steps), Answer("Yes", "apply leaves it", ()))
        repair = Repair((Decide(f"Does K3s use what is at {now.id}?", answers),))
    return Refusal(now.id, f"is {describe_state(now)}, which is not replaced", repair, Cause.IN_THE_WAY)


def _immutable(now: File) -> Refusal:
    path = quote(now.id)
    allow = Run(f"sudo chattr -i -a {path}", undo=f"sudo chattr +i {path}")
    return Refusal(now.id, "is an immutable file (chattr +i or +a)", Repair((allow,)))


def _missing_parents(path: PurePosixPath, observed: Mapping[str, Observed]) -> Sequence[Directory]:
    missing = [parent for parent in path.parents if isinstance(observed.get(str(parent)), Absent)]
    return [Directory(path=parent, mode=PUBLIC_DIRECTORY) for parent in reversed(missing)]
