"""Output of `fleet --format json`, read as a stream, and what has changed since an earlier one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import sha256
from json import JSONDecoder
from typing import NamedTuple, TextIO

from agent.cluster.fleet.published import FleetNode, parsed_json, seconds
from agent.cluster.kubernetes.objects import ClusterNode, Json, as_mapping, as_string
from agent.cluster.node_status import SERVER_LABEL, PublishedResult, parse_node

UNSIGNED = "the record is not signed"
_LONGEST_SIGNATURE = 1 << 14
"""Characters. ssh-keygen parses 8 MiB in 15 seconds."""


class Record(NamedTuple):
    """The content of a file."""

    record: str
    signature: str
    """By ssh-keygen -Y sign; empty without one."""


def record_text(name: str, k3s_version: str, annotations: Mapping[str, str], condition: Mapping[str, str]) -> str:
    """Return the Node of a record as JSON in one line. `annotations` and `condition` are those of a publication."""
    is_server = annotations.get("k3s-harden.internal/role") == "server"
    node = {
        "kind": "Node",
        "metadata": {"name": name, "labels": {SERVER_LABEL: "true"} if is_server else {}, "annotations": annotations},
        "status": {"nodeInfo": {"kubeletVersion": k3s_version}, "conditions": [condition]},
    }
    return json.dumps(node, sort_keys=True, separators=(",", ":"))


def node_of_record(
    found: Record,
    cluster: str,
    keys: Mapping[str, str] | None,
    verified: Mapping[str, str],
    problem_of: Callable[[bytes, bytes, str], str],
) -> ClusterNode:
    """Return the node of a record, marked unknown if its signature is not that of its node or cluster.

    A cluster without a name, as on standard input, has no key.

    `keys` are the allowed keys by name; None if nothing is verified. A record with a digest in `verified` is unchanged.
    """
    node = parse_node(as_mapping(parsed_json(found.record)))._replace(cluster=cluster, uid="")
    if keys is None:
        return node
    names = (f"{cluster}/{node.name}", cluster)
    own = "".join(keys.get(name, "") for name in names)
    # An escape in JSON can be one half of a character.
    encoded = partial(str.encode, errors="surrogatepass")
    digest = sha256(repr((names, own, found)).encode()).hexdigest()
    if not found.signature:
        return node._replace(unknown=UNSIGNED)
    if not cluster:
        return node._replace(unknown="the record has no site: name its file or directory")
    if not own:
        return node._replace(unknown=f"no key is allowed for {names[0]} or {cluster}")
    # A key can expire.
    if verified.get(names[0]) != digest or "valid-before" in own:
        problem = problem_of(encoded(found.record), encoded(found.signature), own)
        if problem:
            return node._replace(unknown=f"the signature is not valid: {problem}")
    return node._replace(verified=digest)


def parse_keys(text: str) -> Mapping[str, str]:
    """Return the keys of ssh-keygen's file of allowed signers, with their options, by name."""
    keys: dict[str, str] = {}
    # Not splitlines: ssh-keygen ends a line only there, so that the comment of a key cannot contain another line.
    for line in text.split("\n"):
        names, _, key = line.strip().partition(" ")
        for name in names.split(",") if key and not names.startswith("#") else ():
            keys[name] = f"{keys.get(name, '')}{key}\n"
    return keys


def as_record(found: Mapping[str, Json]) -> Record | None:
    """Return the record in a JSON object; None if it is something else."""
    signature = as_string(found.get("signature"))[:_LONGEST_SIGNATURE]
    return Record(found["record"], signature) if isinstance(found.get("record"), str) else None


_CONTENT = re.compile(r"[^ \t\r\n]")
_CHUNK = 1 << 18
_LARGEST = 16 << 20
"""Characters of a value: the API server stores at most 1.5 MiB of a Node."""


def members(stream: TextIO) -> Iterator[tuple[str, Json]]:
    """Yield the keys of an object with their values: an array first as [], then each of its items as `KEY[]`.

    Raises ValueError or RecursionError for anything else.
    """
    text = _Text(stream)
    for _ in text.parts("{", "}"):
        key = str(text.value())
        text.take(":")
        if text.peek() == "[":
            yield key, []
            yield from ((f"{key}[]", text.value()) for _ in text.parts("[", "]"))
        else:
            yield key, text.value()
    if text.peek():
        raise ValueError("found more than one value")


