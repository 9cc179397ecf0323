"""Undo plans from the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import NamedTuple

from agent.base.errors import HardenError, InputError
from agent.base.host import Host
from agent.base.model import Absent, Directory, File, Observed, State
from agent.base.repair import Cause, Instruction, Repair
from agent.base.report import Fact, Item, ItemStatus, Report
from agent.base.value import replace
from agent.base.yaml_reader import read_documents
from agent.findings import after_apply_or_revert
from agent.findings.manifest_files import unpacked_objects
from agent.harden.changes.execute import carry_out_all, refused
from agent.harden.changes.journal import Journal, Run
from agent.harden.desired.resources import HEADER, comments_only, needs_of
from agent.harden.gate import installed_gate
from agent.harden.guide.guide_files import DROPIN_NAME, K3S_CONFIG, POLICY_FILE
from agent.harden.guide.k3s_options import SECRETS_ENCRYPTION
from agent.harden.node.configuration import dropin_directory
from agent.harden.node.datastore import encrypts_secrets
from agent.harden.node.installed_services import installed_units
from agent.harden.node.site_files import read_settings
from agent.harden.plan import plan
from agent.harden.plan.plan import Change, Plan, Refusal
from agent.harden.settings.schema import DEFAULT_SETTINGS, Overrides, Settings
from agent.k3s.component_configuration import ENCRYPTION_CONFIGURATION
from agent.k3s.config import dropin
from agent.k3s.config_merge import ConfigText, merge_configuration
from agent.reports.text import count_of
from agent.verbs.advice import next_steps
from agent.verbs.advice.installed_k3s import InstalledK3s
from agent.verbs.k3s_state import configured_k3s
from agent.verbs.record_traffic import remove_record
from agent.verbs.service_accounts import changed_accounts, withdrawn_policies

_LEFT = (ItemStatus.FAILED, ItemStatus.REFUSED, ItemStatus.EDITED)
_OPTION = f"`{SECRETS_ENCRYPTION.key}: true`"
_REQUIRED = "which K3s needs to read the secrets of this cluster"
_NOT_REMOVED = "K3s has not removed its objects: the API server did not confirm it in time"
_WITH_OPTION = Repair((Instruction(f"add {_OPTION} to config.yaml of K3s, then run this command again"),))


class _K3s(NamedTuple):
    """The facts about K3s that revert needs."""

    data_dir: PurePosixPath
    encrypts: bool | None
    """Whether K3s encrypts secrets only because of k3s-harden's drop-in; None if it could not be determined."""
    state: InstalledK3s
    """The facts that the next steps need."""
    settings: PurePosixPath | None
    """The settings file of the site, if there is one."""
    dropin: PurePosixPath
    """The path of k3s-harden's drop-in."""


class _Undo(NamedTuple):
    """An undo plan."""

    plan: Plan
    encryption: tuple[Change, ...] = ()
    """The changes from the state before the first run to a drop-in that contains only secrets-encryption.

    They include the parent directories. Empty if no such drop-in is kept. The journal records them.
    """


