"""Connections that the NetworkPolicies of the guide and of the settings cut, and the smallest rules that admit them."""

from __future__ import annotations

from itertools import combinations
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from agent.base.repair import Instruction, Repair, RunVerb
from agent.base.value import replace
from agent.base.yaml_reader import plain, read_documents
from agent.cluster.kubernetes.declared_paths import DeclaredPaths, Flow, is_balancer
from agent.cluster.kubernetes.network_policies import FORMER, Client, Policies, Target, parse_policy
from agent.cluster.kubernetes.running_objects import ObjectName, own_labels
from agent.findings.impact import Break, Reason, Topic, When, advice
from agent.harden.desired.resources import network_policies
from agent.k3s.allow_rule import AllowedPods, AllowedPort, AllowRule, labels

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from agent.base.linux.file_systems import TrackedConnection
    from agent.cluster.kubernetes.network_policies import NetworkPolicy, PodNetwork
    from agent.harden.settings.schema import Settings
    from agent.k3s.allow_rule import Labels

ALLOW, ACCEPTED = "network-policies.allow", "impact.accepted"
ADDON = "policy"
"""The Addon of policy.yaml."""
_PREFERRED = ("app.kubernetes.io/name", "app", "k8s-app", "app.kubernetes.io/instance", "app.kubernetes.io/component")
_MOST_ADDRESSES = 8
_SHARED = "unless client and pod share a node"
_MOVED = "if the pod is on another node than {client}"
_SEEN = "connection tracking"


class _Cut(NamedTuple):
    """Connections that one kind of client can open before, and not then."""

    clients: tuple[Client, ...]
    targets: tuple[Target, ...]
    shares_node: bool
    """Whether others of these connections are admitted, because both ends are on one node."""


def traffic_breaks(
    cluster: PodNetwork,
    expected: Sequence[NetworkPolicy],
    connections: Iterable[TrackedConnection] | None,
    unknown: str,
    *,
    is_watched: bool = False,
) -> Iterator[Break]:
    """Yield what the policies of policy.yaml that K3s has applied cut now, and what breaks with these.

    With `is_watched`, the connections include those of a day.

    `unknown` is why it is not known whether the cluster enforces them; empty if K3s' own controller does.
    """
    # K3s deletes the objects of its Addon that the file does not have any more.
    theirs = [policy for policy in cluster.policies if policy.addon != ADDON]
    after = {(policy.namespace, policy.name): policy for policy in (*theirs, *expected)}
    then = Policies(after.values(), cluster.namespaces)
    ours = [policy for policy in cluster.policies if policy.addon == ADDON]
    cut_now = _Comparison(cluster, ours, Policies(theirs, cluster.namespaces), planned=then) if ours else None
    coming = _Comparison(cluster, expected, then=then)
    observed = tuple(connections or ())
    found = [
        *map(_replaced, replaced_policies(cluster.policies, expected)),
        *(cut_now.breaks(observed) if cut_now else ()),
        *coming.breaks(observed),
        *coming.rest(is_watched=is_watched),
    ]
    if unknown and found:
        reason = Reason("NetworkPolicy controller", unknown, "that of K3s")
        fix = advice("find out whether the cluster enforces NetworkPolicies")
        yield _at_once(ObjectName("", "Cluster", ""), reason, fix, is_certain=False)
    yield from (replace(entry, is_certain=entry.is_certain and not unknown) for entry in found)


def replaced_policies(existing: Iterable[NetworkPolicy], expected: Iterable[NetworkPolicy]) -> Iterator[NetworkPolicy]:
    """Yield the policies of a site that K3s replaces, because they have the name of one of these."""
    ours = {(policy.namespace, policy.name): policy for policy in expected}
    for policy in existing:
        expected_policy = ours.get((policy.namespace, policy.name))
        if expected_policy and policy.addon != ADDON and _complete(policy) != _complete(expected_policy):
            yield policy


def expected_policies(settings: Settings) -> list[NetworkPolicy]:
    """Return the NetworkPolicies of policy.yaml."""
    documents = read_documents(network_policies(settings), PurePosixPath("policy.yaml"))
    return [parse_policy(plain(document.node)) for document in documents]


