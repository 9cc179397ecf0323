"""An assessment as the condition and annotations of a Node, which everybody who can list nodes can read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from agent.assess.assessment import ControlStatus
from agent.cluster.node_status import ANNOTATIONS_LIMIT, CONDITION, MESSAGE_LIMIT, Annotation, PublishedResult
from agent.present.assessments.common import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agent.assess.assessment import Assessment
    from agent.settings.schema import Profile

_DIGESTS_LIMIT = 2048
_CUT = "..."
_EVALUATED = (ControlStatus.PASS, ControlStatus.FAIL, ControlStatus.WAIVED, ControlStatus.UNKNOWN)


class AboutNode(NamedTuple):
    """What is published beside the assessment."""

    role: str
    profile: Profile
    machine: str
    """A hash of the machine ID."""
    digests: Mapping[str, str]
    """The first digits of the SHA-256 of each file of apply, by path."""
    drifting_since: str
    """RFC 3339; empty if the node has not drifted."""
    with_details: bool


def node_annotations(assessment: Assessment, about: AboutNode) -> dict[str, str]:
    """Return the annotations; lists that exceed the limit are cut."""
    from agent import __version__

    counts = assessment.counts()
    found = {
        Annotation.RESULT: published_result(assessment),
        Annotation.EVALUATED: sum(counts[status] for status in _EVALUATED),
        Annotation.PASSED: counts[ControlStatus.PASS],
        Annotation.FAILED: counts[ControlStatus.FAIL],
        Annotation.UNDETERMINED: counts[ControlStatus.UNKNOWN],
        Annotation.BENCHMARK: assessment.benchmark,
        Annotation.VERSION: __version__,
        Annotation.ROLE: about.role,
        Annotation.PROFILE: about.profile,
        Annotation.ASSESSED: timestamp(assessment.when),
        Annotation.FILE_DIGESTS: _object(about.digests),
        Annotation.MACHINE: about.machine,
    }
    if about.drifting_since:
        found[Annotation.DRIFTING_SINCE] = about.drifting_since
    texts = {str(name): str(value) for name, value in found.items()}
    if about.with_details:
        name = str(Annotation.FAILED_CONTROLS)
        room = ANNOTATIONS_LIMIT - len(name) - sum(len(key) + len(value.encode()) for key, value in texts.items())
        failed = (verdict.control.id for verdict in assessment.verdicts if verdict.status is ControlStatus.FAIL)
        texts[name] = _list(failed, room)
    return texts


def node_condition(assessment: Assessment, drifting_since: str) -> dict[str, str]:
    """Return the condition without its times."""
    result = published_result(assessment)
    reasons = {
        PublishedResult.COMPLIANT: "Compliant",
        PublishedResult.FAILED: "Drifted" if drifting_since else "ControlsFailed",
        PublishedResult.UNKNOWN: "ControlsUndetermined",
    }
    counts = assessment.counts()
    passed, failed, unknown = (
        counts[status] for status in (ControlStatus.PASS, ControlStatus.FAIL, ControlStatus.UNKNOWN)
    )
    message = f"{assessment.benchmark}: {passed} controls passed, {failed} failed, {unknown} could not be determined"
    if drifting_since:
        message += f"; drifting since {drifting_since}"
    status = result.condition_status
    return {"type": CONDITION, "status": status, "reason": reasons[result], "message": message[:MESSAGE_LIMIT]}


def published_result(assessment: Assessment) -> PublishedResult:
    """Return the result; without evidence it is unknown."""
    counts = assessment.counts()
    if counts[ControlStatus.FAIL]:
        return PublishedResult.FAILED
    is_known = counts[ControlStatus.PASS] and not counts[ControlStatus.UNKNOWN]
    return PublishedResult.COMPLIANT if is_known else PublishedResult.UNKNOWN


def _object(entries: Mapping[str, str]) -> str:
    """Return a JSON object in ASCII with as many entries as fit."""
    kept = dict(entries)
    while len(text := json.dumps(kept, separators=(",", ":"))) > _DIGESTS_LIMIT:
        kept.popitem()
    return text


def _list(ids: Iterable[str], room: int) -> str:
    """Return the IDs separated by commas, with a final `...` for those that do not fit."""
    text = ",".join(ids)
    if len(text) <= room:
        return text
    return f"{text[: room - len(_CUT)].rpartition(',')[0]},{_CUT}"
