"""API versions that Kubernetes removed, by kind. Pure.

(kubernetes/website, content/en/docs/reference/using-api/deprecation-guide.md)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from agent.model import Version


class Removal(NamedTuple):
    """The removal of one API version of some kinds."""

    minor: int
    """The first minor version without it."""
    api_version: str
    kinds: frozenset[str]
    instead: str
    """The API version that replaces it."""


def _removal(minor: int, api_version: str, kinds: str, instead: str) -> Removal:
    return Removal(minor, api_version, frozenset(kinds.split()), instead)


# PodSecurityPolicy has a finding of its own.
REMOVALS: tuple[Removal, ...] = (
    _removal(22, "extensions/v1beta1", "Ingress", "networking.k8s.io/v1"),
    _removal(22, "networking.k8s.io/v1beta1", "Ingress IngressClass", "networking.k8s.io/v1"),
    _removal(
        22,
        "rbac.authorization.k8s.io/v1beta1",
        "ClusterRole ClusterRoleBinding Role RoleBinding",
        "rbac.authorization.k8s.io/v1",
    ),
    _removal(22, "apiextensions.k8s.io/v1beta1", "CustomResourceDefinition", "apiextensions.k8s.io/v1"),
    _removal(
        22,
        "admissionregistration.k8s.io/v1beta1",
        "MutatingWebhookConfiguration ValidatingWebhookConfiguration",
        "admissionregistration.k8s.io/v1",
    ),
    _removal(22, "apiregistration.k8s.io/v1beta1", "APIService", "apiregistration.k8s.io/v1"),
    _removal(22, "certificates.k8s.io/v1beta1", "CertificateSigningRequest", "certificates.k8s.io/v1"),
    _removal(22, "coordination.k8s.io/v1beta1", "Lease", "coordination.k8s.io/v1"),
    _removal(22, "scheduling.k8s.io/v1beta1", "PriorityClass", "scheduling.k8s.io/v1"),
    _removal(22, "storage.k8s.io/v1beta1", "CSIDriver CSINode StorageClass VolumeAttachment", "storage.k8s.io/v1"),
    _removal(25, "batch/v1beta1", "CronJob", "batch/v1"),
    _removal(25, "discovery.k8s.io/v1beta1", "EndpointSlice", "discovery.k8s.io/v1"),
    _removal(25, "events.k8s.io/v1beta1", "Event", "events.k8s.io/v1"),
    _removal(25, "autoscaling/v2beta1", "HorizontalPodAutoscaler", "autoscaling/v2"),
    _removal(25, "policy/v1beta1", "PodDisruptionBudget", "policy/v1"),
    _removal(25, "node.k8s.io/v1beta1", "RuntimeClass", "node.k8s.io/v1"),
    _removal(26, "autoscaling/v2beta2", "HorizontalPodAutoscaler", "autoscaling/v2"),
    _removal(
        26,
        "flowcontrol.apiserver.k8s.io/v1beta1",
        "FlowSchema PriorityLevelConfiguration",
        "flowcontrol.apiserver.k8s.io/v1",
    ),
    _removal(27, "storage.k8s.io/v1beta1", "CSIStorageCapacity", "storage.k8s.io/v1"),
    _removal(
        29,
        "flowcontrol.apiserver.k8s.io/v1beta2",
        "FlowSchema PriorityLevelConfiguration",
        "flowcontrol.apiserver.k8s.io/v1",
    ),
    _removal(
        32,
        "flowcontrol.apiserver.k8s.io/v1beta3",
        "FlowSchema PriorityLevelConfiguration",
        "flowcontrol.apiserver.k8s.io/v1",
    ),
)
"""By version."""


def removal_of(api_version: str, kind: str, version: Version) -> Removal | None:
    """Return the removal if this version of Kubernetes does not have the API version of the kind."""
    found = (removal for removal in REMOVALS if removal.api_version == api_version and kind in removal.kinds)
    return next((removal for removal in found if version.minor >= removal.minor), None)
