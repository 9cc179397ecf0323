"""Assessments of the cluster of a hardened server, and the objects that tests add to it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.k8s.binaries import Binaries
from tests.k8s.node import Node

RBAC = "rbac.authorization.k8s.io"
AUDIT_LOG = "/var/lib/rancher/k3s/server/logs/audit.log"


class Report(NamedTuple):
    """The JSON of an assessment."""

    json: dict[str, Any]

    def of(self, control: str) -> dict[str, Any]:
        (found,) = [item for item in self.json["verdicts"] if item["id"] == control]
        return dict(found)

    def status(self, control: str) -> str:
        return str(self.of(control)["status"])

    def with_status(self, status: str) -> set[str]:
        return {item["id"] for item in self.json["verdicts"] if item["status"] == status}

    def observations(self, control: str) -> list[str]:
        return [item["observation"] for item in self.of(control)["evidence"]]

    @property
    def notes(self) -> list[str]:
        return [item["message"] for item in self.json["notes"]]


def assessed(node: Node, *words: str) -> Report:
    done = node.harden("assess", "--cluster", "--format", "json", *words)
    assert done.returncode in (0, 3), done.stderr
    return Report(json.loads(done.stdout))


def logged(node: Node) -> list[dict[str, Any]]:
    events = map(json.loads, node.path(AUDIT_LOG).read_text(encoding="utf-8").splitlines())
    return [item for item in events if item.get("userAgent") == "k3s-harden" and item["stage"] == "ResponseComplete"]


def requests(node: Node) -> int:
    return len(logged(node))


def in_cluster(kind: str, name: str, group: str = "", **fields: object) -> dict[str, object]:
    """Return an object without a namespace."""
    return {"apiVersion": f"{group}/v1" if group else "v1", "kind": kind, "metadata": {"name": name}, **fields}


def binding(name: str, role: str, kind: str, subject: str) -> dict[str, object]:
    who = {"kind": kind, "name": subject, "apiGroup": RBAC}
    reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": role}
    return in_cluster("ClusterRoleBinding", name, RBAC, roleRef=reference, subjects=[who])


def create(node: Node, objects: Sequence[object]) -> None:
    node.kubectl("create", "--filename=-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


@contextmanager
def hardened_server(
    directory: Path, binaries: Binaries, configuration: Mapping[str, object] | None = None
) -> Iterator[Node]:
    """Start a hardened server without a kubelet, with more drop-ins of K3s' configuration."""
    with Node(directory, binaries) as node:
        node.run_alone()
        node.config(configuration or {})
        done = node.harden("apply")
        assert done.returncode == 0, done.stdout + done.stderr
        node.start_server("--disable-agent")
        node.wait_until_deployed()
        assert node.harden("service-accounts", "--wait", "30").returncode == 0
        yield node
