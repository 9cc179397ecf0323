"""What a live cluster adds to an assessment: running values, notes, facts, and controls without an answer. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import PurePosixPath
from typing import NamedTuple

from agent.assess.assessment import CLUSTER_NOT_ASSESSED, Assessment, ControlStatus, Evidence, Note
from agent.assess.benchmark.control import BenchmarkControl
from agent.assess.checks.answer import NO_ANSWER, WORST_FIRST, Answer
from agent.assess.checks.assessed_node import AssessedNode
from agent.assess.checks.check import Check
from agent.assess.checks.cluster.cluster_check import ClusterCheck
from agent.assess.checks.host_paths import AUDIT_LOG_ARGUMENT
from agent.base.repair import Instruction, Repair, Restart
from agent.base.report import NODE_UID, Fact
from agent.base.value import replace
from agent.cluster.kubernetes.objects import Json, as_mapping
from agent.cluster.kubernetes.queries import Cluster, Query
from agent.harden.guide.criteria import Criterion
from agent.harden.guide.k3s_options import SECCOMP_DEFAULT
from agent.harden.node.facts import not_run
from agent.k3s.cis.versions import Benchmark
from agent.k3s.components.effective_arguments import FEATURE_GATES, GivenBy
from agent.k3s.components.files.decoding import kind_of_value, path_of_argument
from agent.k3s.components.tables import LAST_MINOR
from agent.k3s.components.values import parse
from agent.k3s.go_values import InvalidValueError
from agent.k3s.redaction import HIDDEN, without_secrets
from agent.k3s.roles_and_versions import Component

_COUNTED = (Query.NODES, Query.NAMESPACES, Query.PODS)
"""The queries whose number of objects is a fact of an assessment."""

_RESTART = Repair(restart=Restart.K3S)
_HIDE = Repair((Instruction("replace the secret, and set it in K3s' configuration file instead of the command line"),))
_MOST_NOTES = 20
RANCHER = "cattle-system"
"""The namespace of Rancher's own agents."""


class _Running(NamedTuple):
    """The value of an argument in a running component."""

    component: Component
    name: str
    value: str
    """Empty if the component has no value, or its zero value."""
    configured: str | None
    """None if nothing sets the argument, so that the component's own default applies."""
    source: str

    @property
    def differs(self) -> bool:
        """Whether the component runs with another value than it will have after its next start."""
        return self.configured is not None and self._meaning(self.value) != self._meaning(self.configured)

    def meets(self, criterion: Criterion, status: ControlStatus) -> bool:
        """Return whether the component runs as it is required, or with the configuration that has this status."""
        is_as_configured = not self.value if self.configured is None else not self.differs
        if is_as_configured and status is ControlStatus.PASS:
            return True
        kind = kind_of_value(self.component, self.name, LAST_MINOR) or ""
        zero = {"bool": "false", "int": "0"}.get(kind.strip("u0123456789"), "")
        return criterion.accepts(self.value or zero)

    @property
    def observation(self) -> str:
        """The value, and how it compares with the configuration."""
        text = f"--{self.name}={self.value} in the running {self.component}"
        if self.differs:
            return f"{text}; --{self.name}={self.configured} is configured, so K3s has to restart"
        return text if self.configured is None else f"{text}, as configured"

    def _meaning(self, text: str) -> object:
        """Return a value as the component reads it. A missing field of the kubelet's configuration is zero."""
        try:
            found = parse(kind_of_value(self.component, self.name, LAST_MINOR) or "string", text) if text else None
        except InvalidValueError:
            found = text
        return (frozenset(found) if isinstance(found, tuple) else found) or None


def confirmed(check: Check, answer: Answer, node: AssessedNode) -> Answer:
    """Return the answer of a check with what the running component shows.

    A control that passes by its configuration fails if the running component has a value that does not meet it. A
    running kubelet also decides what its files do not show, or show otherwise, unless they changed after its start.
    """
    if node.cluster is None or answer.status not in WORST_FIRST[:3]:
        return answer
    silent = _silent(node, node.cluster)
    why = {silent[argument.component] for argument in check.arguments if argument.component in silent}
    if why and answer.status is ControlStatus.PASS:
        unread = (Evidence(problem, source=node.cluster.server) for problem in sorted(why))
        return NO_ANSWER._replace(evidence=(*unread, *answer.evidence))
    found = [(item, _running(item.component, item.name, node)) for item in check.arguments]
    shown = [(requirement, running) for requirement, running in found if running is not None]
    evidence = (Evidence(running.observation, source=running.source) for _, running in shown)
    answer = answer._replace(evidence=(*answer.evidence, *evidence))
    unmet = [running for requirement, running in shown if not running.meets(requirement.criterion, answer.status)]
    if unmet and answer.status is not ControlStatus.FAIL:
        text = f"--{unmet[0].name}={unmet[0].value} in the running {unmet[0].component}"
        repair = _RESTART if answer.status is ControlStatus.PASS else answer.repair
        return answer._replace(status=ControlStatus.FAIL, found=text, reason="", repair=repair)
    if shown and len(shown) == len(found) and not unmet and _is_decided_by_kubelet(check, answer, node):
        text = ", ".join(f"--{running.name}={running.value}" for _, running in shown)
        by = GivenBy.KUBELET_FILE
        return Answer(ControlStatus.PASS, f"{text} in the running kubelet", answer.evidence, given_by=by)
    return answer


