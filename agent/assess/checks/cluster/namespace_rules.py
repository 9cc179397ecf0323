"""Rules about namespaces and the cluster as a whole: NetworkPolicies, use of namespaces, images, secret storage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from shlex import quote

from agent.assess.checks.answer import Answer, ControlStatus, Evidence, grep_count
from agent.assess.checks.cluster.rule import AssessedCluster, ClusterRule, Listed, fails_if_any, of_site
from agent.assess.checks.cluster.workload_rules import workloads_of_site
from agent.base.errors import InputError
from agent.base.repair import Instruction, Repair, RunVerb, Step
from agent.base.yaml_reader import Scalar, part
from agent.cluster.kubernetes import admission_engines
from agent.cluster.kubernetes.built_in_objects import OWN_NAMESPACES
from agent.cluster.kubernetes.network_policies import opened
from agent.cluster.kubernetes.objects import selects
from agent.cluster.kubernetes.queries import QUERIES, Cluster, Query, workloads_with_controllers
from agent.findings.config_edits import setting_to
from agent.harden.desired.dropin_options import ADMISSION_CONFIGURATION_ARGUMENT
from agent.k3s.admission_configuration import plugin_configuration
from agent.k3s.roles_and_versions import Component

_DEFAULT = "default"
_IN_DEFAULT = {
    Query.DEFAULT_SERVICES: ("Service", "kubernetes"),
    Query.DEFAULT_CONFIG_MAPS: ("ConfigMap", "kube-root-ca.crt"),
    Query.DEFAULT_SECRETS: ("Secret", ""),
    Query.DEFAULT_CLAIMS: ("PersistentVolumeClaim", ""),
    Query.DEFAULT_INGRESSES: ("Ingress", ""),
    Query.SERVICE_ACCOUNTS: ("ServiceAccount", "default"),
    Query.ROLES: ("Role", ""),
    Query.ROLE_BINDINGS: ("RoleBinding", ""),
}
"""The kinds of objects in the namespace default besides workloads, each with the name of the one of Kubernetes."""
_OF_OLD_ACCOUNT = "default-token-"
"""The Secret that Kubernetes creates for the default account up to 1.23."""
_LEASES = "kube-node-lease"
_NO_POLICY = "has no NetworkPolicy"
_DISABLED = "disable-network-policy"
_IMAGE_POLICY = "ImagePolicyWebhook"
_VERIFIERS = {"kyverno": "Kyverno", "sigstore": "the policy controller of sigstore", "connaisseur": "Connaisseur"}
"""Software that can verify images, by a part of the name of its webhook configuration."""


def _network_policies(of: AssessedCluster) -> Answer:
    ranges = of.node.facts.merged_config.scalar("cluster-cidr")
    families = {6 if ":" in part else 4 for part in (ranges.text if ranges else "").split(",")}
    missing = [
        Listed(
            f"Namespace {namespace.name}",
            why,
            "it contains the leases of nodes and no pods" if namespace.name == _LEASES else "",
            command=f"sudo k3s kubectl get networkpolicy --namespace={namespace.name} --output=yaml",
        )
        for namespace in of.cluster.objects[Query.NAMESPACES]
        if (why := _unlimited(namespace.name, of.cluster, families))
    ]
    if of_site(missing):
        steps = _policed(of, of_site(missing))
        return of.answer(ControlStatus.FAIL, missing, Query.NETWORK_POLICIES, *steps, noun="namespace")
    found = of.answer(ControlStatus.PASS, missing, Query.NETWORK_POLICIES, noun="namespace")
    return found._replace(found="each namespace has a NetworkPolicy")


def _policed(of: AssessedCluster, missing: Iterable[Listed]) -> Iterator[Step]:
    """Yield the steps after which namespaces have a policy. `apply` changes nothing if that cuts a connection."""
    situation = of.node.situation
    own = situation.settings.network_policy_namespaces
    bare = [seen.title.partition(" ")[2] for seen in missing if seen.detail == _NO_POLICY]
    new = [name for name in bare if name not in own and name not in OWN_NAMESPACES and name != _DEFAULT]
    if new:
        yield setting_to(situation, "network-policies.namespaces", f"[{', '.join((*own, *new))}]")
    if new or (bare and situation.plan.changes):
        yield RunVerb("apply")
    if not new and (opened := [seen.title for seen in missing if seen.detail != _NO_POLICY]):
        yield Instruction(
            f"limit or remove the NetworkPolicies that allow everything or select no pod in {', '.join(opened)}"
        )


def _unlimited(namespace: str, cluster: Cluster, families: Container[int]) -> str:
    """Return why no traffic of a namespace is limited; empty if that of a pod is. Without pods, a new one counts."""
    policies = [policy for policy in cluster.objects[Query.NETWORK_POLICIES] if policy.namespace == namespace]
    if not policies:
        return _NO_POLICY
    pods = [
        workload.labels
        for _, workload in workloads_with_controllers(cluster)
        if workload.namespace == namespace and workload.template["spec"].get("hostNetwork") is not True
    ]
    applied = [[policy for policy in policies if selects(policy.selector, labels)] for labels in pods or [{}]]
    if not any(applied):
        return "has only NetworkPolicies that select no pod"
    is_limited = any(opened(policies, families) != {"Ingress", "Egress"} for policies in applied)
    return "" if is_limited else "has only NetworkPolicies that allow everything"


def _enforcement(of: AssessedCluster) -> Answer:
    option = of.node.facts.merged_config.scalar(_DISABLED)
    if option is not None and of.node.facts.merged_config.boolean(_DISABLED):
        evidence = (Evidence(f"{_DISABLED}: {option.text}", option.location),)
        step = Instruction("use a CNI plugin that enforces NetworkPolicies")
        reason = "K3s' controller is disabled, so another one has to enforce NetworkPolicies"
        return Answer(ControlStatus.MANUAL, "", evidence, reason, Repair((step,)))
    observation = f"no configuration of K3s sets {_DISABLED}, so K3s enforces NetworkPolicies"
    command = grep_count(_DISABLED, of.node.facts.configuration.path.parent)
    found = Evidence(observation, source="K3s", repeat_with=command)
    return Answer(ControlStatus.PASS, f"{_DISABLED} is not set", (found,))


def _in_default_namespace(of: AssessedCluster) -> Iterable[Listed]:
    used: dict[str, Listed] = {}
    for query, workload in workloads_with_controllers(of.cluster):
        if workload.namespace == _DEFAULT:
            used.setdefault(workload.title, Listed(workload.title, "", query=query))
    for query, (kind, own) in _IN_DEFAULT.items():
        for found in of.cluster.objects[query]:
            is_inside = query.value.endswith(" in default") or found.namespace == _DEFAULT
            if is_inside and found.name != own and not found.name.startswith(_OF_OLD_ACCOUNT):
                title = f"{kind} {_DEFAULT}/{found.name}"
                used.setdefault(title, Listed(title, "", query=query))
    return used.values()


def _boundaries(of: AssessedCluster) -> Answer:
    workloads = Counter(
        own for own, _ in {(workload.namespace, workload.title) for workload in workloads_of_site(of.cluster)}
    )
    found = [
        Listed(f"Namespace {namespace.name}", f"{workloads[namespace.name]} workloads of the site")
        for namespace in of.cluster.objects[Query.NAMESPACES]
        if namespace.name not in OWN_NAMESPACES
    ]
    reason = "a person has to decide whether each team and each environment has its own namespaces"
    return of.to_review(found, Query.NAMESPACES, "namespace", reason)


def _images(of: AssessedCluster) -> Answer:
    plugins = of.node.arguments(Component.API_SERVER).get("enable-admission-plugins")
    is_configured = plugins is not None and _IMAGE_POLICY in plugins.value.split(",")
    engines = [engine for engine, _ in admission_engines.engines(of.cluster)]
    found = [Listed(engine.title, "is called for pods") for engine in engines]
    found += [
        Listed(
            str(path),
            "is asked by containerd of this node before it pulls an image",
            command=f"sudo ls -l {quote(str(path))}",
        )
        for path in of.node.evidence.image_verifiers
    ]
    if is_configured:
        fails_closed, detail = _image_policy(of)
        found.insert(0, Listed(_IMAGE_POLICY, detail))
        if fails_closed:
            return of.answer(ControlStatus.PASS, found, Query.VALIDATING_WEBHOOKS, noun="webhook")
    verifiers = [name for known, name in _VERIFIERS.items() if any(known in engine.name for engine in engines)]
    reason = (
        f"a person has to decide whether {' and '.join(verifiers) or 'one of these'} verifies the origin of all images"
        if found
        else "nothing in the API server or in containerd of this node verifies the origin of images"
    )
    return of.to_review(found, Query.VALIDATING_WEBHOOKS, "webhook", reason)


def _image_policy(of: AssessedCluster) -> tuple[bool, str]:
    """Return whether the plugin rejects pods without an answer of its backend, and that in words."""
    file = of.node.arguments(Component.API_SERVER).get(ADMISSION_CONFIGURATION_ARGUMENT)
    path, contents = PurePosixPath(file.value if file else "/"), of.node.situation.k3s_files.contents
    try:
        found = plugin_configuration(_IMAGE_POLICY, contents.get(path) or b"", path, contents.get)
    except InputError:
        found = None
    policy = part(found[2], "imagePolicy") if found else None
    if policy is None:
        return False, "is enabled in the API server; its configuration cannot be read"
    allows = part(policy, "defaultAllow")
    if allows is not None and not (isinstance(allows, Scalar) and allows.value is False):
        return False, "is enabled in the API server, but admits pods if its backend does not answer (defaultAllow)"
    return True, "asks a backend about the images of each pod, and rejects without an answer (defaultAllow is false)"


def _secret_storage(of: AssessedCluster) -> Answer:
    types = Counter(secret.type or "unknown type" for secret in of.cluster.objects[Query.SECRETS])
    found = [Listed(f"{number} Secrets", f"type {kind}") for kind, number in sorted(types.items())]
    reason = "a person has to decide which of the secrets require a store outside the cluster"
    return of.to_review(found, Query.SECRETS, "Secret", reason)._replace(found=f"{sum(types.values())} Secrets")


RULES: Mapping[str, ClusterRule] = {
    "cni-network-policies": ClusterRule(
        (),
        _enforcement,
        passes=f"K3s' configuration does not set {_DISABLED}, so K3s' own controller enforces NetworkPolicies",
        manual=f"{_DISABLED} is set",
    ),
    "namespaces-network-policies": ClusterRule(
        (Query.NAMESPACES, Query.NETWORK_POLICIES, *QUERIES),
        _network_policies,
        passes=f"each namespace has a NetworkPolicy that limits pods, except {_LEASES}, which has no pods",
        fails="a namespace has none, or only those that select no pod or allow everything",
    ),
    "external-secret-storage": ClusterRule(
        (Query.SECRETS,), _secret_storage, manual="always; the evidence has the number of Secrets of each type"
    ),
    "image-provenance": ClusterRule(
        admission_engines.ENGINES,
        _images,
        passes=f"the API server enables {_IMAGE_POLICY}, whose configuration has `defaultAllow: false`",
        manual="otherwise; the evidence lists the webhooks and policies that can reject pods, and names verifiers",
    ),
    "namespace-boundaries": ClusterRule(
        (Query.NAMESPACES, *QUERIES),
        _boundaries,
        manual="always; the evidence lists the namespaces and the number of their workloads",
    ),
    "default-namespace": fails_if_any(
        (*QUERIES, *_IN_DEFAULT),
        _in_default_namespace,
        "object",
        "move these objects to other namespaces",
        passes="the namespace default contains only what Kubernetes creates, besides NetworkPolicies",
        fails=(
            "it contains a workload, Service, ConfigMap, Secret, PersistentVolumeClaim, Ingress, ServiceAccount, Role"
            " or RoleBinding of the site"
        ),
    ),
}
"""By control."""
