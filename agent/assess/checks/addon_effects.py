"""Whether the policies in the cluster are those of this server: each server applies its own policy.yaml."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from agent.assess.checks.answer import ControlStatus, Effect
from agent.base.repair import Answer, Decide, RunVerb

if TYPE_CHECKING:
    from pathlib import PurePosixPath

ADDON = "/apis/k3s.cattle.io/v1/namespaces/kube-system/addons/policy"
"""The object in which K3s keeps the SHA-256 of the policy.yaml that it applied last (k3s, pkg/deploy/controller.go)."""
_APPLY = (RunVerb("apply"),)
_SAME_SETTINGS = Decide(
    "Which settings are those of the cluster?",
    (
        Answer("Those of this server", "copy them to the other servers, and run it there", _APPLY),
        Answer("Those of another server", "copy them to this server", _APPLY),
    ),
)


def addon_effect(path: PurePosixPath, content: bytes, applied: str) -> Effect:
    """Return whether K3s applied this content last; `applied` is the digest in its Addon."""
    is_own = sha256(content).hexdigest() == applied
    observed = "the cluster has the policies of this server" if is_own else "the cluster has those of another server"
    return Effect(
        subject=f"Policies of {path.name}",
        configured=str(path),
        status=ControlStatus.PASS if is_own else ControlStatus.FAIL,
        observed=f"{observed}: {path} and the Addon kube-system/policy {'agree' if is_own else 'have other digests'}",
        command=f"sudo k3s kubectl get addon policy --namespace=kube-system --output=yaml; sha256sum {path}",
        controls=("cni-network-policies", "namespaces-network-policies"),
        steps=(_SAME_SETTINGS,),
    )
