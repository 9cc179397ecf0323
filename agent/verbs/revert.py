"""The way back: the journal as a plan."""

from __future__ import annotations

from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent import findings
from agent.changes.execute import carry_out_all, refused
from agent.changes.journal import Journal
from agent.desired import preconditions
from agent.desired.resources import HEADER
from agent.errors import HardenError
from agent.guide.files import DROPIN_NAME, K3S_CONFIG, POLICY_FILE
from agent.guide.k3s_options import SECRETS_ENCRYPTION
from agent.k3s.config import ConfigText, merge
from agent.k3s.config_writer import dropin
from agent.k3s.encryption_configuration import ENCRYPTION_CONFIGURATION
from agent.model import Absent, Directory, File
from agent.node import facts, gate, k3s_units
from agent.node.datastore import encrypts_secrets
from agent.node.site_files import read_settings
from agent.plan import plan
from agent.plan.plan import Change, Plan, Refusal
from agent.report import Fact, Item, ItemStatus, Report
from agent.settings.schema import Overrides, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.changes.journal import Entry
    from agent.host import Host
    from agent.model import Observed, State

_LEFT = (ItemStatus.FAILED, ItemStatus.REFUSED, ItemStatus.EDITED)
_OPTION = f"`{SECRETS_ENCRYPTION.key}: true`"
_LOST_OTHERWISE = "without which K3s could not read this cluster's secrets"
_SAY_IT_YOURSELF = f"put {_OPTION} into K3s' config.yaml, then run this again"


class _K3s(NamedTuple):
    """What revert must not take from K3s. `encrypts` is None where it cannot be told, False by somebody else's word."""

    data_dir: PurePosixPath
    encrypts: bool | None


class _WayBack(NamedTuple):
    """The steps back. `encryption` leads from before the first run to a drop-in with secrets-encryption alone.

    It is empty where no such drop-in stays; else the journal remembers it, and the directories made for the file.
    """

    steps: Plan
    encryption: tuple[Change, ...] = ()


def revert(host: Host, *, last: bool, force: bool) -> Report:
    """Undo what the journal knows, or its newest run alone; what was edited since is refused unless forced.

    Where our part of K3s' configuration cannot be undone, what K3s would not start without then is kept as well, and
    where K3s encrypts by it, secrets-encryption alone is left in it.
    """
    host.refuse_ordinary_user("revert")
    gates = gate.look(host)
    with host.lock():
        journal = Journal(host)
        journal.finish_interrupted()
        runs = journal.entries()[-1:] if last else journal.entries()
        before, left = journal.history(runs)
        k3s = _look_at_k3s(host)
        observed = {name: host.observe(name) for name in before}
        way = _way_back(plan.undo(before, left, observed, force=force), before, observed, k3s)
        items = _carry_out(way, runs, before, host, journal)
    undone = {item.id for item in items if item.status is ItemStatus.CHANGED}
    found = findings.after_revert(
        undone,
        gates,
        k3s_runs=bool(host.probe()),
        lost_manifest=any(name.endswith(f"/{POLICY_FILE}") and isinstance(before[name], Absent) for name in undone),
    )
    evidence = (Fact("runs", f"{len(runs)} run{'' if len(runs) == 1 else 's'} to undo", "the journal"),)
    return Report(verb="revert", writes=True, facts=evidence, items=items, findings=found)


def _look_at_k3s(host: Host) -> _K3s:
    try:
        site = read_settings(host, None, Overrides())
    except HardenError:
        site = Settings()
    k3s = facts.configuration(host, k3s_units.chosen(k3s_units.installed(host), site.role))
    data_dir, _ = facts.data_directory(site, k3s)
    encrypts = False if k3s.operator_config.boolean(SECRETS_ENCRYPTION.key) else encrypts_secrets(host, data_dir)
    return _K3s(data_dir, encrypts)


def _way_back(steps: Plan, before: Mapping[str, State], observed: Mapping[str, Observed], k3s: _K3s) -> _WayBack:
    way = _WayBack(steps) if k3s.encrypts is False else _keeping_secrets_readable(steps, before, k3s)
    steps = way.steps
    for name, now in observed.items():
        if _is_dropin(name) and isinstance(now, File):
            steps = plan.keep_needed(steps, now, partial(preconditions.of, data_dir=k3s.data_dir))
    return way._replace(steps=steps)


