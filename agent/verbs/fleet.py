"""The verb fleet: the nodes of clusters, and what is required of them.

The nodes are read by kubectl, from its saved output, or from records of sites.
"""

from __future__ import annotations

import io
import re
import time
from collections import Counter
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from agent.base.errors import CommandHint, HardenError, HostError, InputError, UsageError
from agent.base.host import Host, named_files, process, ssh_keygen
from agent.base.model import Location
from agent.base.report import no_progress
from agent.base.value import replace
from agent.cluster.fleet.json_stream import members
from agent.cluster.fleet.members import Requirement, make_fleet
from agent.cluster.fleet.node_arguments import parsed_json
from agent.cluster.fleet.record import UNSIGNED, as_record, node_of_record, parse_keys
from agent.cluster.fleet.snapshot import Snapshot, read_snapshot
from agent.cluster.kubernetes.objects import ClusterNode
from agent.cluster.kubernetes.parsing import as_list, as_mapping, as_string
from agent.cluster.node_status import PublishedResult
from agent.cluster.nodes import parse_node

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import PurePosixPath
    from typing import TextIO

    from agent.base.report import Progress
    from agent.cluster.fleet.members import Fleet
    from agent.cluster.kubernetes.objects import Json

_LARGEST_PAGE = 64 << 20
_PAGE = 500
_MOST_NODES = 100_000
_MOST_FILES = 10_000
"""Files of one site below a directory: a node has one."""
_AT_ONCE = 8
"""Clusters that are read at the same time."""
_EXPECTED = CommandHint("kubectl get nodes -o json --show-managed-fields | k3s-harden fleet -")
_ENDING = ".json"


class Sources(NamedTuple):
    """Where the nodes are: all that are given, or else the current context of kubectl."""

    documents: Sequence[TextIO] = ()
    paths: Sequence[PurePosixPath] = ()
    contexts: Sequence[str] = ()
    all_contexts: bool = False


class _Verification(NamedTuple):
    """What signatures of records are verified with."""

    keys: Mapping[str, str] | None = None
    """The allowed keys by name; None if nothing is verified."""
    known: Mapping[str, str] = {}
    """The digests of records that an earlier run has verified, by name."""


def requirement(state: str | None, max_age: str, expected: int | None, names: PurePosixPath | None) -> Requirement:
    """Return what is required of the nodes. Raises UsageError for another state or an invalid age."""
    age = re.fullmatch(r"([1-9][0-9]{0,5})([mhd])", max_age, re.ASCII)
    if not age:
        raise UsageError(
            f"cannot use --max-age: found {max_age}, expected a duration", "pass one such as 90m, 26h or 3d"
        )
    if state not in (None, "compliant", "full"):
        raise UsageError(f"cannot use --require: found {state}, expected compliant or full", "pass --require compliant")
    seconds = int(age[1]) * {"m": 60.0, "h": 3600.0, "d": 86400.0}[age[2]]
    named: frozenset[str] = frozenset()
    if names is not None:
        with named_files.opened_text(names) as stream:
            named = frozenset(name for name in map(str.strip, stream) if name and not name.startswith("#"))
    return Requirement(seconds, state is not None, expected, is_full=state == "full", names=named)


def results(only: str | None) -> Sequence[PublishedResult]:
    """Return the results of an option, or all. Raises UsageError for others."""
    try:
        return tuple(map(PublishedResult, only.split(","))) if only else tuple(PublishedResult)
    except ValueError:
        names = ", ".join(PublishedResult)
        raise UsageError(f"cannot use --only: found {only}, expected {names}", "separate them by commas") from None


