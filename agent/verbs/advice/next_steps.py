"""Next steps after a run, from its report, the most urgent first. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.errors import ExitCode
from agent.base.repair import Cause, Decide, FixOwner, Instruction, Repair, RunVerb
from agent.base.report import ItemStatus, Level, NextStep, Urgency, urgency_of
from agent.base.value import replace
from agent.harden.node.version import question
from agent.k3s.roles_and_versions import Role
from agent.verbs.advice.installed_k3s import InstalledK3s
from agent.verbs.advice.merged_repairs import APPLY, FORCE, Completion, Need, in_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from agent.base.repair import Step
    from agent.base.report import Entry, Finding, Item, Report
    from agent.harden.plan.preflight_result import Preflight
    from agent.k3s.roles_and_versions import Version

_DIFF = RunVerb("diff")
_FEW = 3
"""Maximum number of controls that get a step of their own."""


_WITHOUT_RESTART = InstalledK3s(Role.SERVER, "k3s", is_tree=True)
"""For steps that do not end with a restart of K3s."""


def steps_after_run(report: Report, k3s: InstalledK3s) -> tuple[NextStep, ...]:
    """Return the next steps after check, diff, apply, or the gate if it blocks K3s."""
    steps = [*_repairs(report, k3s)]
    if report.exit_code is ExitCode.COMPLIANT and report.verb in ("apply", "check") and not k3s.is_elsewhere:
        steps += _after_success(report, k3s)
    if k3s.lacks_gate and report.exit_code is ExitCode.COMPLIANT:
        purpose = "from now on, harden the host before each start of K3s, and check it for drift every day"
        steps.append(NextStep(RunVerb("install"), purpose))
    return tuple(steps)


def steps_after_revert(report: Report, k3s: InstalledK3s, *, last: bool) -> tuple[NextStep, ...]:
    """Return the next steps after revert."""
    is_edited = any(item.status is ItemStatus.EDITED for item in report.items)
    again = RunVerb("revert", (*(("--last",) if last else ()), *((FORCE,) if is_edited else ())))
    steps = tuple(_repairs(report, k3s, again))
    if is_edited and all(step.step != again for step in steps):
        return (NextStep(again, Completion(again).purpose), *steps)
    return steps


def steps_after_install(report: Report, k3s: InstalledK3s, *, is_blocked: bool = False) -> tuple[NextStep, ...]:
    """Return the next steps after install, which run the gate for the first time."""
    if report.exit_code:
        return tuple(_repairs(report, k3s, RunVerb("install")))
    if is_blocked:
        return (NextStep(RunVerb("check"), "the gate blocks K3s: see the reason and the fix"),)
    if not k3s.is_installed:
        return () if k3s.is_elsewhere else (k3s.install(),)
    verb, way = ("restart", k3s.restart()) if k3s.runs else ("start", k3s.start())
    start = replace(way, purpose=f"{verb} K3s through its gate")
    if not report.has_changed:
        return () if k3s.runs or k3s.is_tree else (start,)
    see = NextStep(_DIFF, "see what the gate will change before the next start of K3s")
    return (see,) if k3s.is_tree else (see, start)


def steps_after_uninstall(report: Report, k3s: InstalledK3s, *, is_hardened: bool) -> tuple[NextStep, ...]:
    """Return the next steps after uninstall. Without its package, this program could not revert anything."""
    steps = tuple(_repairs(report, k3s, RunVerb("uninstall")))
    revert = NextStep(RunVerb("revert"), "to undo the hardening, too, revert it")
    left = any(item.status in (ItemStatus.REFUSED, ItemStatus.FAILED) for item in report.items)
    return (revert, *steps) if is_hardened and not left else steps


def steps_after_bypass(services: Iterable[str], *, is_openrc: bool) -> tuple[NextStep, ...]:
    """Return the next steps after a bypass of the gate, for the services of K3s that do not run."""
    starts = (
        NextStep(
            InstalledK3s(Role.SERVER, service.removesuffix(".service"), is_openrc=is_openrc).start().step,
            f"start {service} without its gate",
        )
        for service in services
    )
    return (*starts, NextStep(RunVerb("check"), "then see what the gate would block, and fix it"))


def steps_after_service_accounts(report: Report, *, undo: bool) -> tuple[NextStep, ...]:
    """Return the next steps after the tokens of service accounts were disabled, or that was undone."""
    steps = [
        NextStep(step)
        for _, repair in _repairs_of_items(_unexplained(report, ItemStatus.FAILED))
        for step in repair.steps
    ]
    left = [item for item in report.items if item.status in (ItemStatus.FAILED, ItemStatus.KEPT)]
    if any(item.repair.steps or item.cause is Cause.LACKING for item in left):
        again = ("--undo", "--wait 300") if undo else ("--wait 300",)
        return (*steps, NextStep(RunVerb(report.verb, again), "run it again later"))
    last = (
        NextStep(Instruction("keep `stages.service-accounts: off` on all servers: otherwise timers repeat the change"))
        if undo
        else NextStep(RunVerb("assess", ("--cluster",)), "assess the cluster")
    )
    return (*steps, last) if report.has_changed else tuple(steps)


def steps_before_upgrade(
    result: Preflight,
    k3s: InstalledK3s,
    target: Version,
    first: Sequence[NextStep],
    *,
    again: RunVerb,
    has_gate: bool,
) -> tuple[NextStep, ...]:
    """Return the next steps of an upgrade to a version of K3s: after `first` come apply and the installation.

    `again` is the command of this run. The gate runs apply before that version starts. A preview cannot be installed.
    """
    steps = [*first]
    if result.exit_code:
        needs = [
            Need(urgency_of(problem.finding), problem.finding.message, problem.finding.repair)
            for problem in result.problems
            if problem.is_decisive
        ]
        steps += in_order(needs, _WITHOUT_RESTART)
        steps.append(NextStep(again, "check again, and continue only if it ends with result 0"))
    if target.is_preview:
        return tuple(steps)
    if result.changes and not has_gate:
        steps += (k3s.stop(),) if k3s.runs else ()
        steps.append(NextStep(APPLY, f"apply the hardening of {result.target}"))
    if not k3s.is_elsewhere:
        steps.append(k3s.install(target, f"K3s {result.target}"))
    return tuple(steps)


def steps_after_assess(
    findings: Iterable[Finding], k3s: InstalledK3s, open_by: Mapping[FixOwner, Sequence[str]], undetermined: int = 0
) -> tuple[NextStep, ...]:
    """Return the next steps after an assessment.

    `open_by` has the ids of the open controls by owner of the fix; those of the operator fail. `undetermined` is the
    number of controls that another assessment determines once a file is corrected.
    """
    needs = [Need(urgency_of(finding), finding.message, finding.repair) for finding in findings]
    by_apply, by_operator = open_by.get(FixOwner.APPLY, ()), open_by.get(FixOwner.OPERATOR, ())
    steps = [*in_order(needs, k3s, Completion(APPLY) if by_apply else None)]
    if by_operator:
        count = f"{len(by_operator)} control{'' if len(by_operator) == 1 else 's'}"
        explain = RunVerb("explain", tuple(by_operator[:1]))
        failing = f"{count} with status FAIL" if undetermined else count
        steps.append(NextStep(explain, f"fix or waive the {failing} of the operator; see, for example"))
    if not k3s.is_installed and not k3s.is_elsewhere and not needs and not by_apply:
        steps.append(k3s.install())
    elif open_by.get(FixOwner.K3S) and k3s.is_installed and not (k3s.runs or k3s.is_tree or k3s.is_elsewhere):
        steps.append(k3s.start())
    if undetermined:
        count = f"{undetermined} control{'' if undetermined == 1 else 's'}"
        steps.append(NextStep(RunVerb("assess"), f"assess again, to determine the {count} with status UNKNOWN"))
    return tuple(steps)


def steps_after_drift(gaps: Iterable[Repair], open_by: Mapping[FixOwner, Sequence[str]]) -> tuple[NextStep, ...]:
    """Return the next steps after the drift check.

    `gaps` are the remediations of gaps in the gate. `open_by` has the ids of the controls that changed and
    are open, by owner of the fix.
    """
    needs = [Need(Urgency.BLOCKS_GATE, "close a gap that is reported above", gap) for gap in gaps]
    by_apply, others = open_by.get(FixOwner.APPLY, ()), open_by.get(FixOwner.OPERATOR, ())
    # The check runs every day beside a running K3s: it advises no restart.
    steps = [*in_order(needs, _WITHOUT_RESTART, Completion(APPLY) if by_apply else None)]
    steps += [NextStep(RunVerb("explain", (control,)), f"see how to fix {control}") for control in others[:_FEW]]
    if any(open_by.values()):
        steps.append(NextStep(RunVerb("assess"), "see the evidence and the fix of each open control"))
    return tuple(steps)


def _after_success(report: Report, k3s: InstalledK3s) -> Iterator[NextStep]:
    """Yield the installation or start of K3s on a compliant host; after check also the verb for the benchmark."""
    if not k3s.is_installed:
        yield k3s.install()
        if k3s.can_start_a_cluster and report.verb == "apply":
            yield k3s.install(joins=True)
        if k3s.role is Role.SERVER and report.verb == "apply" and not k3s.is_tree:
            accounts = RunVerb("service-accounts", ("--wait 300",))
            yield NextStep(accounts, "disable the tokens of default ServiceAccounts when K3s runs")
    elif not (k3s.runs or k3s.is_tree or any(finding.id == "k3s-unblocked" for finding in report.findings)):
        yield k3s.start()
    if report.verb == "check":
        yield NextStep(RunVerb("assess"), "check covers the hardening guide, and assess the CIS benchmark")


def _repairs(report: Report, k3s: InstalledK3s, again: RunVerb = APPLY) -> Iterator[NextStep]:
    """Yield the fixes of a report's problems. `again` is the command that completes a partial run."""
    entries = [entry for entry in report.entries if entry.urgency is not Urgency.NONE]
    needs = [
        Need(urgency_of(finding), finding.message, finding.repair)
        for entry in entries
        for finding in _fixable(entry, report)
    ]
    differing = [item for entry in entries for item in entry.items if item.status is ItemStatus.DIFFERS]
    left = _unexplained(report, ItemStatus.REFUSED, ItemStatus.FAILED)
    if any(item.cause is Cause.VERSION_UNKNOWN for item in left):
        # All other problems depend on the version.
        yield NextStep(question(report.verb if report.verb in ("check", "diff") else "apply"))
        return
    unread = [item.id for item in left if item.cause is Cause.NOT_READABLE]
    if unread:
        yield NextStep(RunVerb(report.verb), f"run it again as root, to read {_listed(unread)}")
    needs += [Need(Urgency.BLOCKS_GATE, problem, repair) for problem, repair in _repairs_of_items(left)]
    is_left = any(item.status in (ItemStatus.REFUSED, ItemStatus.FAILED) for item in report.items)
    applies = bool(differing) or (is_left and not unread)
    shows = any(item.content_differs for item in differing)
    yield from in_order(needs, k3s, Completion(again, len(differing), shows) if applies else None)