def _keeping_secrets_readable(steps: Plan, before: Mapping[str, State], k3s: _K3s) -> _WayBack:
    """The way back that takes secrets-encryption away from no K3s that encrypts, forced or not.

    K3s reads its key only with that option (k3s, pkg/daemons/control/server.go): every Secret would be lost to it.
    """
    for change in steps.changes:
        if not (_switches_on(change.before) and not _switches_on(change.after)):
            continue
        others = [other for other in steps.changes if other is not change]
        if k3s.encrypts is None or not isinstance(change.after, Absent):
            found = f"holds {_OPTION}, {_LOST_OTHERWISE}"
            if k3s.encrypts is None:
                found += f", if it encrypts: {k3s.data_dir / ENCRYPTION_CONFIGURATION} does not tell"
            refusal = Refusal(change.id, found, _SAY_IT_YOURSELF)
            return _WayBack(Plan(tuple(others), (*steps.refusals, refusal)))
        alone = _encryption_alone(change.id)
        above = [
            other
            for other in others
            if isinstance(other.before, Directory) and isinstance(other.after, Absent)
            if other.before.path in alone.path.parents
        ]
        changes = [other for other in others if other not in above]
        if change.before != alone:
            changes.insert(0, change._replace(after=alone))
        made_for_it = [Change(one.after, one.before) for one in reversed(above)]
        return _WayBack(Plan(tuple(changes), steps.refusals), (*made_for_it, Change(before[change.id], alone)))
    return _WayBack(steps)


def _encryption_alone(name: str) -> File:
    content = dropin(HEADER, {SECRETS_ENCRYPTION.key: True}, {})
    return File(path=PurePosixPath(name), content=content, mode=K3S_CONFIG.mode)


def _switches_on(state: State) -> bool:
    if not isinstance(state, File) or not _is_dropin(state.id):
        return False
    return bool(merge([ConfigText(state.path, state.content)]).boolean(SECRETS_ENCRYPTION.key))


def _is_dropin(name: str) -> bool:
    return name.endswith(f"/{DROPIN_NAME}")


def _carry_out(
    way: _WayBack, runs: Sequence[Entry], before: Mapping[str, State], host: Host, journal: Journal
) -> tuple[Item, ...]:
    # An undo needs no record of its own: what it leads from and to is in the journal already. Only a drop-in that no
    # run has written so does, or the next revert would take it for an edited one.
    is_remembered = bool(runs and way.encryption) and journal.changes(runs[-1]) == way.encryption
    if way.encryption and not is_remembered:
        journal.begin(way.encryption)
        to_forget = runs
    else:
        runs = journal.reopen(runs)
        to_forget = runs[:-1] if is_remembered else runs
    items = (
        *(_told(item, way) for item in carry_out_all(way.steps.changes, host, journal)),
        *map(refused, way.steps.refusals),
    )
    named = {item.id for item in items}
    items = (
        *items,
        *(_told(Item(name, ItemStatus.COMPLIANT, "as it was before"), way) for name in before if name not in named),
    )
    try:
        if not any(item.status in _LEFT for item in items):
            journal.forget(to_forget)
        journal.finish_interrupted()
    except HardenError as error:
        items = (*items, Item("the journal", ItemStatus.FAILED, error.message, error.hint))
    return items


def _told(item: Item, way: _WayBack) -> Item:
    """The item, if it is of the drop-in that stays or of a directory above it, with a word on that."""
    *above, own = (change.id for change in way.encryption) if way.encryption else ("",)
    stays = f"holds {_OPTION} alone, {_LOST_OTHERWISE}"
    match item.status:
        case ItemStatus.COMPLIANT if item.id in above:
            return Item(item.id, ItemStatus.KEPT, f"holds {own}")
        case ItemStatus.COMPLIANT if item.id == own:
            return Item(item.id, ItemStatus.KEPT, stays, _SAY_IT_YOURSELF)
        case ItemStatus.CHANGED if item.id == own:
            return item._replace(detail=f"{item.detail}; it now {stays}", hint=_SAY_IT_YOURSELF)
    return item