def _is_decided_by_kubelet(check: Check, answer: Answer, node: AssessedNode) -> bool:
    """Return whether the kubelet has read the files by which a control is open, so that they were misunderstood here.

    What no file sets can have been in one that is gone, and applies at the next start.
    """
    if node.facts.running_since is None or node.situation.changed_since_start or not answer.status.is_open:
        return False
    arguments = node.arguments(Component.KUBELET)
    is_set = all(arguments.get(item.name) or arguments.why_unknown(item.name) for item in check.arguments)
    return is_set and all(item.component is Component.KUBELET for item in check.arguments)


def with_cluster(
    assessment: Assessment, controls: Sequence[BenchmarkControl], node: AssessedNode, cluster: Cluster
) -> Assessment:
    """Add the notes about the cluster to an assessment, and the controls for which it had no answer."""
    benchmark = assessment.benchmark
    objects = cluster.objects
    numbers = {str(query): len(objects[query]) for query in _COUNTED if query in objects}
    counts = ", ".join(f"{n} {name.removesuffix('s') if n == 1 else name}" for name, n in numbers.items())
    own = own_node(node, cluster)
    nodes = (known for known in objects.get(Query.NODES, ()) if known.name == own and known.uid)
    # kube-system is created with the cluster, and cannot be deleted.
    first = (known for known in objects.get(Query.NAMESPACES, ()) if known.name == "kube-system" and known.uid)
    uids = (
        *(Fact(NODE_UID, known.uid, "API server") for known in nodes),
        *(Fact("cluster UID", known.uid, "the namespace kube-system") for known in first),
    )
    # A baseline can be of a time without an answer, too.
    unread = {found.control.id for found in assessment.verdicts if found.reason == NO_ANSWER.reason}
    found = Fact("cluster", counts or "no answer", cluster.server or "not reached")
    return replace(
        assessment,
        facts=(*assessment.facts, found, *uids),
        notes=(*notes_about_cluster(controls, benchmark, node), *assessment.notes),
        without_answer=frozenset(_without_answer(controls, benchmark, node, cluster)),
        known=None if assessment.known is None else assessment.known - unread,
        not_in_baseline=assessment.not_in_baseline - unread,
    )


def audit_log(node: AssessedNode, cluster: Cluster) -> PurePosixPath | None:
    """Return the audit log that the running API server writes; None if it is not known."""
    argument = node.arguments(Component.API_SERVER).get(AUDIT_LOG_ARGUMENT)
    value = (cluster.flags or {}).get(AUDIT_LOG_ARGUMENT) or (argument.value if argument else "")
    return PurePosixPath(value) if value.startswith("/") and not cluster.problem else None


def notes_about_cluster(
    controls: Iterable[BenchmarkControl], benchmark: Benchmark, node: AssessedNode
) -> Iterator[Note]:
    """Yield notes about components that have to restart, about kubelets of other nodes, and about missing answers."""
    cluster = node.cluster
    if cluster is None:
        return
    if cluster.problem:
        yield Note(f"{CLUSTER_NOT_ASSESSED}: {cluster.problem}")
        return
    yield from _needless_exemptions(node, cluster)
    for problem in [*cluster.problems.values(), *cluster.gaps.values()][:_MOST_NOTES]:
        yield Note(problem)
    requirements = dict.fromkeys(
        requirement
        for control in controls
        for requirement in control.check_of(benchmark).arguments
        if requirement.component is Component.KUBELET
    )
    tested = {requirement.name for requirement in requirements}
    for component in (Component.API_SERVER, Component.KUBELET):
        for name, argument in node.arguments(component).found.items():
            is_tested = component is Component.API_SERVER or name in tested
            running = _running(component, name, node) if is_tested else None
            if running is not None and running.differs:
                message = f"{component} runs with --{name}={running.value}, and --{name}={argument.value} is configured"
                yield Note(message, argument.given[-1].location, _RESTART)
    own = own_node(node, cluster)
    for name, configuration in list(cluster.kubelets.items())[:_MOST_NOTES]:
        values = ((item, _field(configuration, path_of_argument(item.component, item.name))) for item in requirements)
        found = [f"--{item.name}={value}" for item, value in values if value and not item.criterion.accepts(value)]
        if found and name != own:
            message = f"the kubelet of node {name} runs with {', '.join(found)}, which does not meet the benchmark"
            yield Note(message)
    yield from islice(_unequal_nodes(cluster), _MOST_NOTES)


