"""Assessment of a host against a benchmark, from what is read from the host and its cluster."""

from __future__ import annotations

import sys
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from agent import findings
from agent.assess import baseline, waived_controls
from agent.assess.assessment import Assessment, Note, choices_of
from agent.assess.benchmark import catalogue
from agent.assess.checks.assessed_node import AssessedNode
from agent.assess.evidence import file_evidence
from agent.assess.provenance import (
    MACHINE_ID,
    FileContent,
    Provenance,
    application_specific,
    files_without_secrets,
    shown_settings,
)
from agent.assess.verdict import verdict
from agent.base.errors import UsageError
from agent.base.model import File, Location, Sysctl
from agent.base.repair import Repair, RunVerb
from agent.base.report import K3S_VERSION, Finding, Progress, Trait, no_progress
from agent.base.times import timestamp
from agent.base.value import replace
from agent.harden.node.platform import system_facts
from agent.harden.settings.schema import DEFAULT_SETTINGS
from agent.harden.situation.observation import observe_situation
from agent.k3s.cis.versions import Benchmark, fitting_benchmark
from agent.k3s.roles_and_versions import Role, Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.assess.baseline import Baseline, Comparison
    from agent.assess.benchmark.control import BenchmarkControl
    from agent.base.host import Host
    from agent.cluster.kubernetes.queries import Cluster
    from agent.findings.registry import FindingKind
    from agent.harden.situation import Request, Situation

_LIMITS = Trait.LIMITS_ASSESSMENT | Trait.GAP_IN_GATE | Trait.OPENS_GATE | Trait.NOT_NOTIFIED
"""Findings about what an assessment could not read, or what its verdicts do not cover."""


class HostAssessment(NamedTuple):
    """An assessment, and what its next steps depend on."""

    assessment: Assessment
    node: AssessedNode
    findings: tuple[Finding, ...]
    """About what the assessment could not read, or what its verdicts do not cover."""


class Scope(NamedTuple):
    """What is assessed."""

    benchmark: Benchmark | None = None
    """None is the newest one for the K3s version of the host."""
    earlier: Baseline | None = None
    """The report whose open controls do not affect the exit code."""
    with_cluster: bool = False
    """Whether to read objects and running configurations from the API server of this machine, too."""
    with_probes: bool = False
    """Whether to ask it by dry runs which pods it admits."""
    with_frameworks: bool = False
    """Whether to add the controls that only other frameworks ask for."""


_HOST = Scope()


def assess_host(host: Host, request: Request, scope: Scope = _HOST, progress: Progress = no_progress) -> HostAssessment:
    """Assess this host against a benchmark. Makes no changes. Raises as `observe` does."""
    started = host.now()
    progress("reading the host")
    situation = observe_situation(host, request)
    if host.pod_node and not situation.facts.version_is_known:
        why = next(fact.source for fact in situation.facts.evidence if fact.name == K3S_VERSION)
        raise UsageError(f"cannot assess {host.pod_node}: {why}", "pass --k3s-version to render")
    benchmark, earlier = scope.benchmark or fitting_benchmark(situation.facts.version), scope.earlier
    controls = catalogue.controls_of(benchmark)
    of_rules: tuple[BenchmarkControl, ...] = ()
    if scope.with_frameworks:
        from agent.assess.frameworks.references import controls_by_rules, further_controls

        controls, of_rules = (*controls, *further_controls(benchmark)), tuple(controls_by_rules())
    queries = [query for control in controls for query in control.check_of(benchmark).files(situation.facts)]
    kinds = filter(_limits_assessment, findings.KINDS.values())
    found = tuple(findings.collect_findings(situation, kinds))
    evidence = file_evidence.read_evidence(host, situation.facts, queries)
    blockers = [finding for finding in found if finding.prevents_start]
    settings_file = request.settings_file or DEFAULT_SETTINGS
    node = AssessedNode(situation, evidence, blockers, settings_file=settings_file)
    if scope.with_cluster and host.is_live:
        progress("reading the API server")
        node.cluster = _cluster(host, node)
        if node.facts.running_since is not None or not node.cluster.problem:
            from agent.assess.evidence.observed_effects import read_effects

            progress("looking at what is in force")
            node.effects = tuple(read_effects(host, node))
        if scope.with_probes and not node.cluster.problem:
            progress("probing the admission of pods")
            node.cluster = _probed(host, node, node.cluster)
    postponed = (waiver for stage in situation.stages for waiver in stage.waivers(settings_file))
    waivers = waived_controls.select_waivers(
        (*situation.waivers.all, *postponed),
        controls,
        benchmark,
        situation.waivers.scope,
        situation.settings.waivers_must,
    )
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
            *baseline.not_installed(node, verdicts),
            *baseline.not_asked(in_a_pod=bool(host.pod_node)),
            *_fips_mode(host),
            *_limits(found, situation.facts.version, benchmark),
            *(baseline.differences(earlier, node, controls, benchmark) if earlier else ()),
            *baseline.of_stages(situation, settings_file),
            *waivers.notes,
            *waivers.unused({verdict.control.id: verdict.status for verdict in verdicts}),
        ),
        known=baseline.known_controls(earlier, verdicts) if earlier else None,
        root="" if host.is_live else host.root,
        not_in_baseline=baseline.new_controls(earlier, controls, benchmark) if earlier else frozenset(),
        provenance=_provenance(host, situation, started, earlier),
        choices=choices_of(situation),
        effects=node.effects,
        by_rules=tuple(verdict(row, benchmark, node, waivers.by_control.get(row.id)) for row in of_rules),
    )
    if node.cluster is not None:
        from agent.assess import running_values

        assessment = running_values.with_cluster(assessment, controls, node, node.cluster)
    return HostAssessment(assessment, node, found)


