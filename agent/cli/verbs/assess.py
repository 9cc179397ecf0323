"""Assessment of a host against a benchmark."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from agent import findings
from agent.assess import waived_controls
from agent.assess.assessment import Assessment, ControlStatus, Note
from agent.assess.benchmark import catalogue
from agent.assess.checks.assessed_node import AssessedNode
from agent.assess.evidence import reader
from agent.assess.provenance import MACHINE_ID, FileContent, Provenance, files_without_secrets, shown_settings
from agent.assess.verdict import verdict
from agent.base.errors import UsageError
from agent.base.model import File, FixOwner, Instruction, Remediation, Role
from agent.base.report import K3S_VERSION, NODE_UID, ROLE, Fact, no_progress
from agent.base.times import timestamp
from agent.base.value import replace
from agent.cli.advice import next_steps
from agent.cli.verbs.k3s_state import installed_k3s
from agent.findings.gate import GATE_FINDINGS
from agent.findings.settings import NOTIFY_FINDINGS
from agent.harden.node.platform import system_facts
from agent.harden.situation.observation import observe_situation
from agent.k3s.cis.versions import Benchmark, fitting_benchmark

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import PurePosixPath

    from agent.assess.assessment import Verdict
    from agent.assess.baseline import Baseline
    from agent.assess.benchmark.control import BenchmarkControl
    from agent.base.host import Host
    from agent.base.model import Version
    from agent.base.report import Finding, Progress
    from agent.cli.advice.installed_k3s import InstalledK3s
    from agent.cluster.kubernetes.objects import Cluster
    from agent.findings.registry import FindingKind
    from agent.harden.situation import Request, Situation

AUTO = "auto"
"""Selects the newest benchmark for the host's K3s version."""

_UNREAD = ("version-assumed", "k3s-config-unknown", "k3s-command-unknown", "not-readable", "restart-needed")
_LIMITS = (*_UNREAD, *GATE_FINDINGS, *NOTIFY_FINDINGS)
"""Findings about what an assessment could not read, or what its verdicts do not cover."""

_COVERED = ("mode-loosened", "option-overridden")
"""Findings that block the gate, and that verdicts report themselves."""

_SIGN = "write the baseline with `--sign KEY`, and pass `--allowed-signers FILE` with it"


def assess_host(
    host: Host,
    request: Request,
    benchmark: Benchmark | None = None,
    *,
    earlier: Baseline | None = None,
    progress: Progress = no_progress,
    with_cluster: bool = False,
) -> Assessment:
    """Assess this host against a benchmark; None is the newest one for its K3s version. Makes no changes.

    Controls that were open in the report `earlier` do not affect the exit code. `with_cluster` also reads objects and
    running configurations from the API server of this machine. Raises as `observe` does.
    """
    started = host.now()
    progress("reading the host")
    situation = observe_situation(host, request)
    if host.pod_node and not situation.facts.version_is_known:
        why = next(fact.source for fact in situation.facts.evidence if fact.name == K3S_VERSION)
        raise UsageError(f"cannot assess {host.pod_node}: {why}", "pass --k3s-version to render")
    cluster = None
    if with_cluster and host.is_live:
        progress("reading the API server")
        cluster = _cluster(host, situation)
    benchmark = benchmark or fitting_benchmark(situation.facts.version)
    controls = catalogue.controls_of(benchmark)
    queries = [query for control in controls for query in control.check_of(benchmark).files(situation.facts)]
    found = findings.collect_findings(situation, filter(_limits_assessment, findings.KINDS.values()))
    blockers = [
        f"{finding.id} at {finding.location}" if finding.location else finding.id
        for finding in found
        if finding.prevents_start
    ]
    evidence = reader.read_evidence(host, situation.facts, queries)
    node = AssessedNode(situation, evidence, prevents_start=blockers, cluster=cluster)
    waivers = waived_controls.select_waivers(situation.waivers.all, controls, benchmark, situation.waivers.scope)
    verdicts = []
    for number, control in enumerate(controls, 1):
        progress(control.id, number, len(controls))
        verdicts.append(verdict(control, benchmark, node, waivers.by_control.get(control.id)))
    assessment = Assessment(
        benchmark=benchmark,
        node=node.evidence.node,
        when=host.now(),
        facts=(*situation.facts.evidence, *system_facts(host)),
        verdicts=tuple(verdicts),
        notes=(
            *_not_installed(node, verdicts),
            *_not_asked(host),
            *_limits(found, situation.facts.version, benchmark),
            *(_differences(earlier, node, controls, benchmark) if earlier else ()),
            *waivers.notes,
            *waivers.unused({verdict.control.id: verdict.status for verdict in verdicts}),
        ),
        known=earlier.known if earlier else None,
        root="" if host.is_live else host.root,
        not_in_baseline=_added(earlier, controls, benchmark) if earlier else frozenset(),
        provenance=_provenance(host, situation, started, earlier),
    )
    k3s = replace(installed_k3s(host, situation.facts), is_installed=node.is_installed)
    return _with_next_steps(_with_cluster(assessment, controls, node), found, k3s)


