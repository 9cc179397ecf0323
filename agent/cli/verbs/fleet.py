"""The nodes of a cluster, read by kubectl or from its output."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from agent.base.errors import CommandHint, HostError, UsageError
from agent.base.host import process
from agent.cluster.fleet.members import Requirement, make_fleet
from agent.cluster.kubernetes.parsing import as_list, as_mapping, as_string
from agent.cluster.node_status import PublishedResult
from agent.cluster.nodes import parse_node

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from agent.base.report import Progress
    from agent.cluster.fleet.members import Fleet
    from agent.cluster.kubernetes.objects import ClusterNode

LARGEST_DOCUMENT = 512 << 20
"""Bytes of standard input; a larger one is cut, and so invalid."""
_LARGEST_PAGE = 64 << 20
_PAGE = 500
_MOST_NODES = 100_000
_EXPECTED = CommandHint("kubectl get nodes -o json --show-managed-fields | k3s-harden fleet -")


def requirement(state: str | None, max_age: str, expected: int | None) -> Requirement:
    """Return what is required of the nodes. Raises UsageError for another state or an invalid age."""
    age = re.fullmatch(r"([1-9][0-9]{0,5})([mhd])", max_age, re.ASCII)
    if not age:
        raise UsageError(
            f"cannot use --max-age: found {max_age}, expected a duration", "pass one such as 90m, 26h or 3d"
        )
    if state not in (None, "compliant", "full"):
        raise UsageError(f"cannot use --require: found {state}, expected compliant or full", "pass --require compliant")
    seconds = int(age[1]) * {"m": 60.0, "h": 3600.0, "d": 86400.0}[age[2]]
    return Requirement(seconds, state is not None, expected, is_full=state == "full")


def results(only: str | None) -> Sequence[PublishedResult]:
    """Return the results of an option, or all. Raises UsageError for others."""
    try:
        return tuple(map(PublishedResult, only.split(","))) if only else tuple(PublishedResult)
    except ValueError:
        names = ", ".join(PublishedResult)
        raise UsageError(f"cannot use --only: found {only}, expected {names}", "separate them by commas") from None


def fleet_of_cluster(environment: Mapping[str, str], required: Requirement, progress: Progress) -> Fleet:
    """Return the nodes of kubectl's cluster. Raises HostError, or UsageError if the answer is not a list of nodes."""
    return make_fleet(_pages(environment, progress), time.time(), required)


def fleet_of_document(text: bytes, required: Requirement) -> Fleet:
    """Return the nodes of the output of `kubectl get nodes -o json`. Raises UsageError if it is anything else."""
    return make_fleet(_parsed(text)[0], time.time(), required)


def _pages(environment: Mapping[str, str], progress: Progress) -> Iterator[ClusterNode]:
    """Yield all nodes. Of each page, only the needed fields are kept."""
    following, count = "", 0
    while True:
        progress(f"reading nodes, {count} so far")
        path = f"/api/v1/nodes?limit={_PAGE}" + (f"&continue={quote(following, safe='')}" if following else "")
        nodes, following = _parsed(_get(path, environment))
        count += len(nodes)
        if count > _MOST_NODES or (following and not nodes):
            raise HostError(f"cannot read the nodes: the API server lists more than {_MOST_NODES}")
        yield from nodes
        if not following:
            return


def _get(path: str, environment: Mapping[str, str]) -> str:
    command = ("kubectl", "get", "--raw", path, "--request-timeout=30s")
    done = process.run(command, timeout=60, largest_output=_LARGEST_PAGE, environment=environment)
    if done.code:
        error = (done.stderr.strip().splitlines() or [f"kubectl failed with exit code {done.code}"])[-1]
        raise HostError(f"cannot read the nodes: {error}", "make `kubectl get nodes` work for this user")
    return done.stdout


def _parsed(text: str | bytes) -> tuple[list[ClusterNode], str]:
    """Return the nodes of a list, and the token of the next page. Raises UsageError if it is not a list of nodes."""
    try:
        document = as_mapping(json.loads(text))
    except (ValueError, RecursionError):
        raise UsageError("cannot use the nodes: found invalid JSON", _EXPECTED) from None
    kind, items = as_string(document.get("kind")), document.get("items")
    # The API server omits the kind of an item, and kubectl that of the list.
    implied = "Node" if kind == "NodeList" else ""
    is_list = kind in ("NodeList", "List") and isinstance(items, list)
    if not is_list or any(as_mapping(item).get("kind", implied) != "Node" for item in as_list(items)):
        raise UsageError("cannot use the nodes: found JSON that is not a list of nodes", _EXPECTED)
    return list(map(parse_node, as_list(items))), as_string(as_mapping(document.get("metadata")).get("continue"))
