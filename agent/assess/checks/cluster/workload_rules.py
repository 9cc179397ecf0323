"""Rules about workloads: Pod Security, security contexts, and Secrets in environment variables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from shlex import quote
from typing import NamedTuple

from agent.assess.checks.answer import NO_ANSWER, Answer, ControlStatus, Evidence
from agent.assess.checks.assessed_node import AssessedNode
from agent.assess.checks.cluster.access_answers import DISPUTED, RIGHTS, access
from agent.assess.checks.cluster.rule import AssessedCluster, ClusterRule, Listed, fails_if_any, of_site
from agent.assess.checks.cluster.workload_corrections import PRIVILEGED, Corrected, corrected, enforced
from agent.base.errors import InputError
from agent.base.repair import Instruction
from agent.cluster.kubernetes import rbac
from agent.cluster.kubernetes.admission_engines import ENGINES, engines_of
from agent.cluster.kubernetes.built_in_objects import OWN_NAMESPACES, reason_of_workload
from agent.cluster.kubernetes.objects import Container, Workload, as_list, as_mapping, as_string, pod
from agent.cluster.kubernetes.pod_security import (
    PodSecurityDefaults,
    PodSecurityLevel,
    Standard,
    broken_pod,
    level_of,
    standard_of,
    violations,
)
from agent.cluster.kubernetes.queries import PROBES, QUERIES, Cluster, Probe, Query, workloads_to_check
from agent.harden.desired.dropin_options import ADMISSION_CONFIGURATION_ARGUMENT, DISABLED_PLUGINS_ARGUMENT
from agent.harden.guide.k3s_options import SECCOMP_DEFAULT, OptionRow
from agent.harden.situation import Situation
from agent.k3s import admission_configuration
from agent.k3s.admission_configuration import POD_SECURITY
from agent.k3s.cis.versions import pod_security_standards
from agent.k3s.components.effective_arguments import FEATURE_GATES
from agent.k3s.go_values import TRUE
from agent.k3s.roles_and_versions import WITH_POD_SECURITY_POLICY, Component

Breach = Callable[[Workload, int], Iterator[str]]
"""Yields what a workload has that the control forbids, for a minor version of the API server."""

_BASELINE, _RESTRICTED = PodSecurityLevel.BASELINE, PodSecurityLevel.RESTRICTED
_EXEMPT = PodSecurityLevel.EXEMPT
_EXEMPTION = "pod-policy-mechanism is about exempt namespaces"
_WITH_PROFILE = frozenset({"RuntimeDefault", "Localhost"})
_USER_NAMESPACES = "UserNamespacesPodSecurityStandards"
"""A feature gate of Kubernetes 1.29 to 1.34, with which pods in user namespaces may be root."""

_CAPABILITIES = ("capabilities_restricted", PRIVILEGED)
_HOST_PATH = "pods-host-path"
_ALL = "ALL"
_NET_RAW = "NET_RAW"


def _of_level(level: PodSecurityLevel, *rules: str, field: str = "") -> Breach:
    """Return a breach of a Pod Security standard, perhaps only of these rules, in fields that end like this."""

    def breach(workload: Workload, minor: int) -> Iterator[str]:
        found = violations(workload.template, level, minor, rules=rules)
        yield from (violation.text for violation in found if violation.field.endswith(field))

    return breach


def _of_container(what: str, breaks: Callable[[Container], bool], *, on_linux: bool = False) -> Breach:
    def breach(workload: Workload, _: int) -> Iterator[str]:
        found = [container for container in workload.containers if breaks(container)]
        yield from () if on_linux and workload.is_windows else (f"container {item.name} {what}" for item in found)

    return breach


def _may_be_root(container: Container) -> bool:
    user = container.context("runAsUser")
    return user == 0 or (container.context("runAsNonRoot") is not True and user is None)


def _is_privileged(container: Container) -> bool:
    """Return whether the runtime gives a container all capabilities and no seccomp profile, whatever else it has."""
    return container.own_context.get("privileged") is True


def _also_if_privileged(breach: Breach) -> Breach:
    """Return a breach of the capabilities in effect: `drop` does not limit a privileged container."""

    def found(workload: Workload, minor: int) -> Iterator[str]:
        yield from breach(workload, minor)
        yield from _of_container("is privileged, so it has all capabilities", _is_privileged)(workload, minor)

    return found


def _keeps_net_raw(container: Container) -> bool:
    if _is_privileged(container):
        return True
    capabilities = as_mapping(container.own_context.get("capabilities"))
    # The container runtime compares names without their case.
    adds, drops = ({as_string(name).upper() for name in as_list(capabilities.get(key))} for key in ("add", "drop"))
    return not adds.isdisjoint((_ALL, _NET_RAW)) or drops.isdisjoint((_ALL, _NET_RAW))


class Forbidden(NamedTuple):
    """What a control forbids in pods."""

    control: str
    words: str
    breach: Breach
    correction: Corrected


def _level(control: str) -> PodSecurityLevel:
    return PodSecurityLevel(pod_security_standards()[control])


def _forbidden(control: str, words: str, rule: str, field: str = "") -> Forbidden:
    level = _level(control)
    return Forbidden(control, words, _of_level(level, rule, field=field), Corrected(level, (rule,), field))


_ROWS = (
    _forbidden("pods-privileged", "privileged: true", PRIVILEGED),
    _forbidden("pods-host-pid", "hostPID: true", "hostNamespaces", "hostPID"),
    _forbidden("pods-host-ipc", "hostIPC: true", "hostNamespaces", "hostIPC"),
    _forbidden("pods-host-network", "hostNetwork: true", "hostNamespaces", "hostNetwork"),
    # The API server rejects allowPrivilegeEscalation: false in a privileged container.
    Forbidden(
        "pods-privilege-escalation",
        "a container without allowPrivilegeEscalation: false",
        _of_level(_RESTRICTED, "allowPrivilegeEscalation"),
        Corrected(_RESTRICTED, ("allowPrivilegeEscalation", PRIVILEGED)),
    ),
    # The standard also rejects runAsUser: 1000 without runAsNonRoot, which is not root.
    Forbidden(
        "pods-root",
        "a container with runAsUser: 0, or with neither runAsNonRoot: true nor another runAsUser",
        _of_container("may run as root", _may_be_root),
        Corrected(_RESTRICTED, ("runAsNonRoot", "runAsUser")),
    ),
    # The standard requires that ALL is dropped.
    Forbidden(
        "pods-net-raw",
        "a container that adds NET_RAW, or drops neither ALL nor NET_RAW",
        _of_container("keeps NET_RAW", _keeps_net_raw, on_linux=True),
        Corrected(_RESTRICTED, _CAPABILITIES),
    ),
    Forbidden(
        "pods-added-capabilities",
        "a container that adds a capability other than NET_BIND_SERVICE, or is privileged",
        _also_if_privileged(_of_level(_RESTRICTED, "capabilities_restricted", field=".add")),
        Corrected(_RESTRICTED, _CAPABILITIES, ".add"),
    ),
    Forbidden(
        "pods-assigned-capabilities",
        "a container that does not drop ALL capabilities, or is privileged",
        _also_if_privileged(_of_level(_RESTRICTED, "capabilities_restricted", field=".drop")),
        Corrected(_RESTRICTED, _CAPABILITIES, ".drop"),
    ),
    _forbidden("pods-windows-host-process", "hostProcess: true", "windowsHostProcess"),
    _forbidden(_HOST_PATH, "a hostPath volume", "hostPathVolumes"),
    _forbidden("pods-host-ports", "a hostPort", "hostPorts"),
    _forbidden("pods-proc-mount", "procMount: Unmasked", "procMount"),
)
FORBIDDEN: Mapping[str, Forbidden] = {row.control: row for row in _ROWS}
"""By control. A control that means something else than a rule of the standard has an own breach and the reason."""


def observed(of: AssessedCluster, breach: Breach) -> list[Listed]:
    """Return each workload that breaks a rule, once, with each of its breaches."""
    found: dict[str, Listed] = {}
    minor = of.node.facts.version.minor
    for query, workload in workloads_to_check(of.cluster):
        known = found.get(workload.title)
        # Anybody can create a pod that names a controller of K3s as its owner.
        if known is None or known.reason:
            detail = ", ".join(breach(workload, minor))
            reason = reason_of_workload(workload, of.cluster.registry)
            if detail and (known is None or not reason):
                found[workload.title] = Listed(workload.title, detail, reason, query)
    return list(found.values())


def breaks(minor: int, control: str, workload: Workload) -> bool:
    """Return whether a workload has what a control forbids, for a minor version of the API server."""
    return any(FORBIDDEN[control].breach(workload, minor))


def rejects(standard: Standard | None, control: str, minor: int, *, has_gate: bool) -> bool:
    """Return whether a standard rejects what a control forbids, for a minor version of the API server."""
    if standard is None or standard.level is _EXEMPT:
        return False
    sample = pod(broken_pod(control))
    of_standard = minor if standard.minor is None else min(minor, standard.minor)
    found = violations(sample.template, standard.level, of_standard, has_gate=has_gate)
    return bool(found) or not breaks(minor, control, sample)


def namespaces_to_probe(node: AssessedNode, cluster: Cluster) -> list[str]:
    """Return the namespaces in which the API server checks pods."""
    defaults = pod_security_defaults(node.situation, cluster)
    namespaces = cluster.objects.get(Query.NAMESPACES, ())
    return sorted(item.name for item in namespaces if level_of(item, defaults) is not _EXEMPT)


def creators_of_pods(node: AssessedNode) -> tuple[str, ...]:
    """Return the users as which the controllers create pods."""
    own = node.arguments(Component.CONTROLLER_MANAGER).get("use-service-account-credentials")
    if own is None or own.value != "true":
        return ("system:kube-controller-manager",)
    names = ("replicaset", "statefulset", "daemon-set", "job")
    return tuple(f"system:serviceaccount:kube-system:{name}-controller" for name in names)


def workloads_of_site(cluster: Cluster) -> Iterator[Workload]:
    """Yield the workloads that K3s does not run itself."""
    for _, workload in workloads_to_check(cluster):
        if not reason_of_workload(workload, cluster.registry):
            yield workload


def _forbids(name: str) -> ClusterRule:
    (_, words, breach, correction), level = FORBIDDEN[name], _level(name)

    def decide(of: AssessedCluster) -> Answer:
        found = observed(of, breach if name != _HOST_PATH else _with_volumes(of, breach))
        if of_site(found):
            return _broken(of, name, found, correction)
        return _admission(of, level, found, name)

    volumes = (Query.PERSISTENT_VOLUMES,) if name == _HOST_PATH else ()
    return ClusterRule(
        (*QUERIES, Query.NAMESPACES, *ENGINES, *volumes),
        decide,
        passes=f"no workload of the site has {words}, and all namespaces without exemption enforce {_at_least(level)}",
        fails=f"a workload of the site has {words}, or runs in a namespace that does not enforce it",
        manual=(
            "a webhook or policy may forbid it instead, a namespace without workloads does not enforce it, the default"
            " standard is not known, or users or runtime classes are exempt"
        ),
    )


def _broken(of: AssessedCluster, control: str, found: list[Listed], correction: Corrected) -> Answer:
    steps = corrected(of, control, of_site(found), correction)
    return of.answer(ControlStatus.FAIL, found, Query.PODS, *steps, noun="workload")


def _with_volumes(of: AssessedCluster, breach: Breach) -> Breach:
    """Return the breach by hostPath volumes with those of claims. K3s' own provisioner only makes new directories."""
    option = of.node.facts.merged_config.scalar("default-local-storage-path")
    storage = PurePosixPath(option.text) if option else of.node.facts.data_dir / "storage"
    bound = {
        volume.claim: volume
        for volume in of.cluster.objects[Query.PERSISTENT_VOLUMES]
        if volume.path and storage not in PurePosixPath(volume.path).parents
    }

    def found(workload: Workload, minor: int) -> Iterator[str]:
        yield from breach(workload, minor)
        volumes = (bound.get((workload.namespace, claim)) for claim in sorted(workload.claims))
        yield from (f"PersistentVolume {volume.name} is {volume.path} of the node" for volume in volumes if volume)

    return found