def _needless_exemptions(node: AssessedNode, cluster: Cluster) -> Iterator[Note]:
    """Yield a note about exemptions for Rancher in a cluster without Rancher: anybody can create such a namespace."""
    from agent.assess.checks.cluster.workload_rules import pod_security_defaults

    names = {namespace.name for namespace in cluster.objects.get(Query.NAMESPACES, ())}
    exempt = pod_security_defaults(node.situation, cluster).exempt
    if names and RANCHER in exempt - names:
        missing = sorted(exempt - names)
        message = (
            f"Pod Security exempts {len(missing)} namespaces that do not exist, without Rancher: {', '.join(missing)}"
        )
        step = (
            "set `pod-security.exempt-rancher: false`, and list in `pod-security.exempt-namespaces` those that you use"
        )
        yield Note.to_do(message, step)


def _silent(node: AssessedNode, cluster: Cluster) -> Mapping[Component, str]:
    """Return why running components of this host did not show their values, although the API server answers."""
    found = {Component.API_SERVER: "/flagz", Component.KUBELET: f"kubelet of {own_node(node, cluster)}"}
    return {component: cluster.problems[name] for component, name in found.items() if name in cluster.problems}


def _without_answer(
    controls: Iterable[BenchmarkControl], benchmark: Benchmark, node: AssessedNode, cluster: Cluster
) -> Iterator[str]:
    """Yield the ids of the controls for which the API server had no answer about its objects or components."""
    silent = (Component.API_SERVER, Component.KUBELET) if cluster.problem else _silent(node, cluster)
    for control in controls:
        check = control.check_of(benchmark)
        if isinstance(check, ClusterCheck):
            if check.has_no_answer(cluster):
                yield control.id
        elif any(argument.component in silent for argument in check.arguments):
            yield control.id


def _unequal_nodes(cluster: Cluster) -> Iterator[Note]:
    """Yield notes about nodes whose arguments or files are not those of most nodes of their role, and about secrets."""
    from agent.cluster.fleet.members import Requirement, make_fleet

    for row in make_fleet(cluster.objects.get(Query.NODES, ()), 0, Requirement(0)).nodes:
        if row.leaked:
            yield Note(f"{row.role} {row.name}: {row.leaked}", None, _HIDE)
        if row.differs:
            yield Note(f"{row.role} {row.name}: {'; '.join(row.differs)}")


def _running(component: Component, name: str, node: AssessedNode) -> _Running | None:
    """Return the value of an argument in the component of this node; None if the component does not show it."""
    cluster = node.cluster
    arguments = node.arguments(component)
    is_unknown = component is not Component.KUBELET and arguments.why_unknown(name)
    if cluster is None or cluster.problem or is_unknown or not_run(component, node.facts):
        return None
    argument = arguments.get(name) if not arguments.why_unknown(name) else None
    configured = None if argument is None else argument.value
    if configured is not None and HIDDEN in configured:
        return None
    if component is Component.API_SERVER and cluster.flags is not None and name in cluster.flags:
        flag = cluster.flags[name]
        # pflag shows a list in brackets.
        value = without_secrets(name, flag[1:-1] if flag.startswith("[") and flag.endswith("]") else flag)
        return _Running(component, name, value, configured, f"{cluster.server}/flagz")
    own = own_node(node, cluster)
    field = path_of_argument(component, name) if name != FEATURE_GATES else ""  # of several files and arguments
    found = cluster.kubelets.get(own)
    is_seccomp = name == SECCOMP_DEFAULT.name
    if component is Component.KUBELET and found is not None and field and (not is_seccomp or field in found):
        page = "flagz" if is_seccomp and cluster.flags is not None else "configz"
        source = f"{cluster.server}/api/v1/nodes/{own}/proxy/{page}"
        return _Running(component, name, _field(found, field), configured, source)
    return None


def own_node(node: AssessedNode, cluster: Cluster) -> str:
    """Return the name of this host's node; empty if it is not in the cluster."""
    name = node.configured_name
    with_id = [node_name for node_name in cluster.kubelets if node_name.startswith(f"{name}-")]
    return with_id[0] if name not in cluster.kubelets and len(with_id) == 1 else name


def _field(configuration: Json, path: str) -> str:
    """Return a field in the notation of its argument; empty if it is missing, because its value is zero."""
    value = configuration
    for key in path.split("."):
        value = as_mapping(value).get(key)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "" if value is None or isinstance(value, dict) else str(value)
