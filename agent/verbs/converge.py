"""The verbs, from a look at the host to a report; `apply` is `check` with one more stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import findings
from agent.changes.execute import execute, refused
from agent.changes.journal import Journal
from agent.errors import HardenError
from agent.model import Absent, File
from agent.plan import plan
from agent.plan.plan import difference
from agent.report import GATE_VERB, Item, ItemStatus, Report
from agent.situation import observe
from agent.verbs import waiting_services

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.host import Host
    from agent.model import Observed, State
    from agent.situation import Request, Situation


def check(host: Host, request: Request) -> Report:
    """Whether the host is as wanted, now and at the next boot, and whether K3s would start. Changes nothing."""
    seen = observe(host, request)
    return _report("check", seen, _standing(seen))


def diff(host: Host, request: Request) -> Report:
    """What apply would change, with unified diffs of files. Changes nothing."""
    seen = observe(host, request)
    wanted = {resource.id: resource for resource in seen.desired}
    changes = {change.id: change for change in seen.plan.changes}
    items = []
    for item in _standing(seen):
        if item.status is ItemStatus.DIFFERS:
            items.append(_compared(item, changes[item.id].before, changes[item.id].after))
        elif item.status is not ItemStatus.COMPLIANT:
            items.append(_compared(item, seen.observed[item.id], wanted[item.id]))
    return _report("diff", seen, items)


def _compared(item: Item, now: Observed, wanted: State) -> Item:
    """The item of a file with the lines that differ; for everything else its words say all."""
    from agent.plan.diffs import unified

    if not isinstance(wanted, File):
        return item
    if not isinstance(now, File | Absent):
        return item._replace(detail=f"{item.detail}, and cannot be compared")
    return item._replace(diff=unified(now, wanted))


def apply(host: Host, request: Request) -> Report:
    """Make the host as wanted, then look again. Nothing to do writes nothing at all, and needs no lock."""
    seen = observe(host, request)
    settled = all(run.finished for run in seen.journal.runs)
    if not (settled and seen.plan.is_empty):
        host.refuse_ordinary_user("apply")
    if settled and not seen.plan.changes:
        return _released(_report("apply", seen, _standing(seen), writes=True), host)
    with host.lock():
        journal = Journal(host)
        journal.finish_interrupted()
        # Between the first look and the lock another run may have done all there was to do.
        done = execute(observe(host, request).plan, host, journal)
    try:
        seen = observe(host, request)
    except HardenError as error:
        again = Item("this host", ItemStatus.FAILED, f"cannot be looked at again: {error.message}", error.hint)
        return Report(verb="apply", writes=True, facts=seen.facts.evidence, items=(*done, again), findings=())
    changed = {item.id: item for item in done}
    untouched = [item for item in _standing(seen) if item.id not in changed]
    return _released(_report("apply", seen, [*done, *untouched], writes=True), host)


def gate(host: Host, request: Request) -> Report:
    """Apply, on behalf of a K3s that is about to start: if the host is not ready, remember which service waits.

    Raises what apply raises; the waiting service is remembered then, too.
    """
    try:
        report = apply(host, request)._replace(verb=GATE_VERB)
    except HardenError:
        waiting_services.hold(host)
        raise
    if not report.is_ready:
        waiting_services.hold(host)
    return report


def _released(report: Report, host: Host) -> Report:
    """Start what the gate kept down, once nothing keeps it down any more, and say so."""
    if not report.is_ready or not (host.is_live and host.runs_as_root):
        return report
    started = waiting_services.release(host)
    return report._replace(findings=(*report.findings, *findings.after_release(started)))


def _standing(seen: Situation) -> Iterator[Item]:
    """Each desired resource as it stands, in the order of the plan's reasons: refused, differing, as wanted."""
    refusals = {refusal.id: refusal for refusal in seen.plan.refusals}
    changes = {change.id: change for change in seen.plan.changes}
    for resource in seen.desired:
        if resource.id in refusals:
            yield refused(refusals[resource.id])
        if resource.id in changes:
            change = changes[resource.id]
            yield Item(resource.id, ItemStatus.DIFFERS, difference(change.before, change.after))
        elif resource.id not in refusals:
            yield Item(resource.id, ItemStatus.COMPLIANT, plan.in_words(seen.observed[resource.id]))
    wanted = {resource.id for resource in seen.desired}
    for change in seen.plan.changes:
        if change.id not in wanted:
            yield Item(change.id, ItemStatus.DIFFERS, difference(change.before, change.after))


def _report(verb: str, seen: Situation, items: Iterable[Item], *, writes: bool = False) -> Report:
    return Report(
        verb=verb, writes=writes, facts=seen.facts.evidence, items=tuple(items), findings=findings.collect(seen)
    )
