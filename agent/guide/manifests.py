"""The guide's files for servers as bytes: the assets of this package, with the names of a site added.

Equal arguments result in equal bytes on every server. K3s does not copy manifests between servers, and servers with
different copies overwrite each other's objects (k3s, pkg/deploy/controller.go). Therefore names are sorted and unique,
and no YAML library, whose layout could change, writes the output.

Each document starts with `---`, so documents can be joined and a comment can precede the first one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent import package_data

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.model import Version


class EventRateLimit(NamedTuple):
    """The limit of events that the API server accepts from all clients together; both values are above 0.

    (kubernetes, plugin/pkg/admission/eventratelimit/apis/eventratelimit/v1alpha1/types.go)
    """

    qps: int
    """Events per second when the burst is used up."""
    burst: int


RESTRICTED_POLICY = "restricted-psp"
"""The PodSecurityPolicy of the guide that applies to all pods."""

_MODEL_NAMESPACE = "default"

_RANCHER_NAMESPACES = (
    "calico-apiserver",
    "calico-system",
    "cattle-alerting",
    "cattle-csp-adapter-system",
    "cattle-elemental-system",
    "cattle-epinio-system",
    "cattle-externalip-system",
    "cattle-fleet-local-system",
    "cattle-fleet-system",
    "cattle-gatekeeper-system",
    "cattle-global-data",
    "cattle-global-nt",
    "cattle-impersonation-system",
    "cattle-istio",
    "cattle-istio-system",
    "cattle-logging",
    "cattle-logging-system",
    "cattle-monitoring-system",
    "cattle-neuvector-system",
    "cattle-prometheus",
    "cattle-provisioning-capi-system",
    "cattle-resources-system",
    "cattle-sriov-system",
    "cattle-system",
    "cattle-ui-plugin-system",
    "cattle-windows-gmsa-system",
    "cert-manager",
    "cis-operator-system",
    "fleet-default",
    "istio-system",
    "kube-node-lease",
    "kube-public",
    "kube-system",
    "longhorn-system",
    "rancher-alerting-drivers",
    "security-scan",
    "tigera-operator",
)
"""Namespaces of Rancher and its charts that Rancher's samples exempt in every version, 2.7 to 2.15.

(rancher/rancher-docs, reference-guides/rancher-security/psa-restricted-exemptions.md in each version). Each is an exact
name: the API server exits at a pattern such as calico-*.
"""

_RANCHER_NAMESPACES_BY_VERSION: tuple[tuple[int, int | None, tuple[str, ...]], ...] = (
    # Rancher 2.9 and newer support K3s v1.27 and newer.
    (27, None, ("fleet-local", "sr-operator-system")),
    # Rancher 2.13 and newer support K3s v1.32 and newer.
    (
        32,
        None,
        (
            "cattle-capi-system",
            "cattle-turtles-system",
            "compliance-operator-system",
            "rancher-compliance-system",
            "traefik",
        ),
    ),
    # Rancher 2.12 is the last one with it, and supports K3s up to v1.33.
    (0, 33, ("ingress-nginx",)),
)
"""Further ones, each with the first and last minor version of K3s that the Rancher versions with them support."""

_K3S_NAMESPACES = ("compliance-operator-system", "kube-system")
"""Namespaces that the K3s project's own guide exempts (k3s-io/docs, docs/security/hardening-guide.md)."""

_EVENT_RATE_LIMIT = """\
  - name: EventRateLimit
    configuration:
      apiVersion: eventratelimit.admission.k8s.io/v1alpha1
      kind: Configuration
      limits:
        - type: Server
          qps: {qps}
          burst: {burst}
"""


def network_policies(extra_namespaces: Sequence[str] = ()) -> bytes:
    """Return the NetworkPolicies for policy.yaml, for every version (guide: Network Policies).

    `extra_namespaces` are valid namespace names. Each one that the guide does not name gets the guide's policy for
    `default`, which allows only traffic from within the namespace.
    """
    text = _asset("network-policies.yaml")
    model = next(document for document in text.split("---\n") if f"  namespace: {_MODEL_NAMESPACE}\n" in document)
    # Quoted, since YAML does not read namespaces such as 123 or null as strings.
    text += "".join(
        "---\n" + model.replace(f": {_MODEL_NAMESPACE}\n", f': "{namespace}"\n')
        for namespace in _others(extra_namespaces, text, "  namespace: ")
    )
    return text.encode()


def pod_security_policies(*, cis_operator_namespace: bool = False) -> bytes:
    """Return the PodSecurityPolicies for policy.yaml with their RBAC, for v1.24 and older (guide: Pod Security).

    With `cis_operator_namespace`, they include the RoleBinding in cis-operator-system. Without this namespace in the
    cluster, K3s would apply all manifests again every 15 seconds.
    """
    text = _asset("pod-security-policies.yaml")
    if cis_operator_namespace:
        text += _asset("cis-operator.yaml")
    return text.encode()


def exempt_namespaces(version: Version, *, with_rancher: bool = True) -> tuple[str, ...]:
    """Return the sorted namespaces that Pod Security admission exempts on every host with this K3s version."""
    if not with_rancher:
        return _K3S_NAMESPACES
    names = list(_RANCHER_NAMESPACES)
    for first, last, more in _RANCHER_NAMESPACES_BY_VERSION:
        if first <= version.minor and (last is None or version.minor <= last):
            names += more
    return tuple(sorted(names))


def pod_security_admission(
    exempt: Sequence[str], extra_exempt: Sequence[str] = (), event_rate_limit: EventRateLimit | None = None
) -> bytes:
    """Return the AdmissionConfiguration for v1.25 and newer (guide: Pod Security; template rancher-restricted).

    `exempt` are the namespaces of exempt_namespaces(), and `extra_exempt` are valid names of a site's own.
    `event_rate_limit` adds the configuration that the plugin EventRateLimit requires.
    """
    # The asset ends with the key of the namespaces, so a plugin can follow them.
    item = "          - "
    text = _asset("psa.yaml") + "".join(f"{item}{namespace}\n" for namespace in exempt)
    # Quoted, since YAML does not read namespaces such as 123 or null as strings.
    text += "".join(f'{item}"{namespace}"\n' for namespace in sorted(set(extra_exempt) - set(exempt)))
    if event_rate_limit is not None:
        text += _EVENT_RATE_LIMIT.format(**event_rate_limit._asdict())
    return text.encode()


def audit_policy() -> bytes:
    """Return the audit policy: metadata of every request (guide: API Server audit configuration)."""
    return _asset("audit.yaml").encode()


def account_update() -> bytes:
    """Return the patch for a default ServiceAccount (guide: Configure `default` Service Account)."""
    return _asset("account_update.yaml").encode()


def account_update_script() -> bytes:
    """Return the script that patches the accounts of all namespaces (guide: Configure `default` Service Account).

    Unlike the guide's script, it continues after a namespace that fails, and finds its YAML file from any directory.
    """
    return _asset("account_update.sh").encode()


def _others(names: Sequence[str], text: str, prefix: str) -> list[str]:
    """Return the sorted unique names that `text` does not contain on a line after `prefix`."""
    return sorted(set(names) - {line.removeprefix(prefix) for line in text.splitlines() if line.startswith(prefix)})


def _asset(name: str) -> str:
    return package_data.read("guide", "assets", name).decode()