def _provenance(host: Host, situation: Situation, started: float, earlier: Baseline | None) -> Provenance:
    """Return who assesses the host, and from which settings and files."""
    settings = situation.settings
    files = tuple(files_without_secrets(host.tree.files_read, situation.facts, settings))
    return Provenance(
        user=host.user,
        arguments=tuple(sys.argv),
        settings=shown_settings(settings),
        machine=_machine(host),
        started=timestamp(started),
        ended=timestamp(host.now()),
        files=(*files, earlier.file) if earlier else files,
    )


def _machine(host: Host) -> str:
    machine = host.tree.observe(MACHINE_ID)
    return machine.content.decode(errors="replace").strip() if isinstance(machine, File) else ""


def require_use(host: Host, earlier: Baseline, days: int, *, of_another: bool) -> None:
    """Raise InputError if a baseline is too old, or not of this host."""
    earlier.require_use(application_specific(_machine(host)), host.now(), days, of_another=of_another)


def _cluster(host: Host, node: AssessedNode) -> Cluster:
    """Read the cluster, and ask the API server who may do what."""
    from functools import partial

    from agent.assess.checks.cluster.access_rules import reviews
    from agent.cluster import reader as cluster_reader
    from agent.cluster.kubernetes.queries import Cluster

    if node.facts.role is not Role.SERVER:
        return Cluster("", {}, {}, problem="this host is an agent; run the command on a server")
    cluster = cluster_reader.read_cluster(host, node.facts.data_dir, reviews=partial(reviews, node))
    if node.situation.k3s_files.policies and not cluster.problem:
        cluster = cluster_reader.with_loaded_policies(host, node.facts.data_dir, cluster)
    return cluster


def _probed(host: Host, node: AssessedNode, cluster: Cluster) -> Cluster:
    from functools import partial

    from agent.assess.checks.cluster.workload_rules import breaks, creators_of_pods, namespaces_to_probe
    from agent.cluster.pod_security_probe import ToProbe, probed

    is_broken = partial(breaks, node.facts.version.minor)
    namespaces = namespaces_to_probe(node, cluster)
    what = ToProbe(namespaces, creators_of_pods(node), is_broken)
    return probed(host, node.facts.data_dir, cluster, what)


def load_baseline(host: Host, path: PurePosixPath, signers: PurePosixPath | None = None) -> Baseline:
    """Read the report at a path of this machine, and verify its signature by a file of allowed signers.

    Raises InputError if it is missing or invalid, or its signature is, and UnsupportedHostError without ssh-keygen.
    """
    from agent.assess.baseline import parse_baseline

    data = host.machine_tree.read_input(path)
    if signers is None:
        host.machine_tree.require_trust(path, "the baseline decides what fails")
        return parse_baseline(data, path)
    from agent.base.host.ssh_keygen import verified_signer

    signer = verified_signer(host, data, path, signers)
    file = FileContent(path, data, f"baseline, signed by {signer}")
    return replace(parse_baseline(data, path), file=file, is_verified=True)


def compared(old: PurePosixPath, new: PurePosixPath) -> Comparison:
    """Read two reports of this machine. Raises InputError as `load_baseline` does."""
    from agent.assess.baseline import Comparison, parse_baseline
    from agent.base.host import Host

    tree = Host.real().machine_tree
    return Comparison(*(parse_baseline(tree.read_input(path), path) for path in (old, new)))


def _limits(found: Iterable[Finding], version: Version, benchmark: Benchmark) -> Iterator[Note]:
    """Yield notes about what would stop K3s at startup, which come first, and about what limits this assessment."""
    for finding in found:
        message = f"{finding.message} ({finding.id})"
        yield Note(message, finding.location, finding.repair, finding.id, finding.prevents_start)
    if not benchmark.fits.includes(version):
        message = f"{benchmark} is for K3s {benchmark.fits}, and this is {version}"
        step = RunVerb("assess", (f"--benchmark {fitting_benchmark(version)}",))
        yield Note(message, None, Repair((step,)))


def _fips_mode(host: Host) -> Iterator[Note]:
    """Yield a note if the kernel is in FIPS mode, which K3s does not read."""
    mode = host.sysctl("crypto.fips_enabled")
    if isinstance(mode, Sysctl) and mode.value == "1":
        message = "the kernel is in FIPS mode, but K3s has no validated cryptographic module"
        yield Note(message, Location(PurePosixPath("/proc/sys/crypto/fips_enabled")))


def _limits_assessment(kind: FindingKind) -> bool:
    """Return whether findings of a kind are about what an assessment could not read, or does not cover."""
    is_serious = kind.blocks_gate.holds or kind.prevents_start.holds
    return bool(kind.traits & _LIMITS) or (is_serious and Trait.HAS_VERDICT not in kind.traits)