class _Comparison:
    """The cluster with other policies before and then: by default with those that it has."""

    def __init__(
        self,
        cluster: PodNetwork,
        ours: Sequence[NetworkPolicy],
        before: Policies | None = None,
        then: Policies | None = None,
        planned: Policies | None = None,
    ) -> None:
        existing = Policies(cluster.policies, cluster.namespaces)
        self._cluster = cluster
        self._policed = {policy.namespace for policy in ours}
        self._before = before or existing
        self._then = then or existing
        self._planned = planned
        """If `then` is today: the policies after the next apply."""
        self._rules: dict[AllowRule, None] = {}
        """Those of the breaks that were found so far."""

    def breaks(self, connections: Iterable[TrackedConnection]) -> Iterator[Break]:
        """Yield the connections that are declared, and those that are open and not declared."""
        yield from _merged(self._declared())
        yield from _merged(self._observed(connections))

    def _declared(self) -> Iterator[Break]:
        for flow in DeclaredPaths(self._cluster).flows():
            when = When.NEXT_CONNECTION if flow.stays_open else When.AT_ONCE
            when = When.NOW if self._planned else when
            cut, condition = self._cut(flow.clients, flow.targets), flow.condition
            if cut is not None and cut.shares_node:
                condition = _SHARED
            elif cut is None and len(self._cluster.nodes) > 1:
                moved = tuple(client._replace(node="") for client in flow.clients if client.node)
                cut, when = self._cut(moved, flow.targets), When.NEXT_PODS
                condition = _MOVED.format(client=flow.client)
            if cut is not None:
                yield self._break(flow, cut, when, condition)

    def _break(self, flow: Flow, cut: _Cut, when: When, condition: str) -> Break:
        rules = self._rules_for(cut, flow.service.selector if flow.service else {})
        expected = "; ".join(
            f"a NetworkPolicy in {rule.namespace} that admits {flow.client} to port {', '.join(map(str, rule.ports))}"
            for rule in rules
        )
        planned = self._planned
        is_planned = planned is not None and all(
            planned.admit(client, *target) for client in cut.clients for target in cut.targets
        )
        return Break(
            flow.object,
            Topic.NETWORK_POLICIES,
            when,
            (Reason(flow.field, flow.found, expected),),
            Repair((RunVerb("apply"),)) if is_planned else _allowing(rules),
            () if is_planned else rules,
            condition=condition,
            is_certain=flow.is_certain,
            is_new=planned is None,
        )

    def _cut(self, clients: Sequence[Client], targets: Sequence[Target]) -> _Cut | None:
        """Return the connections that are admitted before and not then; None without one."""
        with_node = any(client.node for client in clients)
        # Pods with equal labels differ only by their node.
        ends: dict[object, list[Target]] = {}
        for target in targets:
            pod = target.pod
            if pod.namespace in self._policed:
                key = (pod.namespace, pod.own_labels, target.port, target.protocol, with_node and pod.node)
                ends.setdefault(key, []).append(target)
        pairs = [(client, equal) for equal in ends.values() for client in clients]
        cut = [pair for pair in pairs if self._is_cut(pair[0], pair[1][0])]
        if not cut:
            return None
        cut_clients = tuple(client for client in clients if any(client is found for found, _ in cut))
        cut_targets = {id(equal): equal for _, equal in cut}
        return _Cut(
            cut_clients, tuple(target for equal in cut_targets.values() for target in equal), len(cut) < len(pairs)
        )

    def _is_cut(self, client: Client, target: Target) -> bool:
        return self._before.admit(client, *target) and not self._then.admit(client, *target)

    def _rules_for(self, cut: _Cut, preferred: Mapping[str, str]) -> tuple[AllowRule, ...]:
        """Return the smallest rules that admit these connections."""
        pods: dict[tuple[str, AllowedPort], set[Labels]] = {}
        for target in cut.targets:
            port = AllowedPort(target.port, target.protocol)
            pods.setdefault((target.pod.namespace, port), set()).add(target.pod.own_labels)
        ports: dict[tuple[str, Labels], list[AllowedPort]] = {}
        for (namespace, port), chosen in pods.items():
            for selector in self._selectors(namespace, chosen, preferred):
                ports.setdefault((namespace, selector), []).append(port)
        sources = self._sources(cut.clients)
        rules = tuple(
            AllowRule(namespace, selector, tuple(sorted(found)), sources)
            for (namespace, selector), found in ports.items()
        )
        self._rules.update(dict.fromkeys(rules))
        return rules

    def _sources(self, clients: Sequence[Client]) -> tuple[AllowedPods | str, ...]:
        """Return who may connect: pods by their labels, or addresses."""
        (namespace, *others) = {client.namespace for client in clients}
        if namespace and not others:
            chosen = {own_labels(client.labels) for client in clients}
            (selector, *more) = self._selectors(namespace, chosen)
            return (AllowedPods(namespace, () if more else selector),)
        addresses = dict.fromkeys(address for client in clients for address in client.addresses)
        is_known = all(client.addresses for client in clients) and len(addresses) <= _MOST_ADDRESSES * len(clients)
        return tuple(f"{address}/{128 if ':' in address else 32}" for address in addresses) if is_known else ()

    def _selectors(
        self, namespace: str, chosen: set[Labels], preferred: Mapping[str, str] = MappingProxyType({})
    ) -> list[Labels]:
        """Return labels that select pods with these labels and, if that is possible, no others of the namespace."""
        by_label = self._cluster.by_label
        common = frozenset.intersection(*map(frozenset, chosen))
        order = sorted(
            common, key=lambda pair: (_PREFERRED.index(pair[0]) if pair[0] in _PREFERRED else len(_PREFERRED), pair)
        )
        candidates = (tuple(preferred.items()), *((pair,) for pair in order), *combinations(order, 2), tuple(order))
        for candidate in candidates:
            if candidate and common.issuperset(candidate):
                having = [by_label.get((namespace, pair), set()) for pair in candidate]
                if set.intersection(*having) <= chosen:
                    return [labels(dict(candidate))]
        return (
            [tuple(sorted(common))]
            if len(chosen) == 1
            else [found for one in sorted(chosen) for found in self._selectors(namespace, {one})]
        )

    def _observed(self, connections: Iterable[TrackedConnection]) -> Iterator[Break]:
        """Yield the connections that are open now, and that no rule for declared ones admits."""
        rules = (parse_policy(rule.policy) for rule in self._rules)
        covered = Policies(rules, self._cluster.namespaces)
        seen: dict[tuple[ObjectName, int, str, str], dict[object, tuple[Client, Target]]] = {}
        for protocol, address, end, port in connections:
            pod = self._cluster.at(end)
            if pod is None or pod.namespace not in self._policed:
                continue
            client, name = self._opener(address)
            if client.namespace and client.namespace not in self._cluster.namespaces:
                continue  # it was removed since
            is_covered = bool(covered.of(pod)) and covered.admit(client, pod, port, protocol)
            if self._is_cut(client, Target(pod, port, protocol)) and not is_covered:
                key = (self._cluster.title(pod), port, protocol, name)
                seen.setdefault(key, {})[client.addresses, client.node, id(pod)] = (client, Target(pod, port, protocol))
        for (title, port, _, name), pairs in seen.items():
            clients, targets = zip(*pairs.values())
            cut = _Cut(clients, targets, shares_node=False)
            found = f"{len(pairs)} from {name} to port {port}"
            if not name.startswith(FORMER):
                flow = Flow(title, name, *cut[:2], _SEEN, found)
                yield self._break(flow, cut, When.NEXT_CONNECTION, "")
                continue
            fix = advice("find out what it was, such as a Job that ends within a minute, and admit it if it comes back")
            yield _at_once(title, Reason(_SEEN, found, "a client that exists"), fix, is_certain=False)

    def _opener(self, end: str) -> tuple[Client, str]:
        """Return the client that has an address or name, and how it is called."""
        pod, address = self._cluster.at(end), end.rpartition(" ")[2]
        if pod is not None:
            return Client(pod.namespace, pod.labels, pod.addresses), str(self._cluster.title(pod))
        if "/" in end:
            return Client(end.partition("/")[0]), f"{FORMER}pod {end}"
        client = self._cluster.client_of_node(address)
        if client is not None:
            return client, f"node {client.node}"
        name = f"{FORMER}pod, {address}" if end.startswith(FORMER) else f"outside, {address}"
        return Client(addresses=(address,)), name

    def rest(self, *, is_watched: bool) -> Iterator[Break]:
        """Yield the pods with ports that a pod of another namespace could use, whatever clients are known.

        With `is_watched` a TCP port has no other clients than those that were seen.
        """
        served = self._served_ports()
        for namespace in sorted(self._policed):
            strangers = [Client(other) for other in self._cluster.by_namespace if other != namespace]
            found: dict[ObjectName, dict[AllowedPort, None]] = {}
            judged: dict[object, tuple[AllowedPort, ...]] = {}
            for pod in self._cluster.by_namespace.get(namespace, ()):
                declared = (AllowedPort(own.number, own.protocol) for own in pod.ports)
                known = dict.fromkeys((*declared, *served.get(id(pod), ())))
                ports = tuple(port for port in known if not (is_watched and port.protocol == "TCP"))
                if not ports or is_balancer(pod):
                    continue
                key = (pod.own_labels, ports)
                if key not in judged:
                    judged[key] = tuple(
                        port
                        for port in ports
                        if any(self._is_cut(client, Target(pod, port.number, port.protocol)) for client in strangers)
                    )
                if judged[key]:
                    found.setdefault(self._cluster.title(pod), {}).update(dict.fromkeys(judged[key]))
            for name, cut in found.items():
                ports_text = ", ".join(map(str, sorted(cut)))
                reason = Reason("ports", f"{ports_text}, which unknown clients can use", "only known clients")
                fix = advice(
                    "find out who connects to these ports from other namespaces, such as by `traffic.record-until`",
                    f"if nobody does, add the object to `{ACCEPTED}` of the settings",
                )
                yield _at_once(name, reason, fix, is_certain=False)

    def _served_ports(self) -> dict[int, list[AllowedPort]]:
        """Return the ports of pods, by their identity, that are behind Services: pods need not declare them."""
        found: dict[int, list[AllowedPort]] = {}
        for service in self._cluster.services:
            for port in service.ports:
                for pod, number, protocol in self._cluster.targets(service, port):
                    found.setdefault(id(pod), []).append(AllowedPort(number, protocol))
        return found


