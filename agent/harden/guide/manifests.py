"""The guide's files for servers as bytes: the assets of this package, with the names of a site added.

Equal arguments result in equal bytes on every server. K3s does not copy manifests between servers, and servers with
different copies overwrite each other's objects (k3s, pkg/deploy/controller.go). Therefore names are sorted and unique,
and no YAML library, whose layout could change, writes the output.

Each document starts with `---`, so documents can be joined and a comment can precede the first one.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent.base import package_data
from agent.base.value import Value
from agent.k3s.allow_rule import AllowRule
from agent.k3s.roles_and_versions import Version


class EventRateLimit(Value):
    """The limit of events that the API server accepts from all clients together; both values are above 0.

    (kubernetes, plugin/pkg/admission/eventratelimit/apis/eventratelimit/v1alpha1/types.go)
    """

    qps: int
    """Events per second when the burst is used up."""
    burst: int

    def __str__(self) -> str:
        return f"{{qps: {self.qps}, burst: {self.burst}}}"


RESTRICTED_POLICY = "restricted-psp"
"""The PodSecurityPolicy of the guide that applies to all pods."""

_MODEL_NAMESPACE = "default"

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


def network_policies(extra_namespaces: Sequence[str] = (), allow: Sequence[AllowRule] = ()) -> bytes:
    """Return the NetworkPolicies for policy.yaml, for every version (guide: Network Policies).

    `extra_namespaces` are valid namespace names. Each one that the guide does not name gets the guide's policy for
    `default`, which allows only traffic from within the namespace. Each rule of `allow` becomes a policy.
    """
    text = _asset("network-policies.yaml")
    model = next(document for document in text.split("---\n") if f"  namespace: {_MODEL_NAMESPACE}\n" in document)
    # Quoted, since YAML does not read namespaces such as 123 or null as strings.
    lines = (line.partition("  namespace: ") for line in text.splitlines())
    others = set(extra_namespaces) - {namespace for before, _, namespace in lines if not before}
    text += "".join(
        "---\n" + model.replace(f": {_MODEL_NAMESPACE}\n", f': "{namespace}"\n') for namespace in sorted(others)
    )
    if allow:
        import json

        # JSON is YAML, and its layout does not depend on a library.
        text += "".join(f"---\n{json.dumps(rule.policy, indent=2)}\n" for rule in allow)
    return text.encode()


def pod_security_policies(*, cis_operator_namespace: bool = False) -> bytes:
    """Return the PodSecurityPolicies for policy.yaml with their RBAC, for v1.24 and older (guide: Pod Security).

    With `cis_operator_namespace`, they include the RoleBinding in cis-operator-system. Without this namespace in the
    cluster, K3s would apply policy.yaml again every 15 seconds (k3s, pkg/deploy/controller.go).
    """
    text = _asset("pod-security-policies.yaml")
    if cis_operator_namespace:
        text += _asset("cis-operator.yaml")
    return text.encode()


def exempt_namespaces(version: Version, *, with_rancher: bool = True) -> tuple[str, ...]:
    """Return the sorted namespaces that Pod Security admission exempts on every host with this K3s version.

    Those of Rancher and its charts are what the samples of Rancher 2.7 to 2.15 exempt, by the K3s versions that each
    supports (rancher/rancher-docs, reference-guides/rancher-security/psa-restricted-exemptions.md). Each is an exact
    name: the API server exits at a pattern such as calico-*.
    """
    if not with_rancher:
        return _K3S_NAMESPACES
    rows = package_data.rows("harden", "guide", "assets", "rancher-namespaces.tsv")
    return tuple(name for name, first, last in rows if int(first) <= version.minor <= int(last))


def pod_security_admission(
    exempt: Sequence[str],
    extra_exempt: Sequence[str] = (),
    event_rate_limit: EventRateLimit | None = None,
    enforced: str = "restricted",
) -> bytes:
    """Return the AdmissionConfiguration for v1.25 and newer (guide: Pod Security; template rancher-restricted).

    `exempt` are the namespaces of exempt_namespaces(), and `extra_exempt` are valid names of a site's own.
    `event_rate_limit` adds the configuration that the plugin EventRateLimit requires. `enforced` is the standard that
    is enforced in namespaces without labels.
    """
    # The asset ends with the key of the namespaces, so a plugin can follow them.
    item = "          - "
    text = _asset("psa.yaml").replace("enforce: restricted\n", f"enforce: {enforced}\n")
    text += "".join(f"{item}{namespace}\n" for namespace in exempt)
    # Quoted, since YAML does not read namespaces such as 123 or null as strings.
    text += "".join(f'{item}"{namespace}"\n' for namespace in sorted(set(extra_exempt) - set(exempt)))
    if event_rate_limit is not None:
        text += _EVENT_RATE_LIMIT.format(qps=event_rate_limit.qps, burst=event_rate_limit.burst)
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


def _asset(name: str) -> str:
    return package_data.read("harden", "guide", "assets", name).decode()
