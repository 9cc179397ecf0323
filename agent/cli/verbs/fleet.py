"""The verb fleet: the nodes of clusters, and what is required of them."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, NamedTuple

from agent.base.errors import InputError, UsageError
from agent.base.host import named_files
from agent.base.model import Location
from agent.base.value import replace
from agent.cli.verbs import fleet_sources
from agent.cli.verbs.fleet_sources import Verification
from agent.cluster.fleet.members import Requirement, make_fleet
from agent.cluster.fleet.record import parse_keys
from agent.cluster.fleet.snapshot import Snapshot, read_snapshot
from agent.cluster.node_status import PublishedResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import PurePosixPath
    from typing import TextIO

    from agent.base.report import Progress
    from agent.cluster.fleet.members import Fleet
    from agent.cluster.kubernetes.objects import ClusterNode


class Sources(NamedTuple):
    """Where the nodes are: all that are given, or else the current context of kubectl."""

    documents: Sequence[TextIO] = ()
    paths: Sequence[PurePosixPath] = ()
    contexts: Sequence[str] = ()
    all_contexts: bool = False


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
    return Requirement(seconds, state is not None, expected, is_full=state == "full", names=frozenset(_names(names)))


def _names(path: PurePosixPath | None) -> Iterator[str]:
    if path is not None:
        with named_files.opened_text(path) as stream:
            yield from (name for name in map(str.strip, stream) if name and not name.startswith("#"))


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
            raise InputError(Location(path), problem) from None


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
    verification = Verification()
    if signers is not None:
        with named_files.opened_text(signers) as stream:
            verification = Verification(parse_keys(stream.read()), before.verified if before else {})
    unread: list[str] = []
    nodes = _nodes(environment, sources, verification, progress, unread)
    found = make_fleet(nodes, time.time(), required, before)
    return replace(found, unread=tuple(unread))


def _nodes(
    environment: Mapping[str, str],
    sources: Sources,
    verification: Verification,
    progress: Progress,
    unread: list[str],
) -> Iterator[ClusterNode]:
    contexts = [*sources.contexts, *(fleet_sources.all_contexts(environment) if sources.all_contexts else ())]
    if len(contexts) > 1:
        yield from fleet_sources.nodes_of_clusters(environment, contexts, progress, unread)
    elif contexts or not (sources.documents or sources.paths):
        yield from fleet_sources.nodes_of_cluster(environment, "".join(contexts), progress)
    for stream in sources.documents:
        yield from fleet_sources.nodes_of_document(stream, "", verification)
    for path in sources.paths:
        is_directory = named_files.is_directory(path)
        read = fleet_sources.nodes_of_directory if is_directory else fleet_sources.nodes_of_file
        yield from read(path, verification)
