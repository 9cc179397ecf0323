"""Parsing of JSON objects: any value is accepted, and no rule raises an exception for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cluster.kubernetes import rbac
from agent.cluster.kubernetes.built_in_objects import reason_of_workload
from agent.cluster.kubernetes.network_policies import parse_policy
from agent.cluster.kubernetes.objects import pod
from agent.cluster.kubernetes.queries import Query
from agent.cluster.kubernetes.rbac import RbacRight
from agent.cluster.reader import parsed_object
from tests.unit.cluster.kubernetes.samples import NEW, SERVER, cluster

_KEYS = (
    *("metadata", "name", "namespace", "labels", "ownerReferences", "controller", "kind", "spec", "jobTemplate"),
    *("template", "containers", "initContainers", "securityContext", "capabilities", "add", "drop", "ports"),
    *("hostPort", "env", "valueFrom", "secretKeyRef", "envFrom", "secretRef", "volumes", "hostPath", "path"),
    *("seccompProfile", "type", "windowsOptions", "hostProcess", "rules", "verbs", "resources", "apiGroups"),
    *("resourceNames", "nonResourceURLs", "roleRef", "subjects", "webhooks", "matchConstraints", "resourceRules"),
    *("status", "conditions", "automountServiceAccountToken", "serviceAccountName"),
)
_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(["", "*", "default", "Ready"])
)
JSON = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(_KEYS), inner, max_size=6)),
    max_leaves=40,
)


@given(st.sampled_from(Query), JSON)
def test_any_json_is_parsed_as_an_object(query: Query, item: Any) -> None:
    found = parsed_object(query, item)
    assert isinstance(found, tuple)
    assert isinstance(getattr(found, "name", ""), str)


@given(st.dictionaries(st.sampled_from((Query.ROLES, Query.CLUSTER_ROLES, Query.CLUSTER_ROLE_BINDINGS)), JSON))
def test_access_is_determined_for_any_roles(objects: Mapping[Query, Any]) -> None:
    found = cluster({query: [item] for query, item in objects.items()})
    rights = [RbacRight(frozenset({"get"}), "", "secrets")]
    assert all(str(holder.subject) and str(holder.binding) for holder in rbac.holders(found, rights))
    assert found.server == SERVER
    assert len(found.objects[Query.CLUSTER_ROLES]) >= len(NEW[Query.CLUSTER_ROLES])


@given(JSON)
def test_any_pod_has_a_title(item: Any) -> None:
    workload = pod(item)
    assert workload.title.startswith(("Pod ", *(f"{workload.controller.partition(' ')[0]} ",)))
    assert reason_of_workload(workload) == ""


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"ingress": [{}]}, {"Ingress"}),
        ({"ingress": [{}], "policyTypes": ["Egress"]}, set()),
        ({"ingress": [{"from": [{"namespaceSelector": {}}]}]}, set()),
    ],
)
def test_a_network_policy_opens_only_its_own_types(spec: Any, expected: set[str]) -> None:
    assert parse_policy({"spec": spec}).opens == expected
