"""NetworkPolicies of a running node: the kernel's rules for its pods, and the policies that K3s applied last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import PurePosixPath

from agent.assess.checks.answer import ControlStatus, Effect
from agent.base.linux.file_systems import FilterRule
from agent.base.repair import Answer as Choice
from agent.base.repair import Decide, Run, RunVerb
from agent.base.value import Value
from agent.cluster.kubernetes.network_policies import NetworkPolicy
from agent.cluster.kubernetes.objects import selects
from agent.cluster.kubernetes.running_objects import NetworkPod
from agent.harden.node.facts import HostFacts

PASS, FAIL, UNKNOWN = ControlStatus.PASS, ControlStatus.FAIL, ControlStatus.UNKNOWN
NOT_STARTED, ABORTED = "Skipping network policy controller start", "Aborting sync. Failed to run iptables-restore"
"""What K3s logs if it enforces no policies at all (k3s, pkg/agent/netpol), or not their last changes (kube-router)."""
_FORWARD, _ENTRY, _OF_POD, _OF_POLICY = "FORWARD", "KUBE-ROUTER-FORWARD", "KUBE-POD-FW-", "KUBE-NWPLCY-"
_FIRST = (_ENTRY, "ACCEPT")
_RUN_THROUGH = "run through nw policy "
_OTHERS = {"calico-node": "Calico", "canal": "Canal", "cilium": "Cilium"}
"""Labels k8s-app of the pods of other network plugins that enforce policies."""
_MOST_NAMED = 3
_COMMAND = "sudo iptables-save -t filter | grep -E 'KUBE-(ROUTER-FORWARD|POD-FW|NWPLCY)'"


class NodeNetwork(Value):
    """What a node has for the enforcement of NetworkPolicies."""

    problem: str = ""
    """Why something of it could not be read; empty if all was."""
    rules: Mapping[int, Sequence[FilterRule]] = {}
    """By family of addresses: 4 or 6."""
    pods: tuple[NetworkPod, ...] = ()
    """Those of this node."""
    policies: tuple[NetworkPolicy, ...] = ()
    logged: tuple[str, ...] = ()
    """The lines of K3s' log of this start with one of the messages above."""


def network_policy_effect(facts: HostFacts, network: NodeNetwork) -> Effect:
    """Return whether each policy that selects a pod of this node is enforced for it."""
    is_off = facts.merged_config.boolean("disable-network-policy")
    configured = "disable-network-policy is set" if is_off else "K3s' controller enforces them"
    logged = next((line for line in network.logged if NOT_STARTED in line), "")
    apps = {pod.labels.get("k8s-app", "") for pod in network.pods}
    others = [name for label, name in _OTHERS.items() if label in apps]
    missing = () if is_off or network.problem else tuple(unenforced(network.rules, network.pods, network.policies))
    selected = sum(bool(_selecting(pod, network.policies)) for pod in network.pods)
    status, found = PASS, f"the kernel has the rules of all policies for {selected} pods of this node"
    if logged and not is_off:
        status, found = FAIL, f"K3s runs without its network policy controller: {logged}"
    elif others:
        status, found = UNKNOWN, f"pods of {' and '.join(others)} run on this node, whose rules are not read"
    elif is_off:
        status, found = UNKNOWN, "no pod of a known network plugin runs on this node"
    elif network.problem:
        status, found = UNKNOWN, network.problem
    elif not selected:
        status, found = UNKNOWN, "no policy selects a pod of this node, so there is nothing to enforce"
    elif missing:
        more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
        status, found = FAIL, f"{'; '.join(missing[:_MOST_NAMED])}{more}"
        aborted = next((line for line in network.logged if ABORTED in line), "")
        found += f"; K3s logged: {aborted}" if aborted else ""
    return Effect(
        subject="NetworkPolicies on this node",
        configured=configured,
        status=status,
        observed=found,
        command=_COMMAND,
        controls=("cni-network-policies",),
        steps=(
            Run("sudo modprobe --all ip_set ip_set_hash_ip ip_set_hash_net xt_set"),
            Run(f"sudo systemctl restart {facts.service}"),
        ),
    )


