"""Carries out a plan: the only writer. Each change is looked at again before and after it is made."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from agent.errors import HostError, NotEmptyError, ReadOnlyEnvironmentError
from agent.model import File
from agent.plan import difference, in_words
from agent.report import Item, Status

if TYPE_CHECKING:
    from agent.host import Host
    from agent.journal import Journal
    from agent.plan import Change, Plan, Refusal


def execute(plan: Plan, host: Host, journal: Journal) -> tuple[Item, ...]:
    """Make the changes in order, the journal first, and say what became of each; one that fails does not stop the rest.

    To be called under the lock. Raises HostError, with nothing changed, if the journal cannot be written.
    """
    items: list[Item] = []
    if plan.changes:
        entry = journal.begin(plan.changes)
        for change in plan.changes:
            item = carry_out(change, host, journal)
            # What would lie in a directory that nobody can make here is forbidden by the same mount.
            if item.status is Status.FAILED and any(i.blocked_by_environment and _is_in(item.id, i.id) for i in items):
                item = item._replace(blocked_by_environment=True)
            items.append(item)
        with suppress(HostError):  # the record is whole; the next run closes it as that of a run that was cut off
            journal.finish(entry)
    return (*items, *map(refused, plan.refusals))


def carry_out(change: Change, host: Host, journal: Journal) -> Item:
    """Make one change whose `before` is already in the journal."""
    now = host.observe(change.id)
    if now == change.after:
        return Item(change.id, Status.CHANGED, difference(change.before, change.after))
    if now != change.before:
        found = f"somebody changed it meanwhile: {difference(change.before, now)}"
        return Item(change.id, Status.FAILED, found, "run again")
    hint = ""
    try:
        if change.backup and isinstance(change.before, File):
            hint = f"the file that was there is kept as {journal.backup(change.before)}"
        host.put(change.after)
    except NotEmptyError as error:
        return Item(change.id, Status.KEPT, error.message)
    except HostError as error:
        by_environment = isinstance(error, ReadOnlyEnvironmentError)
        return Item(change.id, Status.FAILED, error.message, error.hint, by_environment)
    now = host.observe(change.id)
    if now != change.after:
        return Item(change.id, Status.FAILED, f"written, but it reads back as {in_words(now)}")
    return Item(change.id, Status.CHANGED, difference(change.before, change.after), hint)


def _is_in(path: str, directory: str) -> bool:
    return path.startswith(f"{directory}/")


def refused(refusal: Refusal) -> Item:
    """What stands in the way of a change, as a line of the report."""
    return Item(refusal.id, Status.EDITED if refusal.edited else Status.REFUSED, refusal.reason, refusal.hint)