def _at_least(level: PodSecurityLevel) -> str:
    return f"the standard {level}" if level is _RESTRICTED else f"the standard {level} or {_RESTRICTED}"


def _mechanism(of: AssessedCluster) -> Answer:
    answer = _admission(of, _BASELINE, [], "pods-privileged", exemption="")
    rights = [right for right in RIGHTS["rbac-create-pods"][1] if right.resource.partition("/")[0] == "namespaces"]
    found = access(of.cluster, rights, of.node)
    if found.everybody:
        names = {namespace.name for namespace in of.cluster.objects[Query.NAMESPACES]}
        free = sorted(pod_security_defaults(of.node.situation, of.cluster).exempt - names)
        exempt = f", or create one of {', '.join(free[:3])}, which are exempt and do not exist" if free else ""
        detail = f"may choose the label of a namespace, such as one that enforces nothing{exempt}"
        who = [seen._replace(detail=f"{detail}: {seen.detail}") for seen in found.everybody]
        steps = found.removals
        failed = of.answer(ControlStatus.FAIL, who, Query.CLUSTER_ROLE_BINDINGS, *steps, noun="account")
        return failed._replace(evidence=(*failed.evidence, *answer.evidence))
    if found.disputes and answer.status is ControlStatus.PASS:
        return of.answer(ControlStatus.UNKNOWN, found.disputes, Query.ACCESS_REVIEWS, noun="account", reason=DISPUTED)
    return answer


