"""Drift: compare an assessment with the stored one, report each change, and repair if the settings enable it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress

from agent.assess import baseline
from agent.assess.assessment import CLUSTER_NOT_ASSESSED, Assessment, ControlStatus, Note, Verdict
from agent.assess.baseline import Baseline, OtherSchemaError
from agent.assess.checks.answer import NO_ANSWER
from agent.assess.evidence.host_assessment import Scope
from agent.assess.likely_cause import PACKAGE_DATABASES, ChangesSince, StatusChange, likely_cause, status_changes
from agent.base.errors import HardenError, HostError, InputError
from agent.base.host import Host
from agent.base.host.systemd import Systemd
from agent.base.model import PRIVATE_FILE, PUBLIC_FILE, File
from agent.base.repair import FixOwner, Repair, RunVerb
from agent.base.report import ASSUMED, K3S_VERSION, ROLE, ItemStatus, Trait
from agent.base.times import minute
from agent.base.value import replace
from agent.findings import with_trait
from agent.findings.settings import UNDELIVERED
from agent.harden.changes.journal import Journal, Run
from agent.harden.changes.state import STATE, locked_state, make_directory
from agent.harden.gate import installed_gate
from agent.harden.node.service_units import UNIT
from agent.harden.node.site_files import read_settings
from agent.harden.settings.schema import Overrides, Settings
from agent.harden.situation import Request
from agent.harden.situation.observation import observe_situation
from agent.reports.assessments import assessment_text
from agent.reports.assessments.common import assessment_result, cleaned
from agent.reports.assessments.openmetrics import as_openmetrics
from agent.reports.formats import Format
from agent.reports.repair_texts import Caller, called_by, step_lines
from agent.reports.text import count_of, printable
from agent.verbs import check_and_apply
from agent.verbs.advice import next_steps
from agent.verbs.node_publication import prepare_publication
from agent.verbs.notify import notify

_Assess = Callable[[Scope], Assessment]
"""Assesses the host."""


REPORT = STATE / "assessment.json"
"""The stored report that the next assessment is compared with."""

METRICS = STATE / "metrics" / "k3s-harden.prom"

_DAY = len("2027-03-31 ")
REPAIR_TIMEOUT = 150.0
"""Seconds: the gate's own limit (TimeoutStartSec), and a reserve for systemd."""

_TOLD = Trait.GAP_IN_GATE | Trait.OPENS_GATE | Trait.NOT_NOTIFIED | Trait.REPEATED_BY_DRIFT
"""Findings that each run prints."""

_KEPT = "the API server did not answer, so this is the status of the previous assessment"


def drift(host: Host, request: Request, assess: _Assess) -> Iterator[str]:
    """Assess the host once, and yield a line for each change since the stored assessment, and for each gap in the gate.

    Then come the next steps, and without a stored assessment the result of this one.

    Stores the assessment and its metrics for the next run. With `drift.repair` in the settings, runs apply if it can
    fix a control. With `drift.notify`, notifies the site. If a repair fails, raises its HardenError at the end.
    """
    host.refuse_ordinary_user("drift")
    settings = read_settings(host, request.settings_file, request.overrides)
    failure: HardenError | None = None
    last, problem = _last(host)
    if problem:
        yield problem
    now = _assessed(assess, settings, last)
    unread = [printable(note.message) for note in now.notes if note.message.startswith(CLUSTER_NOT_ASSESSED)]
    yield from unread
    changes = () if last is None else status_changes(last.statuses, now)
    causes = {}
    if last is not None:
        causes = _causes(host, last, now, changes)
        if last.benchmark != now.benchmark:
            yield f"{last.benchmark} → {now.benchmark}: controls that only one of them has are not compared"
        yield from _grouped(changes, {control: f"; likely cause: {cause}" for control, cause in causes.items()})
    failed = (verdict for verdict in now.verdicts if verdict.status is ControlStatus.FAIL)
    if settings.drift_repair and any(verdict.owner is FixOwner.APPLY for verdict in failed):
        try:
            yield from _repair(host, request)
        except HardenError as error:
            failure = error
        then, now = now, _assessed(assess, settings, last)
        before = {verdict.control.id: verdict.status for verdict in then.verdicts}
        fixed = status_changes(before, now)
        yield from _grouped(fixed, dict.fromkeys(before, "; fixed by k3s-harden apply"))
    gaps = [note for note in now.notes if note.finding in with_trait(_TOLD)]
    if settings.drift_cluster and not unread:
        now, broken = _with_broken(host, request, now)
        gaps += broken
    if last is not None and last.benchmark == now.benchmark and not (changes or gaps or unread):
        yield f"no change since {minute(last.when).removeprefix(minute(now.when)[:_DAY])}"
    yield from (printable(note.message) for note in gaps)
    changed = {change.verdict.control.id for change in changes}
    left = [verdict for verdict in now.open if verdict.control.id in changed]
    open_by = {owner: [verdict.control.id for verdict in left if verdict.owner is owner] for owner in FixOwner}
    steps = next_steps.steps_after_drift([note.repair for note in gaps], open_by)
    yield from map(printable, step_lines(steps) if steps else ())
    is_late = any(note.finding == UNDELIVERED for note in now.notes)
    yield from notify(host, settings, last, now, causes)
    _store(host, settings, now, changes, is_late=is_late)
    yield from prepare_publication(host, request, settings, last, now)
    if last is None and not problem:
        yield f"stored this assessment; the next run reports what has changed since: {assessment_result(now)}"
    if failure is not None:
        raise failure


