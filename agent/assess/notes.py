"""Notes of an assessment about the host that was assessed, and about the baseline. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent import __version__
from agent.assess.assessment import Note
from agent.assess.baseline import places
from agent.base.model import Location
from agent.base.report import ROLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import PurePosixPath

    from agent.assess.assessment import Verdict
    from agent.assess.baseline import Baseline
    from agent.assess.benchmark.control import BenchmarkControl
    from agent.assess.checks.assessed_node import AssessedNode
    from agent.harden.situation import Situation
    from agent.k3s.cis.versions import Benchmark

_SIGN = "write the baseline with `--sign KEY`, and pass `--allowed-signers FILE` with it"


def not_installed(node: AssessedNode, verdicts: Iterable[Verdict]) -> Iterator[Note]:
    """Yield a note if there is no K3s on this host."""
    if not node.is_installed:
        defaults = sum(verdict.found.endswith(f"(default of K3s {node.facts.version})") for verdict in verdicts)
        message = (
            f"K3s is not installed: found no service, process or program; {defaults} controls pass only by defaults of"
            f" K3s {node.facts.version}"
        )
        yield Note.to_do(message, "assess again after the first start of K3s")


def not_asked(*, in_a_pod: bool) -> Iterator[Note]:
    """Yield a note about what a pod cannot read."""
    if in_a_pod:
        message = "assessed in a pod: systemd, and the processes behind open ports, could not be asked"
        yield Note.to_do(message, "for a full assessment, run `k3s-harden assess` on the node")


def of_stages(situation: Situation, settings_file: PurePosixPath) -> Iterator[Note]:
    """Yield a note for each part of the hardening that the settings postpone."""
    for stage in situation.stages:
        if not stage.is_over(situation.waivers.scope.today):
            yield Note(f"postponed until {stage.until}: {stage}", Location(settings_file))


def known_controls(earlier: Baseline, verdicts: Iterable[Verdict]) -> frozenset[str]:
    """Return the controls that are open as in a baseline: at the same objects and files, or at fewer of them.

    Another version of this program can observe the same in other words.
    """

    def is_known(verdict: Verdict) -> bool:
        known = earlier.known.get(verdict.control.id)
        is_compared = known and earlier.version == __version__ and not verdict.control.check.is_decided_by_argument
        return known is not None and (not is_compared or places(verdict.evidence) <= known)

    return frozenset(verdict.control.id for verdict in verdicts if is_known(verdict))


def new_controls(earlier: Baseline, controls: Iterable[BenchmarkControl], benchmark: Benchmark) -> frozenset[str]:
    """Return the controls that this program has, and the version that wrote the baseline had not.

    A benchmark's controls are compared only with a baseline on the same benchmark.
    """
    is_same = earlier.benchmark == benchmark
    absent = (control for control in controls if control.id not in earlier.statuses)
    return frozenset(control.id for control in absent if is_same or not control.numbers)


def differences(
    earlier: Baseline, node: AssessedNode, controls: Iterable[BenchmarkControl], benchmark: Benchmark
) -> Iterator[Note]:
    """Yield notes about a baseline of another node, role, benchmark or version."""
    if not earlier.is_verified:
        message = f"the baseline {earlier.file.path} is not verified: who can write it decides what fails"
        yield Note.to_do(message, _SIGN)
    added = new_controls(earlier, controls, benchmark)
    if added:
        message = f"the baseline is of an older version without these controls: {', '.join(sorted(added))}"
        yield Note.to_do(message, "write a new baseline, so that they decide the exit code")
    others = []
    if earlier.node != node.evidence.node:
        others.append(f"the baseline is a report of {earlier.node or 'a node without a name'}")
    role = earlier.facts.get(ROLE, "")
    if role not in ("", node.facts.role):
        own = node.facts.role
        others.append(f"the baseline is a report of a node with the role {role}; this one has the role {own}")
    if earlier.benchmark != benchmark:
        others.append(f"the baseline is a report on {earlier.benchmark}; controls that it does not have count as new")
    yield from (Note.to_do(message, "use a baseline of this node and benchmark") for message in others)