def _admission(
    of: AssessedCluster, level: PodSecurityLevel, apart: list[Listed], control: str, exemption: str = _EXEMPTION
) -> Answer:
    """Return the answer by the standards of the namespaces and the probes, if no workload of the site decides.

    `control` names the probe. `exemption` is the reason why an exempt namespace is listed apart; empty if it decides.
    """
    used = {workload.namespace for workload in workloads_of_site(of.cluster)}

    def why_apart(namespace: str, reason: str) -> str:
        # kube-system needs a standard if the site runs workloads in it.
        return reason if namespace in used else OWN_NAMESPACES.get(namespace, reason)

    defaults = pod_security_defaults(of.node.situation, of.cluster)
    namespaces = {namespace.name: namespace for namespace in of.cluster.objects[Query.NAMESPACES]}
    standards = {name: standard_of(namespace, defaults) for name, namespace in namespaces.items()}
    levels = {name: standard and standard.level for name, standard in standards.items()}
    minor, has_gate = of.node.facts.version.minor, defaults.has_gate
    # A dry run has no warning if the account that made it is exempt.
    probes = {} if defaults.users else of.cluster.probes
    answers = {name: probes.get((name, control)) for name in namespaces}

    def is_enforced(name: str) -> bool:
        answer = answers[name]
        return (
            rejects(standards[name], control, minor, has_gate=has_gate) if answer is None else bool(answer.rejected_by)
        )

    weak = [
        Listed(
            f"Namespace {name}",
            _enforcement(standards[name], defaults, answers[name]),
            why_apart(name, exemption if present is _EXEMPT else ""),
            command=_shown_exemption(name, of.node) if present is _EXEMPT and answers[name] is None else "",
        )
        for name, present in levels.items()
        if not is_enforced(name)
    ]
    rejecting = (
        Listed(f"Namespace {name}", _rejection(answer), "asked with --probe")
        for name, answer in answers.items()
        if answer and answer.rejected_by
    )
    listed = [*weak, *apart, *rejecting]
    open_ = of_site(weak)
    if not open_ and PROBES in of.cluster.problems:
        return NO_ANSWER._replace(evidence=(Evidence(of.cluster.problems[PROBES], source=of.cluster.server),))
    if not open_ and (defaults.users or defaults.runtime_classes):
        return _exemptions(of, defaults, listed)
    if not open_:
        found = f"all namespaces {'without exemption ' if exemption else ''}enforce {_at_least(level)}"
        return of.answer(ControlStatus.PASS, listed, Query.NAMESPACES)._replace(found=found)
    names = [seen.title.partition(" ")[2] for seen in open_]
    engines = {name: [] if answers[name] is not None else engines_of(of.cluster, namespaces[name]) for name in names}
    is_known = {name: answers[name] is not None or levels[name] is not None for name in names}
    is_decided = any(is_known[name] and name in used and not engines[name] for name in names)
    status = ControlStatus.FAIL if is_decided else ControlStatus.MANUAL
    titles = dict.fromkeys(title for found in engines.values() for title in found)
    if titles:
        reason = f"a person has to decide whether {', '.join(titles)} forbids it"
    elif not all(is_known.values()):
        reason = "the default standard is not known; verify that the API server's configuration enforces one"
    else:
        reason = "these namespaces have no workloads of the site yet, and nothing forbids it there"
    reason = "" if is_decided else reason
    steps = enforced(of, [namespaces[name] for name in names], level, defaults)
    return of.answer(status, listed, Query.NAMESPACES, *steps, noun="namespace", reason=reason)