def _fixable(entry: Entry, report: Report) -> Iterator[Finding]:
    """Yield the findings of an entry whose remediation belongs to the next steps."""
    # The verb that just ran did not fix these problems.
    done = APPLY if report.writes else _DIFF if report.verb == "diff" else None
    for finding in entry.findings:
        repair = finding.repair
        if repair.steps == (done,):
            continue
        # A note that only asks something stands above.
        has_command = any(not isinstance(step, (Instruction, Decide)) for step in repair.steps)
        if finding.level is not Level.NOTE or has_command or report.verb == "revert":
            yield finding


def _unexplained(report: Report, *statuses: ItemStatus) -> list[Item]:
    """Return the items that are left, without those that a finding explains."""
    explained = {(finding.resource, step) for finding in report.findings for step in finding.repair.steps}
    return [
        item
        for item in report.items
        if item.status in statuses and not any((item.id, step) in explained for step in item.repair.steps)
    ]


def _repairs_of_items(items: Iterable[Item]) -> Iterator[tuple[str, Repair]]:
    """Yield each repair of items once, with its purpose; an instruction names the items."""
    by_repair: dict[Repair, list[Item]] = {}
    for item in items:
        if item.repair.steps:
            by_repair.setdefault(item.repair, []).append(item)
    for repair, same in by_repair.items():
        ids = _listed([item.id for item in same])

        def named(step: Step, ids: str = ids) -> Step:
            return replace(step, text=f"{ids}: {step.text}") if isinstance(step, Instruction) else step

        yield f"{ids} {same[0].detail}", repair.mapped(named)


def _listed(ids: Sequence[str]) -> str:
    few = 2
    return " and ".join(ids) if len(ids) <= few else f"{ids[0]} and {len(ids) - 1} others"
