"""Node objects, reduced to what is compared: role, K3s version, K3s' arguments, and what the node published."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.cluster.kubernetes.objects import ClusterNode
from agent.cluster.kubernetes.parsing import as_list, as_mapping, as_string, at
from agent.cluster.node_status import ANNOTATIONS_LIMIT, CONDITION, FIELD_MANAGER, MESSAGE_LIMIT, Annotation

if TYPE_CHECKING:
    from agent.cluster.kubernetes.objects import Json

NODE_ARGUMENTS = "k3s.io/node-args"
"""K3s' annotation with its arguments, those of its configuration files included (k3s, pkg/nodeconfig)."""

SERVER_LABEL = "node-role.kubernetes.io/control-plane"
_SERVER_LABELS = {SERVER_LABEL, *(f"node-role.kubernetes.io/{name}" for name in ("etcd", "master"))}
"""A kubelet cannot set these labels on its own node (kubernetes, NodeRestriction)."""
_LIMITS = {**dict.fromkeys(map(str, Annotation), ANNOTATIONS_LIMIT), NODE_ARGUMENTS: 65_536}
"""Characters of each annotation that is kept. A longer one counts as missing."""


def parse_node(item: Json) -> ClusterNode:
    """Return a node. Any JSON is accepted, and each text is bounded: a node writes its own object."""
    metadata, status, annotations = at(item, "metadata"), at(item, "status"), at(item, "metadata", "annotations")
    conditions = {as_string(found.get("type")): found for found in map(as_mapping, as_list(status.get("conditions")))}
    entries = map(as_mapping, as_list(metadata.get("managedFields")))
    kept = {name: text for name in _LIMITS if isinstance(text := annotations.get(name), str)}
    own = conditions.get(CONDITION, {})
    return ClusterNode(
        name=as_string(metadata.get("name"))[:MESSAGE_LIMIT],
        is_ready=conditions.get("Ready", {}).get("status") == "True",
        uid=as_string(metadata.get("uid"))[:MESSAGE_LIMIT],
        k3s_version=as_string(at(status, "nodeInfo").get("kubeletVersion"))[:MESSAGE_LIMIT],
        is_server=not _SERVER_LABELS.isdisjoint(as_mapping(metadata.get("labels"))),
        annotations={name: text for name, text in kept.items() if len(text) <= _LIMITS[name]},
        condition={key: as_string(own.get(key))[:MESSAGE_LIMIT] for key in ("status", "message", "lastHeartbeatTime")},
        written=max((as_string(at.get("time")) for at in entries if at.get("manager") == FIELD_MANAGER), default=""),
    )
