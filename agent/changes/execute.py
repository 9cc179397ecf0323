"""Carries out a plan: the only writer. Each change is looked at again before and after it is made."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from agent.errors import HostError, NotEmptyError, ReadOnlyEnvironmentError
from agent.model import Absent, File
from agent.plan.plan import difference, in_words
from agent.report import Item, ItemStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.changes.journal import Journal
    from agent.host import Host
    from agent.plan.plan import Change, Plan, Refusal


def execute(plan: Plan, host: Host, journal: Journal) -> tuple[Item, ...]:
    """Make the changes in order, the journal first, and say what became of each; one that fails does not stop the rest.

    To be called under the lock. Raises HostError, with nothing changed, if the journal cannot be written.
    """
    items: tuple[Item, ...] = ()
    if plan.changes:
        entry = journal.begin(plan.changes)
        items = carry_out_all(plan.changes, host, journal)
        with suppress(HostError):  # the record is whole; the next run closes it as that of a run that was cut off
            journal.finish(entry)
    return (*items, *map(refused, plan.refusals))


def carry_out_all(changes: Iterable[Change], host: Host, journal: Journal) -> tuple[Item, ...]:
    """Make the changes in order; one that fails stops only those that need it."""
    items: list[Item] = []
    failed: dict[str, Item] = {}
    for change in changes:
        lacking = [failed[name] for name in change.needs if name in failed]
        item = _not_made(change, lacking) if lacking else carry_out(change, host, journal)
        if item.status is ItemStatus.FAILED:
            # What would lie in a directory that nobody can make here is forbidden by the same mount.
            if any(other.blocked_by_environment and _is_in(item.id, other.id) for other in failed.values()):
                item = item._replace(blocked_by_environment=True)
            failed[item.id] = item
        items.append(item)
    return tuple(items)


def carry_out(change: Change, host: Host, journal: Journal) -> Item:
    """Make one change whose `before` is already in the journal."""
    now = host.observe(change.id)
    if now == change.after:
        return Item(change.id, ItemStatus.CHANGED, difference(change.before, change.after))
    if now != change.before:
        found = f"somebody changed it meanwhile: {difference(change.before, now)}"
        return Item(change.id, ItemStatus.FAILED, found, "run again")
    kept = ""
    try:
        if change.backup and isinstance(change.before, File):
            kept = f"; the file that was there is kept as {journal.backup(change.before)}"
        host.put(change.after)
    except NotEmptyError as error:
        return Item(change.id, ItemStatus.KEPT, error.message)
    except HostError as error:
        by_environment = isinstance(error, ReadOnlyEnvironmentError)
        return Item(change.id, ItemStatus.FAILED, error.message, error.hint, by_environment)
    now = host.observe(change.id)
    if now != change.after:
        return Item(change.id, ItemStatus.FAILED, f"written, but it reads back as {in_words(now)}")
    return Item(change.id, ItemStatus.CHANGED, difference(change.before, change.after) + kept)


def _not_made(change: Change, lacking: Iterable[Item]) -> Item:
    done = "removed" if isinstance(change.after, Absent) else "written" if isinstance(change.after, File) else "set"
    return Item(
        change.id,
        ItemStatus.FAILED,
        f"not {done}, since {' and '.join(item.id for item in lacking)} failed",
        "put that right, then run this again",
        blocked_by_environment=all(item.blocked_by_environment for item in lacking),
    )


def _is_in(path: str, directory: str) -> bool:
    return path.startswith(f"{directory}/")


def refused(refusal: Refusal) -> Item:
    """What stands in the way of a change, as a line of the report."""
    return Item(refusal.id, ItemStatus.EDITED if refusal.edited else ItemStatus.REFUSED, refusal.reason, refusal.hint)