def _exemptions(of: AssessedCluster, defaults: PodSecurityDefaults, listed: Sequence[Listed]) -> Answer:
    """Return the answer if all namespaces enforce the standard, but not for all requests."""
    requests = {
        **{f"user {name}": name for name in defaults.users},
        **{f"runtime class {name}": name for name in defaults.runtime_classes},
    }
    exempt = [
        Listed(request, "is exempt in the API server's configuration", command=_shown_exemption(name, of.node))
        for request, name in requests.items()
    ]
    step = Instruction("remove these exemptions")
    reason = "a person has to decide whether pods of these users and runtime classes require an exemption"
    observed = (*exempt, *listed)
    return of.answer(ControlStatus.MANUAL, observed, Query.NAMESPACES, step, noun="exemption", reason=reason)


def _shown_exemption(name: str, node: AssessedNode) -> str:
    """Return the command that prints the lines with a name in the admission configuration."""
    file = node.arguments(Component.API_SERVER).get(ADMISSION_CONFIGURATION_ARGUMENT)
    return f"sudo grep --line-number --word-regexp {quote(name)} {quote(file.value)}" if file else ""


def _rejection(answer: Probe) -> str:
    admitted = f", but admits that {answer.admitted}" if answer.admitted else ""
    return f"{answer.rejected_by} rejects it, in a dry run{admitted}"


