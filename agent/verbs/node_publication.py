"""What the Node of this host should have after a drift check, which has no network; the verb publish sends it."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from agent import __version__
from agent.assess.assessment import ControlStatus
from agent.base.errors import HardenError, HostError
from agent.base.host import ssh_keygen
from agent.base.host.systemd import Systemd
from agent.base.model import PRIVATE_FILE, PUBLIC_FILE, File
from agent.base.report import K3S_VERSION
from agent.base.times import timestamp
from agent.cluster.fleet.snapshot import Record, record_text
from agent.cluster.node_status import ANNOTATIONS_LIMIT, CONDITION, MESSAGE_LIMIT, Annotation, PublishedResult
from agent.harden.changes.state import (
    PUBLICATION,
    SENT,
    Publication,
    digest,
    locked_state,
    machine_hash,
    read_publication,
)
from agent.harden.settings.schema import Publish
from agent.harden.situation.observation import observe_situation
from agent.reports.text import accepted_by_site, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent.assess.assessment import Assessment
    from agent.assess.baseline import Baseline
    from agent.base.host import Host
    from agent.harden.settings.schema import Settings
    from agent.harden.situation import Request

KUBECONFIG = PurePosixPath("agent/kubelet.kubeconfig")
"""K3s' kubeconfig of the kubelet, in the data directory."""
UNIT = "k3s-harden-publish.service"

_DIGESTS_LIMIT = 2048
_CUT = ",..."
_REASONS = {
    "stage-expired": "the last day of a stage has passed",
    "stage-too-long": "a stage lasts longer than `waivers-must` allows",
    "started-unhardened": "K3s runs with other arguments than those that the gate judged",
    "gate-observes-too-long": "the gate observes for too long",
}
"""Findings with which no host counts as hardened."""
_EVALUATED = (ControlStatus.PASS, ControlStatus.FAIL, ControlStatus.WAIVED, ControlStatus.UNKNOWN)


def prepare_publication(
    host: Host, request: Request, settings: Settings, last: Baseline | None, now: Assessment
) -> Iterator[str]:
    """Write what the Node should have after an assessment, and start the unit that sends it; yield lines for the log.

    A failure is a line, never an error: it does not change the result of the drift check.
    """
    earlier = read_publication(host) if host.is_live else None
    publishes, record = settings.publish is not Publish.NONE, settings.drift_record_file
    try:
        new = None
        if host.is_live and (publishes or record):
            new = _publication(host, request, settings, now, _drifted(last, now, earlier), earlier)
        if new and record:
            yield from _write_record(host, record, settings.drift_record_key, new, now.fact(K3S_VERSION))
        if new and publishes and not new.kubeconfig:
            for path in (PUBLICATION, SENT):
                host.writable_tree.remove_file(path)
            raise HostError("cannot publish the state of this server: it has no Node, because `disable-agent` is set")
        if not publishes and earlier and earlier.kubeconfig:
            new = earlier._replace(annotations={}, condition={}, drifted=[])
        if new is None:
            return
        content = json.dumps(new._asdict(), indent=2).encode() + b"\n"
        with locked_state(host):
            host.writable_tree.write(File(path=PUBLICATION, content=content, mode=PRIVATE_FILE))
        systemd = Systemd(host)
        if systemd.is_running and new.kubeconfig:
            systemd.start(UNIT)
    except HardenError as error:
        yield printable(error.message)


def _write_record(
    host: Host, path: PurePosixPath, key: PurePosixPath | None, new: Publication, k3s_version: str
) -> Iterator[str]:
    """Write the record of this node for `fleet`; yield a line if it cannot be written or signed."""
    condition = {**new.condition, "lastHeartbeatTime": timestamp(new.when)}
    text, signed = record_text(new.node, k3s_version, new.annotations, condition), b""
    try:
        signed = ssh_keygen.signature(host, text.encode(), key) if key else b""
    except HardenError as error:
        yield printable(f"the record is not signed: {error.message}")
    content = json.dumps(Record(text, signed.decode())._asdict(), indent=1).encode() + b"\n"
    try:
        with locked_state(host):
            host.writable_tree.write(File(path=path, content=content, mode=PUBLIC_FILE))
    except HardenError as error:
        yield printable(error.message)


def _drifted(last: Baseline | None, now: Assessment, earlier: Publication | None) -> list[str]:
    """Return the open controls that were not open at an earlier assessment."""
    candidates = set(earlier.drifted if earlier else ())
    candidates |= {name for name, status in last.statuses.items() if not status.is_open} if last else set()
    return [verdict.control.id for verdict in now.verdicts if verdict.is_open and verdict.control.id in candidates]


