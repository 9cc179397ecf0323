"""The way back: the journal as a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import facts, findings, gate, k3s_units, plan
from agent.apply import carry_out, refused
from agent.errors import HardenError
from agent.guide.files import DROPIN_NAME, POLICY_FILE
from agent.guide.k3s_options import SECRETS_ENCRYPTION
from agent.journal import Journal
from agent.k3s_config import ConfigText, merge
from agent.model import Absent, File
from agent.plan import Plan, Refusal
from agent.report import Fact, Item, Report, Status
from agent.settings import Overrides, Settings
from agent.situation import Request, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.host import Host
    from agent.model import State
    from agent.plan import Change

_LEFT = (Status.FAILED, Status.REFUSED, Status.EDITED)


def revert(host: Host, *, last: bool, force: bool) -> Report:
    """Undo what the journal knows, or its newest run alone; what was edited since is refused unless forced."""
    host.refuse_ordinary_user("revert")
    gates = gate.look(host)
    with host.lock():
        journal = Journal(host)
        journal.finish_interrupted()
        runs = journal.entries()[-1:] if last else journal.entries()
        before, left = journal.history(runs)
        steps = plan.undo(before, left, {name: host.observe(name) for name in before}, force=force)
        runs = journal.reopen(runs)
        items = _carry_out(_keeping_secrets_readable(steps, host), before, host, journal)
        try:
            if any(item.status in _LEFT for item in items):
                journal.finish_interrupted()
            else:
                journal.forget(runs)
        except HardenError as error:
            items = (*items, Item("the journal", Status.FAILED, error.message, error.hint))
    undone = {item.id for item in items if item.status is Status.CHANGED}
    found = findings.after_revert(
        undone,
        gates,
        k3s_runs=bool(host.probe()),
        lost_manifest=any(name.endswith(f"/{POLICY_FILE}") and isinstance(before[name], Absent) for name in undone),
    )
    evidence = (Fact("runs", f"{len(runs)} run{'' if len(runs) == 1 else 's'} to undo", "the journal"),)
    return Report(verb="revert", writes=True, facts=evidence, items=items, findings=found)


def _carry_out(steps: Plan, before: Mapping[str, State], host: Host, journal: Journal) -> tuple[Item, ...]:
    # An undo needs no record of its own: what it leads from and to is in the journal already.
    done = [carry_out(change, host, journal) for change in steps.changes]
    planned = {change.id for change in steps.changes} | {refusal.id for refusal in steps.refusals}
    already = [Item(name, Status.AS_WANTED, "as it was before") for name in before if name not in planned]
    return (*done, *map(refused, steps.refusals), *already)


def _keeping_secrets_readable(steps: Plan, host: Host) -> Plan:
    """The plan without what would take secrets-encryption away from a K3s that encrypts, forced or not.

    K3s reads its key only with that option (k3s, pkg/daemons/control/server.go): every Secret would be lost to it.
    """
    losing = {change.id for change in steps.changes if _switches_off(change)}
    if not losing or not _depends_on_encryption(host):
        return steps
    refusals = [
        Refusal(
            name,
            "holds `secrets-encryption: true`, without which K3s could not read this cluster's secrets",
            "put `secrets-encryption: true` into K3s' config.yaml, then run this again",
        )
        for name in losing
    ]
    changes = tuple(change for change in steps.changes if change.id not in losing)
    return Plan(changes=changes, refusals=(*steps.refusals, *refusals))


def _switches_off(change: Change) -> bool:
    return _switches_on(change.before) and not _switches_on(change.after)


def _switches_on(state: State) -> bool:
    if not isinstance(state, File) or state.path.name != DROPIN_NAME:
        return False
    return bool(merge([ConfigText(state.path, state.content)]).boolean(SECRETS_ENCRYPTION.key))


def _depends_on_encryption(host: Host) -> bool:
    """Whether K3s encrypts, or that cannot be told, and nobody but us tells it to."""
    try:
        site = read_settings(host, Request(Overrides()))
    except HardenError:
        site = Settings()
    k3s = facts.configuration(host, k3s_units.chosen(k3s_units.installed(host), site.role))
    data_dir, _ = facts.data_directory(site, k3s)
    return facts.encrypts_secrets(host, data_dir) is not False and not k3s.config.boolean(SECRETS_ENCRYPTION.key)
