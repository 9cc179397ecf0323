"""What a node published, and whether it counts."""

from __future__ import annotations

import re
from sys import intern
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.base.times import parse_timestamp, timestamp
from agent.cluster.fleet.node_arguments import compared_values, leaked_secrets, options_of, parsed_json
from agent.cluster.kubernetes.parsing import as_mapping
from agent.cluster.node_status import NODE_ARGUMENTS, PREFIX, Annotation, PublishedResult
from agent.k3s.roles_and_versions import Role, ended_on

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent.cluster.fleet.node_comparison import Values
    from agent.cluster.kubernetes.objects import ClusterNode

BY_SERVER, BY_NODE = "managedFields", "lastHeartbeatTime"
"""The fields that have the time of a report, by the clock of the API server and that of the node."""

_COUNTS = (Annotation.EVALUATED, Annotation.PASSED, Annotation.FAILED, Annotation.UNDETERMINED)
_CHOSEN = (Annotation.LEFT_OPEN, Annotation.WAIVED, Annotation.POSTPONED)
"""Counts that older versions do not publish."""
_DIGESTS = (Annotation.WAIVERS, Annotation.STAGES)
_COMPARED = (Annotation.BENCHMARK, Annotation.VERSION, Annotation.PROFILE)
_TEXTS = (
    *_COMPARED,
    Annotation.ASSESSED,
    Annotation.DRIFTING_SINCE,
    Annotation.POSTPONED_UNTIL,
    Annotation.OBSERVING_SINCE,
)
_LONGEST = 64
_MOST_PARTS = 200
"""Files or failed controls of one node."""
_MOST_AHEAD = 300
"""Seconds that the clock of a report can be ahead of this machine's."""
LEAST_EVALUATED = {Role.SERVER: 66, Role.AGENT: 20}
"""Automated controls that each benchmark has for a role, without those of files that not every node has."""


class FleetNode(NamedTuple):
    """A node with its published report."""

    cluster: str
    """Empty if only one is read."""
    name: str
    uid: str
    role: Role
    k3s_version: str
    result: PublishedResult
    reason: str
    """Why the result is not compliant; empty if it is."""
    published: Mapping[Annotation, Any]
    """Numbers and texts; None is missing."""
    age_seconds: int | None
    """Since the node published, and from its assessment to that; None without a time."""
    age_from: str
    failed_controls: tuple[str, ...] | None
    """None if the node does not publish them."""
    leaked: str
    compared: Values
    end_of_life: str
    """The last day of support of its version of Kubernetes, if that has passed; else empty."""
    verified: str
    """A digest of the record and its signature, if that is valid."""
    differs: tuple[str, ...] = ()

    @property
    def assessed(self) -> str:
        """The time of the assessment as text; empty without one."""
        return str(self.published[Annotation.ASSESSED] or "")

    @property
    def failed(self) -> int:
        """The number of failed controls; 0 if it is not published."""
        return int(self.published[Annotation.FAILED] or 0)

    @property
    def full_name(self) -> str:
        """Its name, after that of its cluster."""
        return f"{self.cluster}/{self.name}" if self.cluster else self.name

    @property
    def is_full(self) -> bool:
        """Whether the node is compliant without a waiver and without a stage. A count that is missing is not zero."""
        counts = (self.published[Annotation.WAIVED], self.published[Annotation.POSTPONED])
        return self.result is PublishedResult.COMPLIANT and counts == (0, 0)


