"""Pods that break the rule of one control each, and a harmless one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.cluster.kubernetes.objects import Json

_CONTEXT: Json = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 65534,
    "seccompProfile": {"type": "RuntimeDefault"},
}
# For a quota that requires them, and few enough for one that is almost used.
_RESOURCES: Json = {name: {"cpu": "10m", "memory": "16Mi"} for name in ("limits", "requests")}
_PORT: Json = {"containerPort": 8080, "hostPort": 8080}

_BREACHES: Mapping[str, tuple[Json, Json, Json]] = {
    "pods-privileged": ({}, {}, {"privileged": True, "allowPrivilegeEscalation": True}),
    "pods-host-pid": ({"hostPID": True}, {}, {}),
    "pods-host-ipc": ({"hostIPC": True}, {}, {}),
    "pods-host-network": ({"hostNetwork": True}, {}, {}),
    "pods-privilege-escalation": ({}, {}, {"allowPrivilegeEscalation": True}),
    "pods-root": ({}, {}, {"runAsNonRoot": False, "runAsUser": 0}),
    "pods-net-raw": ({}, {}, {"capabilities": {"drop": ["CHOWN"]}}),
    "pods-added-capabilities": ({}, {}, {"capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}}),
    "pods-assigned-capabilities": ({}, {}, {"capabilities": {"drop": ["NET_RAW"]}}),
    # Kubernetes accepts such a container only with the network of the host.
    "pods-windows-host-process": ({"hostNetwork": True}, {}, {"windowsOptions": {"hostProcess": True}}),
    "pods-host-path": ({"volumes": [{"name": "host", "hostPath": {"path": "/etc"}}]}, {}, {}),
    "pods-host-ports": ({}, {"ports": [_PORT]}, {}),
    # Kubernetes accepts it only with a user namespace.
    "pods-proc-mount": ({"hostUsers": False}, {}, {"procMount": "Unmasked"}),
}
"""By control, what differs from a harmless pod: in its specification, in its container, in the security context."""

CONTROLS = (*_BREACHES,)
"""The controls with a probe."""


def broken_pod(control: str = "") -> Json:
    """Return a pod that breaks the rule of a control, or without one a harmless pod."""
    of_pod, of_container, of_context = _BREACHES.get(control, ({}, {}, {}))
    context = {**_CONTEXT, **of_context}
    container = {"name": "probe", "image": "rancher/mirrored-pause:3.6", "resources": _RESOURCES, **of_container}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "k3s-harden-probe-"},
        "spec": {
            "automountServiceAccountToken": False,
            "containers": [{**container, "securityContext": context}],
            **of_pod,
        },
    }
