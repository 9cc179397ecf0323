"""Nodes on which K3s has run. Each test changes its own copy."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath

from agent.assess.assessment import Assessment, ControlStatus, Note, Verdict
from agent.assess.checks.assessed_node import AssessedNode
from agent.assess.evidence.file_evidence import read_evidence
from agent.assess.evidence.host_assessment import Scope, assess_host
from agent.base.errors import ExitCode
from agent.base.host import Host
from agent.base.host.probe import K3sProcess
from agent.base.repair import FixOwner
from agent.cluster.kubernetes.queries import Cluster
from agent.harden.node.facts import HostFacts
from agent.harden.settings.schema import Overrides
from agent.harden.situation import Request
from agent.harden.situation.observation import observe_situation
from agent.k3s.cis.versions import Benchmark
from agent.reports import repair_texts
from agent.verbs import check_and_apply as verbs
from agent.verbs.assess import with_next_steps
from tests.fake import fake_host
from tests.k3s_tree import DATA_DIR, K3s, fresh, started
from tests.tree import Tree

CONFIG = "/etc/rancher/k3s/config.yaml"
DROPIN = f"{CONFIG}.d/90-k3s-harden.yaml"
SETTINGS = "/etc/k3s-harden/config.yaml"
UNIT = "/etc/systemd/system/k3s.service"
DATA = f"/{DATA_DIR}"
PLANTS: dict[str, Callable[[Path], object]] = {
    "dangling": lambda place: place.symlink_to("nowhere"),
    "loop": lambda place: place.symlink_to(place.name),
    "FIFO": os.mkfifo,
    "directory": Path.mkdir,
}
"""What can be in the place of a file; not even root can read it."""
NEWEST = Benchmark.CIS_2_0
"""The benchmark of K3s 1.34, the default version of the nodes."""


@dataclass
class CheckedNode(Tree):
    """A host below `root`; `version` is the full version of K3s, or empty if it is unknown."""

    root: Path
    role: str = "server"
    version: str = "1.34.2+k3s1"
    processes: tuple[K3sProcess, ...] = ()

    def host(self) -> Host:
        return fake_host(self.root, processes=self.processes)

    def request(self) -> Request:
        return Request(Overrides(role=self.role, k3s_version=self.version or None))

    def facts(self) -> HostFacts:
        return observe_situation(self.host(), self.request()).facts

    def assessed(self, cluster: Cluster | None = None) -> AssessedNode:
        """Return the node with the evidence in its files, and that of a cluster."""
        situation = observe_situation(self.host(), self.request())
        return AssessedNode(situation, read_evidence(self.host(), situation.facts, ()), cluster=cluster)

    def path(self, inside: str | PurePath) -> Path:
        """Return the real path; a relative path is below K3s' data directory."""
        return super().path(PurePath(DATA) / inside)

    def put(self, path: str, text: str, mode: int = 0o600) -> Path:
        return self.write(path, text, mode)

    def plant(self, kind: str, path: str) -> Path:
        """Put something else in the place of a file."""
        place = self.path(path)
        place.unlink(missing_ok=True)
        PLANTS[kind](place)
        return place

    def config(self, text: str) -> None:
        self.put(CONFIG, text)

    def drop_in(self, name: str, text: str) -> None:
        self.put(f"{CONFIG}.d/{name}", text)

    def starts_with(self, *arguments: str) -> None:
        unit = self.path(UNIT)
        unit.write_text(unit.read_text().replace("k3s server", " ".join(("k3s server", *arguments))))

    def harden(self) -> None:
        done = verbs.apply(self.host(), self.request()).exit_code
        assert done in (ExitCode.COMPLIANT, ExitCode.NOT_COMPLIANT)

    def assess(self, benchmark: Benchmark | None = None) -> Assessment:
        host = self.host()
        return with_next_steps(host, assess_host(host, self.request(), Scope(benchmark)))

    def verdict(self, name: str, benchmark: Benchmark | None = None) -> Verdict:
        (found,) = [verdict for verdict in self.assess(benchmark).verdicts if verdict.control.id == name]
        return found

    def judged_as(
        self, name: str, status: ControlStatus, owner: FixOwner, benchmark: Benchmark | None = None
    ) -> Verdict:
        """Return the verdict on a control, which must have this status and this owner of the fix."""
        verdict = self.verdict(name, benchmark)
        assert (verdict.status, verdict.owner) == (status, owner), verdict
        return verdict


def fix(about: Verdict | Note) -> str:
    """Return the remediation as text."""
    return repair_texts.text(about.repair)


def seen(verdict: Verdict) -> tuple[tuple[str, str], ...]:
    """Return each observation, and its location or source as text."""
    return tuple(
        (shown.observation, str(shown.location) if shown.location else shown.source) for shown in verdict.evidence
    )


def node(root: Path, k3s: K3s | None = None, version: str = "") -> CheckedNode:
    """Return a node for one test; without `k3s` a future server on which K3s never ran."""
    shutil.copytree(_template(k3s), root, symlinks=True)
    made = CheckedNode(root, k3s.role if k3s else "server")
    made.version = version or (f"1.{k3s.minor}.9+k3s1" if k3s else made.version)
    return made


@cache
def _template(k3s: K3s | None) -> Path:
    root = Path(_TEMPLATES.name, str(_template.cache_info().currsize))
    return started(fresh(root), k3s) if k3s else fresh(root)


_TEMPLATES = tempfile.TemporaryDirectory()