def revert(host: Host, *, last: bool, force: bool) -> Report:
    """Undo the runs of the journal, or only the newest one. Files edited since then are refused unless forced.

    If the drop-in of K3s is refused, the files that K3s needs because of it are kept. If K3s encrypts secrets because
    of the drop-in, it keeps the option secrets-encryption.
    """
    host.refuse_ordinary_user("revert")
    gates = installed_gate.detect_gate(host)
    with host.lock():
        journal = Journal(host)
        journal.finish_interrupted()
        runs = journal.runs()[-1:] if last else journal.runs()
        before, left = journal.history(runs)
        k3s = _read_k3s(host)
        policy = next((name for name in before if name.endswith(f"/{POLICY_FILE}")), str(k3s.data_dir / POLICY_FILE))
        objects = _objects_of(left.get(policy, ()))
        # An interrupted revert can have left the manifest without objects.
        left = {**left, policy: (*left.get(policy, ()), *map(_without_objects, left.get(policy, ())))}
        observed = {name: host.observe(state) for name, state in before.items()}
        undo = _undo(plan.undo_plan(before, left, observed, force=force), before, observed, k3s)
        runs_k3s = bool(host.probe())
        undo, are_removed = _with_objects_removed(undo, policy, host, k3s) if runs_k3s else (undo, False)
        items = _carry_out(undo, runs, before, host, journal)
        if not last:
            items = (*items, *remove_record(host))
    undone = {item.id for item in items if item.status is ItemStatus.CHANGED}
    has_started = host.tree.exists(k3s.data_dir / "server/tls")
    is_lost = policy in undone and isinstance(before[policy], Absent) and not are_removed
    if host.is_live and (is_lost or are_removed):
        from agent.verbs import site_policies  # loads many modules

        came_back = site_policies.restore(host, k3s.data_dir) if are_removed else site_policies.not_restored(host)
        items = (*items, *came_back)
    left_in_cluster = after_apply_or_revert.LeftInCluster()
    if has_started:
        accounts = changed_accounts(host, k3s.data_dir) if host.is_live else ()
        items = (*items, *(withdrawn_policies(host) if host.is_live and not last else ()))
        left_in_cluster = after_apply_or_revert.LeftInCluster(objects if is_lost else (), accounts)
    found = after_apply_or_revert.after_revert(
        undone, gates, k3s_runs=runs_k3s, left=left_in_cluster, settings=k3s.settings
    )
    if not runs and host.tree.exists(k3s.dropin):
        found = (*found, after_apply_or_revert.without_runs(k3s.dropin))
    evidence = (Fact("runs", f"{count_of(len(runs), 'run', 'no')} to undo", "the journal"),)
    report = Report(verb="revert", writes=True, facts=evidence, items=items, findings=found)
    return replace(report, next_steps=next_steps.steps_after_revert(report, k3s.state, last=last))


def _without_objects(state: State) -> State:
    """Return a manifest as a file of comments, for which K3s removes what it created from the manifest."""
    return replace(state, content=comments_only()) if isinstance(state, File) else state


def _with_objects_removed(undo: _Undo, policy: str, host: Host, k3s: _K3s) -> tuple[_Undo, bool]:
    """Let K3s remove the objects of policy.yaml, if the plan removes that file. Return the rest of the plan.

    K3s keeps the objects of a manifest that is deleted. The second value is whether it has removed them; if it has not,
    the manifest stays without objects, so that a later revert completes this one.
    """
    found = next((change for change in undo.plan.changes if change.id == policy), None)
    # An edited manifest keeps its objects, and becomes a backup as a whole.
    if found is None or found.backup or not isinstance(found.before, File) or not isinstance(found.after, Absent):
        return undo, False
    from agent.cluster.own_objects import wait_until_applied

    emptied = _without_objects(found.before)
    try:
        if emptied != found.before:
            host.put(emptied)
        are_removed = wait_until_applied(host, k3s.data_dir, PurePosixPath(policy).stem, comments_only())
    except HardenError:
        are_removed = False
    own = (replace(found, before=emptied),) if are_removed else ()
    others = (change for change in undo.plan.changes if change is not found)
    refusals = () if are_removed else (Refusal(policy, _NOT_REMOVED, cause=Cause.LACKING),)
    return undo._replace(plan=Plan((*own, *others), (*undo.plan.refusals, *refusals))), are_removed


def _objects_of(written: Sequence[State]) -> Sequence[str]:
    """Return the objects of policy.yaml, as it was written last, by kind and name."""
    manifest = written[-1] if written else None
    if not isinstance(manifest, File):
        return ()
    try:
        documents = read_documents(manifest.content, manifest.path)
        objects = [found for document in documents for found in unpacked_objects(document, manifest.path)]
    except InputError:  # an edited file, of which apply only set the mode; K3s does not apply it either
        return ()
    return [f"{found.kind} {'/'.join(filter(None, (found.namespace, found.name)))}" for found in objects if found.kind]


def _read_k3s(host: Host) -> _K3s:
    try:
        site = read_settings(host, None, Overrides())
    except HardenError:
        site = Settings()
    _, configuration, k3s = configured_k3s(host, site, installed_units(host, []))
    is_set = configuration.operator_config.boolean(SECRETS_ENCRYPTION.key)
    encrypts = False if is_set else encrypts_secrets(host, k3s.data_dir)
    settings = DEFAULT_SETTINGS if host.tree.exists(DEFAULT_SETTINGS) else None
    return _K3s(k3s.data_dir, encrypts, k3s, settings, dropin_directory(configuration.path) / DROPIN_NAME)


