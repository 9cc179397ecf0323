"""What is otherwise than at the last look: assesses, remembers, says each change in a line, and repairs if told to."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent.assess import baseline
from agent.assess import likely_cause as culprit
from agent.assess.assessment import Actor, ControlStatus
from agent.assess.likely_cause import PACKAGE_DATABASES, Clues
from agent.changes.state import STATE, make_directory
from agent.errors import HardenError, HostError, InputError
from agent.host.systemd import Systemd
from agent.linux.sysctl_order import Reader, at_boot
from agent.model import PRIVATE_FILE, PUBLIC_FILE, File, Sysctl
from agent.node import gate
from agent.node.site_files import read_settings
from agent.present.assessments import AssessmentFormat, as_text
from agent.present.assessments.common import cleaned
from agent.present.assessments.openmetrics import as_openmetrics
from agent.present.text import printable
from agent.report import K3S_VERSION, ItemStatus
from agent.settings.schema import Overrides
from agent.situation import Request, observe
from agent.verbs import converge as verbs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from agent.assess.assessment import Assessment, Verdict
    from agent.assess.baseline import Baseline
    from agent.assess.likely_cause import Value
    from agent.host import Host

    Assess = Callable[[], Assessment]

REPORT = STATE / "assessment.json"
"""The last report, which the next one is compared with."""

METRICS = STATE / "metrics" / "k3s-harden.prom"

REPAIR_TIMEOUT = 150.0
"""Seconds: the gate's own limit (TimeoutStartSec), and some for systemd."""

_ACTIVE_PROFILE = PurePosixPath("/etc/tuned/active_profile")
_TUNED_DIRECTORIES = tuple(
    map(PurePosixPath, ("/etc/tuned/profiles", "/etc/tuned", "/usr/lib/tuned/profiles", "/usr/lib/tuned"))
)
"""Where tuned looks for a profile, first found first; newer releases have the directories of their own."""


class Change(NamedTuple):
    """A control with which it stands otherwise than before. `before` is its earlier status."""

    before: ControlStatus
    verdict: Verdict

    @property
    def direction(self) -> str:
        """Whether something is open now that was not, or the other way round, or neither."""
        was_open, is_open = self.before.is_open, self.verdict.is_open
        return "other" if was_open == is_open else "worse" if is_open else "better"


def drift(host: Host, request: Request, assess: Assess) -> Iterator[str]:
    """Look at the host once, and yield a line for each change since the last look; none where nothing changed.

    Keeps the assessment and its metrics for the next look. With `drift.repair` in the settings, what apply can put
    right is put right, and said, too. Raises HardenError, at the end and with all else done, for what could not be.
    """
    host.refuse_ordinary_user("drift")
    site = read_settings(host, request.settings_file, request.overrides)
    failure: HardenError | None = None
    last, complaint = _last(host)
    if complaint:
        yield complaint
    now = assess()
    changes = () if last is None else compared(last.statuses, now)
    if last is not None:
        yield from _lines(host, request, last, now, changes)
    if site.drift_repair and _repairable(now):
        try:
            yield from _repair(host, request)
        except HardenError as error:
            failure = error
        then, now = now, assess()
        yield from (f"{_change(one)}; by k3s-harden apply" for one in compared(_statuses(then), now))
    _keep(host, now, changes)
    if site.drift_metrics_file is not None:
        host.tree.write(File(path=site.drift_metrics_file, content=_metrics(now, changes), mode=PUBLIC_FILE))
    if failure is not None:
        raise failure


def compared(before: Mapping[str, ControlStatus], now: Assessment) -> tuple[Change, ...]:
    """The controls that stand otherwise than before, by id; one that was not there before is no change."""
    changes = (Change(before.get(one.control.id, one.status), one) for one in now.verdicts)
    return tuple(change for change in changes if change.before is not change.verdict.status)


def clues(host: Host, request: Request, since: float, changes: Iterable[Change], upgrade: str = "") -> Clues:
    """All that the host shows beside its controls. Raises what situation.look does."""
    seen = observe(host, request)
    keys = [name for name, state in seen.observed.items() if isinstance(state, Sysctl)]
    other = Reader.PROCPS if seen.facts.platform.boot_reader is Reader.SYSTEMD else Reader.SYSTEMD
    boot, by_hand = (at_boot(seen.sysctl_files, keys, reader) for reader in (seen.facts.platform.boot_reader, other))
    tuned, tuned_sysctls = _tuned(host)
    paths = {culprit.path_of(evidence.where) for change in changes for evidence in change.verdict.evidence}
    paths |= {
        *PACKAGE_DATABASES,
        *(line.location.path for line in (*boot.values(), *by_hand.values()) if line is not None),
    }
    times = {path: host.tree.times(path) for path in paths if path.is_absolute()}
    return Clues(
        since=since,
        files={path: one for path, one in times.items() if one is not None},
        live={state.key: state.value for state in seen.observed.values() if isinstance(state, Sysctl)},
        boot=boot,
        by_hand=by_hand,
        tuned=tuned,
        tuned_sysctls=tuned_sysctls,
        applied=max((run.started for run in seen.journal.runs), default=None),
        started=seen.facts.running_since,
        upgrade=upgrade,
    )