def _publication(
    host: Host, request: Request, settings: Settings, now: Assessment, drifted: list[str], earlier: Publication | None
) -> Publication:
    """Return what the Node or the record should have."""
    situation = observe_situation(host, request)
    facts = situation.facts
    since = (earlier.annotations.get(Annotation.DRIFTING_SINCE) if earlier else None) or timestamp(now.when)
    condition = node_condition(now, since if drifted else "")
    if earlier and earlier.condition.get("status") == condition["status"]:
        condition["lastTransitionTime"] = earlier.condition.get("lastTransitionTime", condition["lastTransitionTime"])
    observed = (situation.observed.get(resource.id) for resource in situation.desired)
    files = {str(file.path): digest(file.content) for file in observed if isinstance(file, File)}
    while len(digests := json.dumps(files, separators=(",", ":"))) > _DIGESTS_LIMIT:
        files.popitem()
    about = {
        Annotation.ROLE: str(facts.role),
        Annotation.MACHINE: machine_hash(host),
        Annotation.FILE_DIGESTS: digests,
        **({Annotation.DRIFTING_SINCE: since} if drifted else {}),
    }
    has_node = not facts.merged_config.boolean("disable-agent")
    kubeconfig = str(facts.data_dir / KUBECONFIG) if has_node and settings.publish is not Publish.NONE else ""
    return Publication(now.node, kubeconfig, now.when, node_annotations(now, settings, about), condition, drifted)


def node_annotations(now: Assessment, settings: Settings, about: Mapping[Annotation, str]) -> dict[str, str]:
    """Return the annotations of an assessment and of the node that it is about; what exceeds the limit is cut."""
    counts, choices, digests = now.counts(), now.choices, now.choices.digests()
    annotations = {
        **about,
        Annotation.RESULT: published_result(now),
        Annotation.EVALUATED: sum(counts[status] for status in _EVALUATED),
        Annotation.PASSED: counts[ControlStatus.PASS],
        Annotation.FAILED: len(_failed(now)),
        Annotation.UNDETERMINED: counts[ControlStatus.UNKNOWN],
        Annotation.LEFT_OPEN: len(now.left_open),
        Annotation.WAIVED: choices.waived,
        Annotation.WAIVERS: digests["waivers"],
        Annotation.POSTPONED: choices.postponed,
        Annotation.STAGES: digests["stages"],
        **({} if now.broken is None else {Annotation.BROKEN: now.broken}),
        **({Annotation.WAIVED_UNTIL: choices.waived_until} if choices.waived_until else {}),
        **({Annotation.POSTPONED_UNTIL: choices.until} if choices.until else {}),
        **({Annotation.OBSERVING_SINCE: choices.observes_since} if choices.observes_since else {}),
        Annotation.BENCHMARK: now.benchmark,
        Annotation.VERSION: __version__,
        Annotation.PROFILE: settings.profile,
        Annotation.ASSESSED: timestamp(now.when),
    }
    texts = {str(name): str(value) for name, value in annotations.items()}
    if settings.publish is Publish.DETAILS or (settings.publish is Publish.NONE and settings.drift_record_file):
        room = ANNOTATIONS_LIMIT - len(Annotation.FAILED_CONTROLS) - sum(map(len, (*texts, *texts.values())))
        ids = ",".join(_failed(now))
        cut = ids[: room - len(_CUT)].rpartition(",")[0] + _CUT
        texts[str(Annotation.FAILED_CONTROLS)] = ids if len(ids) <= room else cut
    return texts


def node_condition(now: Assessment, drifting_since: str) -> dict[str, str]:
    """Return the condition without lastHeartbeatTime."""
    counts, result = now.counts(), published_result(now)
    reasons = {PublishedResult.COMPLIANT: "Compliant", PublishedResult.UNKNOWN: "ControlsUndetermined"}
    passed, failed, unknown = counts[ControlStatus.PASS], len(_failed(now)), counts[ControlStatus.UNKNOWN]
    numbers = [f"{passed} controls passed, {failed} failed, {unknown} could not be determined"]
    choices = now.choices
    numbers += accepted_by_site(choices.waived, choices.postponed, choices.until, len(now.left_open), choices.profile)
    texts = [f"{now.benchmark}: {', '.join(numbers)}", *(_REASONS[name] for name in _errors(now))]
    texts += [f"drifting since {drifting_since}"] if drifting_since else []
    return {
        "type": CONDITION,
        "status": result.condition_status,
        "reason": reasons.get(result, "Drifted" if drifting_since else "ControlsFailed"),
        "message": "; ".join(texts)[:MESSAGE_LIMIT],
        "lastTransitionTime": timestamp(now.when),
    }


def published_result(now: Assessment) -> PublishedResult:
    """Return the result by what the site chose; without evidence it is unknown."""
    counts = now.counts()
    if _failed(now) or _errors(now):
        return PublishedResult.FAILED
    is_known = counts[ControlStatus.PASS] and not counts[ControlStatus.UNKNOWN]
    return PublishedResult.COMPLIANT if is_known else PublishedResult.UNKNOWN


def _failed(now: Assessment) -> list[str]:
    """Return the IDs of the failed controls, without those that the settings leave open."""
    failed = (verdict.control.id for verdict in now.verdicts if verdict.status is ControlStatus.FAIL)
    return [name for name in failed if name not in now.left_open]


def _errors(now: Assessment) -> list[str]:
    return [name for name in _REASONS if any(note.finding == name for note in now.notes)]
