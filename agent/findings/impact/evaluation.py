"""The impact of hardening on a running cluster, from its objects and from what is and will be in effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.base.model import Location
from agent.base.repair import Repair, RunVerb
from agent.base.times import parse_timestamp, timestamp
from agent.base.value import Value, replace
from agent.cluster.connection import StatusError
from agent.cluster.fleet.published import options_of
from agent.cluster.kubernetes.network_policies import PodNetwork
from agent.cluster.kubernetes.pod_security import PodSecurityDefaults, PodSecurityLevel
from agent.cluster.kubernetes.queries import CONTROLLERS, MONITORS, REFERRERS, REPOSITORIES
from agent.cluster.kubernetes.running_objects import PODS, ObjectName
from agent.findings.impact import Break, Impact, Reason, Topic, When, advice
from agent.findings.impact.accounts import account_breaks
from agent.findings.impact.admission_policies import rejected_again
from agent.findings.impact.pod_security_repairs import Stage
from agent.findings.impact.rejected_pods import Levels, answered_otherwise, pod_security_breaks
from agent.findings.impact.traffic import ADDON, expected_policies, traffic_breaks
from agent.harden.guide.guide_files import ADMISSION_POLICIES_APPLY
from agent.harden.guide.manifests import exempt_namespaces
from agent.harden.settings.schema import DEFAULT_SETTINGS
from agent.k3s.allow_rule import merged_rules
from agent.k3s.roles_and_versions import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import PurePosixPath

    from agent.base.errors import HostError
    from agent.base.linux.file_systems import TrackedConnection
    from agent.cluster.kubernetes.running_objects import Running
    from agent.cluster.pod_security_probe import UnexpectedAnswer
    from agent.harden.settings.schema import Settings
    from agent.harden.settings.waivers import AcceptedBreak
    from agent.k3s.roles_and_versions import Version

_DISABLED = "disable-network-policy"
_BACKEND = "flannel-backend"
_PLUGINS = {
    "antrea-agent": "Antrea",
    "calico-node": "Calico",
    "canal": "Calico",
    "cilium": "Cilium",
    "kube-router": "kube-router",
    "ovnkube-node": "OVN-Kubernetes",
    "weave-net": "Weave Net",
}
"""CNI plugins that enforce NetworkPolicies, by the name of their DaemonSet."""
_REFUSED = (401, 403)
_ROLE = RunVerb("render", ("impact-role",), piped_to="kubectl apply -f -")
_UNSEEN = "the NetworkPolicies in effect can cut more: a client with an address in a Secret is not known"
_STAGE = 90 * 86_400
"""Seconds of a stage that is proposed."""


class Inputs(Value):
    """What the impact depends on."""

    server: str
    running: Running
    settings: Settings
    version: Version
    """Of the API server."""
    today: PodSecurityDefaults
    tomorrow: PodSecurityDefaults
    day: str
    """Today in UTC, YYYY-MM-DD."""
    connections: tuple[TrackedConnection, ...] | None = None
    """Those that this node tracks, and those of records; None if they are not known."""
    is_watched: bool = False
    """Whether records have those of a day of each node."""
    is_account_used: Callable[[str], bool | None] = lambda _: None
    """Whether the audit log has requests of the default account of a namespace; None without a log."""
    denies_external_ips: bool = False
    """Whether the running API server has the plugin DenyServiceExternalIPs."""
    differences: tuple[UnexpectedAnswer, ...] = ()
    """Workloads for which the API server does not answer as predicted."""
    rancher_managed: bool = False
    settings_file: PurePosixPath = DEFAULT_SETTINGS
    notes: tuple[str, ...] = ()


def evaluate(inputs: Inputs) -> Impact:
    """Return what breaks."""
    running = inputs.running
    objects = running.objects
    cluster = PodNetwork(
        namespaces={namespace.name: namespace.labels for namespace in objects.get("namespaces", ())},
        pods=tuple(workload.network for workload in objects.get(PODS, ())),
        templates=tuple(workload.network for query in CONTROLLERS for workload in objects.get(str(query), ())),
        services=objects.get("services", ()),
        slices=objects.get("endpointslices", ()),
        referrers=tuple(found for name in REFERRERS for found in objects.get(name, ())),
        monitors=tuple(found for name in MONITORS for found in objects.get(name, ())),
        config_maps=objects.get("configmaps", ()),
        repositories=tuple(found for name in REPOSITORIES for found in objects.get(name, ())),
        nodes=objects.get("nodes", ()),
        policies=objects.get("networkpolicies", ()),
    )
    unknown = enforcement_problem(cluster)
    if not unknown and "networkpolicies" in running.problems:
        unknown = running.problems["networkpolicies"].message
    levels = Levels(inputs.today, inputs.tomorrow, inputs.version.minor)
    breaks = (
        *pod_security_breaks(running, cluster, levels, _stage(inputs)),
        *map(answered_otherwise, inputs.differences),
        *traffic_breaks(
            *(cluster, expected_policies(inputs.settings), inputs.connections, unknown), is_watched=inputs.is_watched
        ),
        *_external_addresses(cluster, inputs),
        *(
            account_breaks(running, cluster, inputs.is_account_used, inputs.settings.exempt_accounts)
            if inputs.settings.stage_service_accounts
            else ()
        ),
        *(
            rejected_again(running, inputs.settings, expected_defaults(inputs.settings, inputs.version).exempt)
            if ADMISSION_POLICIES_APPLY.to(Role.SERVER, inputs.version)
            and not (inputs.rancher_managed or inputs.settings.rancher_managed)
            else ()
        ),
        *(_unread(name, problem) for name, problem in running.problems.items()),
    )
    order = [*When]
    ordered = sorted(
        breaks, key=lambda entry: (order.index(entry.when), not entry.is_certain, entry.topic, entry.object)
    )
    accepted = {entry.object: entry for entry in inputs.settings.accepted_breaks}
    owners = {ObjectName(own.namespace, own.kind, own.name): own.owner for own, *_ in running.workloads}
    known = (replace(entry, owner=owners.get(entry.object, "")) for entry in ordered)
    found = tuple(_accepting(entry, accepted.get(str(entry.object)), inputs.day) for entry in known)
    unused = accepted.keys() - {str(entry.object) for entry in ordered}
    existing = {*map(str, owners), *(f"{one.namespace}/Service/{one.name}" for one in cluster.services)}
    listed = {"Pod": PODS, "Service": "services", **{kind: str(query) for query, kind in CONTROLLERS.items()}}
    kinds = {kind for kind, name in listed.items() if name in objects}
    unknown_objects = (accepted[name] for name in sorted(unused - existing) if name.split("/")[-2] in kinds)
    notes = [f"`impact.accepted` names {name}, which does not break" for name in sorted(unused)]
    notes += [_UNSEEN] * any(policy.addon == ADDON for policy in cluster.policies)
    proposed = (rule for entry in found for rule in entry.allow)
    rules = merged_rules((*inputs.settings.network_policy_allow, *proposed))
    return Impact(inputs.server, found, (*inputs.notes, *notes), rules, tuple(unknown_objects))


def _accepting(entry: Break, accepted: AcceptedBreak | None, today: str) -> Break:
    """Return a break with the entry of the settings that accepts it."""
    is_accepted = accepted is not None and not accepted.is_expired(today)
    return replace(entry, accepted=accepted, is_accepted=is_accepted)


_WORKLOADS = (PODS, "namespaces", *map(str, CONTROLLERS))
_NEEDED = {
    Topic.POD_SECURITY: (*_WORKLOADS, "events"),
    Topic.NETWORK_POLICIES: (
        *(*_WORKLOADS, "services", "endpointslices", "networkpolicies", "nodes", "configmaps"),
        *(*REFERRERS, *MONITORS, *REPOSITORIES),
    ),
    Topic.SERVICE_ACCOUNTS: (*_WORKLOADS, "serviceaccounts", "rolebindings", "clusterrolebindings"),
    Topic.ADMISSION: ("services",),
    Topic.POLICIES: ("namespaces", "rolebindings", "clusterrolebindings"),
}
"""The lists that each topic needs."""


def needed(topics: Iterable[Topic]) -> frozenset[str]:
    """Return the lists that these topics need."""
    return frozenset(name for topic in topics for name in _NEEDED[topic])


def _unread(name: str, problem: HostError) -> Break:
    """Return the break of all objects of a list that could not be read."""
    is_refused = isinstance(problem, StatusError) and problem.status in _REFUSED
    words = advice("use a credential that may list them") if is_refused else advice("find out why the API server fails")
    fix = replace(words, alternative=Repair((_ROLE,))) if is_refused else words
    reason = Reason("list", problem.message, "all objects")
    return Break(ObjectName("", name, ""), Topic.NETWORK_POLICIES, When.AT_ONCE, (reason,), fix, is_certain=False)


def _stage(inputs: Inputs) -> Stage:
    until = timestamp(parse_timestamp(f"{inputs.day}T00:00:00Z") + _STAGE)[:10]
    return Stage(inputs.settings, until, Location(inputs.settings_file))


def _external_addresses(cluster: PodNetwork, inputs: Inputs) -> Iterator[Break]:
    """Yield the Services whose external addresses the API server will reject when they are created or changed."""
    if inputs.settings.deny_service_external_ips and not inputs.denies_external_ips:
        for service in cluster.services:
            if service.external_addresses:
                name = ObjectName(service.namespace, "Service", service.name)
                reason = Reason("spec.externalIPs", ", ".join(service.external_addresses), "no new address")
                fix = advice("use the type LoadBalancer", "set `deny-service-external-ips: false` in the settings")
                condition = "if it is created again"
                yield Break(name, Topic.ADMISSION, When.RESTART, (reason,), fix, condition=condition)


def expected_defaults(settings: Settings, version: Version) -> PodSecurityDefaults:
    """Return the Pod Security configuration of psa.yaml."""
    exempt = (*exempt_namespaces(version, with_rancher=settings.exempt_rancher), *settings.exempt_namespaces)
    return PodSecurityDefaults(PodSecurityLevel(settings.stage_pod_security.level), frozenset(exempt))


def enforcement_problem(cluster: PodNetwork) -> str:
    """Return why it is not known how NetworkPolicies are enforced; empty if K3s' own controller does it."""
    options = {node.name: options_of(node.arguments) for node in cluster.nodes if node.arguments}
    for name, given in options.items():
        disabled = given.get(_DISABLED)
        is_disabled = disabled is not None and disabled[-1:] != ["false"]
        if is_disabled or given.get(_BACKEND, [""])[-1:] == ["none"]:
            others = (
                f"{_PLUGINS[pod.name]} ({cluster.title(pod)})" for pod in cluster.templates if pod.name in _PLUGINS
            )
            who = next(others, "")
            option = f"--{_DISABLED}" if is_disabled else f"--{_BACKEND}=none"
            return f"{who or 'no known one, so probably nobody enforces them'}: {option} on node {name}"
    return "" if options else "no node with K3s' arguments in its annotations"
