"""Node objects as JSON, with what k3s-harden publishes."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

from agent.cluster.node_status import CONDITION, PREFIX

NOW = datetime(2027, 3, 1, 12, tzinfo=timezone.utc)
VERSION = "v1.37.3+k3s1"
SERVER = {"node-role.kubernetes.io/control-plane": "true"}


def ago(hours: float) -> str:
    return (NOW - timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


def node(  # noqa: PLR0913 - the parts of a node, by name
    name: str = "node-1",
    *,
    role: str = "agent",
    arguments: list[str] | None = None,
    published: float | None = 1,
    clock: float = 0,
    version: str = VERSION,
    **annotations: str | None,
) -> dict[str, Any]:
    """Return a compliant Node that published so many hours ago, an hour after its assessment.

    `clock` is by how many hours the clock of the node is behind. `annotations` are by name without prefix, with `_`.
    """
    total = "98" if role == "server" else "36"
    texts: dict[str, str | None] = {
        "result": "compliant",
        "evaluated": total,
        "passed": total,
        "failed": "0",
        "undetermined": "0",
        "benchmark": "cis-2.0",
        "version": "1.0.0",
        "role": role,
        "profile": "cis",
        "machine": f"machine of {name}",
        "assessed": ago((published or 0) + clock + 1),
        **annotations,
    }
    status = {"compliant": "True", "failed": "False"}.get(texts["result"] or "", "Unknown")
    own = {"type": CONDITION, "status": status, "reason": "X", "message": f"{texts['failed']} controls failed"}
    given = {} if published is None else texts
    fields = {PREFIX + key.replace("_", "-"): text for key, text in given.items() if text is not None}
    return {
        "kind": "Node",
        "metadata": {
            "name": name,
            "uid": f"uid of {name}",
            "labels": SERVER if role == "server" else {},
            "annotations": {"k3s.io/node-args": json.dumps([role, *(arguments or [])]), **fields},
            "managedFields": [
                {"manager": "k3s", "time": ago(0)},
                *([{"manager": "k3s-harden", "time": ago(published)}] if published is not None else []),
            ],
        },
        "status": {
            "nodeInfo": {"kubeletVersion": version},
            "conditions": [
                {"type": "Ready", "status": "True"},
                *([{**own, "lastHeartbeatTime": ago(published + clock)}] if published is not None else []),
            ],
        },
    }


def without_managed_fields(found: dict[str, Any]) -> dict[str, Any]:
    """Return the Node as kubectl prints it by default."""
    return {**found, "metadata": {key: value for key, value in found["metadata"].items() if key != "managedFields"}}


def node_list(*nodes: dict[str, Any]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": nodes})