def fleet_node(node: ClusterNode, now: float, max_age: float) -> FleetNode:
    """Return a node with its result at this time; a report that is missing, old or contradictory is unknown."""
    texts = node.annotations
    options = options_of(texts.get(NODE_ARGUMENTS, ""))
    role = Role.SERVER if node.is_server or texts.get(NODE_ARGUMENTS, "").startswith('["server"') else Role.AGENT
    published = {
        **{
            name: int(texts[name]) if re.fullmatch("[0-9]{1,6}", texts.get(name, "")) else None
            for name in (*_COUNTS, *_CHOSEN)
        },
        **{name: texts[name][:_LONGEST] if name in texts else None for name in _TEXTS},
    }
    age, source = _age(node, now)
    secrets = "" if node.unknown else leaked_secrets(options)[: 4 * _LONGEST]
    leaked = f"the annotation {NODE_ARGUMENTS} has the secret of {secrets}" if secrets else ""
    unknown = node.unknown or next(_reasons(node, role, published, age, max_age), "")
    result = PublishedResult.UNKNOWN if unknown else PublishedResult(texts[Annotation.RESULT])
    reason = unknown or ("" if result is PublishedResult.COMPLIANT else node.condition["message"] or str(result))
    minor = re.match(r"v1\.([0-9]{1,3})\.", node.k3s_version)
    failed = re.findall(r"(?<![^,])[a-z][a-z0-9._/-]{0,63}(?![^,])", texts.get(Annotation.FAILED_CONTROLS, ""))
    return FleetNode(
        cluster=node.cluster,
        name=node.name,
        uid=node.uid,
        role=role,
        k3s_version=node.k3s_version,
        result=PublishedResult.FAILED if leaked else result,
        reason=leaked or reason,
        published=published,
        age_seconds=age,
        age_from=source,
        failed_controls=tuple(dict.fromkeys(failed))[:_MOST_PARTS] if Annotation.FAILED_CONTROLS in texts else None,
        leaked=leaked,
        compared=_compared(node, role.value, compared_values(options)),
        end_of_life=ended_on(int(minor[1]), timestamp(now)[:10]) if minor else "",
        verified=node.verified,
    )


def _reasons(
    node: ClusterNode, role: Role, published: Mapping[Annotation, Any], age: int | None, max_age: float
) -> Iterator[str]:
    """Yield why a report does not count, the most important reason first."""
    result, status = node.annotations.get(Annotation.RESULT, ""), node.condition.get("status", "")
    counts = evaluated, passed, failed, undetermined = tuple(published[name] for name in _COUNTS)
    if not result and not status:
        yield "no report"
    if result not in tuple(PublishedResult) or PublishedResult(result).condition_status != status:
        yield f"the condition is {status or 'missing'}, and the result {result[:_LONGEST] or 'missing'}"
    if node.annotations.get(Annotation.ROLE) != role:
        yield f"the report is not that of a node with the role {role}"
    if None in counts:
        yield "counts of controls are missing"
    if evaluated < LEAST_EVALUATED[role]:
        yield f"{evaluated} controls were evaluated, expected {LEAST_EVALUATED[role]} or more"
    # Waived controls are evaluated, too.
    if evaluated < passed + failed + undetermined or (result == "compliant" and failed + undetermined):
        yield "the counts of controls contradict each other"
    if age is None:
        yield "the report has no time"
    elif age < -_MOST_AHEAD:
        yield "the report is from the future"
    elif age > max_age:
        yield f"the report is {age // 3600}h old"


def _age(node: ClusterNode, now: float) -> tuple[int | None, str]:
    """Return the age of the assessment, and its source. Only times of the same clock are subtracted."""
    heartbeat = seconds(node.condition.get("lastHeartbeatTime", ""))
    assessed, written = seconds(node.annotations.get(Annotation.ASSESSED, "")), seconds(node.written)
    source, published = (BY_NODE, heartbeat) if written is None else (BY_SERVER, written)
    if published is None or assessed is None:
        return None, ""
    return int(now - published + max(0.0, (heartbeat or assessed) - assessed)), source


def seconds(text: str) -> float | None:
    """Return a time of RFC 3339 in UTC, in seconds since the epoch; None for any other text."""
    try:
        return parse_timestamp(text)
    except ValueError:
        return None


def _compared(node: ClusterNode, role: str, arguments: Mapping[str, str]) -> Values:
    """Return the values that nodes of a role and cluster share: arguments and files only within one K3s version."""
    texts, version, own = node.annotations, node.k3s_version, (node.cluster, role)
    about = {name.removeprefix(PREFIX): texts[name] for name in (*_COMPARED, *_DIGESTS) if name in texts}
    digests = as_mapping(parsed_json(texts.get(Annotation.FILE_DIGESTS, ""))).items()
    files = {path: str(digest) for path, digest in list(digests)[:_MOST_PARTS] if path.startswith("/")}
    groups = {own: {"K3s": version}, (*own, "report"): about, (*own, "files", version): files}
    found: dict[tuple[str, ...], Mapping[str, str]] = {group: values for group, values in groups.items() if values}
    # No arguments are an answer, too.
    found |= {(*own, "arguments", version): arguments} if NODE_ARGUMENTS in texts else {}
    # Most nodes have the same texts, which then lie in memory once.
    return {
        tuple(map(intern, group)): {intern(key): intern(value) for key, value in values.items()}
        for group, values in found.items()
    }