def _last(host: Host) -> tuple[Baseline | None, str]:
    """The last report, None without one, and what to say of one that cannot be used."""
    try:
        data = host.tree.read(REPORT)
        return (None if data is None else baseline.parse(data, REPORT)), ""
    except (HostError, InputError) as error:
        return None, printable(f"{error.message}; there is nothing to compare with")


def _lines(host: Host, request: Request, last: Baseline, now: Assessment, changes: tuple[Change, ...]) -> Iterator[str]:
    if last.benchmark != now.benchmark:
        yield f"{last.benchmark} → {now.benchmark}: controls that only one of them has are not compared"
    if changes:
        found = clues(host, request, last.when, changes, _upgrade(last, now))
        for change in changes:
            who = culprit.likely(change.verdict, found)
            yield printable(f"{_change(change)}; likely {who}" if who else _change(change))


def _change(change: Change) -> str:
    verdict = change.verdict
    number = f" ({verdict.number.text})" if verdict.number else ""
    line = f"{change.before} → {verdict.status} {verdict.control.id}{number}"
    found = verdict.found or verdict.reason
    where = f" ({verdict.evidence[0].where})" if verdict.evidence else ""
    return printable(f"{line}: found {found}{where}" if found else line)


def _upgrade(last: Baseline, now: Assessment) -> str:
    before = last.facts.get(K3S_VERSION, "")
    after = next((fact.value for fact in now.facts if fact.name == K3S_VERSION), "")
    return f"{before} to {after}" if before and after and before != after else ""


def _repairable(now: Assessment) -> bool:
    return any(one.status is ControlStatus.FAIL and one.actor is Actor.APPLY for one in now.verdicts)


def _repair(host: Host, request: Request) -> Iterator[str]:
    """Have apply do what it can: by its own unit, where that is installed, since this one may not write."""
    systemd = Systemd(host)
    if request == Request(Overrides()) and systemd.is_running and gate.look(host).unit is not None:
        systemd.run_to_end(gate.UNIT, timeout=REPAIR_TIMEOUT)
        return
    report = verbs.apply(host, request)
    for item in report.items:
        if item.status not in (ItemStatus.COMPLIANT, ItemStatus.CHANGED):
            yield printable(f"not repaired: {item.id}: {item.detail}")


def _statuses(assessment: Assessment) -> dict[str, ControlStatus]:
    return {verdict.control.id: verdict.status for verdict in assessment.verdicts}


def _keep(host: Host, now: Assessment, changes: tuple[Change, ...]) -> None:
    make_directory(host.tree, METRICS.parent)
    report = as_text(now, AssessmentFormat.JSON).encode()
    host.tree.write(File(path=REPORT, content=report, mode=PRIVATE_FILE))
    host.tree.write(File(path=METRICS, content=_metrics(now, changes), mode=PRIVATE_FILE))


def _metrics(now: Assessment, changes: tuple[Change, ...]) -> bytes:
    directions = [change.direction for change in changes]
    counts = {direction: directions.count(direction) for direction in ("worse", "better", "other")}
    return as_openmetrics(cleaned(now), counts).encode()


def _tuned(host: Host) -> tuple[str, dict[str, Value]]:
    """The names of tuned's active profiles, and what they and those that they build on set of the kernel's values."""
    names = _text(host, _ACTIVE_PROFILE).decode(errors="replace").split()
    found: dict[str, Value] = {}
    for name in names:
        found |= _tuned_sysctls(host, name, ())
    return " ".join(names), found


def _tuned_sysctls(host: Host, name: str, above: tuple[str, ...]) -> dict[str, Value]:
    """What a profile sets; its own lines win over those of the profiles that it builds on. A circle ends."""
    if name in above or "/" in name:
        return {}
    paths = (directory / name / "tuned.conf" for directory in _TUNED_DIRECTORIES)
    data, path = next(((data, path) for path in paths if (data := _text(host, path))), (b"", _ACTIVE_PROFILE))
    profile = culprit.tuned_profile(data, path)
    found: dict[str, Value] = {}
    for other in profile.includes:
        found |= _tuned_sysctls(host, other, (*above, name))
    return found | dict(profile.sysctls)


def _text(host: Host, path: PurePosixPath) -> bytes:
    """The content of a file, nothing for one that cannot be read: a guess may miss a clue."""
    try:
        return host.tree.read(path) or b""
    except HostError:
        return b""