class _Text:
    """The part of a text that has been read and not yet decoded."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._text, self._at = "", 0
        self._decoder = JSONDecoder()

    def peek(self) -> str:
        """Return the next character that is not white space; empty at the end."""
        while True:
            found = _CONTENT.search(self._text, self._at)
            if found:
                self._at = found.start()
                return found[0]
            self._at = len(self._text)
            if not self._more():
                return ""

    def take(self, expected: str) -> str:
        """Return the next character, which is one of those expected."""
        found = self.peek()
        if not found or found not in expected:
            raise ValueError(f"found {found or 'the end'}, expected one of {expected}")
        self._at += 1
        return found

    def parts(self, begin: str, end: str) -> Iterator[None]:
        """Take the brackets and commas of an array or object; the caller takes each part in between."""
        self.take(begin)
        separator = self.take(end) if self.peek() == end else ","
        while separator == ",":
            yield
            separator = self.take(f",{end}")

    def value(self) -> Json:
        """Return the next value."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except ValueError:
                if len(self._text) - self._at > _LARGEST or not self._more():
                    raise
            else:
                # A number may go on.
                if self._text[end : end + 1].strip(",:]} \t\r\n") != self._text[end : end + 1] or not self._more():
                    self._at = end
                    return value

    def _more(self) -> bool:
        rest = self._text[self._at :]
        chunk = self._stream.read(max(_CHUNK, len(rest)))
        self._text, self._at = rest + chunk, 0
        return bool(chunk)


_WORST_LAST = (PublishedResult.COMPLIANT, PublishedResult.FAILED, PublishedResult.UNKNOWN)
KINDS = ("worse", "better", "new", "gone")


class Snapshot(NamedTuple):
    """What an earlier run found, by the full name of each node."""

    time: str
    results: Mapping[str, tuple[PublishedResult, int]]
    """With the number of failed controls."""
    verified: Mapping[str, str]
    """The digests of records whose signature is valid."""
    seen: Mapping[str, str]
    """The time of the newest assessment of each node that was ever read, as text."""


def read_snapshot(stream: TextIO) -> Snapshot:
    """Return a snapshot. Raises ValueError if the text is anything else."""
    found: dict[str, Json] = {}
    results: dict[str, tuple[PublishedResult, int]] = {}
    verified: dict[str, str] = {}
    seen: dict[str, str] = {}
    for key, value in members(stream):
        node = as_mapping(value)
        if key == "seen[]":
            seen[as_string(node.get("name"))] = as_string(node.get("time"))
        if key != "nodes[]":
            found[key] = value
            continue
        cluster, name = as_string(node.get("cluster")), as_string(node.get("name"))
        full = f"{cluster}/{name}" if cluster else name
        failed = node.get("failed")
        if not name:  # a cluster that could not be read
            continue
        results[full] = PublishedResult(node.get("result")), failed if isinstance(failed, int) else 0
        verified[full] = as_string(node.get("verified"))
    if (found.get("verb"), found.get("schema")) != ("fleet", 1):
        raise ValueError("found JSON that is not the output of fleet")
    return Snapshot(as_string(found.get("time")), results, verified, seen)


def changes(nodes: Sequence[FleetNode], before: Snapshot) -> Mapping[str, Sequence[str]]:
    """Return the nodes by KINDS, each with its results then and now."""
    now = {node.full_name: (node.result, node.failed) for node in nodes}
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for name, (result, failed) in now.items():
        if name not in before.results:
            found["new"].append(f"{name} {result}")
            continue
        last, last_failed = before.results[name]
        then, there = ((_WORST_LAST.index(last), last_failed), (_WORST_LAST.index(result), failed))
        text = f"{name} {last} → {result}" if last is not result else f"{name} {last_failed} → {failed} failed"
        if then != there:
            found["worse" if there > then else "better"].append(text)
    found["gone"] += [f"{name} {result}" for name, (result, _) in before.results.items() if name not in now]
    return found


def seen_times(nodes: Iterable[FleetNode], before: Snapshot | None) -> Mapping[str, str]:
    """Return the newest time of each node, those of nodes that are gone included: a later replay is detected."""
    times = dict(before.seen if before else {})
    for node in nodes:
        if node.result is not PublishedResult.UNKNOWN:
            both = (times.get(node.full_name, ""), node.assessed)
            times[node.full_name] = max(both, key=lambda text: seconds(text) or 0)
    return times