def _selecting(pod: NetworkPod, policies: Sequence[NetworkPolicy]) -> list[NetworkPolicy]:
    if pod.host_network or pod.is_over or not pod.addresses:
        return []
    return [own for own in policies if own.namespace == pod.namespace and selects(own.selector, pod.labels)]


def unenforced(
    rules: Mapping[int, Sequence[FilterRule]], pods: Sequence[NetworkPod], policies: Sequence[NetworkPolicy]
) -> Iterator[str]:
    """Yield what the rules of kube-router lack, for each pod and policy (kube-router, pkg/controllers/netpol).

    The names of its chains contain a hash that changes with each synchronization, so comments and jumps are compared.
    A set need not be looked at: the kernel refuses to remove one that a rule names.
    """
    for family, all_rules in rules.items():
        by_chain: dict[str, list[FilterRule]] = {}
        for rule in all_rules:
            by_chain.setdefault(rule.chain, []).append(rule)
        # Packets reach kube-router's rules only if no rule before them accepts all.
        first = [rule.target for rule in by_chain.get(_FORWARD, ()) if rule.is_for_all and rule.target in _FIRST][:1]
        for pod in pods:
            applied = _selecting(pod, policies)
            for address in pod.addresses:
                if applied and (6 if ":" in address else 4) == family:
                    if first != [_ENTRY]:
                        yield f"traffic to pods does not pass {_ENTRY} (IPv{family})"
                        return
                    yield from _of_pod(by_chain, pod, address, applied)


def _of_pod(
    by_chain: Mapping[str, Sequence[FilterRule]], pod: NetworkPod, address: str, policies: Sequence[NetworkPolicy]
) -> Iterator[str]:
    name = f"pod {pod.namespace}/{pod.name}"
    tops = (rule for chain in (_ENTRY, _FORWARD) for rule in by_chain.get(chain, ()))
    # Those with more conditions are about the traffic of a bridge only.
    jumps = [rule for rule in tops if rule.target.startswith(_OF_POD) and not rule.conditions]
    for kind in sorted({kind for policy in policies for kind in policy.types}):
        where = "destination" if kind == "Ingress" else "source"
        chains = {rule.target for rule in jumps if getattr(rule, where) == address}
        if not chains:
            yield f"{name} ({address}) has no rule for {kind.lower()}"
        for chain in chains:
            inside = by_chain.get(chain, ())
            passed = {rule.comment for rule in inside if rule.target.startswith(_OF_POLICY)}
            for policy in policies:
                if kind in policy.types and f"{_RUN_THROUGH}{policy.name}" not in passed:
                    yield f"{name} does not pass NetworkPolicy {policy.namespace}/{policy.name} for {kind.lower()}"
            if not any(rule.target in ("REJECT", "DROP") for rule in inside):
                yield f"{name} has no rule that rejects what no policy admits"


ADDON = "/apis/k3s.cattle.io/v1/namespaces/kube-system/addons/policy"
"""The object in which K3s keeps the SHA-256 of the policy.yaml that it applied last (k3s, pkg/deploy/controller.go)."""
_APPLY_POLICIES = (RunVerb("apply"),)
_SAME_SETTINGS = Decide(
    "Which settings are those of the cluster?",
    (
        Choice("Those of this server", "copy them to the other servers, and run it there", _APPLY_POLICIES),
        Choice("Those of another server", "copy them to this server", _APPLY_POLICIES),
    ),
)


def addon_effect(path: PurePosixPath, content: bytes, applied: str) -> Effect:
    """Return whether K3s applied this content last; `applied` is the digest in its Addon."""
    is_own = sha256(content).hexdigest() == applied
    observed = "the cluster has the policies of this server" if is_own else "the cluster has those of another server"
    return Effect(
        subject=f"Policies of {path.name}",
        configured=str(path),
        status=PASS if is_own else FAIL,
        observed=f"{observed}: {path} and the Addon kube-system/policy {'agree' if is_own else 'have other digests'}",
        command=f"sudo k3s kubectl get addon policy --namespace=kube-system --output=yaml; sha256sum {path}",
        controls=("cni-network-policies", "namespaces-network-policies"),
        steps=(_SAME_SETTINGS,),
    )
