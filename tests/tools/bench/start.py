"""A start of the real components, with which the gate is compared, and kube-bench on that node, compared with `assess`.

Needs root and the programs that `make k8s-test` builds; otherwise nothing is measured.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.k8s import binaries as programs
from tests.k8s import kube_bench
from tests.k8s.containers import TOLERATE_CGROUP_V1
from tests.k8s.namespaces import on_cgroup_v1
from tests.k8s.node import Node, NodeError
from tests.tools.bench.measure import BenchError, Command, Cost, in_turn

_SIGN_OF_V2 = "/sys/fs/cgroup/cgroup.controllers"
LIMIT = 0.01
"""The share of the time until the node is Ready that the gate may take."""
AIM = 3.5
"""How many times as fast as kube-bench `assess` is at least."""


class Start(NamedTuple):
    """What was measured on one node."""

    version: str
    gate: Cost
    api_server: float
    """Seconds from the start of K3s until its API server is ready."""
    node: float
    """Seconds until the node is Ready."""
    assess: Cost | None = None
    kube_bench: Cost | None = None
    """Both on the node that is Ready; None without the program kube-bench."""

    @property
    def share(self) -> float:
        """The gate's share of the time until the node is Ready."""
        return self.gate.seconds / self.node


def absent() -> str:
    """Return why nothing can be measured, or an empty string."""
    if programs.lacking():
        return programs.lacking()
    return "" if programs.available() else "`make k8s-test` has not built the components"


def measured(program: Path, rounds: int) -> Start:
    """Measure `gate` on a hardened node, and then a start of K3s on it. Raises BenchError if the node is not Ready."""
    binaries = programs.ready()
    with tempfile.TemporaryDirectory() as place, Node(Path(place), binaries) as node:
        enter = ("/usr/bin/nsenter", f"--target={node.number}", "--mount", "--pid", "--net", "--")
        with _as_with_cgroup_v2(node):
            if node.run(program, "apply").returncode:
                raise BenchError("cannot measure a start: apply failed")
            gate = in_turn({"gate": Command((*enter, str(program), "gate"))}, rounds)["gate"]
        started = time.perf_counter()
        node.start_server()
        try:
            node.wait_for_api()
            api_server = time.perf_counter() - started
            node.wait_until_ready()
        except NodeError as error:
            raise BenchError(f"cannot measure a start: {error}") from error
        ready = time.perf_counter() - started
        with _as_with_cgroup_v2(node):
            assess, theirs = _assessed(node, enter, program, rounds)
        return Start(binaries.version, gate, api_server, ready, assess, theirs)


@contextmanager
def _as_with_cgroup_v2(node: Node) -> Iterator[None]:
    """Let the host look like a usual one: control groups v2, and no JSON file that makes the kubelet accept v1."""
    if not on_cgroup_v1():
        yield
        return
    node.path(TOLERATE_CGROUP_V1[0]).unlink()
    node.write(_SIGN_OF_V2, "cpuset cpu io memory pids\n")
    yield
    node.path(_SIGN_OF_V2).unlink()
    node.write(*TOLERATE_CGROUP_V1)


def _assessed(node: Node, enter: tuple[str, ...], program: Path, rounds: int) -> tuple[Cost | None, Cost | None]:
    """Measure `assess` and kube-bench on a node that is Ready. kube-bench's cluster checks are left out."""
    theirs = os.environ.get("KUBE_BENCH", "")
    if not theirs:
        return None, None
    ours = Command((*enter, str(program), "assess"), codes=(0, 3))
    other = Command((*enter, *kube_bench.prepared(node, theirs, kube_bench.ON_NODE)))
    costs = in_turn({"assess": ours, "kube-bench": other}, rounds)
    return costs["assess"], costs["kube-bench"]


def lines(start: Start) -> Iterator[str]:
    """Yield the result as Markdown."""
    yield "| Kubernetes | API server ready | node Ready | `gate` | share of the start |"
    yield "|---|--:|--:|--:|--:|"
    times = f"{start.api_server:.1f} s | {start.node:.1f} s | {start.gate.seconds * 1e3:.0f} ms"
    judged = "" if start.share <= LIMIT else f", more than {LIMIT:.0%}"
    yield f"| {start.version} | {times} | {start.share:.2%}{judged} |"
    yield ""
    if start.assess is None or start.kube_bench is None:
        yield f"kube-bench not measured: needs {kube_bench.NEEDED}."
        return
    yield f"| on that node | `assess` | kube-bench, {kube_bench.PROFILE} | `assess` is faster |"
    yield "|---|--:|--:|--:|"
    for name, ours, theirs, ratio in (
        ("time", start.assess.seconds, start.kube_bench.seconds, start.kube_bench.ratio(start.assess)),
        (
            "processor",
            start.assess.processor,
            start.kube_bench.processor,
            start.kube_bench.processor_ratio(start.assess),
        ),
    ):
        aim = f"{'at least' if ratio >= AIM else 'less than'} ×{AIM}"
        yield f"| {name} | {ours * 1e3:.0f} ms | {theirs * 1e3:.0f} ms | ×{ratio:.2f}, {aim} |"