def _assessed(assess: _Assess, settings: Settings, last: Baseline | None) -> Assessment:
    """Assess the host. A control that the API server did not answer keeps its stored status, which is no drift."""
    now = assess(Scope(with_cluster=settings.drift_cluster))
    if last is None or not now.without_answer:
        return now
    verdicts = (
        _kept(verdict, last) if verdict.control.id in now.without_answer else verdict for verdict in now.verdicts
    )
    return replace(now, verdicts=tuple(verdicts))


def _kept(verdict: Verdict, last: Baseline) -> Verdict:
    before = last.statuses.get(verdict.control.id, verdict.status)
    was_not_running = (before, verdict.status) == (ControlStatus.FAIL, ControlStatus.PASS)
    if before is verdict.status or not (was_not_running or verdict.reason == NO_ANSWER.reason):
        return verdict
    return verdict._replace(status=before, reason=_KEPT)


def _with_broken(host: Host, request: Request, now: Assessment) -> tuple[Assessment, list[Note]]:
    """Return the assessment with the number of objects that the hardening breaks, and a note if there are any."""
    from agent.verbs.impact import impact_on_server  # loads many modules

    try:
        count = impact_on_server(host, request, observe_situation(host, request)).in_effect
    except HardenError as error:
        return now, [Note(f"it is not known what the hardening breaks in the cluster: {error.message}")]
    message = f"the hardening in effect breaks {count_of(count, 'object')} of the cluster"
    return replace(now, broken=count), [Note(message, repair=Repair((RunVerb("impact"),)))] * bool(count)


def _last(host: Host) -> tuple[Baseline | None, str]:
    """Return the stored report, None without one, and a message if it is unusable."""
    try:
        data = host.tree.read(REPORT)
        return (None if data is None else baseline.parse_baseline(data, REPORT)), ""
    except OtherSchemaError:
        return None, ""
    except (HostError, InputError) as error:
        return None, printable(f"{error.message}; there is no earlier assessment to compare with")


def _causes(host: Host, last: Baseline, now: Assessment, changes: tuple[StatusChange, ...]) -> dict[str, str]:
    """Return the likely causes by the id of the control."""
    if not changes:
        return {}
    runs: tuple[Run, ...] = ()
    with suppress(HostError):
        runs = Journal(host).runs()
    evidence = (shown for change in changes for shown in change.verdict.evidence)
    paths = {*PACKAGE_DATABASES, *(shown.location.path for shown in evidence if shown.location is not None)}
    times = {path: host.tree.times(path) for path in paths if path.is_absolute()}
    known = ChangesSince(
        since=last.when,
        files={path: time for path, time in times.items() if time is not None},
        applied=max((run.started for run in runs), default=None),
        upgrade=_change(K3S_VERSION, last, now),
        role=_change(ROLE, last, now),
    )
    causes = {change.verdict.control.id: likely_cause(change.verdict, known) for change in changes}
    return {name: cause for name, cause in causes.items() if cause}


def _grouped(changes: Iterable[StatusChange], ends: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for all controls that changed in the same way for the same reason, such as one open directory."""
    groups: dict[tuple[str, str], list[str]] = {}
    for change in changes:
        verdict = change.verdict
        number = f" ({verdict.number.text})" if verdict.number else ""
        found = f"found {verdict.found}" if verdict.found else verdict.reason
        first = verdict.evidence[0] if verdict.evidence else None
        where = f" ({first.location or first.source})" if first else ""
        end = (f": {found}{where}" if found else "") + ends.get(verdict.control.id, "")
        groups.setdefault((f"{change.before} → {verdict.status}", end), []).append(f"{verdict.control.id}{number}")
    for (head, end), names in groups.items():
        yield printable(f"{head} {', '.join(names)}{end}")


def _change(name: str, last: Baseline, now: Assessment) -> str:
    """Return a fact of both reports as "OLD to NEW"; empty if it is the same, or if one of them is assumed."""
    before = last.facts.get(name, "")
    after = now.fact(name)
    is_known = before and after and not any(version.endswith(ASSUMED) for version in (before, after))
    return f"{before} to {after}" if is_known and before != after else ""


def _repair(host: Host, request: Request) -> Iterator[str]:
    """Run apply; by its own unit if that is installed, because the unit of drift may not write."""
    systemd = Systemd(host)
    if request == Request(Overrides()) and systemd.is_running and installed_gate.detect_gate(host).unit is not None:
        systemd.run_to_end(UNIT, timeout=REPAIR_TIMEOUT)
        return
    report = check_and_apply.apply(host, request)
    for item in report.items:
        if item.status not in (ItemStatus.COMPLIANT, ItemStatus.CHANGED):
            yield printable(f"not repaired: {item.id}: {item.detail}")
    for found in report.findings:
        if found.id in ("breaks-at-once", "impact-unknown"):
            yield printable(found.message)


def _store(
    host: Host, settings: Settings, now: Assessment, changes: tuple[StatusChange, ...], *, is_late: bool
) -> None:
    undelivered = None if settings.drift_notify is None else is_late
    directions = [change.direction for change in changes]
    counts = {direction: directions.count(direction) for direction in ("worse", "better", "other")}
    with called_by(Caller):  # anybody can read it later
        report = assessment_text(now, Format.JSON).encode()
    metrics = as_openmetrics(cleaned(now), counts, undelivered=undelivered).encode()
    with locked_state(host):
        make_directory(host.writable_tree, METRICS.parent)
        host.writable_tree.write(File(path=REPORT, content=report, mode=PRIVATE_FILE))
        host.writable_tree.write(File(path=METRICS, content=metrics, mode=PRIVATE_FILE))
        if settings.drift_metrics_file is not None:
            host.writable_tree.write(File(path=settings.drift_metrics_file, content=metrics, mode=PUBLIC_FILE))
