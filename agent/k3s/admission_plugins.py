"""The admission plugins of the API server in each Kubernetes minor. Pure.

Source: kubernetes, pkg/kubeapiserver/options/plugins.go (AllOrderedPlugins), 1.23 to 1.37.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.k3s.roles_and_versions import (
    ALL_VERSIONS,
    NEWEST_KNOWN,
    OLDEST_COVERED,
    WITH_POD_SECURITY_POLICY,
    VersionRange,
)

if TYPE_CHECKING:
    from agent.k3s.roles_and_versions import Version

POD_SECURITY = "PodSecurity"
POD_SECURITY_POLICY = "PodSecurityPolicy"
ALWAYS_PULL_IMAGES = "AlwaysPullImages"

K3S_DEFAULT = "NodeRestriction"
"""The plugin that K3s enables by default (k3s, pkg/daemons/control/server.go)."""

_ALWAYS = """
    AlwaysAdmit AlwaysDeny AlwaysPullImages CertificateApproval CertificateSigning CertificateSubjectRestriction
    DefaultIngressClass DefaultStorageClass DefaultTolerationSeconds DenyServiceExternalIPs EventRateLimit
    ExtendedResourceToleration ImagePolicyWebhook LimitPodHardAntiAffinityTopology LimitRanger MutatingAdmissionWebhook
    NamespaceAutoProvision NamespaceExists NamespaceLifecycle NodeRestriction OwnerReferencesPermissionEnforcement
    PersistentVolumeClaimResize PodNodeSelector PodSecurity PodTolerationRestriction Priority ResourceQuota RuntimeClass
    ServiceAccount StorageObjectInUseProtection TaintNodesByCondition ValidatingAdmissionWebhook
"""

VERSIONS = dict.fromkeys(_ALWAYS.split(), ALL_VERSIONS) | {
    POD_SECURITY_POLICY: WITH_POD_SECURITY_POLICY,
    "SecurityContextDeny": VersionRange(last=29),
    "PersistentVolumeLabel": VersionRange(last=30),
    "ValidatingAdmissionPolicy": VersionRange(first=26),
    "ClusterTrustBundleAttest": VersionRange(first=27),
    "MutatingAdmissionPolicy": VersionRange(first=32),
    "PodTopologyLabels": VersionRange(first=33),
    "NodeDeclaredFeatureValidator": VersionRange(first=35),
    "JobValidation": VersionRange(first=36, last=36),
    "PodGroupProtection": VersionRange(first=36),
    "PodGroupWorkloadExists": VersionRange(first=36, last=36),
    "PodResizeValidator": VersionRange(first=36),
}
"""The versions that have a plugin."""


def is_unknown(plugin: str, version: Version) -> bool:
    """Return whether this API server version rejects the plugin at startup.

    False for an unlisted plugin in a version that is not covered: the plugin may exist there.
    """
    versions = VERSIONS.get(plugin)
    if versions is None:
        return OLDEST_COVERED.minor <= version.minor <= NEWEST_KNOWN.minor
    return not versions.includes(version)
