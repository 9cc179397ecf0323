"""Assessments of complete nodes, for tests of formats: servers, an agent, and servers with their cluster."""

from __future__ import annotations

from functools import cache

from agent.assess.assessment import Assessment
from agent.assess.evidence.host_assessment import Scope, assess_host
from agent.base.value import replace
from agent.cluster.kubernetes.queries import FLAGS, Query
from agent.verbs.assess import with_next_steps
from tests.fake import in_memory
from tests.k3s_tree import K3s
from tests.unit.assess.checks.nodes import node
from tests.unit.cluster.api_server import ApiServer
from tests.unit.cluster.kubernetes import samples

OBJECTS = {
    **samples.NEW,
    Query.NAMESPACES: [*samples.NEW[Query.NAMESPACES], samples.namespace("shop", "privileged")],
    Query.PODS: [samples.pod(f"web-{number}", hostPID=True) for number in range(120)],
    Query.SERVICE_ACCOUNTS: [samples.account()],
    Query.CLUSTER_ROLES: [*samples.NEW[Query.CLUSTER_ROLES], samples.role("tool", samples.rule("list", "secrets"))],
    Query.CLUSTER_ROLE_BINDINGS: [samples.binding("tool", "tool", "ServiceAccount shop/tool")],
}
NAMES = ("server", "agent", "server to be", "cluster", "cluster without an answer")


@cache
def assessed(name: str) -> Assessment:
    k3s = None if name == "server to be" else K3s(role="agent" if name == "agent" else "server")
    flags = {FLAGS.path: lambda handler: handler.send(200, b'{"flags": {"profiling": "true"}}')}
    with in_memory() as directory, ApiServer(OBJECTS, flags).running() as api:
        assessed = node(directory / "node", k3s)
        if name == "cluster":
            assessed.put("server/cred/admin.kubeconfig", api.kubeconfig(embedded=True))
        host = replace(assessed.host(), is_live=name.startswith("cluster"))
        return with_next_steps(host, assess_host(host, assessed.request(), Scope(with_cluster=host.is_live)))