def _with_next_steps(assessment: Assessment, found: Iterable[Finding], k3s: InstalledK3s) -> Assessment:
    """Add what to do after an assessment with these findings."""
    open_by = {
        owner: [verdict.control.id for verdict in assessment.open if verdict.owner is owner]
        for owner in (FixOwner.APPLY, FixOwner.K3S)
    }
    failing = [
        verdict
        for verdict in assessment.open
        if verdict.owner is FixOwner.OPERATOR and verdict.status is ControlStatus.FAIL
    ]
    open_by[FixOwner.OPERATOR] = [verdict.control.id for verdict in failing]
    undetermined = sum(verdict.awaits_correction_of is not None for verdict in assessment.open)
    return replace(assessment, next_steps=next_steps.steps_after_assess(found, k3s, open_by, undetermined))


def _not_installed(node: AssessedNode, verdicts: Iterable[Verdict]) -> Iterator[Note]:
    """Yield a note if there is no K3s on this host."""
    if not node.is_installed:
        defaults = sum(verdict.found.endswith(f"(default of K3s {node.facts.version})") for verdict in verdicts)
        message = (
            f"K3s is not installed: found no service, process or program; {defaults} controls pass only by defaults of"
            f" K3s {node.facts.version}"
        )
        yield Note(message, None, Remediation((Instruction("assess again after the first start of K3s"),)))


def _not_asked(host: Host) -> Iterator[Note]:
    """Yield a note about what a pod cannot read."""
    if host.pod_node:
        message = "assessed in a pod: systemd, and the processes behind open ports, could not be asked"
        step = Instruction("for a full assessment, run `k3s-harden assess` on the node")
        yield Note(message, None, Remediation((step,)))


def _provenance(host: Host, situation: Situation, started: float, earlier: Baseline | None) -> Provenance:
    """Return who assesses the host, and from which settings and files."""
    machine = host.tree.observe(MACHINE_ID)
    settings = situation.settings
    files = tuple(files_without_secrets(host.tree.files_read, situation.facts, settings))
    return Provenance(
        user=host.user,
        arguments=tuple(sys.argv),
        settings=shown_settings(settings),
        machine=machine.content.decode(errors="replace").strip() if isinstance(machine, File) else "",
        started=timestamp(started),
        ended=timestamp(host.now()),
        files=(*files, earlier.file) if earlier else files,
    )


def _cluster(host: Host, situation: Situation) -> Cluster:
    """Read the cluster."""
    from agent.cluster import reader as cluster_reader
    from agent.cluster.kubernetes.objects import Cluster

    if situation.facts.role is not Role.SERVER:
        return Cluster("", {}, {}, problem="this host is an agent; run the command on a server")
    return cluster_reader.read_cluster(host, situation.facts.data_dir)


def _with_cluster(assessment: Assessment, controls: Sequence[BenchmarkControl], node: AssessedNode) -> Assessment:
    """Add the notes about the cluster to an assessment, and the controls for which it had no answer."""
    if node.cluster is None:
        return assessment
    from agent.assess import running_values
    from agent.cluster.kubernetes.queries import Query

    benchmark = assessment.benchmark
    objects = node.cluster.objects
    numbers = {str(query): len(objects[query]) for query in running_values.COUNTED if query in objects}
    counts = ", ".join(f"{n} {name.removesuffix('s') if n == 1 else name}" for name, n in numbers.items())
    own = running_values.own_node(node, node.cluster)
    nodes = (known for known in objects.get(Query.NODES, ()) if known.name == own and known.uid)
    # kube-system is created with the cluster, and cannot be deleted.
    first = (known for known in objects.get(Query.NAMESPACES, ()) if known.name == "kube-system" and known.uid)
    uids = (
        *(Fact(NODE_UID, known.uid, "API server") for known in nodes),
        *(Fact("cluster UID", known.uid, "the namespace kube-system") for known in first),
    )
    found = Fact("cluster", counts or "no answer", node.cluster.server or "not reached")
    return replace(
        assessment,
        facts=(*assessment.facts, found, *uids),
        notes=(*running_values.notes_about_cluster(controls, benchmark, node), *assessment.notes),
        without_answer=frozenset(running_values.without_answer(controls, benchmark, node.cluster)),
    )


