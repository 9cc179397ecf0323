"""The cost of the gate compared with a start of the real components: `check` on a node, and the time until it is Ready.

Needs root and the programs that `make k8s-test` builds; otherwise nothing is measured.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.bench.measure import BenchError, Command, in_turn
from tests.k8s import binaries as programs
from tests.k8s.containers import TOLERATE_CGROUP_V1
from tests.k8s.namespaces import on_cgroup_v1
from tests.k8s.node import Node, NodeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.measure import Cost

_SIGN_OF_V2 = "/sys/fs/cgroup/cgroup.controllers"
LIMIT = 0.01
"""The share of the time until the node is Ready that the gate may take."""


class Start(NamedTuple):
    """What was measured on one node."""

    version: str
    check: Cost
    api_server: float
    """Seconds from the start of K3s until its API server is ready."""
    node: float
    """Seconds until the node is Ready."""

    @property
    def share(self) -> float:
        """The gate's share of the time until the node is Ready."""
        return self.check.seconds / self.node


def absent() -> str:
    """Return why nothing can be measured, or an empty string."""
    if programs.lacking():
        return programs.lacking()
    return "" if programs.available() else "`make k8s-test` has not built the components"


def measured(program: Path, rounds: int) -> Start:
    """Measure `check` on a hardened node, and then a start of K3s on it. Raises BenchError if the node is not Ready."""
    binaries = programs.ready()
    with tempfile.TemporaryDirectory() as place, Node(Path(place), binaries) as node:
        # As on a usual host: control groups v2, and no file that makes the kubelet accept v1.
        if on_cgroup_v1():
            node.path(TOLERATE_CGROUP_V1[0]).unlink()
            node.write(_SIGN_OF_V2, "")
        if node.run(program, "apply").returncode:
            raise BenchError("cannot measure a start: apply failed")
        enter = ("/usr/bin/nsenter", f"--target={node.number}", "--mount", "--pid", "--net", "--")
        check = in_turn({"check": Command((*enter, str(program), "check"))}, rounds)["check"]
        if on_cgroup_v1():
            node.path(_SIGN_OF_V2).unlink()
            node.write(*TOLERATE_CGROUP_V1)
        started = time.perf_counter()
        node.start_server()
        try:
            node.wait_for_api()
            api_server = time.perf_counter() - started
            node.wait_until_ready()
        except NodeError as error:
            raise BenchError(f"cannot measure a start: {error}") from error
        return Start(binaries.version, check, api_server, time.perf_counter() - started)


def lines(start: Start) -> Iterator[str]:
    """Yield the result as Markdown."""
    yield "| Kubernetes | API server ready | node Ready | `check` | share of the start |"
    yield "|---|--:|--:|--:|--:|"
    times = f"{start.api_server:.1f} s | {start.node:.1f} s | {start.check.seconds * 1e3:.0f} ms"
    judged = "" if start.share <= LIMIT else f", more than {LIMIT:.0%}"
    yield f"| {start.version} | {times} | {start.share:.2%}{judged} |"