def _enforcement(standard: Standard | None, defaults: PodSecurityDefaults, answer: Probe | None) -> str:
    if answer is not None:
        return " ".join(filter(None, ("admits it", answer.admitted))) + ", in a dry run"
    if defaults.is_disabled:
        return "is not checked, because the plugin PodSecurity is disabled"
    if standard is None:
        return "has no label, and the default standard is not known"
    if standard.level is _EXEMPT:
        return "is exempt in the API server's configuration"
    return f"enforces {standard.level}" + ("" if standard.minor is None else f" of v1.{standard.minor}")


def pod_security_defaults(situation: Situation, cluster: Cluster | None = None) -> PodSecurityDefaults:
    """Return what the API server's admission configuration on this host says.

    The plugin can be disabled by the configuration, or in the running API server of the cluster.
    """
    arguments = situation.arguments(Component.API_SERVER)
    configured = arguments.get(DISABLED_PLUGINS_ARGUMENT)
    running = (cluster.flags or {}).get(DISABLED_PLUGINS_ARGUMENT, "") if cluster else ""
    if POD_SECURITY in f"{configured.value if configured else ''},{running.strip('[]')}".split(","):
        return PodSecurityDefaults(PodSecurityLevel.PRIVILEGED, is_disabled=True)
    is_old = WITH_POD_SECURITY_POLICY.includes(situation.facts.version)
    if is_old or arguments.why_unknown(ADMISSION_CONFIGURATION_ARGUMENT):
        return PodSecurityDefaults(None)
    file, gates = arguments.get(ADMISSION_CONFIGURATION_ARGUMENT), arguments.get(FEATURE_GATES)
    if file is None:
        return PodSecurityDefaults(PodSecurityLevel.PRIVILEGED)
    path, contents = PurePosixPath(file.value), situation.k3s_files.contents
    pairs = dict(pair.partition("=")[::2] for pair in gates.value.split(",")) if gates else {}
    has_gate = pairs.get(_USER_NAMESPACES, pairs.get("AllAlpha")) in TRUE
    try:
        found = admission_configuration.pod_security(contents.get(path) or b"", path, contents.get)
        return PodSecurityDefaults.of(found)._replace(has_gate=has_gate)
    except InputError:
        return PodSecurityDefaults(None)