def load_baseline(host: Host, path: PurePosixPath, signers: PurePosixPath | None = None) -> Baseline:
    """Read the report at a path of this machine, and verify its signature by a file of allowed signers.

    Raises InputError if it is missing or invalid, or its signature is, and UnsupportedHostError without ssh-keygen.
    """
    from agent.assess.baseline import parse_baseline

    data = host.machine_tree.read_input(path)
    if signers is None:
        return parse_baseline(data, path)
    from agent.base.host.ssh_keygen import verified_signer

    signer = verified_signer(host, data, path, signers)
    file = FileContent(path, data, f"baseline, signed by {signer}")
    return parse_baseline(data, path)._replace(file=file, is_verified=True)


def benchmark_named(text: str) -> Benchmark | None:
    """Return the benchmark of this name, with or without `cis-`; None for `auto`. Raises UsageError for any other."""
    if text == AUTO:
        return None
    try:
        return Benchmark(f"cis-{text.removeprefix('cis-')}")
    except ValueError:
        raise UsageError(
            f"cannot assess against the benchmark {text}: it is unknown",
            f"pass one of {', '.join(Benchmark)}, or {AUTO}",
        ) from None


def _limits(found: Iterable[Finding], version: Version, benchmark: Benchmark) -> Iterator[Note]:
    """Yield notes about what would stop K3s at startup, which come first, and about what limits this assessment."""
    for finding in found:
        message = f"{finding.message} ({finding.id})"
        yield Note(message, finding.location, finding.remediation, finding.id, finding.prevents_start)
    if not benchmark.fits.includes(version):
        message = f"{benchmark} is for K3s {benchmark.fits}, and this is {version}"
        step = Instruction(f"omit `--benchmark` to use {fitting_benchmark(version)}, which fits this version")
        yield Note(message, None, Remediation((step,)))


def _limits_assessment(kind: FindingKind) -> bool:
    """Return whether findings of a kind are about what an assessment could not read, or does not cover."""
    is_serious = kind.blocks_gate.holds or kind.prevents_start.holds
    return kind.id in _LIMITS or (is_serious and kind.id not in _COVERED)


def _added(earlier: Baseline, controls: Iterable[BenchmarkControl], benchmark: Benchmark) -> frozenset[str]:
    """Return the controls that this program has, and the version that wrote the baseline had not.

    A benchmark's controls are compared only with a baseline on the same benchmark.
    """
    is_same = earlier.benchmark == benchmark
    absent = (control for control in controls if control.id not in earlier.statuses)
    return frozenset(control.id for control in absent if is_same or not control.numbers)


def _differences(
    earlier: Baseline, node: AssessedNode, controls: Iterable[BenchmarkControl], benchmark: Benchmark
) -> Iterator[Note]:
    """Yield notes about a baseline of another node, role, benchmark or version."""
    if not earlier.is_verified:
        message = f"the baseline {earlier.file.path} is not verified: who can write it decides what fails"
        yield Note(message, None, Remediation((Instruction(_SIGN),)))
    added = _added(earlier, controls, benchmark)
    if added:
        message = f"the baseline is of an older version without these controls: {', '.join(sorted(added))}"
        step = Instruction("write a new baseline, so that they decide the exit code")
        yield Note(message, None, Remediation((step,)))
    remediation = Remediation((Instruction("use a baseline of this node and benchmark"),))
    if earlier.node != node.evidence.node:
        yield Note(f"the baseline is a report of {earlier.node or 'a node without a name'}", None, remediation)
    role = earlier.facts.get(ROLE, "")
    if role not in ("", node.facts.role):
        message = f"the baseline is a report of a node with the role {role}; this one has the role {node.facts.role}"
        yield Note(message, None, remediation)
    if earlier.benchmark != benchmark:
        message = f"the baseline is a report on {earlier.benchmark}; controls that it does not have count as new"
        yield Note(message, None, remediation)
