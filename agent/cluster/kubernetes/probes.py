"""Pods that break one rule each, for server-side dry runs, and what the answers of the API server prove. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent.cluster.kubernetes.parsing import as_mapping, as_string

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.cluster.kubernetes.objects import Json

MOST_NAMESPACES = 50
"""Namespaces that are probed."""


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


def pod(control: str = "") -> Json:
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


_REJECTION = re.compile(
    r'pods "[^"]*" is forbidden: (?:violates (?P<security>PodSecurity "[^"]*"): '
    r"|(?P<policy>ValidatingAdmissionPolicy '[^']*' with binding '[^']*') denied request: )"
    r'|admission (?P<webhook>webhook "[^"]*") denied the request'
)
"""The messages of what rejects a pod because of its content.

(pod-security-admission, admission/admission.go; apiserver, pkg/admission/plugin/policy/validating/dispatcher.go and
plugin/webhook/errors/statuserror.go)
"""


def rejected_by(answer: Json) -> str:
    """Return what rejects a pod by an answer of the API server; empty if it does not because of the pod's content."""
    found = _REJECTION.match(as_string(as_mapping(answer).get("message")))
    return next(filter(None, found.groups()), "") if found else ""