def snapshot(path: PurePosixPath) -> Snapshot:
    """Return an earlier output in JSON. Raises InputError if the file is anything else."""
    with named_files.opened_text(path) as stream:
        try:
            return read_snapshot(stream)
        except (ValueError, RecursionError):
            problem = "it is not the output of `k3s-harden fleet --format json`"
            raise InputError(Location(path), problem, "pass a file with the JSON of an earlier run") from None


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

    With `signers`, a file of ssh-keygen, records are verified, except those that the run of `before` has verified.
    """
    verification = _Verification()
    if signers is not None:
        with named_files.opened_text(signers) as stream:
            verification = _Verification(parse_keys(stream.read()), before.verified if before else {})
    unread: list[str] = []
    nodes = _nodes(environment, sources, verification, progress, unread)
    found = make_fleet(nodes, time.time(), required, before)
    return replace(found, unread=tuple(unread))


def _nodes(
    environment: Mapping[str, str],
    sources: Sources,
    verification: _Verification,
    progress: Progress,
    unread: list[str],
) -> Iterator[ClusterNode]:
    contexts = [*sources.contexts, *(_all_contexts(environment) if sources.all_contexts else ())]
    if len(contexts) > 1:
        yield from _nodes_of_clusters(environment, contexts, progress, unread)
    elif contexts or not (sources.documents or sources.paths):
        yield from _nodes_of_cluster(environment, "".join(contexts), progress)
    for stream in sources.documents:
        yield from _nodes_of_document(stream, "", verification)
    for path in sources.paths:
        is_directory = named_files.is_directory(path)
        read = _nodes_of_directory if is_directory else _nodes_of_file
        yield from read(path, verification)


def _nodes_of_cluster(environment: Mapping[str, str], context: str, progress: Progress) -> Iterator[ClusterNode]:
    """Yield the nodes of a context of kubectl, which is the current one if it is empty, read in pages.

    Raises HostError, or UsageError if the answer is not a list of nodes.
    """
    following, count = "", 0
    options = (f"--context={context}",) if context else ()
    while True:
        progress(f"reading nodes, {count} so far")
        path = f"/api/v1/nodes?limit={_PAGE}" + (f"&continue={quote(following, safe='')}" if following else "")
        earlier, others = count, dict[str, "Json"]()
        text = _kubectl(environment, "get", "--raw", path, "--request-timeout=30s", *options)
        for node in _listed_nodes(io.StringIO(text), others):
            count += 1
            yield node._replace(cluster=context)
        following = as_string(as_mapping(others.get("metadata")).get("continue"))
        if count > _MOST_NODES or (following and count == earlier):
            raise HostError(f"cannot read the nodes: the API server lists more than {_MOST_NODES}")
        if not following:
            return


def _nodes_of_clusters(
    environment: Mapping[str, str], contexts: Sequence[str], progress: Progress, unread: list[str]
) -> Iterator[ClusterNode]:
    """Yield the nodes of several contexts, which are read at the same time; why one cannot be read goes to `unread`."""
    from concurrent.futures import ThreadPoolExecutor

    def nodes(context: str) -> list[ClusterNode]:
        try:
            return list(_nodes_of_cluster(environment, context, no_progress))
        except HardenError as error:
            unread.append(f"{context}: {error.message}")
            return []

    progress(f"reading {len(contexts)} clusters")
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        yield from chain.from_iterable(threads.map(nodes, contexts))


def _all_contexts(environment: Mapping[str, str]) -> Sequence[str]:
    """Return the first context of each cluster in the kubeconfig. Raises HostError."""
    text = _kubectl(environment, "config", "view", "--output=json")
    rows = [as_mapping(row) for row in as_list(as_mapping(parsed_json(text)).get("contexts"))]
    first = {str(as_mapping(row.get("context")).get("cluster")): as_string(row.get("name")) for row in reversed(rows)}
    found = sorted(filter(None, first.values()))
    if not found:
        raise HostError("cannot read the nodes: the kubeconfig has no contexts")
    return found


def _nodes_of_document(stream: TextIO, cluster: str, verification: _Verification) -> Iterator[ClusterNode]:
    """Yield the nodes of the output of `kubectl get nodes -o json`, or of a record. Raises UsageError."""
    others: dict[str, Json] = {}
    for node in _listed_nodes(stream, others):
        yield node._replace(cluster=cluster)
    if record := as_record(others):
        problem_of = partial(ssh_keygen.signature_problem, Host.real())
        yield node_of_record(record, cluster, verification.keys, verification.known, problem_of)


def _nodes_of_file(path: PurePosixPath, verification: _Verification) -> Iterator[ClusterNode]:
    """Yield the nodes of a file, whose cluster has its name. Raises InputError."""
    with named_files.opened_text(path) as stream:
        try:
            yield from _nodes_of_document(stream, path.name.removesuffix(_ENDING), verification)
        except UsageError as error:
            raise InputError(Location(path), error.message.rpartition(": ")[2], error.hint) from None


def _nodes_of_directory(directory: PurePosixPath, verification: _Verification) -> Iterator[ClusterNode]:
    """Yield the nodes of the files below a directory: each file or directory in it is a cluster.

    A file that cannot be used, or a site with too many files, is an unknown node, because one site must not hide the
    others. A list of nodes has no signature, so it does not count where records are verified.
    """
    from concurrent.futures import ThreadPoolExecutor

    def cluster_of(path: PurePosixPath) -> str:
        return path.relative_to(directory).parts[0].removesuffix(_ENDING)

    def nodes(path: PurePosixPath) -> list[ClusterNode]:
        cluster = cluster_of(path)
        try:
            found = [node._replace(cluster=cluster) for node in _nodes_of_file(path, verification)]
        except InputError as error:
            found = [ClusterNode(path.name.removesuffix(_ENDING), False, cluster=cluster, unknown=error.message)]
        is_open = verification.keys is None
        return [node if is_open or node.verified or node.unknown else node._replace(unknown=UNSIGNED) for node in found]

    files = named_files.files_below(directory, _ENDING)
    floods = {cluster: count for cluster, count in Counter(map(cluster_of, files)).items() if count > _MOST_FILES}
    for cluster, count in floods.items():
        why = f"found {count} files, expected at most {_MOST_FILES}"
        yield ClusterNode(cluster, False, cluster=cluster, unknown=why)
    with ThreadPoolExecutor() as threads:
        usable = (path for path in files if cluster_of(path) not in floods)
        yield from chain.from_iterable(threads.map(nodes, usable))


def _kubectl(environment: Mapping[str, str], *words: str) -> str:
    done = process.run(("kubectl", *words), timeout=60, largest_output=_LARGEST_PAGE, environment=environment)
    if done.code:
        error = (done.stderr.strip().splitlines() or [f"kubectl failed with exit code {done.code}"])[-1]
        raise HostError(f"cannot read the nodes: {error}", "make `kubectl get nodes` work for this user")
    return done.stdout


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
