"""What a running node shows of its hardening: the kernel's rules, ports and the datastore. Nothing is changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import PurePosixPath
from typing import TypeVar
from urllib.parse import quote

from agent.assess.checks.answer import ControlStatus, Effect
from agent.assess.checks.assessed_node import AssessedNode
from agent.assess.checks.audit_effects import audit_effects, must_log
from agent.assess.checks.network_effects import (
    ABORTED,
    ADDON,
    NOT_STARTED,
    NodeNetwork,
    addon_effect,
    network_policy_effect,
)
from agent.assess.checks.port_effects import LOOPBACK, SUITES, Endpoint, Tried, endpoints, port_effects
from agent.assess.checks.secret_effects import MOST_SECRETS, QUERY, encryption_effect, key_age_effects, rotation_effects
from agent.assess.running_values import audit_log, own_node
from agent.base.errors import HardenError, HostError
from agent.base.host import Host, machine
from agent.base.host.directories import DirectoryEntry
from agent.base.host.https import TLS_1_1, TLS_1_2, Limits, anonymous_answer, own_address, tls_answer
from agent.base.host.node_state import filter_rules, read_rows
from agent.base.host.systemd import Systemd
from agent.base.model import Absent
from agent.cluster.connection import KUBECONFIGS, accepted, connect, connect_as_admin, read_json
from agent.cluster.kubernetes.network_policies import parse_policy
from agent.cluster.kubernetes.objects import as_string, at
from agent.cluster.kubernetes.queries import METADATA, OBJECTS, REQUESTS, ApiRequest, Query
from agent.cluster.kubernetes.running_objects import network_pod
from agent.cluster.reader import Reader
from agent.harden.guide.guide_files import POLICY_FILE
from agent.harden.node.datastore import Datastore, sqlite_database
from agent.harden.node.facts import HostFacts
from agent.k3s.roles_and_versions import Component, Role

_Answer = TypeVar("_Answer")
_ALL_PORTS, _ONE_ANSWER = 2.0, 0.5
"""Seconds. A port of this machine answers in milliseconds."""
_DATASTORE = 0.5
"""Seconds for the rows of a datastore. 10,000 Secrets take 0.1 s."""
_OWN_KUBECONFIG = "agent/k3scontroller.kubeconfig"
"""That of K3s' network policy controller, which servers and agents have."""
_BUNDLED = "data/current/bin/aux"
"""K3s' own iptables, which it uses if the host has none."""
_APPLIED = 60.0
"""Seconds in which K3s applies a changed manifest, which it looks for every 15 s."""
_SYNCHRONIZED = 5.0
"""Seconds in which the controller writes the rules of a new pod, also on a busy node."""
_LIMITS = Limits(request=2.0, total=4.0, body=8 << 20)
_LOGGED, _PAUSE = 1.0, 0.02
"""Seconds until an event is in the audit log, and between two looks."""
_RECENT = 1 << 20
"""Bytes at the end of the audit log that are searched."""


def read_effects(host: Host, node: AssessedNode) -> Iterator[Effect]:
    """Yield the effects that this node shows. Raises no exception: failures are reasons in the effects."""
    if node.cluster is not None and (log := audit_log(node, node.cluster)) and must_log(node, "list secrets"):
        names = host.tree.names(log.parent)
        files = [log.parent / name for name in names if name.startswith(log.stem) and name.endswith(log.suffix)]
        sizes = [end[1] for file in files if not isinstance(end := _or_problem(partial(host.tree.end, file, 0)), str)]
        space = machine.space(host.root, log.parent)
        yield from audit_effects(node, log, _audited(host, node, log), sum(sizes), space.free if space else None)
    if host.pod_node:
        return
    if not node.facts.merged_config.boolean("disable-agent"):
        found = network_policy_effect(node.facts, _network(host, node))
        if found.status is ControlStatus.FAIL:
            # The controller may be about to write the rules of a new pod.
            host.sleep(_SYNCHRONIZED)
            found = network_policy_effect(node.facts, _network(host, node))
        yield found
    yield from _ports(host, node)
    if node.cluster is not None and node.facts.role is Role.SERVER:
        yield from _addon(host, node.facts)
        yield encryption_effect(node.facts, _stored_secrets(host, node.facts))
        yield from key_age_effects(node, time.time())
        yield from rotation_effects(node.facts, node.cluster.objects.get(Query.NODES, ()))


