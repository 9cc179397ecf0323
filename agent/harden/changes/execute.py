"""Execution of a plan. Each resource is observed before and after its change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from agent.base.errors import HostError, NotEmptyError, ReadOnlyEnvironmentError
from agent.base.host import Host
from agent.base.model import Absent, File, FilePermissions, Observed
from agent.base.repair import Cause
from agent.base.report import Item, ItemStatus, Progress, no_progress
from agent.base.value import replace
from agent.harden.changes.journal import Journal
from agent.harden.guide.guide_files import ADMISSION_POLICIES
from agent.harden.plan.plan import Change, Plan, Refusal, describe_state, difference

_POLICY_DIRECTORIES = tuple(f"/{path.parent}" for path in ADMISSION_POLICIES.values())
_NOTICED_WITHIN = 2.0
"""Seconds until an API server, also a busy one, has noticed that a file is gone. It keeps the policies of a directory
that is gone by then. inotify reports a file at once (apiserver, pkg/util/filesystem/watchuntil.go)."""


def execute(plan: Plan, host: Host, journal: Journal, progress: Progress = no_progress) -> tuple[Item, ...]:
    """Record the changes in the journal, then make them in order, and return an item for each change and refusal.

    The caller holds the lock. A change that fails does not stop the others. Raises HostError before the first change if
    the journal cannot be written.
    """
    items: tuple[Item, ...] = ()
    if plan.changes:
        run = journal.begin(plan.changes)
        items = carry_out_all(plan.changes, host, journal, progress)
        with suppress(HostError):  # the record is complete; the next run closes it like that of an interrupted run
            journal.finish(run)
    return (*items, *map(refused, plan.refusals))


def carry_out_all(
    changes: Sequence[Change], host: Host, journal: Journal, progress: Progress = no_progress
) -> tuple[Item, ...]:
    """Make the changes in order. A change that fails stops only those that depend on it."""
    items: list[Item] = []
    failed: dict[str, Item] = {}
    for number, change in enumerate(changes, 1):
        progress(change.id, number, len(changes))
        lacking = [failed[name] for name in change.needs if name in failed]
        item = _not_made(change, lacking) if lacking else carry_out(change, host, journal)
        if item.status is ItemStatus.FAILED:
            # The mount that forbids a directory also forbids its entries.
            if any(other.blocked_by_environment and item.id.startswith(f"{other.id}/") for other in failed.values()):
                item = replace(item, blocked_by_environment=True)
            failed[item.id] = item
        items.append(item)
    return tuple(items)


def carry_out(change: Change, host: Host, journal: Journal) -> Item:
    """Make one change whose `before` is already in the journal."""
    now = host.observe(change.after)
    if now == change.after:
        return Item(change.id, ItemStatus.CHANGED, difference(change.before, change.after))
    if now != change.before:
        return _changed_meanwhile(change, now)
    kept = ""
    try:
        if change.backup and isinstance(change.before, File):
            kept = f"; the previous file is kept as {journal.backup(change.before)}"
        if isinstance(change.after, Absent) and change.id.endswith(_POLICY_DIRECTORIES) and host.is_live:
            host.sleep(_NOTICED_WITHIN)
        host.put(change.after)
    except NotEmptyError as error:
        return Item(change.id, ItemStatus.KEPT, error.message)
    except HostError as error:
        by_environment = isinstance(error, ReadOnlyEnvironmentError)
        return Item(change.id, ItemStatus.FAILED, error.message, error.repair, by_environment)
    now = host.observe(change.after)
    if now != change.after:
        return Item(change.id, ItemStatus.FAILED, f"written, but it reads back as {describe_state(now)}")
    return Item(change.id, ItemStatus.CHANGED, difference(change.before, change.after) + kept)


def _changed_meanwhile(change: Change, now: Observed) -> Item:
    if isinstance(change.after, FilePermissions) and isinstance(now, Absent):
        # Such as the file of a pod that ended. A new file gets its mode from the program that creates it.
        return Item(change.id, ItemStatus.CHANGED, "the program that owns the file has removed it")
    found = f"changed during this run: {difference(change.before, now)}"
    return Item(change.id, ItemStatus.FAILED, found, cause=Cause.LACKING)


def _not_made(change: Change, lacking: Iterable[Item]) -> Item:
    done = "removed" if isinstance(change.after, Absent) else "written" if isinstance(change.after, File) else "set"
    return Item(
        change.id,
        ItemStatus.FAILED,
        f"not {done}, because {' and '.join(item.id for item in lacking)} failed",
        blocked_by_environment=all(item.blocked_by_environment for item in lacking),
        cause=Cause.LACKING,
    )


def refused(refusal: Refusal) -> Item:
    """Return the item of a refusal."""
    status = ItemStatus.EDITED if refusal.edited else ItemStatus.REFUSED
    return Item(refusal.id, status, refusal.reason, refusal.repair, refusal.by_environment, cause=refusal.cause)