def _seccomp(of: AssessedCluster) -> Answer:
    has_default = bool(of.cluster.kubelets) and all(
        configuration.get("seccompDefault", _is_set_here(SECCOMP_DEFAULT, name, of.node))
        for name, configuration in of.cluster.kubelets.items()
    )
    all_known = len(of.cluster.kubelets) == len(of.cluster.objects[Query.NODES])

    def is_unconfined(container: Container) -> bool:
        profile = as_string(as_mapping(container.context("seccompProfile")).get("type"))
        has_profile = profile in _WITH_PROFILE if profile else has_default and all_known
        return _is_privileged(container) or not has_profile

    found = observed(of, _of_container("has no seccomp profile", is_unconfined, on_linux=True))
    if not of_site(found):
        return of.answer(ControlStatus.PASS, found, Query.PODS)
    return _broken(of, "pods-seccomp", found, Corrected(_RESTRICTED, ("seccompProfile_restricted", PRIVILEGED)))


def _is_set_here(option: OptionRow, name: str, node: AssessedNode) -> bool:
    """Return whether a kubelet is that of this host, and the option is set as an argument.

    Before Kubernetes 1.36, the argument is not known for other nodes.
    """
    argument = node.arguments(Component.KUBELET).get(option.name)
    return name == node.configured_name and argument is not None and option.meets.accepts(argument.value)


def _security_context(of: AssessedCluster) -> Answer:
    empty = observed(
        of,
        _of_container(
            "has no security context", lambda container: not (container.own_context or container.pod_context)
        ),
    )
    if of_site(empty):
        return _broken(of, "pods-security-context", empty, Corrected(_RESTRICTED, _CONTEXT))
    weak = observed(of, _of_level(_RESTRICTED))
    if not of_site(weak):
        return of.answer(ControlStatus.PASS, empty, Query.PODS)
    step = Instruction("complete the security contexts of these workloads")
    reason = "each container has a security context; a person has to decide whether those of these workloads suffice"
    return of.answer(ControlStatus.MANUAL, weak, Query.PODS, step, noun="workload", reason=reason)


_CONTEXT = ("allowPrivilegeEscalation", "capabilities_restricted", "runAsNonRoot", "seccompProfile_restricted")
"""The rules that a container without a security context breaks."""


def _secrets_in_environment(workload: Workload, _: int) -> Iterator[str]:
    for container in workload.containers:
        if container.secrets:
            secrets = ", ".join(sorted(container.secrets))
            yield f"container {container.name} has Secrets in environment variables: {secrets}"


RULES: Mapping[str, ClusterRule] = {
    "pod-policy-mechanism": ClusterRule(
        (*QUERIES, Query.NAMESPACES, *ENGINES, *rbac.QUERIES, Query.ACCESS_REVIEWS),
        _mechanism,
        passes=f"all namespaces enforce {_at_least(_BASELINE)}",
        fails=(
            "a namespace with workloads of the site does not, and no webhook or policy is about pods; or all users or"
            " pods may create namespaces, or change their labels"
        ),
        manual=(
            "another such namespace has no workloads, a webhook or policy may decide, the default is not known, or"
            " users or runtime classes are exempt"
        ),
    ),
    **{name: _forbids(name) for name in FORBIDDEN},
    "pods-seccomp": ClusterRule(
        (*QUERIES, Query.NODES),
        _seccomp,
        passes=(
            "each container of the site has the profile RuntimeDefault or Localhost, or has none, is not privileged and"
            " each kubelet runs with seccompDefault: true (before Kubernetes 1.36, of the arguments seccomp-default"
            " only that of this node is known)"
        ),
        fails="a container has another profile, or none",
    ),
    "pods-security-context": ClusterRule(
        QUERIES,
        _security_context,
        passes="no container of the site is without a security context, or breaks the standard restricted",
        fails="a container of the site has no security context, and its pod has none",
        manual="a security context does not meet the standard restricted",
    ),
    "secrets-as-files": fails_if_any(
        QUERIES,
        lambda of: observed(of, _secrets_in_environment),
        "workload",
        "mount the Secrets as files, or waive the control with the reason",
        passes="no workload of the site has secretKeyRef or secretRef in its environment",
        fails="a workload has",
    ),
}
"""By control."""