def _audited(host: Host, node: AssessedNode, log: PurePosixPath) -> tuple[ControlStatus, str]:
    """Return whether the API server logs a request: that for one Secret with a name that nothing else has."""
    mode = node.arguments(Component.API_SERVER).get("audit-log-mode")
    if mode is not None and mode.value == "batch":
        return ControlStatus.UNKNOWN, "with --audit-log-mode=batch, an event is written up to 30 seconds later"
    name, found = f"k3s-harden-{time.time_ns()}", host.tree.stat(log)
    kind = found.kind if isinstance(found, DirectoryEntry) else ""
    if isinstance(found, Absent) or kind not in ("regular file", ""):
        return ControlStatus.FAIL, f"{log} leads to a {kind}" if kind else f"{log} does not exist"
    try:
        with connect_as_admin(host, node.facts.data_dir, _LIMITS) as client:
            path = f"/api/v1/secrets?limit=1&fieldSelector=metadata.name%3D{name}"
            accepted(client.get(path, METADATA), "list Secrets", 200)
        end = time.monotonic() + _LOGGED
        while not (is_there := name.encode() in host.tree.end(log, _RECENT)[0]) and time.monotonic() < end:
            host.sleep(_PAUSE)
    except HardenError as error:
        return ControlStatus.UNKNOWN, error.message
    words = "is in" if is_there else "was answered, and is not in"
    return ControlStatus.PASS if is_there else ControlStatus.FAIL, f"a request of this assessment {words} {log}"


def _addon(host: Host, facts: HostFacts) -> Iterator[Effect]:
    """Yield whether the policies of the cluster are those of this server, unless K3s has not applied them yet."""
    path = facts.data_dir / POLICY_FILE
    content, times = host.tree.read(path), host.tree.times(path)
    if content is None or times is None or host.now() - times.written < _APPLIED:
        return
    with suppress(HardenError), connect(host, [facts.data_dir / name for name in KUBECONFIGS], _LIMITS)[0] as client:
        applied = as_string(at(read_json(client, ADDON), "spec").get("checksum"))
        yield addon_effect(path, content, applied)


def _stored_secrets(host: Host, facts: HostFacts) -> list[bytes] | str:
    """Return the starts of the values of all Secrets, which show their keys; or why they cannot be read."""
    database = sqlite_database(facts.merged_config.scalar("datastore-endpoint"), facts.data_dir)
    if facts.datastore is not Datastore.SQLITE or database is None:
        return f"the datastore is {facts.datastore}, which transfers whole values to show their start"
    rows = _or_problem(partial(read_rows, host, database, QUERY, most=MOST_SECRETS, seconds=_DATASTORE))
    return rows if isinstance(rows, str) else [start for (start,) in rows]


def _ports(host: Host, node: AssessedNode) -> Iterator[Effect]:
    own = node.facts.merged_config.scalar("node-ip")
    address = (own.text.partition(",")[0] if own else "") or own_address()
    now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(host.now()))
    end = time.monotonic() + _ALL_PORTS
    for endpoint in endpoints(node):
        tried = [
            _tried(endpoint, at, min(_ONE_ANSWER, max(end - time.monotonic(), 0.001)))
            for at in dict.fromkeys(filter(None, (LOOPBACK, address)))
        ]
        yield from port_effects(node, endpoint, tried, now)


def _tried(endpoint: Endpoint, address: str, timeout: float) -> Tried:
    at, is_tls = (address, endpoint.port), bool(endpoint.kind.refusals)
    access = _or_problem(partial(anonymous_answer, at, endpoint.kind.path, timeout, is_tls=is_tls))
    if isinstance(access, str) or not is_tls:
        return Tried(address, access)
    offered = ((TLS_1_1, SUITES), (TLS_1_2, endpoint.forbidden))
    asked = (partial(tls_answer, at, version, [SUITES[name] for name in names], timeout) for version, names in offered)
    return Tried(address, access, *map(_or_problem, asked))


def _or_problem(ask: Callable[[], _Answer]) -> _Answer | str:
    try:
        return ask()
    except HostError as error:
        return error.message


def _network(host: Host, node: AssessedNode) -> NodeNetwork:
    facts = node.facts
    logged = tuple(_logged(host, facts))
    paths = [facts.data_dir / path for path in (_OWN_KUBECONFIG, *KUBECONFIGS)]
    name = node.configured_name if node.cluster is None else own_node(node, node.cluster)
    own = ApiRequest("/api/v1/pods", parameters=f"fieldSelector=spec.nodeName%3D{quote(name)}")
    try:
        with connect(host, paths, _LIMITS)[0] as client:
            accepted(client.get(f"/api/v1/nodes/{quote(name)}", OBJECTS), f"read node {name}", 200)
            reader = Reader(client)
            pods = reader.listed(own, partial(network_pod, "Pod"))
            policies = reader.listed(REQUESTS[Query.NETWORK_POLICIES], parse_policy)
        families = {6 if ":" in address else 4 for pod in pods for address in pod.addresses}
        rules = filter_rules(host, facts.data_dir / _BUNDLED, families)
    except HardenError as error:
        return NodeNetwork(error.message, logged=logged)
    return NodeNetwork("; ".join(reader.gaps.values()), rules, pods, policies, logged)


def _logged(host: Host, facts: HostFacts) -> Iterator[str]:
    """Yield the lines of K3s' log of this start that say that policies are not enforced."""
    systemd = Systemd(host)
    with suppress(HostError):
        if systemd.is_running:
            invocation = systemd.show([facts.service], "InvocationID")[0].get("InvocationID", "")
            if invocation:
                text = systemd.log(invocation, "--lines=10", f"--grep={NOT_STARTED}|{ABORTED.replace('.', '[.]')}")
                yield from text.splitlines()