def _replaced(policy: NetworkPolicy) -> Break:
    name = ObjectName(policy.namespace, "NetworkPolicy", policy.name)
    found = "that of a policy in policy.yaml, which replaces this one"
    fix = advice("create the policy again with another name, and delete this one")
    return _at_once(name, Reason("metadata.name", found, "another name"), fix)


def _at_once(name: ObjectName, reason: Reason, fix: Repair, *, is_certain: bool = True) -> Break:
    return Break(name, Topic.NETWORK_POLICIES, When.AT_ONCE, (reason,), fix, is_certain=is_certain)


def _complete(policy: NetworkPolicy) -> Mapping[str, object]:
    """Return the fields of a policy with the default that the API server adds."""
    return {"policyTypes": ["Ingress"], **policy.spec}


def _merged(breaks: Iterable[Break]) -> Iterator[Break]:
    """Yield one break for each object and time."""
    found: dict[tuple[object, ...], list[Break]] = {}
    for entry in breaks:
        found.setdefault((entry.object, entry.when, entry.is_certain, entry.condition), []).append(entry)
    for same in found.values():
        rules = tuple(dict.fromkeys(rule for entry in same for rule in entry.allow))
        reasons = tuple(dict.fromkeys(reason for entry in same for reason in entry.reasons))
        yield replace(same[0], reasons=reasons, repair=_allowing(rules) if rules else same[0].repair, allow=rules)


def _allowing(rules: Sequence[AllowRule]) -> Repair:
    return Repair(tuple(Instruction(f"add to `{ALLOW}` of the settings: {rule.setting}") for rule in rules))
