"""The verb fleet: the nodes of clusters, and what is required of them.

The nodes are read by kubectl, from its saved output, or from records of sites.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import PurePosixPath
from typing import NamedTuple, TextIO

from agent.base.errors import HardenError, HostError, InputError, UsageError
from agent.base.host import Host, named_files, ssh_keygen
from agent.base.model import Location
from agent.base.repair import Instruction, Run
from agent.base.report import Progress, no_progress
from agent.base.times import seconds_of
from agent.base.value import replace
from agent.cluster.fleet.members import Fleet, Requirement, make_fleet, shortened
from agent.cluster.fleet.published import POSTPONED, parsed_json
from agent.cluster.fleet.snapshot import (
    UNSIGNED,
    Snapshot,
    as_record,
    members,
    node_of_record,
    parse_keys,
    read_snapshot,
)
from agent.cluster.kubernetes.objects import ClusterNode, Json, as_list, as_mapping, as_string
from agent.cluster.kubernetes.queries import REQUESTS, Query
from agent.cluster.node_status import PublishedResult, parse_node

_Read = Callable[[str, Progress], Iterable[ClusterNode]]

_MOST_NODES = 100_000
_MOST_FILES = 10_000
"""Files of one site below a directory: a node has one."""
_AT_ONCE = 8
"""Clusters that are read at the same time."""
_LONGEST = 30.0
"""Seconds for a cluster."""
_EXPECTED = Run("kubectl get nodes -o json --show-managed-fields | k3s-harden fleet -")
_ENDING = ".json"


class Sources(NamedTuple):
    """Where the nodes are: all that are given, or else the current context of kubectl."""

    documents: Sequence[TextIO] = ()
    paths: Sequence[PurePosixPath] = ()
    contexts: Sequence[str] = ()
    all_contexts: bool = False
    longest: float = _LONGEST


class _Verification(NamedTuple):
    """What signatures of records are verified with."""

    keys: Mapping[str, str] | None = None
    """The allowed keys by name; None if nothing is verified."""
    known: Mapping[str, str] = {}
    """The digests of records that an earlier run has verified, by name."""


def requirement(state: str | None, max_age: str, expected: int | None, names: PurePosixPath | None) -> Requirement:
    """Return what is required of the nodes. Raises UsageError for another state or an invalid age."""
    try:
        seconds = float(seconds_of(max_age))
    except ValueError:
        problem = f"cannot use --max-age: found {max_age}, expected a duration"
        raise UsageError(problem, "pass one such as 90m, 26h or 3d") from None
    if state not in (None, "compliant", "full"):
        raise UsageError(f"cannot use --require: found {state}, expected compliant or full", "pass --require compliant")
    named: frozenset[str] = frozenset()
    if names is not None:
        with named_files.opened_text(names) as stream:
            named = frozenset(name for name in map(str.strip, stream) if name and not name.startswith("#"))
        if not named:
            raise InputError(
                Location(names), "it names no node and no cluster", Instruction("write one name on each line")
            )
    return Requirement(seconds, state is not None, expected, is_full=state == "full", names=named)


def results(only: str | None) -> Sequence[str]:
    """Return the words of an option that select nodes, or all results. Raises UsageError for others."""
    names = (*PublishedResult, POSTPONED)
    chosen = tuple(only.split(",") if only else PublishedResult)
    if not set(chosen) <= set(names):
        problem = f"cannot use --only: found {only}, expected {', '.join(names)}"
        raise UsageError(problem, "separate them by commas")
    return chosen


def snapshot(path: PurePosixPath) -> Snapshot:
    """Return an earlier output in JSON. Raises InputError if the file is anything else, or others can write to it."""
    with named_files.opened_text(path) as stream:
        Host.real().machine_tree.require_trust(path, "it decides what is not verified again")
        try:
            return read_snapshot(stream)
        except (ValueError, RecursionError):
            problem = "it is not the output of `k3s-harden fleet --format json`"
            raise InputError(
                Location(path), problem, Instruction("pass a file with the JSON of an earlier run")
            ) from None


def fleet(
    environment: Mapping[str, str],
    sources: Sources,
    required: Requirement,
    progress: Progress,
    *,
    signers: PurePosixPath | None = None,
    before: Snapshot | None = None,
) -> Fleet:
    """Return the nodes of all sources. Raises HardenError if one of them cannot be used.

    With `signers`, a file of ssh-keygen, what files have is verified, except what the run of `before` has verified.
    """
    verification = _Verification()
    if signers is not None:
        with named_files.opened_text(signers) as stream:
            Host.real().machine_tree.require_trust(signers, ssh_keygen.SIGNERS_DECIDE)
            verification = _Verification(parse_keys(stream.read()), before.verified if before else {})
    unread: list[str] = []
    nodes = [*_nodes(environment, sources, verification, progress, unread)]
    names = ["/".join(filter(None, (node.cluster, node.name))) for node in nodes if node.unknown and node.name]
    unread += [f"not read or not verified: {shortened(names)}"] * bool(names)
    return replace(make_fleet(nodes, time.time(), required, before), unread=tuple(sorted(unread)))


def _nodes(
    environment: Mapping[str, str],
    sources: Sources,
    verification: _Verification,
    progress: Progress,
    unread: list[str],
) -> Iterator[ClusterNode]:
    contexts = [*sources.contexts, *(_all_contexts(environment) if sources.all_contexts else ())]
    of_cluster = partial(_nodes_of_cluster, environment, sources.longest)
    if len(contexts) > 1:
        yield from _nodes_of_clusters(of_cluster, contexts, progress, unread)
    elif contexts or not (sources.documents or sources.paths):
        yield from of_cluster("".join(contexts), progress)
    for stream in sources.documents:
        yield from _nodes_of_document(stream, "", verification)
    for path in sources.paths:
        if named_files.is_directory(path):
            yield from _nodes_of_directory(path, verification)
        else:
            yield from _nodes_of_file(path, path.name.removesuffix(_ENDING), verification)


def _nodes_of_cluster(
    environment: Mapping[str, str], longest: float, context: str, progress: Progress
) -> Iterator[ClusterNode]:
    """Yield the nodes of a context of kubectl, which is the current one if it is empty. Raises HostError."""
    from agent.cluster.connection import Kubectl
    from agent.cluster.reader import Reader

    progress(f"reading {context or 'the current context'}")
    client = Kubectl.of_user([f"--context={context}"] if context else [], environment, longest)
    yield from (node._replace(cluster=context) for node in Reader(client).listed(REQUESTS[Query.NODES], parse_node))


def _nodes_of_clusters(
    read: _Read, contexts: Sequence[str], progress: Progress, unread: list[str]
) -> Iterator[ClusterNode]:
    """Yield the nodes of several contexts, which are read at the same time; why one cannot be read goes to `unread`."""
    from concurrent.futures import ThreadPoolExecutor, as_completed

    def nodes(context: str) -> list[ClusterNode]:
        try:
            return list(read(context, no_progress))
        except HardenError as error:
            unread.append(f"{context}: {error.message}")
            return [ClusterNode("", False, cluster=context, unknown=error.message)]

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        reading = {threads.submit(nodes, context): context for context in contexts}
        for count in range(len(contexts)):
            progress(f"reading {shortened([*reading.values()], 3)}", count, len(contexts))
            done = next(as_completed(reading))
            del reading[done]
            yield from done.result()


def _all_contexts(environment: Mapping[str, str]) -> Sequence[str]:
    """Return the first context of each cluster in the kubeconfig. Raises HostError."""
    from agent.cluster.connection import Kubectl

    printed = Kubectl.of_user((), environment, _LONGEST)("config", "view", "--output=json", what="read the nodes")
    rows = [as_mapping(row) for row in as_list(as_mapping(parsed_json(printed)).get("contexts"))]
    first = {str(as_mapping(row.get("context")).get("cluster")): as_string(row.get("name")) for row in reversed(rows)}
    found = sorted(filter(None, first.values()))
    if not found:
        raise HostError("cannot read the nodes: the kubeconfig has no contexts")
    return found


def _nodes_of_document(stream: TextIO, cluster: str, verification: _Verification) -> Iterator[ClusterNode]:
    """Yield the nodes of the output of `kubectl get nodes -o json`, or of a record. Raises UsageError.

    A list has no signature, so it does not count where records are verified.
    """
    others: dict[str, Json] = {}
    unknown = "" if verification.keys is None else UNSIGNED
    for node in _listed_nodes(stream, others):
        yield node._replace(cluster=cluster, unknown=unknown)
    if record := as_record(others):
        problem_of = partial(ssh_keygen.signature_problem, Host.real())
        yield node_of_record(record, cluster, verification.keys, verification.known, problem_of)


def _nodes_of_file(path: PurePosixPath, cluster: str, verification: _Verification) -> Iterator[ClusterNode]:
    """Yield the nodes of a file. Raises InputError."""
    with named_files.opened_text(path) as stream:
        try:
            yield from _nodes_of_document(stream, cluster, verification)
        except UsageError as error:
            raise InputError(Location(path), error.message.rpartition(": ")[2], *error.repair.steps) from None


def _nodes_of_directory(directory: PurePosixPath, verification: _Verification) -> Iterator[ClusterNode]:
    """Yield the nodes of the files below a directory: each file or directory in it is a cluster.

    A file that cannot be used, or a site with too many files, is an unknown node, because one site must not hide the
    others.
    """
    from concurrent.futures import ThreadPoolExecutor

    def cluster_of(path: PurePosixPath) -> str:
        return path.relative_to(directory).parts[0].removesuffix(_ENDING)

    def nodes(path: PurePosixPath) -> list[ClusterNode]:
        cluster = cluster_of(path)
        try:
            return list(_nodes_of_file(path, cluster, verification))
        except InputError as error:
            return [ClusterNode(path.name.removesuffix(_ENDING), False, cluster=cluster, unknown=error.message)]

    files = named_files.files_below(directory, _ENDING)
    floods = {cluster: count for cluster, count in Counter(map(cluster_of, files)).items() if count > _MOST_FILES}
    for cluster, count in floods.items():
        why = f"found {count} files, expected at most {_MOST_FILES}"
        yield ClusterNode(cluster, False, cluster=cluster, unknown=why)
    with ThreadPoolExecutor() as threads:
        usable = (path for path in files if cluster_of(path) not in floods)
        yield from chain.from_iterable(threads.map(nodes, usable))


def _listed_nodes(stream: TextIO, others: dict[str, Json]) -> Iterator[ClusterNode]:
    """Yield the nodes of a list; `others` gets its other keys. Raises UsageError if it is no list or record."""
    kinds = set()
    try:
        for count, (key, value) in enumerate(members(stream)):
            if count > _MOST_NODES:
                raise UsageError(f"cannot use the nodes: found JSON that has more than {_MOST_NODES} values", _EXPECTED)
            if key == "items[]":
                kinds.add(str(as_mapping(value).get("kind", "")))
                yield parse_node(value)
            else:
                others[key] = value
    except (ValueError, RecursionError):
        raise UsageError("cannot use the nodes: found invalid JSON", _EXPECTED) from None
    # The API server omits the kind of an item, and kubectl that of the list.
    allowed = {"NodeList": {"Node", ""}, "List": {"Node"}}.get(as_string(others.get("kind")), set())
    if as_record(others) is None and (not allowed or others.get("items") != [] or kinds - allowed):
        raise UsageError("cannot use the nodes: found JSON that is not a list of nodes", _EXPECTED)
