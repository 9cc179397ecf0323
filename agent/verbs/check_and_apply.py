"""The verbs check, diff, apply and gate. `apply` is `check` with one more stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import findings
from agent.base.errors import ExitCode, HardenError, HostError
from agent.base.model import Absent, File, Sysctl
from agent.base.repair import RunVerb
from agent.base.report import GATE_VERB, Item, ItemStatus, NextStep, Report, Trait, no_progress
from agent.base.value import replace
from agent.findings import after_apply_or_revert
from agent.harden.changes import last_run
from agent.harden.changes.journal import Journal
from agent.harden.gate.gate_state import end_exceptions, observes_since
from agent.harden.gate.installed_gate import can_have_gate
from agent.harden.gate.starting_service import starting_service
from agent.harden.guide.guide_files import POD_SECURITY_ADMISSION, POLICY_FILE
from agent.harden.node.configuration import dropin_directory
from agent.harden.plan import plan
from agent.harden.plan.plan import difference
from agent.harden.settings.schema import PodSecurityStage
from agent.harden.situation.observation import observe_after_apply, observe_situation
from agent.k3s.roles_and_versions import Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.base.host import Host
    from agent.base.model import Observed, State
    from agent.base.report import Finding, Progress
    from agent.findings.impact import Topic
    from agent.harden.plan.plan import Change
    from agent.harden.situation import Request, Situation


_LARGEST_COMPARED = 128 * 1024
"""Maximum number of bytes of a file that `diff` compares; k3s-harden writes at most 20 KiB."""

_WAYS_ON = (
    NextStep(RunVerb("impact"), "see all objects, when they break, and what to do"),
    NextStep(RunVerb("impact", ("--format", "settings")), "print `network-policies.allow` with their traffic"),
    NextStep(RunVerb("apply", ("--accept-impact",)), "harden now"),
)
"""Next steps if objects break by what apply would write."""


def check(host: Host, request: Request) -> Report:
    """Report whether the host is compliant, now and after the next boot. Makes no changes."""
    situation = observe_situation(host, request)
    report = _report("check", host, situation, items_of(situation))
    return _advised(_with_prediction(report, host, request, situation), host, situation)


def diff(host: Host, request: Request) -> Report:
    """Report what apply would change, with unified diffs of files. Makes no changes."""
    situation = observe_situation(host, request)
    expected = {resource.id: resource for resource in situation.desired}
    changes = {change.id: change for change in situation.plan.changes}
    by_profile = _by_profile(situation)
    items = []
    for without_profile in items_of(situation):
        profile = by_profile.get(without_profile.id, "")
        item = replace(without_profile, detail=f"{without_profile.detail}{profile}")
        if item.status is ItemStatus.DIFFERS:
            items.append(_compared(item, changes[item.id].before, changes[item.id].after))
        elif item.status is not ItemStatus.COMPLIANT:
            items.append(_compared(item, situation.observed[item.id], expected[item.id]))
    report = _with_prediction(_report("diff", host, situation, items), host, request, situation)
    if host.is_live and situation.facts.running_since and str(situation.facts.data_dir / POLICY_FILE) in changes:
        from agent.verbs.impact import taken_names  # not on most hosts

        report = replace(report, findings=(*report.findings, *taken_names(host, situation)))
    found = []
    for finding in report.findings:
        # Without the advice to run this verb.
        steps = tuple(step for step in finding.repair.steps if step != RunVerb("diff"))
        found.append(finding._replace(repair=replace(finding.repair, steps=steps)))
    return _advised(replace(report, findings=tuple(found)), host, situation)


def _with_prediction(report: Report, host: Host, request: Request, situation: Situation) -> Report:
    """Return the report with the problems that apply would cause; unchanged if apply would change nothing."""
    if not situation.plan.changes or _is_forbidden(situation):
        return report
    from agent.harden.plan.preflight_result import problems_caused_by_apply

    later = findings.collect_findings(observe_after_apply(host, request, situation))
    found = problems_caused_by_apply(report.findings, later, {resource.id for resource in situation.desired})
    return replace(report, findings=(*report.findings, *found))


def _is_forbidden(situation: Situation) -> bool:
    """Return whether apply changes nothing, because K3s would not start on the kernel that it cannot change."""
    has_parameters = any(isinstance(change.after, Sysctl) for change in situation.plan.changes)
    return has_parameters and situation.facts.platform.kernel_is_read_only


def _by_profile(situation: Situation) -> dict[str, str]:
    """Return by resource ID a text with the settings of the profile that change the resource.

    A setting decides a resource if the resource would be another one, or none, with the setting's default.
    """
    if not situation.settings.from_profile:
        return {}
    from agent.harden.desired import resources
    from agent.harden.settings.schema import Settings, setting_rows

    found: dict[str, list[str]] = {}
    for row in setting_rows():
        if row.name in situation.settings.from_profile:
            default = replace(situation.settings, **{row.name: getattr(Settings(), row.name)})
            others = resources.desired_resources(default, situation.facts, situation.inputs)
            without = {resource.id: resource for resource in others}
            for resource in situation.desired:
                if without.get(resource.id) != resource:
                    found.setdefault(resource.id, []).append(row.key)
    profile = situation.settings.profile
    source = f"by the profile {profile} (k3s-harden explain {profile}: what it can break)"
    return {name: f"; {source}: {', '.join(keys)}" for name, keys in found.items()}


def _compared(item: Item, found: Observed, expected: State) -> Item:
    """Return the item with a unified diff, if it is a file."""
    from agent.harden.plan.diffs import unified

    if not isinstance(expected, File):
        return item
    if not isinstance(found, (File, Absent)):
        return replace(item, detail=f"{item.detail}; cannot be compared")
    if isinstance(found, File) and len(found.content) > _LARGEST_COMPARED:
        detail = f"{item.detail}; {len(found.content)} bytes are too large to compare"
        return replace(item, detail=detail, content_differs=False)
    return replace(item, diff=unified(found, expected), content_differs=False)


def apply(host: Host, request: Request, progress: Progress = no_progress, *, accept_impact: bool = False) -> Report:
    """Make the host compliant, then observe it again. Takes no lock and makes no changes if it is compliant.

    On a server where K3s runs, a run that changes its NetworkPolicies or Pod Security makes no changes if an object of
    the cluster breaks by that, unless `accept_impact`.
    """
    progress("reading the host")
    situation = observe_situation(host, request)
    added = set() if accept_impact else _added_parts(host, situation)
    if added:
        host.refuse_ordinary_user("apply")
        progress("reading the cluster")
        breaking = _broken_by(added, host, request, situation)
        if breaking:
            report = _report("apply", host, situation, items_of(situation), writes=True)
            return replace(report, findings=(*report.findings, *breaking), next_steps=_WAYS_ON)
    saved: tuple[Item, ...] = ()
    if _serves(host, situation) and _changes_policies(situation):
        from agent.verbs import site_policies  # asks the API server

        # K3s will replace the NetworkPolicies of the site that have the names of those in policy.yaml.
        saved = site_policies.save(host, situation.settings, situation.facts.data_dir)
    report, situation = _applied(host, request, situation, progress)
    restored = _restored_policies(host, situation)
    return _advised(replace(report, items=(*saved, *report.items, *restored)), host, situation)


def _added_parts(host: Host, situation: Situation) -> set[Topic]:
    """Return the parts of the hardening that apply would add, or change, in a cluster that runs on this server."""
    facts, settings = situation.facts, situation.settings
    if not host.is_live or facts.role is not Role.SERVER or facts.running_since is None:
        return set()
    from agent.findings.impact import Topic

    parts = (
        (Topic.NETWORK_POLICIES, POLICY_FILE, settings.stage_network_policies),
        (Topic.POD_SECURITY, POD_SECURITY_ADMISSION.path, settings.stage_pod_security is not PodSecurityStage.WARN),
    )
    changes = situation.plan.changes
    changed = {change.id for change in changes if isinstance(change.after, File) and not change.keeps_content}
    return {topic for topic, path, is_on in parts if is_on and str(facts.data_dir / path) in changed}


def _broken_by(parts: set[Topic], host: Host, request: Request, situation: Situation) -> tuple[Finding, ...]:
    """Return a finding for each object that these parts break, or one if the API server does not answer."""
    from agent.verbs.impact import impact_on_server

    try:
        found = impact_on_server(host, request, situation, topics=parts)
    except HardenError as error:
        return (after_apply_or_revert.impact_unknown(error),)
    asked = [entry for entry in found.breaks if entry.is_new and entry.topic in parts and entry.accepted is None]
    return after_apply_or_revert.breaking(asked)


def _restored_policies(host: Host, situation: Situation) -> tuple[Item, ...]:
    """Create the saved NetworkPolicies of the site that policy.yaml has no more."""
    data_dir = situation.facts.data_dir
    policies = situation.observed.get(str(data_dir / POLICY_FILE))
    is_postponed = situation.settings.stage_network_policies
    if is_postponed or not isinstance(policies, File) or not _serves(host, situation) or _changes_policies(situation):
        return ()
    from agent.verbs import site_policies

    return tuple(site_policies.restore(host, data_dir, content=policies.content))


def _serves(host: Host, situation: Situation) -> bool:
    """Return whether the API server of this host can be asked."""
    return host.is_live and host.runs_as_root and situation.facts.running_since is not None


def _changes_policies(situation: Situation) -> bool:
    path = str(situation.facts.data_dir / POLICY_FILE)
    return any(change.id == path and isinstance(change.after, File) for change in situation.plan.changes)


def _applied(
    host: Host, request: Request, situation: Situation, progress: Progress = no_progress
) -> tuple[Report, Situation]:
    settled = all(run.finished for run in situation.journal.runs)
    if not (settled and situation.plan.is_empty):
        host.refuse_ordinary_user("apply")
    if _is_forbidden(situation):
        reason = "kernel parameters differ, and /proc/sys is read-only"
        held = replace(situation, plan=plan.withheld(situation.plan, reason, by_environment=True))
        return _report("apply", host, situation, items_of(held), writes=True), situation
    if settled and not situation.plan.changes:
        report = _report("apply", host, situation, items_of(situation), writes=True)
        return _unblocked(report, host, situation), situation

    from agent.harden.changes.execute import execute

    progress("waiting for the end of another run")
    with host.lock():
        progress("writing the journal")
        journal = Journal(host)
        journal.finish_interrupted()
        # Another run may have made the changes before this one got the lock.
        done = execute(observe_situation(host, request).plan, host, journal, progress)
    progress("reading the host again")
    try:
        situation = observe_situation(host, request)
    except HardenError as error:
        again = Item("this host", ItemStatus.FAILED, f"cannot be observed again: {error.message}", error.repair)
        facts = situation.facts.evidence
        return Report(verb="apply", writes=True, facts=facts, items=(*done, again), findings=()), situation
    changed = {item.id: item for item in done}
    untouched = [item for item in items_of(situation) if item.id not in changed]
    return _unblocked(_report("apply", host, situation, [*done, *untouched], writes=True), host, situation), situation


def gate(host: Host, request: Request) -> Report:
    """Apply, and report with the exit code that decides whether K3s starts. A gate that observes changes nothing."""
    request = replace(request, for_gate=True)
    if observes_since(host):
        situation = observe_situation(host, request)
        report = _report(GATE_VERB, host, situation, ())
        return replace(report, findings=tuple(found for found in report.findings if Trait.OPENS_GATE in found.traits))
    request = replace(request, start=starting_service(host, request.service))
    situation = observe_situation(host, request)
    if request.start is None or not situation.facts.sharing:
        return _judged(host, request, situation)
    from agent.verbs import contested_starts  # on few hosts

    with contested_starts.one_at_a_time(host):
        return _judged(host, request, contested_starts.with_rivals(host, request))


def _judged(host: Host, request: Request, situation: Situation) -> Report:
    if situation.rivals:
        report = _report(GATE_VERB, host, situation, ())
    else:
        report, situation = _applied(host, request, situation)
    report = replace(report, verb=GATE_VERB)
    if request.start is not None and report.is_ready:
        from agent.harden.gate.confirmation import record_judged

        record_judged(host, request.start, situation.settings, situation.facts)
    return report if report.is_ready else _advised(report, host, situation)


def _unblocked(report: Report, host: Host, situation: Situation) -> Report:
    """Start the services that the gate blocked, and end bypasses of it, if nothing blocks K3s any more."""
    if not report.is_ready or not host.runs_as_root:
        return report

    if host.is_live:
        last_run.write_last_run(host, situation.to_record)
    try:
        started = after_apply_or_revert.after_unblocking(end_exceptions(host))
    except HostError:  # such as a read-only /run: the pause then ends by itself
        return report
    current = (finding for finding in report.findings if not finding.traits & (Trait.OF_LAST_START | Trait.OPENS_GATE))
    return replace(report, findings=(*current, *started))


def items_of(situation: Situation) -> Iterator[Item]:
    """Yield an item for each desired resource and for each other change of the plan."""
    refusals = {refusal.id: refusal for refusal in situation.plan.refusals}
    changes = {change.id: change for change in situation.plan.changes}
    for resource in situation.desired:
        if resource.id in refusals:
            from agent.harden.changes.execute import refused

            yield refused(refusals[resource.id])
        if resource.id in changes:
            yield _differing(changes[resource.id])
        elif resource.id not in refusals:
            yield Item(resource.id, ItemStatus.COMPLIANT, plan.describe_state(situation.observed[resource.id]))
    expected = {resource.id for resource in situation.desired}
    yield from (_differing(change) for change in situation.plan.changes if change.id not in expected)


def _accepted_items(situation: Situation) -> Iterator[Item]:
    """Yield an item for each control that the site waives on this host, and for each part that it postpones."""
    scope = situation.waivers.scope
    for waiver in filter(scope.applies, situation.waivers.all):
        detail = f"{waiver.reason}; until {waiver.expires}" if waiver.expires else waiver.reason
        yield Item(waiver.control, ItemStatus.WAIVED, detail, until=waiver.expires)
    for stage in situation.stages:
        if not stage.is_over(scope.today):
            yield Item(stage.setting, ItemStatus.POSTPONED, f"{stage.value}; until {stage.until}", until=stage.until)


def _differing(change: Change) -> Item:
    has_content = isinstance(change.before, File) and isinstance(change.after, File) and not change.keeps_content
    detail = difference(change.before, change.after)
    return Item(change.id, ItemStatus.DIFFERS, detail, content_differs=has_content)


def _report(verb: str, host: Host, situation: Situation, items: Iterable[Item], *, writes: bool = False) -> Report:
    return Report(
        verb=verb,
        writes=writes,
        facts=situation.facts.evidence,
        items=(*items, *_accepted_items(situation)),
        findings=findings.collect_findings(situation, others=_config_access(host, situation)),
    )


def _config_access(host: Host, situation: Situation) -> Iterator[Finding]:
    """Yield the findings about users who can change K3s' configuration."""
    configuration = situation.facts.configuration
    paths = (configuration.path, dropin_directory(configuration.path), *configuration.files)
    if any(map(host.tree.may_be_changed, dict.fromkeys(paths))):
        from agent.verbs.config_access import writable_configuration  # loads many modules

        yield from writable_configuration(host, situation)


def _advised(report: Report, host: Host, situation: Situation) -> Report:
    """Return the report with the next steps."""
    is_calm = report.exit_code is ExitCode.COMPLIANT and not report.findings and situation.facts.running_since
    lacks_gate = can_have_gate(host, situation.gate)
    if is_calm and not report.has_changed and not lacks_gate:
        return report
    from agent.verbs.advice import next_steps
    from agent.verbs.k3s_state import installed_k3s

    k3s = replace(installed_k3s(host, situation.facts), lacks_gate=lacks_gate)
    return replace(report, next_steps=next_steps.steps_after_run(report, k3s))
