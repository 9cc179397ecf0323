"""What a node published, whether it counts, and how the node differs from most nodes of its role."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from sys import intern
from typing import Any, NamedTuple

from agent.base.times import parse_timestamp, timestamp
from agent.cluster.kubernetes.objects import ClusterNode, Json, as_mapping
from agent.cluster.node_status import NODE_ARGUMENTS, PREFIX, Annotation, PublishedResult
from agent.k3s.options import ALIASES
from agent.k3s.redaction import is_secret, redacted
from agent.k3s.roles_and_versions import Role, ended_on

Group = tuple[str, ...]
"""What compared nodes have in common: their role, or also their K3s version."""

Values = Mapping[Group, Mapping[str, str]]
"""Values of a node by group and subject, which is an option, or the path of a file."""
_OF_ONE_NODE = frozenset(
    "advertise-address bind-address cluster-init cluster-reset cluster-reset-restore-path config flannel-iface"  # noqa: SIM905
    " node-external-dns node-external-ip node-internal-dns node-ip node-label node-name node-taint server tls-san"
    " with-node-id".split()
)
"""Options that differ between equal nodes."""
_PROXY = "etcd-s3-proxy"
"""The option whose value is public without a password."""


_public = lru_cache(4096)(redacted)
"""The text without secrets: most nodes have the same arguments."""


def parsed_json(text: str) -> Json:
    """Return the value of an annotation; None if it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def options_of(annotation: str) -> Mapping[str, list[str]]:
    """Return the values of each option in K3s' annotation, which is a JSON array of words."""
    words = parsed_json(annotation)
    options: dict[str, list[str]] = {}
    name = ""
    for word in map(str, words[1:] if isinstance(words, list) else ()):
        if word.startswith("-"):
            name, separator, value = word.lstrip("-").partition("=")
            name = ALIASES.get(name, name)
            options.setdefault(name, []).extend([value] * bool(separator))
        elif name:
            options[name].append(word)
    return options


def compared_values(options: Mapping[str, list[str]]) -> Mapping[str, str]:
    """Return the values that equal nodes share, without secrets; an argument of a component has its own entry."""
    found: dict[str, list[str]] = {}
    for option in options.keys() - _OF_ONE_NODE:
        for text in () if is_secret(option) else options[option] or ["true"]:
            argument, separator, value = _public(text).lstrip("-").partition("=")
            is_component = option.endswith("-arg") and separator
            subject = f"--{option} {argument}" if is_component else f"--{option}"
            found.setdefault(subject, []).append(value if is_component else _public(text))
    return {subject: ",".join(sorted(values)) for subject, values in found.items()}


def leaked_secrets(options: Mapping[str, list[str]]) -> str:
    """Return the options whose secret everybody can read who can read Nodes. K3s hides others by asterisks."""
    given = ((option, text) for option, values in options.items() for text in values if text.strip("*"))
    leaks = (option for option, text in given if _public(text) != text or (is_secret(option) and option != _PROXY))
    return ", ".join(f"--{option}" for option in dict.fromkeys(leaks))


DIGESTS = ("waivers", "stages")
"""Subjects whose values are digests, which tell a reader nothing."""

_MOST_DIFFERENCES = 10
_SHOWN = 80


def differences(nodes: Sequence[Values]) -> list[tuple[str, ...]]:
    """Return the first differences of each node as sentences. The time is linear in the number of values."""
    sizes = Counter(group for node in nodes for group in node)
    counts: dict[tuple[Group, str], Counter[str]] = {}
    for node in nodes:
        for group, values in node.items():
            for subject, value in values.items():
                counts.setdefault((group, subject), Counter())[value] += 1
    # A subject that few nodes have is compared only on these: otherwise each node could add work for all others.
    usual: dict[Group, dict[str, str | None]] = {}
    for (group, subject), counted in counts.items():
        value, count = counted.most_common(1)[0]
        if sum(counted.values()) * 2 >= sizes[group]:
            usual.setdefault(group, {})[subject] = value if count * 2 > sizes[group] else None
    return [tuple(islice(_of_node(node, usual), _MOST_DIFFERENCES)) for node in nodes]


def _of_node(node: Values, usual: Mapping[Group, Mapping[str, str | None]]) -> Iterator[str]:
    for group, values in node.items():
        common = usual.get(group, {})
        for subject in dict.fromkeys((*common, *values)):
            value, expected = values.get(subject, ""), common.get(subject, "")
            if value != expected and subject in DIGESTS:
                yield f"{subject} differ"
            elif value != expected and subject.startswith("/"):
                yield f"{subject[:_SHOWN]} {'has other content' if value else 'is missing'}"
            elif value != expected:
                most = "no value is usual" if expected is None else f"most have {expected[:_SHOWN] or 'none'}"
                yield f"{subject[:_SHOWN]} is {value[:_SHOWN] or 'not set'}, {most}"


BY_SERVER, BY_NODE = "managedFields", "lastHeartbeatTime"
"""The fields that have the time of a report, by the clock of the API server and that of the node."""

POSTPONED = "postponed"
"""Selects nodes on which a stage postpones a part."""
_COUNTS = (Annotation.EVALUATED, Annotation.PASSED, Annotation.FAILED, Annotation.UNDETERMINED)
_CHOSEN = (Annotation.LEFT_OPEN, Annotation.WAIVED, Annotation.POSTPONED, Annotation.BROKEN)
"""Counts that not every node publishes."""
_DIGESTS = (Annotation.WAIVERS, Annotation.STAGES)
_COMPARED = (Annotation.BENCHMARK, Annotation.VERSION, Annotation.PROFILE)
_TEXTS = (
    *_COMPARED,
    Annotation.ASSESSED,
    Annotation.DRIFTING_SINCE,
    Annotation.WAIVED_UNTIL,
    Annotation.POSTPONED_UNTIL,
    Annotation.OBSERVING_SINCE,
)
_POLICIES = "/server/manifests/policy.yaml"
"""The end of the path of the file whose policies K3s applies to the cluster."""
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
    """Empty for a cluster that could not be read."""
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
    policies: str = ""
    """The digest of the policy.yaml of a server; empty if it is not published."""
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
        return "/".join(filter(None, (self.cluster, self.name)))

    def is_one_of(self, selected: Sequence[str]) -> bool:
        """Return whether it has one of these results, or a part that a stage postpones."""
        return self.result in selected or bool(POSTPONED in selected and self.published[Annotation.POSTPONED])

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
        policies=next((digest for path, digest in _files(texts) if path.endswith(_POLICIES)), "")[:_LONGEST],
    )


def _files(texts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Return the path and digest of each file that a node publishes."""
    digests = as_mapping(parsed_json(texts.get(Annotation.FILE_DIGESTS, ""))).items()
    return ((path, str(digest)) for path, digest in list(digests)[:_MOST_PARTS] if path.startswith("/"))


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
    files = dict(_files(texts))
    groups = {own: {"K3s": version}, (*own, "report"): about, (*own, "files", version): files}
    found: dict[tuple[str, ...], Mapping[str, str]] = {group: values for group, values in groups.items() if values}
    # No arguments are an answer, too.
    found |= {(*own, "arguments", version): arguments} if NODE_ARGUMENTS in texts else {}
    # Most nodes have the same texts, which then lie in memory once.
    return {
        tuple(map(intern, group)): {intern(key): intern(value) for key, value in values.items()}
        for group, values in found.items()
    }
