"""Admission plugins of the API server in each Kubernetes minor, and its admission configuration. Pure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath

from agent.base import yaml_reader
from agent.base.errors import InputError
from agent.base.model import Location
from agent.base.value import Value
from agent.base.yaml_reader import Node, YamlMapping, mappings, part, texts
from agent.k3s.roles_and_versions import (
    ALL_VERSIONS,
    NEWEST_KNOWN,
    OLDEST_COVERED,
    WITH_POD_SECURITY_POLICY,
    Version,
    VersionRange,
)

_GROUPS = ("apiserver.config.k8s.io/", "apiserver.k8s.io/")
"""API groups of an AdmissionConfiguration; the second one is the older name (apiserver/pkg/apis/apiserver/install)."""


class PodSecurity(Value):
    """The configuration of the plugin PodSecurity."""

    level: str
    """The standard that is enforced in namespaces without labels; empty if none is set, which means privileged."""
    location: Location
    """The line that sets it, or in which it is missing."""
    exempt_namespaces: tuple[str, ...] = ()
    exempt_users: tuple[str, ...] = ()
    exempt_runtime_classes: tuple[str, ...] = ()
    exemptions: Location | None = None
    """The line of the exemptions; None without exemptions."""
    version: str = "latest"
    """The version of the standard."""

    @property
    def exempt_requests(self) -> tuple[str, ...]:
        """The users and runtime classes whose pods are not checked, in words."""
        users = (f"user {name}" for name in self.exempt_users)
        return (*users, *(f"runtime class {name}" for name in self.exempt_runtime_classes))


def configured_plugins(data: bytes, path: PurePosixPath) -> frozenset[str | None]:
    """Return the admission plugins that an AdmissionConfiguration has entries for.

    Raises InputError for a file that the API server cannot decode.
    """
    return frozenset(item.text("name") for item in mappings(_configuration(data, path).get("plugins")))


def pod_security(data: bytes, path: PurePosixPath, content: Callable[[PurePosixPath], bytes | None]) -> PodSecurity:
    """Return the configuration of Pod Security in an AdmissionConfiguration, or in the file that it names for that.

    `content` returns the content of another file. The API server uses the first entry of a plugin, and a file only if
    the entry has no configuration. Raises InputError for a file that the API server cannot decode.
    """
    found = plugin_configuration(POD_SECURITY, data, path, content)
    if found is None:
        return PodSecurity("", Location(path, _configuration(data, path).line))
    path, entry, configuration = found
    defaults, exemptions = part(configuration, "defaults"), part(configuration, "exemptions")
    level = part(defaults, "enforce")
    location = Location(path, (level or defaults or configuration or entry).line)
    version = part(defaults, "enforce-version")
    namespaces, users, classes = (
        tuple(texts(part(exemptions, key))) for key in ("namespaces", "usernames", "runtimeClasses")
    )
    return PodSecurity(
        level.text if isinstance(level, yaml_reader.Scalar) else "",
        location,
        namespaces,
        users,
        classes,
        Location(path, exemptions.line) if exemptions is not None else None,
        version.text if isinstance(version, yaml_reader.Scalar) else "latest",
    )


def plugin_configuration(
    plugin: str, data: bytes, path: PurePosixPath, content: Callable[[PurePosixPath], bytes | None]
) -> tuple[PurePosixPath, YamlMapping, Node | None] | None:
    """Return the file with the configuration of a plugin, the plugin's entry, and the configuration; None if no entry.

    Parameters and errors are those of pod_security.
    """
    plugins = mappings(_configuration(data, path).get("plugins"))
    entry = next((item for item in plugins if item.text("name") == plugin), None)
    if entry is None:
        return None
    configuration, name = entry.get("configuration"), entry.text("path")
    if name and not isinstance(configuration, yaml_reader.YamlMapping):
        path = path.parent / name
        nested = content(path)
        if nested is None:
            raise InputError(Location(path), "the file cannot be read")
        configuration = yaml_reader.first_object(nested, path)
    return path, entry, configuration


def plugin_paths(data: bytes, path: PurePosixPath) -> list[PurePosixPath]:
    """Return the files that an AdmissionConfiguration names for its plugins; none if it cannot be decoded."""
    try:
        plugins = mappings(_configuration(data, path).get("plugins"))
    except InputError:
        return []
    return [path.parent / name for name in (item.text("path") for item in plugins) if name]


def _configuration(data: bytes, path: PurePosixPath) -> YamlMapping:
    node = yaml_reader.first_object(data, path)
    if not isinstance(node, yaml_reader.YamlMapping) or node.text("kind") != "AdmissionConfiguration":
        raise InputError(Location(path), "expected the kind AdmissionConfiguration")
    if not (node.text("apiVersion") or "").startswith(_GROUPS):
        raise InputError(Location(path), "expected the apiVersion apiserver.config.k8s.io/v1")
    return node


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