def _undo(full: Plan, before: Mapping[str, State], observed: Mapping[str, Observed], k3s: _K3s) -> _Undo:
    undo = _Undo(full) if k3s.encrypts is False else _keep_encryption(full, before, k3s)
    changes = undo.plan
    for name, found in observed.items():
        if _is_dropin(name) and isinstance(found, File):
            changes = plan.keep_needed(changes, found, partial(needs_of, data_dir=k3s.data_dir))
    return undo._replace(plan=changes)


def _keep_encryption(full: Plan, before: Mapping[str, State], k3s: _K3s) -> _Undo:
    """Return an undo plan that keeps secrets-encryption if K3s already encrypts, even with --force.

    K3s reads the encryption key only with that option (k3s, pkg/daemons/control/server.go).
    """
    for change in full.changes:
        if not (_encrypts(change.before) and not _encrypts(change.after)):
            continue
        others = [other for other in full.changes if other is not change]
        if k3s.encrypts is None or not isinstance(change.after, Absent):
            why = f"contains {_OPTION}, {_REQUIRED}"
            if k3s.encrypts is None:
                keys = k3s.data_dir / ENCRYPTION_CONFIGURATION
                why = f"contains {_OPTION}; {keys} does not show whether K3s needs it"
            refusal = Refusal(change.id, why, _WITH_OPTION)
            return _Undo(Plan(tuple(others), (*full.refusals, refusal)))
        content = dropin(HEADER, {SECRETS_ENCRYPTION.key: True}, {})
        reduced = File(path=PurePosixPath(change.id), content=content, mode=K3S_CONFIG.mode)
        parents = [
            other
            for other in others
            if isinstance(other.before, Directory) and isinstance(other.after, Absent)
            if other.before.path in reduced.path.parents
        ]
        changes = [other for other in others if other not in parents]
        if change.before != reduced:
            changes.insert(0, replace(change, after=reduced))
        created = [Change(change.after, change.before) for change in reversed(parents)]
        return _Undo(Plan(tuple(changes), full.refusals), (*created, Change(before[change.id], reduced)))
    return _Undo(full)


def _encrypts(state: State) -> bool:
    if not isinstance(state, File) or not _is_dropin(state.id):
        return False
    return bool(merge_configuration([ConfigText(state.path, state.content)]).boolean(SECRETS_ENCRYPTION.key))


def _is_dropin(name: str) -> bool:
    return name.endswith(f"/{DROPIN_NAME}")


def _carry_out(
    undo: _Undo, runs: Sequence[Run], before: Mapping[str, State], host: Host, journal: Journal
) -> tuple[Item, ...]:
    # The journal already has both ends of an undo, except for a drop-in that no run has written: without a record the
    # next revert would treat it as edited.
    is_recorded = bool(runs and undo.encryption) and journal.changes(runs[-1]) == undo.encryption
    if undo.encryption and not is_recorded:
        journal.begin(undo.encryption)
        to_forget = runs
    else:
        runs = journal.reopen(runs)
        to_forget = runs[:-1] if is_recorded else runs
    done = carry_out_all(undo.plan.changes, host, journal)
    left = map(refused, undo.plan.refusals)
    items = (*(_explained(item, undo) for item in done), *left)
    others = [name for name in before if name not in {item.id for item in items}]
    same = (Item(name, ItemStatus.COMPLIANT, "as before the first run") for name in others)
    items = (*items, *(_explained(item, undo) for item in same))
    try:
        if not any(item.status in _LEFT for item in items):
            journal.forget(to_forget)
        journal.finish_interrupted()
    except HardenError as error:
        items = (*items, Item("the journal", ItemStatus.FAILED, error.message, error.repair))
    return items


def _explained(item: Item, undo: _Undo) -> Item:
    """Return the item. That of a kept drop-in, and those of its parents, get the reason."""
    *parents, dropin_id = (change.id for change in undo.encryption) if undo.encryption else ("",)
    kept = f"contains only {_OPTION}, {_REQUIRED}"
    if item.status is ItemStatus.COMPLIANT and item.id in parents:
        return Item(item.id, ItemStatus.KEPT, f"contains {dropin_id}")
    if item.status is ItemStatus.COMPLIANT and item.id == dropin_id:
        return Item(item.id, ItemStatus.KEPT, kept, _WITH_OPTION)
    if item.status is ItemStatus.CHANGED and item.id == dropin_id:
        return replace(item, detail=f"{item.detail}; it now {kept}", repair=_WITH_OPTION)
    return item
